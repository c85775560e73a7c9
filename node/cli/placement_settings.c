/* bastide placement set NAME --transit, --leaders. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement.h"
#include "node/cli/placement_group.h"
#include "node/cli/wait.h"

static bool is_either(const char *text, const char *a, const char *b)
{
    return text == NULL || strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

int placement_settings_check(const char *command,
                             const struct placement_settings *s)
{
    if (!is_either(s->transit, GROUP_TRANSIT_DENY, GROUP_TRANSIT_ALLOW))
        return options_refuse(command, "--transit is deny or allow");
    if (!is_either(s->leaders, GROUP_LEADERS_SPREAD, GROUP_LEADERS_GATHER))
        return options_refuse(command, "--leaders is spread or gather");
    return CMD_OK;
}

void placement_settings_write(const struct placement_settings *s,
                              struct json_writer *w)
{
    if (s->transit != NULL)
        json_write_member_str(w, "transit", s->transit);
    if (s->leaders != NULL)
        json_write_member_str(w, "leaders", s->leaders);
}

static int request(struct reach *r, const struct placement_settings *s,
                   bool dry_run, struct reach_answer *a, struct err_msg *msg)
{
    struct buf body;
    struct json_writer w;
    buf_init(&body, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", s->name);
    placement_settings_write(s, &w);
    json_write_member_bool(&w, "dry_run", dry_run);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err = reach_any(r, "placement/settings", buf_cstr(&body),
                        REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&body);
    return err;
}

static bool allows(const struct placement_settings *s)
{
    return s->transit != NULL && strcmp(s->transit, GROUP_TRANSIT_ALLOW) == 0;
}

static void print_plan(const struct placement_settings *s, const struct json *j)
{
    printf("Plan for placement group %s:\n", s->name);
    if (allows(s))
        names_print(j, "outside",
                    "requests and answers will pass through the memory of "
                    "nodes in:");
    else if (s->transit != NULL)
        names_print(j, "outside",
                    "requests for its documents are refused by nodes in:");
    if (s->leaders != NULL)
        printf("  its leaders are %s\n",
               strcmp(s->leaders, GROUP_LEADERS_GATHER) == 0
                   ? "gathered on one node of the write region"
                   : "spread over the nodes of the write region");
    fflush(stdout);
}

int placement_set_settings(const char *command, struct reach *r,
                           const struct placement_settings *s)
{
    struct reach_answer a;
    struct err_msg msg;
    int code = CMD_OK;
    reach_answer_init(&a);
    int err = request(r, s, true, &a, &msg);
    if (err == ERR_OK && s->json && s->dry_run)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK && !s->json && (s->transit != NULL || s->dry_run))
        print_plan(s, &a.json);
    reach_answer_free(&a);
    if (err == ERR_OK && !s->dry_run && allows(s))
        code = wait_approval(command, s->yes);
    if (err != ERR_OK || s->dry_run || code != CMD_OK)
        return err != ERR_OK ? options_failed(command, msg.text) : code;
    reach_answer_init(&a);
    err = request(r, s, false, &a, &msg);
    reach_answer_free(&a);
    return err == ERR_OK ? CMD_OK : options_failed(command, msg.text);
}
