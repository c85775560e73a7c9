/* bastide placement set NAME --regions: another fence around a group.
 *
 *     preview --confirmed--> asked for --> settled, nobody leaving --> told
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

/* ---- what would happen ------------------------------------------------------
 */

static int request(struct reach *r, const struct placement_fence *f,
                   bool dry_run, struct reach_answer *a, struct err_msg *msg)
{
    struct buf body;
    struct json_writer w;
    buf_init(&body, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", f->name);
    json_write_key(&w, "regions");
    names_write(f->regions, &w);
    json_write_member_bool(&w, "dry_run", dry_run);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err = reach_any(r, "placement/regions", buf_cstr(&body),
                        REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&body);
    return err;
}

static void print_plan(const struct placement_fence *f, const struct json *j)
{
    char to[CONFIG_NAME_MAX + 1] = "?";
    printf("Plan for placement group %s:\n", f->name);
    names_print(j, "comes", "regions that may hold its data from now on:");
    names_print(j, "nodes_come", "nodes that get its keys and a copy:");
    names_print(j, "goes",
                "regions that may not hold it any more, once emptied:");
    names_print(j, "nodes_go",
                "nodes that delete their copy and lose the keys:");
    topology_get_text(j, 0, "write_region", to, sizeof(to));
    printf("  its writes go to %s\n", to);
    fflush(stdout);
}

static int preview(struct reach *r, const struct placement_fence *f,
                   struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = request(r, f, true, &a, msg);
    if (err == ERR_OK && f->json && f->dry_run)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK && !f->json)
        print_plan(f, &a.json);
    reach_answer_free(&a);
    return err;
}

/* ---- until it is so ---------------------------------------------------------
 */

static int judge(void *user, const struct placement_group *g,
                 struct err_msg *seen)
{
    const int64_t *epoch = user;
    if (g->settled && g->epoch >= *epoch && g->leaving_count == 0 &&
        !g->new_key_due)
        return ERR_OK;
    return err_set(seen, ERR_AGAIN, "%s, %u regions still to be emptied%s",
                   g->settled ? "every shard has the new members"
                              : "shards are taking members in",
                   g->leaving_count,
                   g->new_key_due ? ", a new data key on its way" : "");
}

static int wait_done(struct reach *r, const struct placement_fence *f,
                     int64_t epoch, struct err_msg *msg)
{
    const struct placement_wait wait = {.reach = r,
                                        .name = f->name,
                                        .what = "the new fence",
                                        .timeout_s = f->timeout_s,
                                        .quiet = f->json,
                                        .judge = judge,
                                        .user = &epoch};
    return placement_wait(&wait, msg);
}

static int change(struct reach *r, const struct placement_fence *f,
                  struct err_msg *msg)
{
    struct reach_answer a;
    int64_t epoch = 0;
    reach_answer_init(&a);
    int err = request(r, f, false, &a, msg);
    if (err == ERR_OK)
        (void)json_get_int64(&a.json, 0, "epoch", &epoch);
    reach_answer_free(&a);
    return err == ERR_OK ? wait_done(r, f, epoch, msg) : err;
}

int placement_set_fence(const char *command, struct reach *r,
                        const struct placement_fence *f)
{
    struct err_msg msg;
    if (preview(r, f, &msg) != ERR_OK)
        return options_failed(command, msg.text);
    if (f->dry_run)
        return CMD_OK;
    int code = wait_approval(command, f->yes);
    if (code != CMD_OK)
        return code;
    if (change(r, f, &msg) != ERR_OK)
        return options_failed(command, msg.text);
    if (!f->json)
        fprintf(stderr,
                "Done. What a region that left had in its logs goes with the "
                "next segments;\nbastide placement verify --group %s proves "
                "it.\n",
                f->name);
    return placement_show(command, r, f->name, f->json);
}
