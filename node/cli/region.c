/* bastide region: what the regions are, in which order, and which one takes
 * writes. */
#include "node/cli/region.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/names.h"
#include "node/cli/options.h"
#include "node/cli/placement_group.h"
#include "node/cli/topology.h"
#include "node/cli/wait.h"

#define MOVE_TIMEOUT_S 30

static const char help[] =
    "Usage: bastide region list\n"
    "       bastide region show REGION\n"
    "       bastide region switch REGION [--force] [--dry-run] [--yes]\n"
    "       bastide region priority A,B,C [--failback automatic|manual] "
    "[--no-move]\n"
    "       bastide region add|remove REGION [--dry-run] [--yes]\n"
    "       bastide region rename-display REGION NAME\n"
    "       bastide region recover --survivors A[,B] --force [--yes]\n"
    "\n"
    "All regions serve reads; one takes the writes. When it is lost, the "
    "cluster\n"
    "moves the writes to the next one on the priority list by itself. These\n"
    "commands show that list and change it, move the writes on purpose, and "
    "rescue\n"
    "what is left when most regions are gone.\n"
    "\n"
    "  list        every region: state, what it serves, how far it is behind\n"
    "  show        one region and its nodes\n"
    "  switch      move the writes to a region\n"
    "  priority    reorder the list; choose how the writes come back\n"
    "  add         make a region part of the running cluster\n"
    "  remove      take one out of it\n"
    "  rename-display  what clients see it called\n"
    "  recover     make the survivors a cluster of their own\n"
    "\n"
    "bastide region switch --help explains one; so does every other. All "
    "take\n"
    "  --group NAME    the regions of a placement group, and its writes; "
    "without\n"
    "                  it those of group default (recover is about "
    "all)\n" REACH_HELP "  -o text|json    how to show it\n"
    "\n"
    "Examples:\n"
    "  bastide region list --dir demo\n"
    "  bastide region switch westeurope --dir demo\n"
    "  bastide region priority westeurope,eastus,southeastasia --failback "
    "manual\n";

/* ---- list and show ---------------------------------------------------------
 */

static int show(const char *command, struct reach *r, const char *group,
                const char *name, bool json)
{
    struct reach_answer a;
    struct topology t;
    struct err_msg msg;
    const struct topology_region *region = NULL;
    reach_answer_init(&a);
    int err = topology_ask(r, group, &a, &t, &msg);
    if (err == ERR_OK && name != NULL) {
        region = topology_find(&t, name);
        if (region == NULL)
            err = err_set(&msg, ERR_NOT_FOUND,
                          "there is no region \"%s\"; bastide region list "
                          "names them",
                          name);
    }
    if (err == ERR_OK && json)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK && region != NULL)
        topology_print_region(stdout, &t, region);
    else if (err == ERR_OK)
        topology_print(stdout, &t, isatty(STDOUT_FILENO) == 1);
    reach_answer_free(&a);
    return err == ERR_OK ? CMD_OK : options_failed(command, msg.text);
}

struct show_flags {
    const char *command, *group;
    const char *region; /* NULL: all */
    bool json;
};

static int run_show(struct reach *r, void *flags)
{
    const struct show_flags *f = flags;
    return show(f->command, r, f->group, f->region, f->json);
}

static int check_show(void *flags, char **words, unsigned count)
{
    struct show_flags *f = flags;
    if (count == 0)
        return options_refuse(f->command, "which region?");
    f->region = words[0];
    return CMD_OK;
}

static int list_or_show(int argc, char **argv, bool one)
{
    struct show_flags f = {.command = one ? "region show" : "region list"};
    const struct option_spec options[] = {PLACEMENT_GROUP_OPTION(&f.group)};
    const struct reach_command command = {.name = f.command,
                                          .help = help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .words_max = one ? 1 : 0,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = one ? check_show : NULL,
                                          .run = run_show};
    return reach_run(&command, argc, argv);
}

static int list(int argc, char **argv)
{
    return list_or_show(argc, argv, false);
}

static int show_one(int argc, char **argv)
{
    return list_or_show(argc, argv, true);
}

/* ---- priority --------------------------------------------------------------
 */

static const char priority_help[] =
    "Usage: bastide region priority A,B,C [--failback automatic|manual] "
    "[--no-move]\n"
    "\n"
    "Reorders the list of regions, first choice for writes first. When the "
    "write\n"
    "region is lost, the writes go to the first region of the list that is "
    "up.\n"
    "The writes move to the new first region at once, by a planned switch "
    "that\n"
    "loses nothing, unless --no-move is given.\n"
    "\n"
    "  --failback automatic   a better region that is back and has caught up "
    "gets\n"
    "                         the writes again, by a planned switch\n"
    "  --failback manual      the writes stay where they are until somebody "
    "moves\n"
    "                         them\n"
    "  --no-move              only reorder: the writes stay where they are "
    "until\n"
    "                         that region is lost or somebody moves them\n"
    "  --group NAME           the regions of a placement group\n"
    "  --timeout SECONDS      how long to wait until it holds (default "
    "30)\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "Example:\n"
    "  bastide region priority westeurope,eastus,southeastasia --dir demo\n";

struct priority_wish {
    struct names order;
    const char *group;    /* NULL: default */
    const char *failback; /* NULL: as it is */
    unsigned timeout_s;
    bool no_move, json;
    int64_t epoch;
};

static bool order_matches(const struct topology *t, const struct names *o)
{
    if (t->region_count != o->count)
        return false;
    for (unsigned i = 0; i < o->count; i++)
        if (!names_same(o, i, t->regions[i].name))
            return false;
    return true;
}

/* The writes are at the first region that could take them. */
static bool writes_at_best(const struct topology *t)
{
    for (unsigned i = 0; i < t->region_count; i++)
        if (strcmp(t->regions[i].name, t->write_region) == 0)
            return true;
        else if (strcmp(t->regions[i].state, "up") == 0)
            return false;
    return false;
}

static bool priority_holds(const struct topology *t, void *user)
{
    const struct priority_wish *w = user;
    bool failback_ok =
        w->failback == NULL ||
        t->failback_automatic == (strcmp(w->failback, "automatic") == 0);
    return order_matches(t, &w->order) && failback_ok && t->settled &&
           t->epoch >= w->epoch && (w->no_move || writes_at_best(t));
}

static void write_priority(const struct priority_wish *w, struct buf *out)
{
    struct json_writer j;
    json_writer_init(&j, out);
    json_write_object_begin(&j);
    json_write_key(&j, "order");
    names_write(&w->order, &j);
    if (w->group != NULL)
        json_write_member_str(&j, "group", w->group);
    if (w->failback != NULL)
        json_write_member_str(&j, "failback", w->failback);
    json_write_member_bool(&j, "move", !w->no_move);
    json_write_object_end(&j);
    CHECK(json_writer_end(&j) == ERR_OK);
}

static int set_priority(struct reach *r, void *flags)
{
    struct priority_wish *wish = flags;
    struct reach_answer a;
    struct topology t;
    struct err_msg msg;
    struct buf request;
    struct wait wait = {.reach = r,
                        .group = wish->group,
                        .what = "the new order",
                        .timeout_us = (usec_t)wish->timeout_s * USEC_PER_SEC,
                        .quiet = wish->json,
                        .done = priority_holds,
                        .user = wish};
    buf_init(&request, HTTPS_REQUEST_MAX);
    reach_answer_init(&a);
    write_priority(wish, &request);
    int err = reach_any(r, "regions/priority", buf_cstr(&request),
                        REACH_CHANGE_TIMEOUT_US, &a, &msg);
    if (err == ERR_OK)
        (void)json_get_int64(&a.json, 0, "epoch", &wish->epoch);
    buf_free(&request);
    reach_answer_free(&a);
    if (err == ERR_OK)
        err = wait_for_topology(&wait, &t, &msg);
    if (err != ERR_OK)
        return options_failed("region priority", msg.text);
    if (wish->json)
        return show("region priority", r, wish->group, NULL, true);
    topology_print(stdout, &t, isatty(STDOUT_FILENO) == 1);
    return CMD_OK;
}

static bool read_failback(const char *text, void *value)
{
    *(const char **)value = text;
    return strcmp(text, "automatic") == 0 || strcmp(text, "manual") == 0;
}

static int check_priority(void *flags, char **words, unsigned count)
{
    struct priority_wish *wish = flags;
    if (count == 0)
        return options_refuse("region priority", "in which order?");
    if (!names_read(words[0], &wish->order))
        return options_refuse("region priority",
                              "\"%s\": expected every region once, such as "
                              "eastus,westeurope",
                              words[0]);
    return CMD_OK;
}

static int priority(int argc, char **argv)
{
    struct priority_wish wish = {.timeout_s = MOVE_TIMEOUT_S};
    const struct option_spec options[] = {
        PLACEMENT_GROUP_OPTION(&wish.group),
        {.name = "failback",
         .kind = OPTION_OTHER,
         .value = &wish.failback,
         .read = read_failback,
         .expected = "automatic or manual"},
        {.name = "no-move", .kind = OPTION_FLAG, .value = &wish.no_move},
        {.name = "timeout",
         .kind = OPTION_NUMBER,
         .value = &wish.timeout_s,
         .min = 1,
         .max = 3600}};
    const struct reach_command command = {.name = "region priority",
                                          .help = priority_help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .words_max = 1,
                                          .json = &wish.json,
                                          .flags = &wish,
                                          .check = check_priority,
                                          .run = set_priority};
    return reach_run(&command, argc, argv);
}

/* ---- the command -----------------------------------------------------------
 */

#define PARTS_TEXT                                                             \
    "list, show, switch, priority, add, remove, rename-display or recover"

int cmd_region(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } parts[] = {{"list", list},
                 {"show", show_one},
                 {"switch", region_switch},
                 {"priority", priority},
                 {"add", region_add},
                 {"remove", region_remove},
                 {"rename-display", region_rename},
                 {"recover", region_recover}};
    if (argc < 2)
        return options_refuse("region", "expected " PARTS_TEXT);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(help, stdout);
        return CMD_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].run(argc - 1, argv + 1);
    return options_refuse("region", "\"%s\": expected " PARTS_TEXT, argv[1]);
}
