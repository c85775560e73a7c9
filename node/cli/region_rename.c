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

static int run(struct reach *r, char **words, bool json)
{
    struct buf body;
    struct json_writer w;
    struct reach_answer a;
    struct err_msg msg;
    buf_init(&body, HTTPS_REQUEST_MAX);
    reach_answer_init(&a);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "region", words[0]);
    json_write_member_str(&w, "name", words[1]);
    json_write_object_end(&w);
    int err = json_writer_end(&w);
    err = err != ERR_OK ? err_set(&msg, err, "NAME is too long, or not UTF-8")
                        : reach_any(r, "regions/display", buf_cstr(&body),
                                    REACH_CHANGE_TIMEOUT_US, &a, &msg);
    if (err == ERR_OK && json)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK)
        printf("Clients see region %s as %s.\n", words[0], words[1]);
    buf_free(&body);
    reach_answer_free(&a);
    return err == ERR_OK ? CMD_OK : options_failed(COMMAND, msg.text);
}

int region_rename(int argc, char **argv)
{
    struct reach_flags reach = {.dir = NULL};
    bool json = false, want_help = false;
    const struct option_spec specs[] = {
        REACH_OPTIONS(&reach),
        {.name = "output", .kind = OPTION_OUTPUT, .value = &json},
        {.name = "help", .kind = OPTION_FLAG, .value = &want_help}};
    struct reach r = {.https = NULL};
    struct err_msg msg;
    char **words;
    unsigned count;
    int code = options_parse(COMMAND, argc, argv, specs, ARRAY_LEN(specs), 2,
                             &words, &count);
    if (code == CMD_OK && want_help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    if (code == CMD_OK && count < 2)
        code = options_refuse(COMMAND, "which region, and what is it called?");
    if (code == CMD_OK)
        code = reach_check_flags(COMMAND, &reach);
    if (code != CMD_OK)
        return code;
    if (reach_open(&reach, &r, &msg) != ERR_OK)
        return options_failed(COMMAND, msg.text);
    code = run(&r, words, json);
    reach_close(&r);
    return code;
}
