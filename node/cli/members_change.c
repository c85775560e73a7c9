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
#define TELL_TERMINAL_US (200 * USEC_PER_MS)
#define TELL_LOG_US (5 * USEC_PER_SEC)
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
    const struct members_change *change;
    struct members_progress progress;
    usec_t began_us, told_us;
    bool terminal, open; /* a line stands on the terminal, unfinished */
};

static void tell(struct watch *w, const char *seen, usec_t now)
{
    usec_t every = w->terminal ? TELL_TERMINAL_US : TELL_LOG_US;
    if (w->change->json || now - w->told_us < every)
        return;
    w->told_us = now;
    fprintf(stderr, "%s%lld s: %s%s", w->terminal ? "\r\033[K" : "",
            (long long)((now - w->began_us) / USEC_PER_SEC), seen,
            w->terminal ? "" : "\n");
    fflush(stderr);
    w->open = w->terminal;
}

/* ERR_AGAIN: not yet, and `seen` says how far it is. */
static int look(struct reach *r, struct watch *w, struct members *now_out,
                char seen[ERR_MSG_MAX])
{
    const struct members_change *c = w->change;
    struct err_msg why = {""};
    int err = members_get(r, now_out, &why);
    if (err != ERR_OK) {
        snprintf(seen, ERR_MSG_MAX, "%s", why.text);
        return ERR_AGAIN;
    }
    if (!is_wanted(c, now_out) && now_out->epoch > c->before.epoch)
        return ERR_CANCELLED;
    if (is_wanted(c, now_out) && now_out->settled)
        return ERR_OK;
    members_progress_begin(&w->progress);
    reach_each(r, "GET", "status", NULL, REACH_ASK_TIMEOUT_US,
               members_progress_heard, &w->progress);
    char text[MEMBERS_PROGRESS_TEXT];
    members_progress_text(&w->progress, now_out, clock_mono_us(), text);
    snprintf(seen, ERR_MSG_MAX, "%s", text);
    return ERR_AGAIN;
}

static int watch_until(struct reach *r, struct watch *w,
                       struct members *after_out, struct err_msg *msg)
{
    const struct members_change *c = w->change;
    char seen[ERR_MSG_MAX] = "";
    for (;;) {
        int err = look(r, w, after_out, seen);
        usec_t now = clock_mono_us();
        if (err == ERR_OK)
            return ERR_OK;
        if (err == ERR_CANCELLED)
            return err_set(msg, err,
                           "a later decision has overtaken it; see bastide "
                           "audit");
        if (interrupt_seen())
            return err_set(msg, ERR_CANCELLED,
                           "the cluster goes on with it (%.200s); give the "
                           "command again to watch",
                           seen);
        if (now - w->began_us >= (usec_t)c->timeout_s * USEC_PER_SEC)
            return err_set(msg, ERR_TIMEOUT,
                           "it is not done after %u s (%.200s). The cluster "
                           "goes on with it; give the command again to watch",
                           c->timeout_s, seen);
        tell(w, seen, now);
        usleep(POLL_US);
    }
}

static int watch(struct reach *r, const struct members_change *c,
                 struct members *after_out, struct err_msg *msg)
{
    usec_t now = clock_mono_us();
    struct watch w = {.change = c,
                      .began_us = now,
                      .told_us = now,
                      .terminal = isatty(STDERR_FILENO) == 1};
    members_progress_init(&w.progress, r, c);
    int err = watch_until(r, &w, after_out, msg);
    if (w.open)
        fputs("\r\033[K", stderr);
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
