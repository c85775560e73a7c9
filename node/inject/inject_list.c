/* The active faults of a node, and whom they strike. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/inject/inject_impl.h"

bool inject_means(const char *who, const char *region, const char *node)
{
    return strcmp(who, "*") == 0 || strcmp(who, region) == 0 ||
           strcmp(who, node) == 0;
}

static struct inject_active *find(struct inject_list *l, const char *id)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->active[i].fault.id, id) == 0)
            return &l->active[i];
    return NULL;
}

/* Somebody may have taken the next one by name. */
static void choose_id(struct inject_list *l, char id[INJECT_ID_MAX + 1])
{
    do
        snprintf(id, INJECT_ID_MAX + 1, "f%llu",
                 (unsigned long long)++l->serial);
    while (find(l, id) != NULL);
}

int inject_list_add(struct inject_list *l, const struct inject_fault *fault,
                    usec_t now, const struct inject_active **added_out)
{
    if (fault->id[0] != '\0' && find(l, fault->id) != NULL)
        return ERR_EXISTS;
    if (l->count == INJECT_LIST_MAX)
        return ERR_FULL;
    struct inject_active a = {
        .fault = *fault,
        .since_us = now,
        .until_us = fault->for_us > 0 ? now + fault->for_us : USEC_NEVER};
    if (a.fault.id[0] == '\0')
        choose_id(l, a.fault.id);
    l->active[l->count] = a;
    *added_out = &l->active[l->count++];
    return ERR_OK;
}

static void remove_at(struct inject_list *l, size_t i)
{
    CHECK(i < l->count);
    l->count--;
    memmove(&l->active[i], &l->active[i + 1],
            (l->count - i) * sizeof(l->active[0]));
}

int inject_list_remove(struct inject_list *l, const char *id)
{
    struct inject_active *a = find(l, id);
    if (a == NULL)
        return ERR_NOT_FOUND;
    remove_at(l, (size_t)(a - l->active));
    return ERR_OK;
}

static bool used_up(const struct inject_active *a)
{
    return a->fault.count > 0 && a->hits >= a->fault.count;
}

bool inject_list_expire(struct inject_list *l, usec_t now)
{
    bool any = false;
    for (size_t i = 0; i < l->count;) {
        if (l->active[i].until_us <= now || used_up(&l->active[i])) {
            remove_at(l, i);
            any = true;
        } else {
            i++;
        }
    }
    return any;
}

usec_t inject_list_next(const struct inject_list *l)
{
    usec_t next = USEC_NEVER;
    for (size_t i = 0; i < l->count; i++) {
        const struct inject_active *a = &l->active[i];
        usec_t due = used_up(a) ? a->since_us : a->until_us;
        next = due < next ? due : next;
    }
    return next;
}

/* ---- requests --------------------------------------------------------------
 */

static bool operation_fits(enum inject_operation filter,
                           enum inject_operation o)
{
    if (filter == INJECT_OP_WRITE)
        return o == INJECT_OP_CREATE || o == INJECT_OP_UPSERT ||
               o == INJECT_OP_REPLACE || o == INJECT_OP_DELETE;
    return filter == INJECT_OP_ANY || filter == o;
}

static bool resource_fits(const char *filter, struct bytes id)
{
    return filter[0] == '\0' || bytes_equal(id, bytes_str(filter));
}

bool inject_strikes(struct inject_active *a, const struct inject_request *r,
                    struct prng *prng)
{
    const struct inject_fault *f = &a->fault;
    if (inject_family_of(f->kind) != INJECT_CLIENT || used_up(a))
        return false;
    if (f->kind == INJECT_KEY_ROTATED && !(r->verified && r->key == f->key))
        return false;
    if (!operation_fits(f->operation, r->operation) ||
        !resource_fits(f->database, r->database) ||
        !resource_fits(f->container, r->container))
        return false;
    if (inject_takes(f->kind, INJECT_M_PERCENT) &&
        prng_below(prng, 1000) >= f->permille)
        return false;
    a->hits++;
    return true;
}
