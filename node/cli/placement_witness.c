/* bastide placement set NAME --witness, --no-witness. */
#include <stdio.h>

#include "node/cli/cmd.h"
#include "node/cli/placement.h"
#include "node/cli/placement_change.h"

static void write_witness(const void *wanted, struct json_writer *w)
{
    const struct placement_witness *p = wanted;
    json_write_key(w, "witness");
    if (p->region != NULL)
        json_write_str(w, p->region);
    else
        json_write_null(w);
}

static void print_plan(const void *wanted, const struct json *j)
{
    char comes[CONFIG_NAME_MAX + 1] = "", goes[CONFIG_NAME_MAX + 1] = "";
    (void)wanted;
    topology_get_text(j, 0, "comes", comes, sizeof(comes));
    topology_get_text(j, 0, "goes", goes, sizeof(goes));
    if (comes[0] != '\0')
        printf("  gets the heads of its entries, no byte of a document, and "
               "votes: %s\n",
               comes);
    if (goes[0] != '\0')
        printf("  votes no more%s, and deletes what it has: %s\n",
               comes[0] != '\0' ? " as soon as that one does" : "", goes);
    names_print(j, "warnings", "note:");
}

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

int placement_set_witness(const char *command, struct reach *r,
                          const struct placement_witness *p)
{
    const struct placement_change change = {.name = p->name,
                                            .path = "placement/witness",
                                            .what = "the witness",
                                            .write = write_witness,
                                            .print_plan = print_plan,
                                            .judge = judge,
                                            .wanted = p,
                                            .yes = p->yes,
                                            .dry_run = p->dry_run,
                                            .json = p->json,
                                            .timeout_s = p->timeout_s};
    int code = placement_change_run(command, r, &change);
    return code != CMD_OK || p->dry_run
               ? code
               : placement_show(command, r, p->name, p->json);
}
