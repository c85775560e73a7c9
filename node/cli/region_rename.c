/* bastide region rename-display: what clients see a region called. */
#include <stdio.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/reach.h"
#include "node/cli/region.h"
#include "node/json/json.h"

#define COMMAND "region rename-display"

static const char help[] =
    "Usage: bastide region rename-display REGION NAME [options]\n"
    "\n"
    "Sets the name under which the account document lists a region, such as "
    "\"Germany\n"
    "West Central\" for germany. The region's own name stays in certificates, "
    "files and\n"
    "these commands; given as NAME it takes the other one back.\n"
    "\n"
    "Clients that name preferred regions have to name this one: SDKs compare "
    "without\n"
    "case and spaces, and pass over a name that the account does not list. "
    "They read\n"
    "the account every few minutes, and when they start.\n"
    "\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "Examples:\n"
    "  bastide region rename-display germany \"Germany West Central\"\n"
    "  bastide region rename-display germany germany\n";

struct rename_flags {
    const char *region, *name;
    bool json;
};

static int run(struct reach *r, void *flags)
{
    const struct rename_flags *f = flags;
    struct buf body;
    struct json_writer w;
    struct reach_answer a;
    struct err_msg msg;
    buf_init(&body, HTTPS_REQUEST_MAX);
    reach_answer_init(&a);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "region", f->region);
    json_write_member_str(&w, "name", f->name);
    json_write_object_end(&w);
    int err = json_writer_end(&w);
    err = err != ERR_OK ? err_set(&msg, err, "NAME is too long, or not UTF-8")
                        : reach_any(r, "regions/display", buf_cstr(&body),
                                    REACH_CHANGE_TIMEOUT_US, &a, &msg);
    if (err == ERR_OK && f->json)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK)
        printf("Clients see region %s as %s.\n", f->region, f->name);
    buf_free(&body);
    reach_answer_free(&a);
    return err == ERR_OK ? CMD_OK : options_failed(COMMAND, msg.text);
}

static int check(void *flags, char **words, unsigned count)
{
    struct rename_flags *f = flags;
    if (count < 2)
        return options_refuse(COMMAND, "which region, and what is it called?");
    f->region = words[0];
    f->name = words[1];
    return CMD_OK;
}

int region_rename(int argc, char **argv)
{
    struct rename_flags f = {.json = false};
    const struct reach_command command = {.name = COMMAND,
                                          .help = help,
                                          .words_max = 2,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = check,
                                          .run = run};
    return reach_run(&command, argc, argv);
}
