#include "node/server/doors.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/server/stand_in.h"
#include "node/server/worker.h"

static int listen_on(struct worker *w, int slot, const struct config_addr *a,
                     const char *what, struct err_msg *msg)
{
    struct err_msg why;
    if (w->listeners[slot] != NULL)
        return ERR_OK;
    int err = http_listener_open(w->front, a->host, a->port, NULL,
                                 &w->listeners[slot], &why);
    if (err != ERR_OK)
        err_set(msg, err, "%s endpoint: %.400s", what, why.text);
    return err;
}

/* No member of the cluster: not yet, or not any more. */
static bool is_outside(const struct worker *w)
{
    const struct config *c = w->node->config;
    const struct catalog_group *g =
        w->catalog != NULL ? catalog_group_number(w->catalog, GROUP_DEFAULT)
                           : NULL;
    return g == NULL || g->member_count == 0
               ? c->own_node->added
               : memchr(g->members, (int)c->id, g->member_count) == NULL;
}

int doors_open(struct worker *w, struct err_msg *msg)
{
    const struct config *c = w->node->config;
    int err = ERR_OK;
    if (is_outside(w))
        http_listener_close(TAKE(w->listeners[0]));
    else
        err = listen_on(w, 0, &c->listen.account, "account", msg);
    if (err == ERR_OK)
        err = listen_on(w, 1, &c->listen.region, "region", msg);
    if (err == ERR_OK)
        err = listen_on(w, 2, &c->listen.node, "node", msg);
    return err;
}

void doors_check(struct worker *w)
{
    struct err_msg msg;
    if (w->shut || w->draining || w->stopping)
        return;
    int err = doors_open(w, &msg);
    if (err != ERR_OK && !w->doors_jam)
        log_warn("clients cannot be let in again", LOG_STR("reason", msg.text));
    w->doors_jam = err != ERR_OK;
}

static void shut(struct worker *w, void *arg)
{
    (void)arg;
    w->shut = true;
    for (size_t i = 0; i < ARRAY_LEN(w->listeners); i++)
        http_listener_close(TAKE(w->listeners[i]));
    stand_in_listen(w);
    http_front_hang_up(w->front);
}

static void unshut(struct worker *w, void *arg)
{
    (void)arg;
    w->shut = false;
    doors_check(w);
    stand_in_listen(w);
}

void doors_keep(struct worker *w, bool shut_wanted)
{
    struct node *n = w->node;
    if (w->shut_told == shut_wanted)
        return;
    w->shut_told = shut_wanted;
    for (uint32_t i = 0; i < n->worker_count; i++)
        worker_run(&n->workers[i], shut_wanted ? shut : unshut, NULL);
}
