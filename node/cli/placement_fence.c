/* bastide placement set NAME --regions: another fence around a group. */
#include <stdio.h>

#include "node/cli/cmd.h"
#include "node/cli/placement.h"
#include "node/cli/placement_change.h"

static void write_regions(const void *wanted, struct json_writer *w)
{
    const struct placement_fence *f = wanted;
    json_write_key(w, "regions");
    names_write(f->regions, w);
}

static void print_plan(const void *wanted, const struct json *j)
{
    char to[CONFIG_NAME_MAX + 1] = "?";
    (void)wanted;
    names_print(j, "comes", "regions that may hold its data from now on:");
    names_print(j, "nodes_come", "nodes that get its keys and a copy:");
    names_print(j, "goes",
                "regions that may not hold it any more, once emptied:");
    names_print(j, "nodes_go",
                "nodes that delete their copy and lose the keys:");
    topology_get_text(j, 0, "write_region", to, sizeof(to));
    printf("  its writes go to %s\n", to);
}

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

int placement_set_fence(const char *command, struct reach *r,
                        const struct placement_fence *f)
{
    const struct placement_change change = {.name = f->name,
                                            .path = "placement/regions",
                                            .what = "the new fence",
                                            .write = write_regions,
                                            .print_plan = print_plan,
                                            .judge = judge,
                                            .wanted = f,
                                            .yes = f->yes,
                                            .dry_run = f->dry_run,
                                            .json = f->json,
                                            .timeout_s = f->timeout_s};
    int code = placement_change_run(command, r, &change);
    if (code != CMD_OK || f->dry_run)
        return code;
    if (!f->json)
        fprintf(stderr,
                "Done. What a region that left had in its logs goes with the "
                "next segments;\nbastide placement verify --group %s proves "
                "it.\n",
                f->name);
    return placement_show(command, r, f->name, f->json);
}
