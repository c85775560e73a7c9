#include "node/base/fault.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/fault_points.h"

#define FAULT_HANG_POLL_US 2000

struct fault_point {
    const char *name;
    enum fault_action action;
    uint64_t fire_at; /* 0: every hit; n: the n-th hit only */
    uint64_t hits;
};

static struct fault_point fault_table[] = {
#define FAULT_ROW(point, meaning) {.name = (point)},
    FAULT_POINTS(FAULT_ROW)
#undef FAULT_ROW
};

bool fault_any_armed;

static struct fault_point *fault_find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(fault_table); i++)
        if (strlen(fault_table[i].name) == len &&
            memcmp(fault_table[i].name, name, len) == 0)
            return &fault_table[i];
    return NULL;
}

static enum fault_action armed_with(const struct fault_point *p)
{
    return __atomic_load_n(&p->action, __ATOMIC_RELAXED);
}

static void arm_with(struct fault_point *p, enum fault_action action)
{
    __atomic_store_n(&p->action, action, __ATOMIC_RELAXED);
}

enum fault_action fault_hit_slow(const char *point)
{
    struct fault_point *p = fault_find(point, strlen(point));
    CHECK(p != NULL);
    enum fault_action action = armed_with(p);
    if (action == FAULT_NONE)
        return FAULT_NONE;
    uint64_t hit = __atomic_add_fetch(&p->hits, 1, __ATOMIC_RELAXED);
    if (p->fire_at != 0 && hit != p->fire_at)
        return FAULT_NONE;
    switch (action) {
    case FAULT_CRASH:
        raise(SIGKILL);
        CHECK_UNREACHABLE();
    case FAULT_DELAY:
        usleep(200 * 1000);
        return FAULT_NONE;
    case FAULT_HANG:
        while (armed_with(p) == FAULT_HANG)
            usleep(FAULT_HANG_POLL_US);
        return FAULT_NONE;
    default:
        return action;
    }
}

int fault_err(enum fault_action action)
{
    switch (action) {
    case FAULT_NONE:
        return ERR_OK;
    case FAULT_NO_SPACE:
        return ERR_NO_SPACE;
    default:
        return ERR_IO;
    }
}

static int fault_action_parse(const char *text, size_t len,
                              enum fault_action *action_out)
{
    static const struct {
        const char *name;
        enum fault_action action;
    } names[] = {{"crash", FAULT_CRASH},     {"eio", FAULT_EIO},
                 {"enospc", FAULT_NO_SPACE}, {"short", FAULT_SHORT},
                 {"delay", FAULT_DELAY},     {"hang", FAULT_HANG}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strlen(names[i].name) == len &&
            memcmp(names[i].name, text, len) == 0) {
            *action_out = names[i].action;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

/* One "point=action[@n]". */
static int fault_arm_one(const char *item, size_t len, struct err_msg *msg)
{
    const char *eq = memchr(item, '=', len);
    struct fault_point *p =
        eq != NULL ? fault_find(item, (size_t)(eq - item)) : NULL;
    if (p == NULL)
        return err_set(msg, ERR_INVALID,
                       "fault '%.*s': expected POINT=ACTION[@N] with a point "
                       "of node/base/fault_points.h",
                       (int)len, item);
    const char *action = eq + 1;
    size_t action_len = len - (size_t)(action - item);
    const char *at = memchr(action, '@', action_len);
    uint64_t fire_at = 0;
    if (at != NULL) {
        fire_at = strtoull(at + 1, NULL, 10);
        action_len = (size_t)(at - action);
        if (fire_at == 0)
            return err_set(msg, ERR_INVALID, "fault '%.*s': @N counts from 1",
                           (int)len, item);
    }
    enum fault_action parsed;
    if (fault_action_parse(action, action_len, &parsed) != ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "fault '%.*s': the action is one of crash, eio, "
                       "enospc, short, delay, hang",
                       (int)len, item);
    p->fire_at = fire_at;
    p->hits = 0;
    arm_with(p, parsed);
    __atomic_store_n(&fault_any_armed, true, __ATOMIC_RELAXED);
    return ERR_OK;
}

int fault_arm(const char *spec, struct err_msg *msg)
{
    __atomic_store_n(&fault_any_armed, false, __ATOMIC_RELAXED);
    for (size_t i = 0; i < ARRAY_LEN(fault_table); i++)
        arm_with(&fault_table[i], FAULT_NONE);
    while (spec != NULL && *spec != '\0') {
        size_t len = strcspn(spec, ",");
        int err = fault_arm_one(spec, len, msg);
        if (err != ERR_OK)
            return err;
        spec += len + (spec[len] == ',');
    }
    return ERR_OK;
}

void fault_set(const char *point, enum fault_action action)
{
    struct fault_point *p = fault_find(point, strlen(point));
    CHECK(p != NULL);
    p->fire_at = 0;
    arm_with(p, action);
    if (action != FAULT_NONE)
        __atomic_store_n(&fault_any_armed, true, __ATOMIC_RELAXED);
}

enum fault_action fault_get(const char *point)
{
    const struct fault_point *p = fault_find(point, strlen(point));
    CHECK(p != NULL);
    return armed_with(p);
}
