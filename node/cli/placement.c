/* bastide placement: which groups there are, and where their data may be. */
#include "node/cli/placement.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/catalog/placement_map.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement_group.h"
#include "node/cli/placement_move.h"
#include "node/cli/placement_verify.h"
#include "node/cli/topology.h"

#define OUTPUT_MAX (16 << 20)

static const char help[] =
    "Usage: bastide placement create NAME --regions A[,B...] [options]\n"
    "       bastide placement list\n"
    "       bastide placement show NAME\n"
    "       bastide placement set NAME [--priority A,B] [--consistency LEVEL]\n"
    "                     [--transit deny|allow] [--leaders spread|gather]\n"
    "       bastide placement split NAME --shards N\n"
    "       bastide placement move DATABASE/CONTAINER GROUP\n"
    "       bastide placement remove NAME\n"
    "       bastide placement rotate NAME\n"
    "       bastide placement rules [list|set|add|remove|require]\n"
    "       bastide placement keys DATABASE/CONTAINER [--add VALUE=GROUP]\n"
    "       bastide placement verify [--group G] [--out FILE]\n"
    "       bastide placement check FILE [--ca FILE]\n"
    "\n"
    "A placement group says in which regions data may exist: outside its fence "
    "there\n"
    "is neither a copy nor a key. A container is in one group, from its "
    "creation:\n"
    "the one that the header x-bastide-placement of that request names, else "
    "the one\n"
    "of the first rule that matches, else default, which spans all regions.\n"
    "\n"
    "  create      make a group, and wait until it can be used\n"
    "  list        every group: fence, writes, level, state\n"
    "  show        one group with its shards, their leaders and its "
    "containers\n"
    "  set         change a group's priority list, consistency level, fence, "
    "transit\n"
    "              or where its leaders are\n"
    "  split       give a group more shards\n"
    "  move        move a container to another group\n"
    "  remove      do away with an empty group\n"
    "  rotate      give a group a new data key for what is written from now "
    "on\n"
    "  rules       which group containers are in that name none\n"
    "  keys        which groups the documents of one container are in, by "
    "partition\n"
    "              key\n"
    "  verify      prove where the data is: asks every node, and judges the "
    "signed\n"
    "              answers\n"
    "  check       judge them again from a file, without the cluster\n"
    "\n"
    "bastide placement create --help explains one; so does every other. All "
    "take\n" REACH_HELP "  -o text|json    how to show it\n"
    "\n"
    "Examples:\n"
    "  bastide placement create eu --regions germany,france --dir demo\n"
    "  bastide placement rules add '*/de-*' eu\n"
    "  bastide placement show eu -o json | jq '.containers'\n";

/* ---- levels, for create and set --------------------------------------------
 */

int placement_level_check(const char *command, const struct placement_level *l)
{
    enum consistency_level level = CONSISTENCY_COUNT;
    bool bounds = l->entries != 0 || l->seconds != 0;
    if (l->text != NULL && topology_read_level(l->text, &level) != ERR_OK)
        return options_refuse(command,
                              "there is no level \"%s\"; there are strong, "
                              "bounded-staleness, session, consistent-prefix "
                              "and eventual",
                              l->text);
    if (level == CONSISTENCY_BOUNDED && (l->entries == 0 || l->seconds == 0))
        return options_refuse(command, "bounded-staleness needs "
                                       "--max-staleness-entries and "
                                       "--max-staleness-seconds");
    if (level != CONSISTENCY_BOUNDED && bounds)
        return options_refuse(command, "bounds go with bounded-staleness only");
    return CMD_OK;
}

void placement_level_write(const struct placement_level *l,
                           struct json_writer *w)
{
    enum consistency_level level;
    if (l->text == NULL)
        return;
    CHECK(topology_read_level(l->text, &level) == ERR_OK);
    json_write_member_str(w, "level", consistency_name(level));
    if (level == CONSISTENCY_BOUNDED) {
        json_write_member_int64(w, "max_staleness_prefix", l->entries);
        json_write_member_int64(w, "max_staleness_interval", l->seconds);
    }
}

/* ---- show ------------------------------------------------------------------
 */

/* "germany, france"; "none yet". */
static void print_names(const char *label,
                        const char names[][CONFIG_NAME_MAX + 1], unsigned count)
{
    printf("%s: ", label);
    for (unsigned i = 0; i < count; i++)
        printf("%s%s", i > 0 ? ", " : "", names[i]);
    puts(count == 0 ? "none yet" : "");
}

static void print_group(const struct placement_group *g)
{
    char policy[TOPOLOGY_POLICY_MAX];
    topology_policy_text(g->level, g->prefix, g->interval, policy);
    printf("Placement group %s: %s, consistency %s, fail-back %s\n", g->name,
           g->fenced ? "fenced" : "everywhere", policy,
           g->failback_automatic ? "automatic" : "manual");
    printf("Writes go to %s (epoch %lld%s)\n", g->write_region,
           (long long)g->epoch, g->settled ? "" : ", not settled yet");
    print_names("Regions", g->regions, g->region_count);
    print_names("Nodes", g->nodes, g->node_count);
    if (g->witness[0] != '\0')
        printf("Witness: %s%s\n", g->witness,
               g->witness_coming ? ", not in every shard yet" : "");
    if (g->witness_leaving[0] != '\0')
        printf("Witness that goes: %s\n", g->witness_leaving);
    if (g->fenced)
        print_names("Keys for", g->keys_for, g->key_count);
    if (g->fenced)
        printf("Transit: %s\n",
               g->transit ? "allowed: nodes outside pass requests and answers "
                            "through"
                          : "denied: nodes outside refuse requests");
    if (g->data_keys > 1 || g->new_key_due)
        printf("Data key: version %lld is used, %lld to read%s\n",
               (long long)g->sealing_key, (long long)g->data_keys,
               g->new_key_due ? "; a new one is on its way" : "");
    if (g->out_of_keys)
        puts("Data key: a new one is due, but there may be no more: move its "
             "containers to a new group");
    if (g->unavailable[0] != '\0')
        printf("Unavailable: %s\n", g->unavailable);
    if (g->split.shards > 0) {
        char text[TOPOLOGY_TEXT_MAX + 1];
        placement_split_text(&g->split, text);
        printf("Being split: %s\n", text);
    }
}

/* "Leaders: spread; germany-1 2, germany-2 1". */
static void print_leaders(const struct placement_shards *s)
{
    const struct placement_group *g = s->group;
    const char *between = "; ";
    printf("Leaders: %s", g->gather ? "gathered" : "spread");
    for (unsigned n = 0; n < g->node_count; n++) {
        unsigned leads = 0;
        for (int64_t i = 0; i < g->shards; i++)
            leads += strcmp(s->list[i].leader, g->nodes[n]) == 0;
        if (leads > 0) {
            printf("%s%s %u", between, g->nodes[n], leads);
            between = ", ";
        }
    }
    putchar('\n');
}

static void print_shards(const struct placement_shards *s)
{
    print_leaders(s);
    printf("\n%5s %-18s %8s\n", "SHARD", "LEADER", "REPLICAS");
    for (int64_t i = 0; i < placement_shards_count(s->group); i++)
        printf("%5lld %-18s %8u\n", (long long)placement_shards_id(s->group, i),
               s->list[i].leader[0] != '\0' ? s->list[i].leader : "-",
               s->list[i].replicas);
}

static void print_containers(const struct json *j)
{
    char database[RESOURCE_NAME_BYTES_MAX + 1];
    char container[RESOURCE_NAME_BYTES_MAX + 1];
    char keys[PLACEMENT_MAP_TEXT_MAX + 1];
    bool more = false;
    json_ref list = json_get_str(j, 0, "containers");
    (void)json_get_bool(j, 0, "more", &more);
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY)
        return;
    printf("\n%s%s\n",
           json_count(j, list) == 0 ? "No container is in it." : "CONTAINERS",
           more ? " (there are more)" : "");
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        topology_get_text(j, v, "database", database, sizeof(database));
        topology_get_text(j, v, "container", container, sizeof(container));
        topology_get_text(j, v, "keys", keys, sizeof(keys));
        printf("  %s/%s%s%s\n", database, container,
               keys[0] != '\0' ? "  by " : "", keys);
    }
}

static void print_json(struct bytes group, const struct placement_shards *s,
                       const struct json *containers)
{
    struct buf b;
    struct json_writer w;
    json_ref list = json_get_str(containers, 0, "containers");
    json_ref more = json_get_str(containers, 0, "more");
    buf_init(&b, OUTPUT_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_raw(&w, "group", group);
    json_write_key(&w, "shards");
    json_write_array_begin(&w);
    for (int64_t i = 0; i < placement_shards_count(s->group); i++) {
        json_write_object_begin(&w);
        json_write_member_int64(&w, "shard", placement_shards_id(s->group, i));
        json_write_key(&w, "leader");
        if (s->list[i].leader[0] != '\0')
            json_write_str(&w, s->list[i].leader);
        else
            json_write_null(&w);
        json_write_member_int64(&w, "replicas", s->list[i].replicas);
        json_write_object_end(&w);
    }
    json_write_array_end(&w);
    if (list != JSON_NONE)
        json_write_member_raw(&w, "containers", json_raw(containers, list));
    if (more != JSON_NONE)
        json_write_member_raw(&w, "more", json_raw(containers, more));
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    printf("%s\n", buf_cstr(&b));
    buf_free(&b);
}

int placement_show(const char *command, struct reach *r, const char *name,
                   bool json)
{
    struct placement_group *g = mem_alloc(sizeof(*g));
    struct placement_shards shards = {.list = NULL};
    struct reach_answer a, containers;
    struct err_msg msg;
    char path[TOPOLOGY_PATH_MAX];
    json_ref object = JSON_NONE;
    reach_answer_init(&a);
    reach_answer_init(&containers);
    topology_path("placement/containers", name, path);
    int err = placement_group_ask(r, name, &a, &object, g, &msg);
    if (err == ERR_OK)
        err = reach_any(r, path, NULL, REACH_ASK_TIMEOUT_US, &containers, &msg);
    if (err == ERR_OK && g->split.shards > 0)
        err = placement_split_ask(r, name, g, &msg);
    if (err == ERR_OK)
        placement_shards_ask(r, g, &shards);
    if (err == ERR_OK && json) {
        print_json(json_raw(&a.json, object), &shards, &containers.json);
    } else if (err == ERR_OK) {
        print_group(g);
        print_shards(&shards);
        print_containers(&containers.json);
    }
    reach_answer_free(&a);
    reach_answer_free(&containers);
    mem_free(shards.list);
    mem_free(g);
    return err == ERR_OK ? CMD_OK : options_failed(command, msg.text);
}

/* ---- list ------------------------------------------------------------------
 */

struct show_flags {
    const char *name; /* of a group */
    bool json;
};

static int run_list(struct reach *r, void *flags)
{
    const struct show_flags *f = flags;
    struct reach_answer a;
    struct err_msg msg;
    reach_answer_init(&a);
    int err = reach_any(r, "placement", NULL, REACH_ASK_TIMEOUT_US, &a, &msg);
    if (err == ERR_OK && f->json)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK)
        placement_groups_print(stdout, &a.json,
                               json_get_str(&a.json, 0, "groups"));
    reach_answer_free(&a);
    return err == ERR_OK ? CMD_OK : options_failed("placement list", msg.text);
}

static int list(int argc, char **argv)
{
    struct show_flags f = {.name = NULL};
    const struct reach_command command = {.name = "placement list",
                                          .help = help,
                                          .json = &f.json,
                                          .flags = &f,
                                          .run = run_list};
    return reach_run(&command, argc, argv);
}

static int check_show(void *flags, char **words, unsigned count)
{
    struct show_flags *f = flags;
    return placement_name_word("placement show", "which group?", words, count,
                               &f->name);
}

static int run_show(struct reach *r, void *flags)
{
    const struct show_flags *f = flags;
    return placement_show("placement show", r, f->name, f->json);
}

static int show_one(int argc, char **argv)
{
    struct show_flags f = {.name = NULL};
    const struct reach_command command = {.name = "placement show",
                                          .help = help,
                                          .words_max = 1,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = check_show,
                                          .run = run_show};
    return reach_run(&command, argc, argv);
}

/* ---- the command -----------------------------------------------------------
 */

#define PARTS_TEXT                                                             \
    "create, list, show, set, split, move, remove, rotate, rules, keys, "      \
    "verify or check"

int cmd_placement(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } parts[] = {{"create", placement_run_create},
                 {"list", list},
                 {"show", show_one},
                 {"set", placement_run_set},
                 {"split", placement_run_split},
                 {"move", placement_run_move},
                 {"remove", placement_run_remove},
                 {"rotate", placement_run_rotate},
                 {"rules", placement_run_rules},
                 {"keys", placement_run_keys},
                 {"verify", placement_verify},
                 {"check", placement_check}};
    if (argc < 2)
        return options_refuse("placement", "expected " PARTS_TEXT);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(help, stdout);
        return CMD_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].run(argc - 1, argv + 1);
    return options_refuse("placement", "\"%s\": expected " PARTS_TEXT, argv[1]);
}
