/* bastide placement move: a container goes to another placement group.
 *
 *     preview --shown--> asked --yes--> ordered --watched--> told
 */
#include "node/cli/placement_move.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/catalog/container.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement_group.h"
#include "node/cli/reach.h"
#include "node/cli/topology.h"
#include "node/cli/wait.h"
#include "node/json/json.h"

#define COMMAND "placement move"
#define MOVE_TIMEOUT_S 3600
#define MOVE_POLL_US (500 * USEC_PER_MS)
#define PHASE_MAX 15
#define UNSEEN_MAX 20 /* looks in a row */
#define REQUEST_MAX (4u * RESOURCE_NAME_BYTES_MAX)

static const char help[] =
    "Usage: bastide placement move DATABASE/CONTAINER GROUP [--from GROUP]\n"
    "                              [--dry-run] [--yes]\n"
    "       bastide placement move DATABASE/CONTAINER --cancel\n"
    "       bastide placement move --status\n"
    "\n"
    "Moves a container's documents to another placement group while programs "
    "use it,\n"
    "deletes them from the old group's replicas, and waits until that is done. "
    "A node\n"
    "of a region that is inside both fences does it; another takes over if it "
    "dies.\n"
    "Without such a region it is refused. First shows which regions get the "
    "data and\n"
    "which lose it.\n"
    "\n"
    "  --from GROUP    of a container that is placed by partition key: move "
    "what it has\n"
    "                  there, to a group that has nothing of it\n"
    "  --dry-run       only show which regions get it and lose it\n"
    "  --yes           do not ask\n"
    "  --no-wait       order it, and do not wait\n"
    "  --cancel        leave it where it is; possible while it is copied\n"
    "  --status        show the moves there are and were\n"
    "  --timeout SECONDS  how long to wait (default 3600); it goes on without "
    "us\n" REACH_HELP "  -o text|json    how to say it\n"
    "\n"
    "Examples:\n"
    "  bastide placement move shop/orders eu --dir demo --dry-run\n"
    "  bastide placement move shop/orders eu --dir demo --yes\n"
    "  bastide placement move shop/orders nordic --from eu\n"
    "  bastide placement move shop/orders --cancel\n";

struct move_flags {
    const char *group, *from;
    char database[RESOURCE_NAME_BYTES_MAX + 1];
    char container[RESOURCE_NAME_BYTES_MAX + 1];
    unsigned timeout_s;
    bool dry_run, yes, no_wait, cancel, status, json;
};

/* What the nodes say of one container. */
struct sight {
    const struct move_flags *flags;
    bool answered, found;
    bool clean;      /* every node that answered says so... */
    unsigned silent; /* ...but these did not */
    char group[CONFIG_NAME_MAX + 1], phase[PHASE_MAX + 1];
    int64_t copied, about, pass; /* -1: the mover was not heard */
};

/* ---- asking ----------------------------------------------------------------
 */

static int ask(struct reach *r, const struct move_flags *f, const char *path,
               bool dry_run, struct reach_answer *a, struct err_msg *msg)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, REQUEST_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "database", f->database);
    json_write_member_str(&w, "container", f->container);
    if (!f->cancel)
        json_write_member_str(&w, "group", f->group);
    if (f->from != NULL)
        json_write_member_str(&w, "from", f->from);
    if (dry_run)
        json_write_member_bool(&w, "dry_run", true);
    json_write_object_end(&w);
    int err = json_writer_end(&w);
    if (err == ERR_OK)
        err = reach_any(r, path, buf_cstr(&b), REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&b);
    return err;
}

static void print_list(const struct json *j, const char *key, const char *label)
{
    char name[CONFIG_NAME_MAX + 1];
    struct bytes text;
    json_ref list = json_get_str(j, 0, key);
    bool first = true;
    printf("  %-26s", label);
    if (list != JSON_NONE && json_type(j, list) == JSON_ARRAY)
        for (json_ref v = json_first(j, list); v != JSON_NONE;
             v = json_next(j, list, v)) {
            struct buf scratch = buf_over(name, sizeof(name));
            if (json_string(j, v, &scratch, &text) != ERR_OK)
                continue;
            printf("%s%.*s", first ? "" : ", ", (int)text.len,
                   (const char *)text.data);
            first = false;
        }
    puts(first ? "none" : "");
}

static void show_preview(const struct move_flags *f, const struct json *j)
{
    char from[CONFIG_NAME_MAX + 1];
    topology_get_text(j, 0, "from", from, sizeof(from));
    printf("%s%s/%s moves from %s to %s:\n",
           f->from != NULL ? "A part of " : "", f->database, f->container, from,
           f->group);
    print_list(j, "gets", "regions that get the data:");
    print_list(j, "loses", "regions that lose it:");
    print_list(j, "keeps", "regions that keep it:");
    print_list(j, "through", "done by one of:");
}

/* ---- watching --------------------------------------------------------------
 */

static void look(struct sight *s, const struct json *j, json_ref move)
{
    char database[RESOURCE_NAME_BYTES_MAX + 1];
    char container[RESOURCE_NAME_BYTES_MAX + 1];
    int64_t copied;
    topology_get_text(j, move, "database", database, sizeof(database));
    topology_get_text(j, move, "container", container, sizeof(container));
    if (strcmp(database, s->flags->database) != 0 ||
        strcmp(container, s->flags->container) != 0)
        return;
    bool mover = json_get_int64(j, move, "copied", &copied) == ERR_OK;
    bool clean = false;
    (void)json_get_bool(j, move, "clean", &clean);
    s->clean &= clean;
    if (s->found && !mover)
        return;
    s->found = true;
    topology_get_text(j, move, "group", s->group, sizeof(s->group));
    topology_get_text(j, move, "phase", s->phase, sizeof(s->phase));
    if (!mover)
        return;
    s->copied = copied;
    (void)json_get_int64(j, move, "about", &s->about);
    (void)json_get_int64(j, move, "pass", &s->pass);
}

static void heard(void *user, unsigned node, int err,
                  const struct reach_answer *a, const struct err_msg *why)
{
    struct sight *s = user;
    (void)node;
    (void)why;
    if (err != ERR_OK) {
        s->silent++;
        return;
    }
    s->answered = true;
    json_ref list = json_get_str(&a->json, 0, "moves");
    if (list == JSON_NONE || json_type(&a->json, list) != JSON_ARRAY)
        return;
    for (json_ref v = json_first(&a->json, list); v != JSON_NONE;
         v = json_next(&a->json, list, v))
        look(s, &a->json, v);
}

static int describe(const struct sight *s, struct err_msg *out)
{
    if (s->copied >= 0 && strcmp(s->phase, "copying") == 0)
        return err_set(
            out, ERR_AGAIN, "copying: pass %lld, %lld documents of about %lld",
            (long long)s->pass, (long long)s->copied, (long long)s->about);
    if (s->found && s->phase[0] == '\0' && s->silent > 0)
        return err_set(out, ERR_AGAIN,
                       "moved; %u nodes do not say whether they have anything "
                       "left",
                       s->silent);
    if (s->found && s->phase[0] == '\0')
        return err_set(out, ERR_AGAIN,
                       "moved; logs still hold what was deleted");
    return err_set(out, ERR_AGAIN, "%s", s->found ? s->phase : "not seen yet");
}

struct watch {
    struct reach *reach;
    const struct move_flags *flags;
    struct sight last;
    unsigned unseen; /* looks in a row; nobody's answer counts for nothing */
};

/* Until no node speaks of a phase any more, and each says that it has nothing
 * left. */
static int watch_once(void *user, struct err_msg *seen)
{
    struct watch *w = user;
    struct sight *s = &w->last;
    *s = (struct sight){.flags = w->flags, .clean = true, .copied = -1};
    reach_each(w->reach, "GET", "placement/moves", NULL, REACH_ASK_TIMEOUT_US,
               heard, s);
    if (s->found && s->phase[0] == '\0' && s->clean && s->silent == 0)
        return ERR_OK;
    if (s->found)
        w->unseen = 0;
    else if (s->answered && ++w->unseen > UNSEEN_MAX)
        return err_set(seen, ERR_NOT_FOUND, "the container is gone");
    return describe(s, seen);
}

static void tell(const struct move_flags *f, const char *group)
{
    struct buf b;
    struct json_writer w;
    if (!f->json) {
        printf("%s%s/%s is in %s, and nothing of it is left in the other "
               "group's replicas and logs.\n",
               f->from != NULL ? "The part of " : "", f->database, f->container,
               group);
        return;
    }
    buf_init(&b, REQUEST_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "database", f->database);
    json_write_member_str(&w, "container", f->container);
    json_write_member_str(&w, "group", group);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    printf("%s\n", buf_cstr(&b));
    buf_free(&b);
}

static int wait_done(struct reach *r, const struct move_flags *f,
                     struct err_msg *msg)
{
    struct watch w = {.reach = r, .flags = f};
    const struct sight *s = &w.last;
    const struct wait_until wait = {.what = "the move",
                                    .then = "see: bastide placement move "
                                            "--status",
                                    .timeout_us =
                                        (usec_t)f->timeout_s * USEC_PER_SEC,
                                    .poll_us = MOVE_POLL_US,
                                    .quiet = f->json,
                                    .look = watch_once,
                                    .user = &w};
    int err = wait_until(&wait, msg);
    if (err != ERR_OK)
        return err;
    if (!f->cancel && strcmp(s->group, f->group) != 0)
        return err_set(msg, ERR_CANCELLED,
                       "it was cancelled, or moved again; see bastide audit");
    tell(f, s->found ? s->group : "the group where it was");
    return ERR_OK;
}

/* ---- the command -----------------------------------------------------------
 */

static int run_move(struct reach *r, const struct move_flags *f)
{
    struct reach_answer a;
    struct err_msg msg;
    int code = CMD_OK;
    reach_answer_init(&a);
    int err = ask(r, f, "placement/move", true, &a, &msg);
    if (err == ERR_OK && f->json && f->dry_run)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK && !f->json)
        show_preview(f, &a.json);
    if (err == ERR_OK && !f->dry_run) {
        code = wait_approval(COMMAND, f->yes);
        if (code == CMD_OK)
            err = ask(r, f, "placement/move", false, &a, &msg);
        if (code == CMD_OK && err == ERR_OK && !f->no_wait)
            err = wait_done(r, f, &msg);
    }
    reach_answer_free(&a);
    return err == ERR_OK ? code : options_failed(COMMAND, msg.text);
}

static int run_cancel(struct reach *r, const struct move_flags *f)
{
    struct reach_answer a;
    struct err_msg msg;
    reach_answer_init(&a);
    int err = ask(r, f, "placement/move/cancel", false, &a, &msg);
    if (err == ERR_OK && !f->no_wait)
        err = wait_done(r, f, &msg);
    reach_answer_free(&a);
    return err == ERR_OK ? CMD_OK : options_failed(COMMAND, msg.text);
}

static void print_move(const struct json *j, json_ref v)
{
    char database[RESOURCE_NAME_BYTES_MAX + 1];
    char container[RESOURCE_NAME_BYTES_MAX + 1];
    char group[CONFIG_NAME_MAX + 1], other[CONFIG_NAME_MAX + 1];
    char phase[PHASE_MAX + 1];
    topology_get_text(j, v, "database", database, sizeof(database));
    topology_get_text(j, v, "container", container, sizeof(container));
    topology_get_text(j, v, "group", group, sizeof(group));
    topology_get_text(j, v, "other", other, sizeof(other));
    topology_get_text(j, v, "phase", phase, sizeof(phase));
    printf("%s/%s: in %s", database, container, group);
    if (phase[0] != '\0')
        printf(", %s (%s)", phase, other);
    putchar('\n');
}

static int run_status(struct reach *r, const struct move_flags *f)
{
    struct reach_answer a;
    struct err_msg msg;
    reach_answer_init(&a);
    int err =
        reach_any(r, "placement/moves", NULL, REACH_ASK_TIMEOUT_US, &a, &msg);
    if (err == ERR_OK && f->json) {
        printf("%s\n", buf_cstr(&a.body));
    } else if (err == ERR_OK) {
        json_ref list = json_get_str(&a.json, 0, "moves");
        for (json_ref v = json_first(&a.json, list); v != JSON_NONE;
             v = json_next(&a.json, list, v))
            print_move(&a.json, v);
    }
    reach_answer_free(&a);
    return err == ERR_OK ? CMD_OK : options_failed(COMMAND, msg.text);
}

static int check(void *flags, char **words, unsigned count)
{
    struct move_flags *f = flags;
    unsigned wanted = f->status ? 0 : f->cancel ? 1 : 2;
    if (count != wanted)
        return options_refuse(COMMAND,
                              "expected DATABASE/CONTAINER GROUP, or "
                              "DATABASE/CONTAINER --cancel, or --status");
    if (count > 0 &&
        !placement_container_split(words[0], f->database, f->container))
        return options_refuse(COMMAND, "\"%s\": expected DATABASE/CONTAINER",
                              words[0]);
    f->group = count > 1 ? words[1] : "";
    if (f->from != NULL && count < 2)
        return options_refuse(COMMAND, "--from goes with GROUP");
    return CMD_OK;
}

static int run(struct reach *r, void *flags)
{
    const struct move_flags *f = flags;
    if (f->status)
        return run_status(r, f);
    return f->cancel ? run_cancel(r, f) : run_move(r, f);
}

int placement_run_move(int argc, char **argv)
{
    struct move_flags f = {.timeout_s = MOVE_TIMEOUT_S};
    const struct option_spec options[] = {
        {.name = "from", .kind = OPTION_TEXT, .value = &f.from},
        {.name = "dry-run", .kind = OPTION_FLAG, .value = &f.dry_run},
        {.name = "yes", .kind = OPTION_FLAG, .value = &f.yes},
        {.name = "no-wait", .kind = OPTION_FLAG, .value = &f.no_wait},
        {.name = "cancel", .kind = OPTION_FLAG, .value = &f.cancel},
        {.name = "status", .kind = OPTION_FLAG, .value = &f.status},
        {.name = "timeout",
         .kind = OPTION_NUMBER,
         .value = &f.timeout_s,
         .min = 1,
         .max = 7 * 86400}};
    const struct reach_command command = {.name = COMMAND,
                                          .help = help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .words_max = 2,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = check,
                                          .run = run};
    return reach_run(&command, argc, argv);
}
