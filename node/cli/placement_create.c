/* bastide placement create: makes a group, and waits until it can be used.
 *
 *     requested --made--> keys made, every shard led --> told
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/cmd.h"
#include "node/cli/names.h"
#include "node/cli/options.h"
#include "node/cli/placement.h"
#include "node/cli/placement_group.h"
#include "node/cli/placement_wait.h"
#include "node/json/json.h"

#define COMMAND "placement create"
#define READY_TIMEOUT_S 60
#define NOT_NOW_US (10 * USEC_PER_SEC)
#define NOT_NOW_POLL_US (200 * USEC_PER_MS)
#define WARNING_MAX 512
#define SHARDS_MAX 64
#define COPIES_MAX 32

static const char help[] =
    "Usage: bastide placement create NAME --regions A[,B...] [options]\n"
    "\n"
    "Makes a placement group whose data exists in these regions and nowhere "
    "else, and\n"
    "waits until its keys are made and every shard has a leader. The writes "
    "go to the\n"
    "first region; when that is lost, to the next that is up, as long as a "
    "majority\n"
    "of the group's nodes is there. Never to a region that is not named here.\n"
    "\n"
    "  --regions A,B      where its data may exist\n"
    "  --priority A,B     the same regions in the order of choice for writes\n"
    "                     (default as in --regions)\n" PLACEMENT_LEVEL_HELP
    "                     (default: the level that group default has now)\n"
    "  --shards N         1 to 64 (default as group default has)\n"
    "  --copies-per-region N  on the first N nodes of each region (default "
    "all)\n"
    "  --witness REGION   a third region whose first node votes and holds no "
    "data, so\n"
    "                     that a group of two goes on without either of "
    "them\n" PLACEMENT_SETTINGS_HELP
    "                     (default: deny; spread)\n"
    "  --timeout SECONDS  how long to wait until it can be used (default "
    "60)\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "Examples:\n"
    "  bastide placement create eu --regions germany,france,sweden --dir demo\n"
    "  bastide placement create de --regions berlin,munich --witness vienna\n"
    "  bastide placement create us --regions us-east,us-west --shards 4 \\\n"
    "      --consistency bounded-staleness --max-staleness-entries 1000 \\\n"
    "      --max-staleness-seconds 5\n";

struct create_flags {
    const char *name;
    const char *witness; /* a region; NULL: none */
    struct names regions, priority;
    struct placement_level level;
    struct placement_settings settings;
    unsigned shards, copies, timeout_s;
    bool json;
};

static void write_request(const struct create_flags *f, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_str(&w, "name", f->name);
    json_write_key(&w, "regions");
    names_write(&f->regions, &w);
    if (f->priority.count > 0) {
        json_write_key(&w, "priority");
        names_write(&f->priority, &w);
    }
    placement_level_write(&f->level, &w);
    if (f->shards > 0)
        json_write_member_int64(&w, "shards", f->shards);
    if (f->copies > 0)
        json_write_member_int64(&w, "copies_per_region", f->copies);
    if (f->witness != NULL)
        json_write_member_str(&w, "witness", f->witness);
    placement_settings_write(&f->settings, &w);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
}

/* What the cluster has to say about the group: nobody should miss it. */
static void print_warnings(const struct json *j)
{
    json_ref list = json_get_str(j, 0, "warnings");
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY)
        return;
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        char storage[WARNING_MAX * 6];
        struct buf scratch = buf_over(storage, sizeof(storage));
        struct bytes text;
        if (json_type(j, v) == JSON_STRING &&
            json_string(j, v, &scratch, &text) == ERR_OK)
            fprintf(stderr, "Warning: %.*s\n", (int)text.len,
                    (const char *)text.data);
    }
}

static int request_once(struct reach *r, const char *body, struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = reach_any(r, "placement", body, REACH_CHANGE_TIMEOUT_US, &a, msg);
    if (err == ERR_OK)
        print_warnings(&a.json);
    reach_answer_free(&a);
    return err;
}

/* A cluster that has only just started, or is being upgraded, says "not now"
 * for a moment. An attempt of which nobody told the outcome may have made it.
 */
static int request(struct reach *r, const struct create_flags *f,
                   struct err_msg *msg)
{
    struct buf body;
    usec_t began_us = clock_mono_us();
    buf_init(&body, HTTPS_REQUEST_MAX);
    write_request(f, &body);
    int err = request_once(r, buf_cstr(&body), msg);
    bool again = err == ERR_UNAVAILABLE;
    while (err == ERR_UNAVAILABLE && clock_mono_us() - began_us < NOT_NOW_US) {
        usleep(NOT_NOW_POLL_US);
        err = request_once(r, buf_cstr(&body), msg);
    }
    buf_free(&body);
    return again && err == ERR_EXISTS ? ERR_OK : err;
}

/* ---- waiting ---------------------------------------------------------------
 */

/* It can be used; else `seen` says what is missing. A command that reaches none
 * of the group's nodes cannot ask for the leaders, and goes by what the others
 * say of the group. */
static int judge(void *user, const struct placement_group *g,
                 struct err_msg *seen)
{
    struct reach *r = user;
    struct placement_shards shards = {.list = NULL};
    placement_shards_ask(r, g, &shards);
    unsigned led = placement_shards_ready(&shards);
    bool ready = g->key_count == g->region_count && g->unavailable[0] == '\0' &&
                 (shards.answered == 0 || led == g->shards);
    mem_free(shards.list);
    if (ready)
        return ERR_OK;
    return err_set(seen, ERR_AGAIN,
                   "keys made for %u of %u regions, %u of %lld shards led%s%s",
                   g->key_count, g->region_count, led, (long long)g->shards,
                   g->unavailable[0] != '\0' ? ": " : "", g->unavailable);
}

static int wait_ready(struct reach *r, const struct create_flags *f,
                      struct err_msg *msg)
{
    const struct placement_wait wait = {.reach = r,
                                        .name = f->name,
                                        .what = "the new group",
                                        .timeout_s = f->timeout_s,
                                        .quiet = f->json,
                                        .judge = judge,
                                        .user = r};
    return placement_wait(&wait, msg);
}

static int run(struct reach *r, void *flags)
{
    const struct create_flags *f = flags;
    struct err_msg msg;
    int err = request(r, f, &msg);
    if (err == ERR_OK)
        err = wait_ready(r, f, &msg);
    if (err != ERR_OK)
        return options_failed(COMMAND, msg.text);
    return placement_show(COMMAND, r, f->name, f->json);
}

/* ---- flags -----------------------------------------------------------------
 */

static int check(void *flags, char **words, unsigned count)
{
    struct create_flags *f = flags;
    int code =
        placement_name_word(COMMAND, "which name?", words, count, &f->name);
    if (code == CMD_OK && f->regions.count == 0)
        code = options_refuse(COMMAND, "in which regions? --regions A,B");
    if (code == CMD_OK)
        code = placement_level_check(COMMAND, &f->level);
    if (code == CMD_OK)
        code = placement_settings_check(COMMAND, &f->settings);
    return code;
}

int placement_run_create(int argc, char **argv)
{
    struct create_flags f = {.timeout_s = READY_TIMEOUT_S};
    const struct option_spec options[] = {
        PLACEMENT_LEVEL_OPTIONS(&f.level),
        PLACEMENT_SETTINGS_OPTIONS(&f.settings),
        {.name = "regions",
         .kind = OPTION_OTHER,
         .value = &f.regions,
         .read = names_option,
         .expected = NAMES_EXPECTED},
        {.name = "priority",
         .kind = OPTION_OTHER,
         .value = &f.priority,
         .read = names_option,
         .expected = NAMES_EXPECTED},
        {.name = "shards",
         .kind = OPTION_NUMBER,
         .value = &f.shards,
         .min = 1,
         .max = SHARDS_MAX},
        {.name = "copies-per-region",
         .kind = OPTION_NUMBER,
         .value = &f.copies,
         .min = 1,
         .max = COPIES_MAX},
        {.name = "witness", .kind = OPTION_TEXT, .value = &f.witness},
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
