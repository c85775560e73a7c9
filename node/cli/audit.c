/* bastide audit: who changed what, and why. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/reach.h"

#define AUDIT_DEFAULT 50
#define AUDIT_MAX 1000

static const char help[] =
    "Usage: bastide audit [--max N] [--dir DIR] [-o text|json]\n"
    "\n"
    "Shows what was changed in the cluster, newest first: consistency levels,\n"
    "priorities, switches of the write region (also those that the cluster "
    "made by\n"
    "itself, as who \"controller\"), forced recoveries; who, when, from what "
    "to what,\n"
    "and why.\n"
    "\n"
    "  --max N         at most so many records, 1 to 1000 (default "
    "50)\n" REACH_HELP "  -o text|json    how to show them\n"
    "\n"
    "Examples:\n"
    "  bastide audit --dir demo\n"
    "  bastide audit --max 1 -o json | jq -r '.records[0].what'\n";

/* A member of a record, "-" when missing. What was recorded must not steer a
 * terminal. */
static void put_cell(const struct json *j, json_ref record, const char *key,
                     int width)
{
    struct buf b;
    struct bytes text = bytes_str("-");
    buf_init(&b, HTTPS_ANSWER_MAX);
    (void)json_get_string(j, record, key, &b, &text);
    for (size_t i = 0; i < text.len; i++)
        putchar(text.data[i] < ' ' || text.data[i] == 0x7f ? ' '
                                                           : text.data[i]);
    for (size_t i = text.len; i < (size_t)width; i++)
        putchar(' ');
    buf_free(&b);
}

static void print_text(const struct json *j)
{
    json_ref records = json_get_str(j, 0, "records");
    if (records == JSON_NONE || json_count(j, records) == 0) {
        puts("Nothing has been changed since the cluster was made.");
        return;
    }
    for (json_ref r = json_first(j, records); r != JSON_NONE;
         r = json_next(j, records, r)) {
        put_cell(j, r, "at", 28);
        put_cell(j, r, "who", 12);
        putchar(' ');
        put_cell(j, r, "what", 0);
        fputs("\n    from ", stdout);
        put_cell(j, r, "before", 0);
        fputs("\n    to   ", stdout);
        put_cell(j, r, "after", 0);
        fputs("\n    why  ", stdout);
        put_cell(j, r, "reason", 0);
        putchar('\n');
    }
}

struct audit_flags {
    unsigned max;
    bool json;
};

static int show(struct reach *r, void *flags)
{
    const struct audit_flags *f = flags;
    struct reach_answer a;
    struct err_msg msg;
    char path[32];
    int code = CMD_OK;
    snprintf(path, sizeof(path), "audit?max=%u", f->max);
    reach_answer_init(&a);
    if (reach_any(r, path, NULL, REACH_CHANGE_TIMEOUT_US, &a, &msg) != ERR_OK)
        code = options_failed("audit", msg.text);
    else if (f->json)
        printf("%s\n", buf_cstr(&a.body));
    else
        print_text(&a.json);
    reach_answer_free(&a);
    return code;
}

int cmd_audit(int argc, char **argv)
{
    struct audit_flags f = {.max = AUDIT_DEFAULT};
    const struct option_spec options[] = {{.name = "max",
                                           .kind = OPTION_NUMBER,
                                           .value = &f.max,
                                           .min = 1,
                                           .max = AUDIT_MAX}};
    const struct reach_command command = {.name = "audit",
                                          .help = help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .json = &f.json,
                                          .flags = &f,
                                          .run = show};
    return reach_run(&command, argc, argv);
}
