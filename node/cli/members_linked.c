/* Waiting for nodes that are to become members: they run, and the members have
 * links to them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/interrupt.h"
#include "node/cli/members.h"
#include "node/cli/supervise.h"
#include "node/cli/topology.h"

#define POLL_US (250 * USEC_PER_MS)
/* Again, for nodes that got their new file only meanwhile. */
#define RELOAD_EVERY_US (5 * USEC_PER_SEC)

/* ---- reload ----------------------------------------------------------------
 */

struct telling {
    const struct members_change *change;
    const struct reach *reach;
    bool quiet; /* silence was mentioned before */
    int err;
    struct err_msg *msg;
};

static void told(void *user, unsigned node, int err,
                 const struct reach_answer *a, const struct err_msg *why)
{
    struct telling *t = user;
    const char *name = t->reach->nodes[node].name;
    (void)a;
    if (err == ERR_PRECONDITION || err == ERR_INVALID || err == ERR_FORBIDDEN)
        t->err = err_set(t->msg, ERR_INVALID, "%s: %s", name, why->text);
    else if (err != ERR_OK && !t->quiet &&
             members_has(&t->change->before.nodes, name))
        fprintf(stderr,
                "%s does not answer; it reads its list of regions when it is "
                "started\n",
                name);
}

static int tell_all(struct reach *r, const struct members_change *c, bool quiet,
                    struct err_msg *msg)
{
    struct telling t = {.change = c, .reach = r, .quiet = quiet, .msg = msg};
    reach_each(r, "POST", "reload", "{}", REACH_CHANGE_TIMEOUT_US, told, &t);
    return t.err;
}

int members_reload(struct reach *r, const struct members_change *c,
                   struct err_msg *msg)
{
    return tell_all(r, c, false, msg);
}

/* ---- links -----------------------------------------------------------------
 */

struct looking {
    const struct members_change *change;
    const struct reach *reach;
    bool silent;          /* a node that comes does not answer */
    bool unlisted;        /* a member does not know one that comes */
    struct err_msg first; /* what is missing; "": nothing */
};

static void note(struct looking *l, const char *format, const char *a,
                 const char *b)
{
    if (l->first.text[0] == '\0')
        snprintf(l->first.text, sizeof(l->first.text), format, a, b);
}

/* The state of the link to a node, into `out`; "": it is not listed. */
static void link_state(const struct json *j, const char *node,
                       char out[TOPOLOGY_STATE_MAX + 1])
{
    json_ref links = json_get_str(j, 0, "links");
    char name[CONFIG_NAME_MAX + 1];
    out[0] = '\0';
    if (links == JSON_NONE || json_type(j, links) != JSON_ARRAY)
        return;
    for (json_ref l = json_first(j, links); l != JSON_NONE;
         l = json_next(j, links, l)) {
        topology_get_text(j, l, "node", name, sizeof(name));
        if (strcmp(name, node) == 0)
            topology_get_text(j, l, "state", out, TOPOLOGY_STATE_MAX + 1);
    }
}

static void look(void *user, unsigned node, int err,
                 const struct reach_answer *a, const struct err_msg *why)
{
    struct looking *l = user;
    const struct members_change *c = l->change;
    const char *name = l->reach->nodes[node].name;
    char state[TOPOLOGY_STATE_MAX + 1];
    if (err != ERR_OK && members_has(&c->comes, name)) {
        note(l, "%s does not run yet (%.300s)", name, why->text);
        l->silent = true;
    }
    if (err != ERR_OK || !members_has(&c->before.nodes, name))
        return;
    for (unsigned i = 0; i < c->comes.count; i++) {
        const char *other = c->comes.list[i];
        link_state(&a->json, other, state);
        if (state[0] == '\0') {
            note(l, "%s does not know %s: bring it its new node.yaml", name,
                 other);
            l->unlisted = true;
        } else if (strcmp(state, "up") != 0) {
            note(l, "%s has no link to %s yet", name, other);
        }
    }
}

/* ---- waiting ---------------------------------------------------------------
 */

static void tell_how(const struct members_change *c)
{
    char control[PATH_MAX];
    bool demo =
        layout_path(c->dir, SUPERVISE_CONTROL, NULL, control, NULL) == ERR_OK &&
        access(control, F_OK) == 0;
    fputs("Start what is to come:\n", stderr);
    for (unsigned i = 0; i < c->comes.count; i++)
        fprintf(stderr,
                demo ? "  bastide demo --dir %s --start %s\n"
                     : "  bastide node --config %s/%s/node.yaml\n",
                c->dir, c->comes.list[i]);
}

int members_wait_linked(struct reach *r, const struct members_change *c,
                        struct err_msg *msg)
{
    usec_t began = clock_mono_us(), told_us = began;
    bool helped = false;
    int err = members_reload(r, c, msg);
    while (err == ERR_OK) {
        struct looking l = {.change = c, .reach = r};
        reach_each(r, "GET", "status", NULL, REACH_ASK_TIMEOUT_US, look, &l);
        if (l.first.text[0] == '\0')
            return ERR_OK;
        if (l.silent && !helped)
            tell_how(c);
        helped = helped || l.silent;
        usec_t now = clock_mono_us();
        if (interrupt_seen())
            return err_set(msg, ERR_CANCELLED, "nothing was changed");
        if (now - began >= (usec_t)c->timeout_s * USEC_PER_SEC)
            return err_set(msg, ERR_TIMEOUT,
                           "after %u s: %.300s; nothing was changed",
                           c->timeout_s, l.first.text);
        if (l.unlisted && now - told_us >= RELOAD_EVERY_US) {
            told_us = now;
            err = tell_all(r, c, true, msg);
        }
        usleep(POLL_US);
    }
    return err;
}
