#include "node/cli/placement_wait.h"

#include <stdio.h>

#include "node/base/mem.h"
#include "node/cli/wait.h"

#define POLL_US (200 * USEC_PER_MS)
#define TEXT_MAX (CATALOG_NAME_MAX + 128)

static int ask(const struct placement_wait *w, struct placement_group *g,
               struct err_msg *msg)
{
    struct reach_answer a;
    json_ref object;
    if (w->asks_all)
        return placement_split_ask(w->reach, w->name, g, msg);
    reach_answer_init(&a);
    int err = placement_group_ask(w->reach, w->name, &a, &object, g, msg);
    reach_answer_free(&a);
    return err;
}

/* A node that does not answer, or knows nothing of the group yet, is no reason
 * to give up. */
static int look(void *user, struct err_msg *seen)
{
    const struct placement_wait *w = user;
    struct placement_group *g = mem_alloc(sizeof(*g));
    int err = ask(w, g, seen);
    if (err == ERR_OK)
        err = w->judge(w->user, g, seen);
    else
        err = err == ERR_NOT_FOUND && w->until_gone ? ERR_OK : ERR_AGAIN;
    mem_free(g);
    return err;
}

int placement_wait(const struct placement_wait *w, struct err_msg *msg)
{
    char then[TEXT_MAX];
    struct placement_wait user = *w;
    const struct wait_until wait = {
        .what = w->what,
        .then = then,
        .timeout_us = (usec_t)w->timeout_s * USEC_PER_SEC,
        .poll_us = w->poll_us > 0 ? w->poll_us : POLL_US,
        .quiet = w->quiet,
        .look = look,
        .user = &user};
    snprintf(then, sizeof(then), "see: bastide placement show %s", w->name);
    return wait_until(&wait, msg);
}
