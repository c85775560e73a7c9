#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/interrupt.h"
#include "node/cli/members.h"
#include "node/cli/members_progress.h"
#include "node/cli/names.h"
#include "node/cli/topology.h"
#include "node/cli/wait.h"
#include "node/json/json.h"

#define POLL_US (200 * USEC_PER_MS)
/* Nodes that met a moment ago do not know each other's health yet. */
#define PATIENCE 20
#define PATIENCE_POLL_US (250 * USEC_PER_MS)

/* ---- what is wanted --------------------------------------------------------
 */

static bool same_set(const struct members_names *a,
                     const struct members_names *b)
{
    bool same = a->count == b->count;
    for (unsigned i = 0; i < a->count && same; i++)
        same = members_has(b, a->list[i]);
    return same;
}

static bool is_wanted(const struct members_change *c, const struct members *m)
{
    return same_set(&c->regions, &m->regions) && same_set(&c->nodes, &m->nodes);
}

static void put_names(struct json_writer *w, const char *key,
                      const struct members_names *names)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (unsigned i = 0; i < names->count; i++)
        json_write_str(w, names->list[i]);
    json_write_array_end(w);
}

static int request(struct reach *r, const struct members_change *c,
                   bool dry_run, struct reach_answer *a, struct err_msg *msg)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", GROUP_DEFAULT_NAME);
    put_names(&w, "regions", &c->regions);
    put_names(&w, "nodes", &c->nodes);
    json_write_member_bool(&w, "dry_run", dry_run);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err = reach_any(r, "placement/regions", buf_cstr(&b),
                        REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&b);
    return err;
}

/* ---- the preview -----------------------------------------------------------
 */

static void print_plan(const struct json *j, const struct members_change *c)
{
    char to[CONFIG_NAME_MAX + 1];
    puts("Plan:");
    names_print(j, "comes",
                "regions that come, shown to clients when they have "
                "everything:");
    names_print(j, "nodes_come",
                "nodes that get a replica of every shard, then "
                "a vote:");
    names_print(j, "goes", "regions that go, no longer shown to clients:");
    names_print(j, "nodes_go",
                "nodes that lose their votes and are told "
                "nothing any more:");
    topology_get_text(j, 0, "write_region", to, sizeof(to));
    if (strcmp(to, c->before.write_region) != 0)
        printf("  writes move from %s to %s first, by a planned switch\n",
               c->before.write_region, to);
    else
        printf("  writes stay in %s\n", to);
    fflush(stdout);
}

static int ask_plan(struct reach *r, const struct members_change *c,
                    struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = request(r, c, true, &a, msg);
    if (err == ERR_OK && c->json && c->dry_run)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK && !c->json)
        print_plan(&a.json, c);
    reach_answer_free(&a);
    return err;
}

static int have_it_done(struct reach *r, const struct members_change *c,
                        struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = request(r, c, false, &a, msg);
    for (unsigned i = 0;
         i < PATIENCE && (err == ERR_PRECONDITION || err == ERR_UNAVAILABLE) &&
         !interrupt_seen();
         i++) {
        usleep(PATIENCE_POLL_US);
        err = request(r, c, false, &a, msg);
    }
    reach_answer_free(&a);
    return err;
}

/* ---- watching --------------------------------------------------------------
 */

struct watch {
    struct reach *reach;
    const struct members_change *change;
    struct members_progress progress;
    struct members *now;
};

static int look(void *user, struct err_msg *seen)
{
    struct watch *w = user;
    const struct members_change *c = w->change;
    if (members_get(w->reach, w->now, seen) != ERR_OK)
        return ERR_AGAIN;
    bool wanted = is_wanted(c, w->now);
    if (!wanted && w->now->epoch > c->before.epoch)
        return err_set(seen, ERR_CANCELLED,
                       "a later decision has overtaken it; see bastide audit");
    if (wanted && w->now->settled)
        return ERR_OK;
    members_progress_begin(&w->progress);
    reach_each(w->reach, "GET", "status", NULL, REACH_ASK_TIMEOUT_US,
               members_progress_heard, &w->progress);
    char text[MEMBERS_PROGRESS_TEXT];
    members_progress_text(&w->progress, w->now, clock_mono_us(), text);
    return err_set(seen, ERR_AGAIN, "%s", text);
}

static int watch(struct reach *r, const struct members_change *c,
                 struct members *after_out, struct err_msg *msg)
{
    struct watch w = {.reach = r, .change = c, .now = after_out};
    const struct wait_until wait = {.what = "the change",
                                    .then = "give the command again to watch",
                                    .timeout_us =
                                        (usec_t)c->timeout_s * USEC_PER_SEC,
                                    .poll_us = POLL_US,
                                    .quiet = c->json,
                                    .look = look,
                                    .user = &w};
    members_progress_init(&w.progress, r, c);
    int err = wait_until(&wait, msg);
    members_progress_free(&w.progress);
    return err;
}

/* ---- all of it -------------------------------------------------------------
 */

static void tell_json(const struct members *m, usec_t took_us)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, HTTPS_ANSWER_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_int64(&w, "epoch", m->epoch);
    put_names(&w, "regions", &m->regions);
    put_names(&w, "nodes", &m->nodes);
    json_write_member_str(&w, "write_region", m->write_region);
    json_write_member_int64(&w, "took_ms", took_us / USEC_PER_MS);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    printf("%s\n", buf_cstr(&b));
    buf_free(&b);
}

static int refuse_second(const struct members_change *c, struct err_msg *msg)
{
    const struct members *m = &c->before;
    return err_set(msg, ERR_BUSY,
                   "another change is under way%s%s%s%s, which has to end "
                   "first",
                   m->coming.count > 0 ? ", comes: " : "",
                   m->coming.count > 0 ? m->coming.list[0] : "",
                   m->leaving.count > 0 ? ", goes: " : "",
                   m->leaving.count > 0 ? m->leaving.list[0] : "");
}

int members_carry_out(struct reach *r, const struct members_change *c,
                      struct members *after_out)
{
    struct err_msg msg;
    usec_t began = clock_mono_us();
    bool begun = is_wanted(c, &c->before); /* by an earlier command */
    int err = ERR_OK, code;
    if (!begun && !c->before.settled)
        err = refuse_second(c, &msg);
    if (err == ERR_OK && !begun)
        err = ask_plan(r, c, &msg);
    if (err != ERR_OK)
        return options_failed(c->command, msg.text);
    *after_out = c->before;
    if (c->dry_run)
        return CMD_OK;
    if (!begun && (code = wait_approval(c->command, c->yes)) != CMD_OK)
        return code;
    interrupt_watch();
    if (!begun)
        err = have_it_done(r, c, &msg);
    if (err == ERR_OK)
        err = watch(r, c, after_out, &msg);
    if (err != ERR_OK)
        return options_failed(c->command, msg.text);
    if (c->json)
        tell_json(after_out, clock_mono_us() - began);
    return CMD_OK;
}
