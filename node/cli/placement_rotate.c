/* bastide placement rotate: a new data key for a group.
 *
 *     asked for --a version more in the record--> used by all --> told
 */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement.h"
#include "node/cli/placement_group.h"
#include "node/cli/placement_wait.h"
#include "node/json/json.h"

#define COMMAND "placement rotate"
#define ROTATE_TIMEOUT_S 60

static const char help[] =
    "Usage: bastide placement rotate NAME [options]\n"
    "\n"
    "Gives a placement group a new data key, and waits until it is used. The "
    "leader of\n"
    "the group's first shard makes it and wraps it for the regions that are "
    "inside now.\n"
    "What is written from then on is sealed with it. What was written before "
    "stays under\n"
    "the older keys, which the group keeps, until it is written anew. The same "
    "happens\n"
    "by itself when a region has left the group's fence.\n"
    "\n"
    "  --timeout SECONDS  how long to wait (default 60); the cluster goes on "
    "with it\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "Examples:\n"
    "  bastide placement rotate eu --dir demo\n";

struct rotate_flags {
    const char *name;
    unsigned timeout_s;
    bool json;
};

/* Asks for it; which version it will be. */
static int request(struct reach *r, const struct rotate_flags *f,
                   int64_t *version_out, struct err_msg *msg)
{
    struct buf body;
    struct json_writer w;
    struct reach_answer a;
    buf_init(&body, HTTPS_REQUEST_MAX);
    reach_answer_init(&a);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", f->name);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err = reach_any(r, "placement/rotate", buf_cstr(&body),
                        REACH_CHANGE_TIMEOUT_US, &a, msg);
    if (err == ERR_OK &&
        json_get_int64(&a.json, 0, "version", version_out) != ERR_OK)
        err = err_set(msg, ERR_PROTOCOL,
                      "the node does not say which version is made");
    buf_free(&body);
    reach_answer_free(&a);
    return err;
}

static int judge(void *user, const struct placement_group *g,
                 struct err_msg *seen)
{
    const int64_t *version = user;
    return g->sealing_key >= *version
               ? ERR_OK
               : err_set(seen, ERR_AGAIN, "version %lld is used, not %lld yet",
                         (long long)g->sealing_key, (long long)*version);
}

static int run(struct reach *r, void *flags)
{
    const struct rotate_flags *f = flags;
    struct err_msg msg;
    int64_t version;
    const struct placement_wait wait = {.reach = r,
                                        .name = f->name,
                                        .what = "the new data key",
                                        .timeout_s = f->timeout_s,
                                        .quiet = f->json,
                                        .judge = judge,
                                        .user = &version};
    int err = request(r, f, &version, &msg);
    if (err == ERR_OK)
        err = placement_wait(&wait, &msg);
    if (err != ERR_OK)
        return options_failed(COMMAND, msg.text);
    return placement_show(COMMAND, r, f->name, f->json);
}

static int check(void *flags, char **words, unsigned count)
{
    struct rotate_flags *f = flags;
    return placement_name_word(COMMAND, "which group?", words, count, &f->name);
}

int placement_run_rotate(int argc, char **argv)
{
    struct rotate_flags f = {.timeout_s = ROTATE_TIMEOUT_S};
    const struct option_spec options[] = {{.name = "timeout",
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
