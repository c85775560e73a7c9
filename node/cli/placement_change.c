#include "node/cli/placement_change.h"

#include <stdio.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement_wait.h"
#include "node/cli/wait.h"

static int request(struct reach *r, const struct placement_change *c,
                   bool dry_run, struct reach_answer *a, struct err_msg *msg)
{
    struct buf body;
    struct json_writer w;
    buf_init(&body, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", c->name);
    c->write(c->wanted, &w);
    json_write_member_bool(&w, "dry_run", dry_run);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err =
        reach_any(r, c->path, buf_cstr(&body), REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&body);
    return err;
}

static int preview(struct reach *r, const struct placement_change *c,
                   struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = request(r, c, true, &a, msg);
    if (err == ERR_OK && c->json && c->dry_run) {
        printf("%s\n", buf_cstr(&a.body));
    } else if (err == ERR_OK && !c->json) {
        printf("Plan for placement group %s:\n", c->name);
        c->print_plan(c->wanted, &a.json);
        fflush(stdout);
    }
    reach_answer_free(&a);
    return err;
}

static int change(struct reach *r, const struct placement_change *c,
                  struct err_msg *msg)
{
    struct reach_answer a;
    int64_t epoch = 0;
    const struct placement_wait wait = {.reach = r,
                                        .name = c->name,
                                        .what = c->what,
                                        .timeout_s = c->timeout_s,
                                        .quiet = c->json,
                                        .judge = c->judge,
                                        .user = &epoch};
    reach_answer_init(&a);
    int err = request(r, c, false, &a, msg);
    if (err == ERR_OK)
        (void)json_get_int64(&a.json, 0, "epoch", &epoch);
    reach_answer_free(&a);
    return err == ERR_OK ? placement_wait(&wait, msg) : err;
}

int placement_change_run(const char *command, struct reach *r,
                         const struct placement_change *c)
{
    struct err_msg msg;
    if (preview(r, c, &msg) != ERR_OK)
        return options_failed(command, msg.text);
    if (c->dry_run)
        return CMD_OK;
    int code = wait_approval(command, c->yes);
    if (code == CMD_OK && change(r, c, &msg) != ERR_OK)
        return options_failed(command, msg.text);
    return code;
}
