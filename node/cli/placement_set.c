/* bastide placement set: changes a group's decision. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/names.h"
#include "node/cli/options.h"
#include "node/cli/placement.h"
#include "node/cli/placement_group.h"
#include "node/cli/wait.h"
#include "node/json/json.h"

#define COMMAND "placement set"
#define SETTLE_TIMEOUT_S 30
#define FENCE_TIMEOUT_S 600
#define WHAT_MAX (CATALOG_NAME_MAX + 32)

static const char help[] =
    "Usage: bastide placement set NAME [--priority A,B] [--consistency LEVEL] "
    "[options]\n"
    "       bastide placement set NAME --regions A,B [--yes] [--dry-run]\n"
    "       bastide placement set NAME [--transit deny|allow]\n"
    "                             [--leaders spread|gather] [--yes] "
    "[--dry-run]\n"
    "       bastide placement set NAME --witness REGION | --no-witness "
    "[--yes]\n"
    "                             [--dry-run]\n"
    "\n"
    "Changes the priority list of a placement group, its consistency level, or "
    "both,\n"
    "and waits until that holds. The writes move to the new first region at "
    "once, by\n"
    "a planned switch that loses nothing. Each of the two is a change of its "
    "own: when\n"
    "the second is refused, the first is made.\n"
    "\n"
    "--regions moves the fence, while the group is used: it says what would "
    "move, asks,\n"
    "and waits. Regions that come get the keys and a copy; those that go are "
    "emptied,\n"
    "and lose their keys.\n"
    "\n"
    "--transit allow loosens the fence for what is on its way: nodes outside "
    "pass\n"
    "requests and answers on, and keep nothing. It says so, and asks.\n"
    "\n"
    "--witness gives a group of two regions the odd vote, so that it goes on "
    "without\n"
    "either, or another one in place of the one it has; --no-witness takes it "
    "away.\n"
    "\n"
    "  --priority A,B     every region of the group, first choice for writes\n"
    "                     first\n" PLACEMENT_LEVEL_HELP PLACEMENT_SETTINGS_HELP
    "  --regions A,B      where its data may exist, by priority\n"
    "  --witness REGION   a third region whose first node votes and holds no\n"
    "                     byte of a document\n"
    "  --no-witness       that node votes no more, and deletes what it has\n"
    "  --yes              do not ask\n"
    "  --dry-run          only say what would move\n"
    "  --timeout SECONDS  how long to wait until it holds (default 30; with\n"
    "                     --regions and the two of the witness "
    "600)\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "Examples:\n"
    "  bastide placement set eu --priority france,germany --dir demo\n"
    "  bastide placement set eu --consistency strong\n"
    "  bastide placement set eu --regions germany,spain --dry-run\n"
    "  bastide placement set eu --transit allow\n"
    "  bastide placement set eu --witness us\n";

struct set_flags {
    const char *name;
    struct names priority, regions;
    const char *witness; /* a region; NULL: not given */
    bool no_witness;
    bool yes, dry_run;
    struct placement_level level;
    struct placement_settings settings;
    unsigned timeout_s;
    bool json;
    int64_t epoch; /* of the last change made */
};

/* ---- the changes -----------------------------------------------------------
 */

static void write_priority(const struct set_flags *f, struct json_writer *w)
{
    json_write_key(w, "order");
    names_write(&f->priority, w);
    json_write_member_bool(w, "move", true);
}

static void write_level(const struct set_flags *f, struct json_writer *w)
{
    placement_level_write(&f->level, w);
}

static int request(struct reach *r, struct set_flags *f, const char *path,
                   void (*write)(const struct set_flags *f,
                                 struct json_writer *w),
                   struct err_msg *msg)
{
    struct buf body;
    struct json_writer w;
    struct reach_answer a;
    buf_init(&body, HTTPS_REQUEST_MAX);
    reach_answer_init(&a);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", f->name);
    write(f, &w);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err =
        reach_any(r, path, buf_cstr(&body), REACH_CHANGE_TIMEOUT_US, &a, msg);
    if (err == ERR_OK)
        (void)json_get_int64(&a.json, 0, "epoch", &f->epoch);
    buf_free(&body);
    reach_answer_free(&a);
    return err;
}

/* ---- waiting ---------------------------------------------------------------
 */

/* Later decisions may have overtaken it: it is theirs that is shown then. */
static bool holds(const struct topology *t, void *user)
{
    const struct set_flags *f = user;
    return t->settled && t->epoch >= f->epoch;
}

static int decide(struct reach *r, struct set_flags *f)
{
    struct err_msg msg;
    struct topology t;
    char what[WHAT_MAX];
    struct wait wait = {.reach = r,
                        .group = f->name,
                        .what = what,
                        .timeout_us = (usec_t)f->timeout_s * USEC_PER_SEC,
                        .quiet = f->json,
                        .done = holds,
                        .user = f};
    int err = ERR_OK;
    snprintf(what, sizeof(what), "the change of group %s", f->name);
    if (f->priority.count > 0)
        err = request(r, f, "regions/priority", write_priority, &msg);
    if (err == ERR_OK && f->level.text != NULL)
        err = request(r, f, "consistency", write_level, &msg);
    if (err == ERR_OK)
        err = wait_for_topology(&wait, &t, &msg);
    if (err != ERR_OK)
        return options_failed(COMMAND, msg.text);
    return placement_show(COMMAND, r, f->name, f->json);
}

/* ---- flags -----------------------------------------------------------------
 */

static bool decides(const struct set_flags *f)
{
    return f->priority.count > 0 || f->level.text != NULL;
}

static bool sets(const struct set_flags *f)
{
    return f->settings.transit != NULL || f->settings.leaders != NULL;
}

static bool witnesses(const struct set_flags *f)
{
    return f->witness != NULL || f->no_witness;
}

/* Which of the changes go together. */
static int check_changes(const struct set_flags *f)
{
    bool decision = decides(f), settings = sets(f);
    if (witnesses(f) && (decision || settings || f->regions.count > 0 ||
                         (f->witness != NULL && f->no_witness)))
        return options_refuse(COMMAND, "--witness and --no-witness are each a "
                                       "change of its own");
    if (witnesses(f))
        return CMD_OK;
    if (!decision && !settings && f->regions.count == 0)
        return options_refuse(COMMAND,
                              "expected --priority, --consistency or both; or "
                              "--transit, --leaders or both; or --regions; or "
                              "--witness or --no-witness");
    if ((decision || settings) && f->regions.count > 0)
        return options_refuse(COMMAND, "--regions is a change of its own: its "
                                       "order is the priority");
    if (decision && settings)
        return options_refuse(COMMAND, "--transit and --leaders are a change "
                                       "of their own");
    return CMD_OK;
}

static int check(void *flags, char **words, unsigned count)
{
    struct set_flags *f = flags;
    int code =
        placement_name_word(COMMAND, "which group?", words, count, &f->name);
    if (code == CMD_OK)
        code = check_changes(f);
    if (f->timeout_s == 0)
        f->timeout_s = f->regions.count > 0 || witnesses(f) ? FENCE_TIMEOUT_S
                                                            : SETTLE_TIMEOUT_S;
    if (code == CMD_OK)
        code = placement_level_check(COMMAND, &f->level);
    if (code == CMD_OK)
        code = placement_settings_check(COMMAND, &f->settings);
    return code;
}

static int set_settings(struct reach *r, struct set_flags *f)
{
    f->settings.name = f->name;
    f->settings.yes = f->yes;
    f->settings.dry_run = f->dry_run;
    f->settings.json = f->json;
    int code = placement_set_settings(COMMAND, r, &f->settings);
    return code == CMD_OK && !f->dry_run
               ? placement_show(COMMAND, r, f->name, f->json)
               : code;
}

static int run(struct reach *r, void *flags)
{
    struct set_flags *f = flags;
    const struct placement_fence fence = {.name = f->name,
                                          .regions = &f->regions,
                                          .yes = f->yes,
                                          .dry_run = f->dry_run,
                                          .json = f->json,
                                          .timeout_s = f->timeout_s};
    const struct placement_witness witness = {.name = f->name,
                                              .region = f->witness,
                                              .yes = f->yes,
                                              .dry_run = f->dry_run,
                                              .json = f->json,
                                              .timeout_s = f->timeout_s};
    if (f->regions.count > 0)
        return placement_set_fence(COMMAND, r, &fence);
    if (witnesses(f))
        return placement_set_witness(COMMAND, r, &witness);
    return sets(f) ? set_settings(r, f) : decide(r, f);
}

int placement_run_set(int argc, char **argv)
{
    struct set_flags f = {.timeout_s = 0};
    const struct option_spec options[] = {
        PLACEMENT_LEVEL_OPTIONS(&f.level),
        PLACEMENT_SETTINGS_OPTIONS(&f.settings),
        {.name = "priority",
         .kind = OPTION_OTHER,
         .value = &f.priority,
         .read = names_option,
         .expected = NAMES_EXPECTED},
        {.name = "regions",
         .kind = OPTION_OTHER,
         .value = &f.regions,
         .read = names_option,
         .expected = NAMES_EXPECTED},
        {.name = "witness", .kind = OPTION_TEXT, .value = &f.witness},
        {.name = "no-witness", .kind = OPTION_FLAG, .value = &f.no_witness},
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
