/* bastide placement split: a group gets more shards.
 *
 *     preview --shown--> asked --yes--> ordered --watched--> shown
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

#define COMMAND "placement split"
/* Each look asks every node. */
#define SPLIT_POLL_US (500 * USEC_PER_MS)
#define SPLIT_TIMEOUT_S 3600
#define SPLIT_SHARDS_MAX 65536

static const char help[] =
    "Usage: bastide placement split NAME --shards N [--yes] [--dry-run]\n"
    "\n"
    "Gives a placement group more shards while programs use it: new ones are "
    "made, the\n"
    "group's containers are moved to them one after the other, and the old "
    "ones are\n"
    "deleted. N is a multiple of the shards that it has, so that each becomes "
    "equal\n"
    "parts. There is no way back, and none is needed: it goes on after any "
    "crash. Waits\n"
    "until it is done.\n"
    "\n"
    "  --shards N         how many it will have\n"
    "  --dry-run          only say what would happen\n"
    "  --yes              do not ask\n"
    "  --no-wait          order it, and do not wait\n"
    "  --timeout SECONDS  how long to wait (default 3600); it goes on without "
    "us\n" REACH_HELP "  -o text|json    how to say it\n"
    "\n"
    "Examples:\n"
    "  bastide placement split default --shards 8 --dir demo --dry-run\n"
    "  bastide placement split eu --shards 4 --yes\n";

struct split_flags {
    const char *name;
    unsigned shards, timeout_s;
    bool dry_run, yes, no_wait, json;
};

static int ask(struct reach *r, const struct split_flags *f, bool dry_run,
               struct reach_answer *a, struct err_msg *msg)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", f->name);
    json_write_member_int64(&w, "shards", f->shards);
    json_write_member_bool(&w, "dry_run", dry_run);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err = reach_any(r, "placement/split", buf_cstr(&b),
                        REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&b);
    return err;
}

static void show_preview(const struct split_flags *f, const struct json *j)
{
    int64_t from = 0, containers = 0;
    (void)json_get_int64(j, 0, "from", &from);
    (void)json_get_int64(j, 0, "containers", &containers);
    printf("Group %s has %lld shards and gets %u; its containers (%lld) are "
           "copied to them, one\nafter the other and online.\n",
           f->name, (long long)from, f->shards, (long long)containers);
}

static int judge(void *user, const struct placement_group *g,
                 struct err_msg *seen)
{
    const struct split_flags *f = user;
    char text[TOPOLOGY_TEXT_MAX + 1];
    /* A node that has not heard of it has the old number. */
    if (g->split.shards == 0 && g->shards >= f->shards)
        return ERR_OK;
    if (g->split.shards == 0)
        return err_set(seen, ERR_AGAIN, "not seen yet");
    placement_split_text(&g->split, text);
    return err_set(seen, ERR_AGAIN, "%s", text);
}

static int watch(struct reach *r, const struct split_flags *f,
                 struct err_msg *msg)
{
    struct split_flags flags = *f;
    const struct placement_wait wait = {.reach = r,
                                        .name = f->name,
                                        .what = "the split",
                                        .timeout_s = f->timeout_s,
                                        .poll_us = SPLIT_POLL_US,
                                        .quiet = f->json,
                                        .asks_all = true,
                                        .judge = judge,
                                        .user = &flags};
    return placement_wait(&wait, msg);
}

static int run(struct reach *r, void *flags)
{
    const struct split_flags *f = flags;
    struct reach_answer a;
    struct err_msg msg;
    int code = CMD_OK;
    reach_answer_init(&a);
    int err = ask(r, f, true, &a, &msg);
    if (err == ERR_OK && f->json && f->dry_run)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK && !f->json)
        show_preview(f, &a.json);
    if (err == ERR_OK && !f->dry_run) {
        code = wait_approval(COMMAND, f->yes);
        if (code == CMD_OK)
            err = ask(r, f, false, &a, &msg);
        if (code == CMD_OK && err == ERR_OK && !f->no_wait)
            err = watch(r, f, &msg);
    }
    reach_answer_free(&a);
    if (err != ERR_OK)
        return options_failed(COMMAND, msg.text);
    return code == CMD_OK && !f->dry_run
               ? placement_show(COMMAND, r, f->name, f->json)
               : code;
}

static int check(void *flags, char **words, unsigned count)
{
    struct split_flags *f = flags;
    int code =
        placement_name_word(COMMAND, "which group?", words, count, &f->name);
    if (code == CMD_OK && f->shards == 0)
        code = options_refuse(COMMAND, "expected --shards N");
    return code;
}

int placement_run_split(int argc, char **argv)
{
    struct split_flags f = {.timeout_s = SPLIT_TIMEOUT_S};
    const struct option_spec options[] = {
        {.name = "shards",
         .kind = OPTION_NUMBER,
         .value = &f.shards,
         .min = 1,
         .max = SPLIT_SHARDS_MAX},
        {.name = "dry-run", .kind = OPTION_FLAG, .value = &f.dry_run},
        {.name = "yes", .kind = OPTION_FLAG, .value = &f.yes},
        {.name = "no-wait", .kind = OPTION_FLAG, .value = &f.no_wait},
        {.name = "timeout",
         .kind = OPTION_NUMBER,
         .value = &f.timeout_s,
         .min = 1,
         .max = 7 * 86400}};
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
