#include "node/base/fault.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/clock.h"
#include "node/base/fault_points.h"
#include "node/base/text.h"

/* How soon a call that waits notices that it need not any more. */
#define FAULT_POLL_US 2000

struct fault_point {
    const char *name;
    enum fault_action action;
    uint32_t delay_ms; /* before the action */
    uint64_t fire_at;  /* 0: every hit; n: the n-th hit only */
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

static uint32_t delayed_by(const struct fault_point *p)
{
    return __atomic_load_n(&p->delay_ms, __ATOMIC_RELAXED);
}

static bool is_armed(const struct fault_point *p)
{
    return armed_with(p) != FAULT_NONE || delayed_by(p) > 0;
}

static void arm_with(struct fault_point *p, enum fault_action action,
                     uint32_t delay_ms)
{
    __atomic_store_n(&p->delay_ms, delay_ms, __ATOMIC_RELAXED);
    __atomic_store_n(&p->action, action, __ATOMIC_RELAXED);
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(fault_table) && !any; i++)
        any = is_armed(&fault_table[i]);
    __atomic_store_n(&fault_any_armed, any, __ATOMIC_RELAXED);
}

/* A delay is in real time, whatever the node is made to think of the time. */
static void wait_delay(const struct fault_point *p)
{
    usec_t start = clock_real_mono_us();
    for (;;) {
        usec_t rest =
            delayed_by(p) * USEC_PER_MS + start - clock_real_mono_us();
        if (rest <= 0)
            return;
        usleep((useconds_t)(rest < FAULT_POLL_US ? rest : FAULT_POLL_US));
    }
}

enum fault_action fault_hit_slow(const char *point)
{
    struct fault_point *p = fault_find(point, strlen(point));
    CHECK(p != NULL);
    if (!is_armed(p))
        return FAULT_NONE;
    uint64_t hit = __atomic_add_fetch(&p->hits, 1, __ATOMIC_RELAXED);
    uint64_t fire_at = __atomic_load_n(&p->fire_at, __ATOMIC_RELAXED);
    if (fire_at != 0 && hit != fire_at)
        return FAULT_NONE;
    wait_delay(p);
    enum fault_action action = armed_with(p);
    switch (action) {
    case FAULT_CRASH:
        raise(SIGKILL);
        CHECK_UNREACHABLE();
    case FAULT_HANG:
        while (armed_with(p) == FAULT_HANG)
            usleep(FAULT_POLL_US);
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

/* "delay" or "delay:MS". */
static int parse_delay(struct bytes text, uint32_t *ms_out)
{
    static const char word[] = "delay";
    size_t len = sizeof(word) - 1;
    uint64_t ms = FAULT_DELAY_DEFAULT_MS;
    if (text.len < len || memcmp(text.data, word, len) != 0)
        return ERR_INVALID;
    if (text.len > len) {
        struct bytes number = bytes_of(text.data + len + 1, text.len - len - 1);
        if (text.data[len] != ':' ||
            text_parse_u64(number, FAULT_DELAY_MAX_MS, &ms) != ERR_OK)
            return ERR_INVALID;
    }
    *ms_out = (uint32_t)ms;
    return ERR_OK;
}

static int parse_action(struct bytes text, enum fault_action *action_out,
                        uint32_t *delay_ms_out)
{
    static const struct {
        const char *name;
        enum fault_action action;
    } names[] = {{"crash", FAULT_CRASH},
                 {"eio", FAULT_EIO},
                 {"enospc", FAULT_NO_SPACE},
                 {"short", FAULT_SHORT},
                 {"hang", FAULT_HANG}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_equal(text, bytes_str(names[i].name))) {
            *action_out = names[i].action;
            *delay_ms_out = 0;
            return ERR_OK;
        }
    }
    int err = parse_delay(text, delay_ms_out);
    if (err == ERR_OK)
        *action_out = FAULT_NONE;
    return err;
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
    uint32_t delay_ms;
    if (parse_action(bytes_of(action, action_len), &parsed, &delay_ms) !=
        ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "fault '%.*s': the action is one of crash, eio, "
                       "enospc, short, hang, delay, delay:MS (at most %d)",
                       (int)len, item, FAULT_DELAY_MAX_MS);
    __atomic_store_n(&p->fire_at, fire_at, __ATOMIC_RELAXED);
    __atomic_store_n(&p->hits, 0, __ATOMIC_RELAXED);
    arm_with(p, parsed, delay_ms);
    return ERR_OK;
}

int fault_arm(const char *spec, struct err_msg *msg)
{
    for (size_t i = 0; i < ARRAY_LEN(fault_table); i++)
        arm_with(&fault_table[i], FAULT_NONE, 0);
    while (spec != NULL && *spec != '\0') {
        size_t len = strcspn(spec, ",");
        int err = fault_arm_one(spec, len, msg);
        if (err != ERR_OK)
            return err;
        spec += len + (spec[len] == ',');
    }
    return ERR_OK;
}

static struct fault_point *of_every_hit(const char *point)
{
    struct fault_point *p = fault_find(point, strlen(point));
    CHECK(p != NULL);
    __atomic_store_n(&p->fire_at, 0, __ATOMIC_RELAXED);
    return p;
}

void fault_set(const char *point, enum fault_action action)
{
    struct fault_point *p = of_every_hit(point);
    arm_with(p, action, delayed_by(p));
}

void fault_set_delay(const char *point, uint32_t ms)
{
    CHECK(ms <= FAULT_DELAY_MAX_MS);
    struct fault_point *p = of_every_hit(point);
    arm_with(p, armed_with(p), ms);
}

enum fault_action fault_get(const char *point)
{
    const struct fault_point *p = fault_find(point, strlen(point));
    CHECK(p != NULL);
    return armed_with(p);
}
