/* bastide placement remove: does away with an empty group.
 *
 *     preview --confirmed--> asked for --> its record is gone --> told
 */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement.h"
#include "node/cli/placement_group.h"
#include "node/cli/placement_wait.h"
#include "node/cli/wait.h"
#include "node/json/json.h"

#define COMMAND "placement remove"
#define REMOVE_TIMEOUT_S 60

static const char help[] =
    "Usage: bastide placement remove NAME [--yes] [--dry-run] [options]\n"
    "\n"
    "Removes a placement group that no container is in and no rule names, and "
    "waits\n"
    "until its record is gone. Its nodes then delete its replicas and log "
    "entries, and\n"
    "wipe its keys; a node that is down does so when it is back. Its number "
    "and its\n"
    "shards' are never used again; its name may be.\n"
    "\n"
    "  --yes              do not ask\n"
    "  --dry-run          only say what would be deleted, or why it cannot be\n"
    "  --timeout SECONDS  how long to wait (default 60); the cluster goes on "
    "with it\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "Examples:\n"
    "  bastide placement remove eu --dry-run --dir demo\n"
    "  bastide placement remove eu --yes\n";

struct remove_flags {
    const char *name;
    unsigned timeout_s;
    bool yes, dry_run, json;
};

static int request(struct reach *r, const struct remove_flags *f, bool dry_run,
                   struct reach_answer *a, struct err_msg *msg)
{
    struct buf body;
    struct json_writer w;
    buf_init(&body, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", f->name);
    json_write_member_bool(&w, "dry_run", dry_run);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err = reach_any(r, "placement/remove", buf_cstr(&body),
                        REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&body);
    return err;
}

static void print_plan(const struct remove_flags *f, const struct json *j)
{
    int64_t first = 0, shards = 0;
    (void)json_get_int64(j, 0, "first_shard", &first);
    (void)json_get_int64(j, 0, "shards", &shards);
    printf("Plan for placement group %s, which is empty:\n", f->name);
    printf("  its shards %lld to %lld are deleted\n", (long long)first,
           (long long)(first + shards - 1));
    names_print(j, "nodes", "nodes that delete their copy and the keys:");
    fflush(stdout);
}

static int preview(struct reach *r, const struct remove_flags *f,
                   struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = request(r, f, true, &a, msg);
    if (err == ERR_OK && f->json && f->dry_run)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK && !f->json)
        print_plan(f, &a.json);
    reach_answer_free(&a);
    return err;
}

static int judge(void *user, const struct placement_group *g,
                 struct err_msg *seen)
{
    (void)user;
    if (g->removing)
        return err_set(seen, ERR_AGAIN, "its record is still there");
    return err_set(seen, ERR_EXISTS,
                   "%s was not removed: something came into it meanwhile; see: "
                   "bastide placement show %s",
                   g->name, g->name);
}

static int wait_gone(struct reach *r, const struct remove_flags *f,
                     struct err_msg *msg)
{
    const struct placement_wait wait = {.reach = r,
                                        .name = f->name,
                                        .what = "the removal",
                                        .timeout_s = f->timeout_s,
                                        .quiet = f->json,
                                        .until_gone = true,
                                        .judge = judge};
    return placement_wait(&wait, msg);
}

static int run(struct reach *r, void *flags)
{
    const struct remove_flags *f = flags;
    struct err_msg msg;
    struct reach_answer a;
    if (preview(r, f, &msg) != ERR_OK)
        return options_failed(COMMAND, msg.text);
    if (f->dry_run)
        return CMD_OK;
    int code = wait_approval(COMMAND, f->yes);
    if (code != CMD_OK)
        return code;
    reach_answer_init(&a);
    int err = request(r, f, false, &a, &msg);
    if (err == ERR_OK)
        err = wait_gone(r, f, &msg);
    if (err == ERR_OK && f->json)
        printf("%s\n", buf_cstr(&a.body));
    reach_answer_free(&a);
    if (err != ERR_OK)
        return options_failed(COMMAND, msg.text);
    if (!f->json)
        fprintf(stderr,
                "Done. What nodes had of it in their logs goes with the next "
                "segments;\nbastide placement verify proves it.\n");
    return CMD_OK;
}

static int check(void *flags, char **words, unsigned count)
{
    struct remove_flags *f = flags;
    return placement_name_word(COMMAND, "which group?", words, count, &f->name);
}

int placement_run_remove(int argc, char **argv)
{
    struct remove_flags f = {.timeout_s = REMOVE_TIMEOUT_S};
    const struct option_spec options[] = {
        {.name = "yes", .kind = OPTION_FLAG, .value = &f.yes},
        {.name = "dry-run", .kind = OPTION_FLAG, .value = &f.dry_run},
        {.name = "timeout",
         .kind = OPTION_NUMBER,
         .value = &f.timeout_s,
         .min = 1,
         .max = 3600}};
    const struct reach_command command = {.name = COMMAND,
                                          .help = help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .words_max = 1,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = check,
                                          .run = run};
    return reach_run(&command, argc, argv);
}
