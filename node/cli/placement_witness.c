/* bastide placement set NAME --witness, --no-witness. */
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

static int request(struct reach *r, const struct placement_witness *p,
                   bool dry_run, struct reach_answer *a, struct err_msg *msg)
{
    struct buf body;
    struct json_writer w;
    buf_init(&body, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", p->name);
    json_write_key(&w, "witness");
    if (p->region != NULL)
        json_write_str(&w, p->region);
    else
        json_write_null(&w);
    json_write_member_bool(&w, "dry_run", dry_run);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err = reach_any(r, "placement/witness", buf_cstr(&body),
                        REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&body);
    return err;
}

static void print_plan(const struct placement_witness *p, const struct json *j)
{
    char comes[CONFIG_NAME_MAX + 1] = "", goes[CONFIG_NAME_MAX + 1] = "";
    topology_get_text(j, 0, "comes", comes, sizeof(comes));
    topology_get_text(j, 0, "goes", goes, sizeof(goes));
    printf("Plan for placement group %s:\n", p->name);
    if (comes[0] != '\0')
        printf("  gets the heads of its entries, no byte of a document, and "
               "votes: %s\n",
               comes);
    if (goes[0] != '\0')
        printf("  votes no more%s, and deletes what it has: %s\n",
               comes[0] != '\0' ? " as soon as that one does" : "", goes);
    names_print(j, "warnings", "note:");
    fflush(stdout);
}

static int preview(struct reach *r, const struct placement_witness *p,
                   struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = request(r, p, true, &a, msg);
    if (err == ERR_OK && p->json && p->dry_run)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK && !p->json)
        print_plan(p, &a.json);
    reach_answer_free(&a);
    return err;
}

/* ---- until it is so ---------------------------------------------------------
 */

static int judge(void *user, const struct placement_group *g,
                 struct err_msg *seen)
{
    const int64_t *epoch = user;
    if (g->settled && g->epoch >= *epoch && g->witness_leaving[0] == '\0')
        return ERR_OK;
    return err_set(seen, ERR_AGAIN, "%s",
                   g->settled ? "every shard has made the change"
                              : "shards are making the change");
}

static int change(struct reach *r, const struct placement_witness *p,
                  struct err_msg *msg)
{
    struct reach_answer a;
    int64_t epoch = 0;
    const struct placement_wait wait = {.reach = r,
                                        .name = p->name,
                                        .what = "the witness",
                                        .timeout_s = p->timeout_s,
                                        .quiet = p->json,
                                        .judge = judge,
                                        .user = &epoch};
    reach_answer_init(&a);
    int err = request(r, p, false, &a, msg);
    if (err == ERR_OK)
        (void)json_get_int64(&a.json, 0, "epoch", &epoch);
    reach_answer_free(&a);
    return err == ERR_OK ? placement_wait(&wait, msg) : err;
}

int placement_set_witness(const char *command, struct reach *r,
                          const struct placement_witness *p)
{
    struct err_msg msg;
    if (preview(r, p, &msg) != ERR_OK)
        return options_failed(command, msg.text);
    if (p->dry_run)
        return CMD_OK;
    int code = wait_approval(command, p->yes);
    if (code != CMD_OK)
        return code;
    if (change(r, p, &msg) != ERR_OK)
        return options_failed(command, msg.text);
    return placement_show(command, r, p->name, p->json);
}
