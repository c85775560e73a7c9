/* bastide init: the folder of a new cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/create.h"
#include "node/cli/join.h"
#include "node/cli/options.h"
#include "node/cli/region_keys.h"
#include "node/json/json.h"

#define JSON_MAX (1 << 20)

static const char help[] =
    "Usage: bastide init --dir DIR --cluster NAME --regions A,B,C [options]\n"
    "       bastide init --dir DIR --region-keys\n"
    "       bastide init --dir DIR --join REGION[:NODES] [--host H] [--san "
    "A,B]\n"
    "\n"
    "Makes everything a new cluster needs, in a new folder: a CA, a "
    "certificate\n"
    "and a key per node, the cluster's keys and one folder per node with its\n"
    "node.yaml. Nothing is started, and nothing that exists is overwritten.\n"
    "\n"
    "  --dir DIR              the folder to make\n"
    "  --cluster NAME         name of the cluster, part of every identity\n"
    "  --regions A,B,C        regions, first choice for writes first\n"
    "  --nodes-per-region N   1 to 9 (default 1)\n"
    "  --shards N             shards of the group 'default' (default 2); "
    "fixed\n"
    "                         for the life of the cluster\n"
    "  --base-port P          first port (default 8081)\n"
    "  --san A,B              further names and addresses for the nodes'\n"
    "                         certificates; localhost is always there\n"
    "  --fault-injection      let administrators inject faults; for tests "
    "only\n"
    "  --if-missing           fine if the folder holds this cluster already; "
    "what\n"
    "                         an interrupted init left is made anew\n"
    "  --host H               where the nodes run (default 127.0.0.1): one "
    "host\n"
    "                         for all, or a pattern such as "
    "{node}.example.org:\n"
    "                         a host per node\n"
    "  --region-keys          with --dir alone: give the regions of a cluster "
    "that\n"
    "                         an older init made their keys, which fenced "
    "groups\n"
    "                         need. What is there already stays\n"
    "  --join REGION[:NODES]  make what another region of NODES nodes (default "
    "1)\n"
    "                         needs, or further nodes of one that is there, up "
    "to\n"
    "                         NODES: their folders, and their entries in "
    "every\n"
    "                         node.yaml of DIR. Can be repeated; starts "
    "nothing, "
    "see\n"
    "                         bastide region add --help\n"
    "  -o text|json           how to say what was made\n"
    "\n"
    "Examples:\n"
    "  A cluster on this machine:\n"
    "    bastide init --dir try --cluster try --regions east,west,north\n"
    "    bastide node --config try/east-1/node.yaml     (and the other two)\n"
    "  Nodes on three machines named eu-1.example.org and so on:\n"
    "    bastide init --dir prod --cluster prod --regions eu,us,asia \\\n"
    "        --host '{node}.example.org'\n"
    "    Copy each folder prod/NODE to its machine and start it there. The "
    "DNS\n"
    "    names prod.example.org and eu.example.org should lead to all nodes "
    "and\n"
    "    to the nodes of region eu. Keep prod/ca.key in a safe place.\n";

static void print_text(const struct layout *l, const char *dir)
{
    printf("Cluster %s is ready to be started: %u regions, %u nodes.\n\n",
           l->cluster, l->region_count, l->node_count);
    for (unsigned i = 0; i < l->node_count; i++)
        printf("  bastide node --config %s/%s/node.yaml\n", dir,
               l->nodes[i].name);
    printf("\n  CA certificate for clients   %s/ca.pem\n"
           "  CA key, keep it safe         %s/ca.key\n"
           "  account keys                 %s/account.keys\n"
           "  then                         bastide status --dir %s\n",
           dir, dir, dir, dir);
}

static void print_region_keys(const struct layout *l, const char *dir)
{
    printf("The regions of cluster %s have keys:\n\n", l->cluster);
    for (unsigned i = 0; i < l->region_count; i++)
        printf("  %-16s %s\n", l->regions[i].name, l->regions[i].key);
    printf("\nBring each machine its new %s/NODE/node.yaml and region.key, a\n"
           "region's key to that region alone, and restart the nodes one after "
           "the other.\n",
           dir);
}

/* The nodes that `was` does not have; from where it has none more, all that
 * were added: an interrupted run may have made them. */
static void print_join(const struct layout *l, const struct layout *was,
                       const char *region, const char *dir)
{
    unsigned r = 0, made = l->node_count - was->node_count;
    while (strcmp(l->regions[r].name, region) != 0)
        r++;
    /* Whether it is in the cluster is not known here: all of it came later. */
    bool is_new = r >= was->region_count || made == 0;
    for (unsigned i = 0; i < l->node_count; i++)
        is_new = is_new && (l->nodes[i].region != r || l->nodes[i].added);
    if (made > 0)
        printf("Region %s of cluster %s has %u more node%s:\n\n", region,
               l->cluster, made, made == 1 ? "" : "s");
    else
        printf("Region %s of cluster %s has these nodes already:\n\n", region,
               l->cluster);
    for (unsigned i = 0; i < l->node_count; i++)
        if (l->nodes[i].region == r && l->nodes[i].added)
            printf("  bastide node --config %s/%s/node.yaml\n", dir,
                   l->nodes[i].name);
    printf("\nEvery node.yaml in %s lists them. Where nodes run on other "
           "machines, bring the\nnew nodes their folders and the others their "
           "new node.yaml. Settings that people\nhave put into a node.yaml are "
           "not in the new ones.\nStart the new nodes, then:\n\n",
           dir);
    if (is_new)
        printf("  bastide region add %s --dir %s\n", region, dir);
    for (unsigned i = 0; !is_new && i < l->node_count; i++)
        if (l->nodes[i].region == r && l->nodes[i].added)
            printf("  bastide node add %s --dir %s\n", l->nodes[i].name, dir);
}

static void print_json(const struct layout *l, const char *dir)
{
    struct buf b;
    struct json_writer w;
    char path[PATH_MAX];
    buf_init(&b, JSON_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "cluster", l->cluster);
    json_write_member_str(&w, "dir", dir);
    json_write_key(&w, "nodes");
    json_write_array_begin(&w);
    for (unsigned i = 0; i < l->node_count; i++) {
        CHECK(layout_path(dir, l->nodes[i].name, "node.yaml", path, NULL) ==
              ERR_OK);
        json_write_object_begin(&w);
        json_write_member_str(&w, "name", l->nodes[i].name);
        json_write_member_str(&w, "region",
                              l->regions[l->nodes[i].region].name);
        json_write_member_str(&w, "config", path);
        json_write_object_end(&w);
    }
    json_write_array_end(&w);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    printf("%s\n", buf_cstr(&b));
    buf_free(&b);
}

struct init_flags {
    struct layout_options layout;
    struct join_options join;
    char join_region[CONFIG_NAME_MAX + 1];
    const char *dir;
    bool if_missing, region_keys, json, help;
};

/* "spain" or "spain:2". */
static bool read_join(const char *text, void *value)
{
    struct init_flags *f = value;
    size_t len = strcspn(text, ":");
    if (len > CONFIG_NAME_MAX)
        return false;
    memcpy(f->join_region, text, len);
    f->join_region[len] = '\0';
    f->join.region = f->join_region;
    return config_name_ok(f->join_region) &&
           (text[len] == '\0' ||
            options_number(text + len + 1, 1, LAYOUT_NODES_PER_REGION_MAX,
                           &f->join.nodes));
}

/* CMD_OK, or CMD_USAGE after having said which flags do not go together. */
static int check_flags(const struct init_flags *f)
{
    bool names = f->layout.cluster != NULL || f->layout.regions != NULL;
    if (f->region_keys &&
        (f->dir == NULL || names || f->if_missing || f->join.region != NULL))
        return options_refuse("init", "--region-keys goes with --dir alone: "
                                      "it changes a cluster that is there");
    if (f->join.region != NULL &&
        (f->dir == NULL || names || f->if_missing || f->layout.fault_injection))
        return options_refuse("init", "--join goes with --dir, --host and "
                                      "--san: it changes a cluster that is "
                                      "there");
    if (!f->region_keys && f->join.region == NULL &&
        (f->dir == NULL || f->layout.cluster == NULL ||
         f->layout.regions == NULL))
        return options_refuse("init",
                              "--dir, --cluster and --regions are needed");
    return CMD_OK;
}

/* CMD_OK, or CMD_USAGE after having said why. */
static int parse_flags(int argc, char **argv, struct init_flags *f)
{
    const struct option_spec specs[] = {
        {.name = "dir", .kind = OPTION_TEXT, .value = &f->dir},
        {.name = "cluster", .kind = OPTION_TEXT, .value = &f->layout.cluster},
        {.name = "regions", .kind = OPTION_TEXT, .value = &f->layout.regions},
        {.name = "nodes-per-region",
         .kind = OPTION_NUMBER,
         .value = &f->layout.nodes_per_region,
         .min = 1,
         .max = LAYOUT_NODES_PER_REGION_MAX},
        {.name = "shards",
         .kind = OPTION_NUMBER,
         .value = &f->layout.shards,
         .min = 1,
         .max = CONFIG_SHARDS_MAX},
        {.name = "base-port",
         .kind = OPTION_NUMBER,
         .value = &f->layout.base_port,
         .min = 1,
         .max = LAYOUT_BASE_PORT_MAX},
        {.name = "host", .kind = OPTION_TEXT, .value = &f->layout.host},
        {.name = "san", .kind = OPTION_TEXT, .value = &f->layout.sans},
        {.name = "fault-injection",
         .kind = OPTION_FLAG,
         .value = &f->layout.fault_injection},
        {.name = "join",
         .kind = OPTION_OTHER,
         .value = f,
         .read = read_join,
         .expected = "a region, such as spain, or spain:2 for two nodes"},
        {.name = "if-missing", .kind = OPTION_FLAG, .value = &f->if_missing},
        {.name = "region-keys", .kind = OPTION_FLAG, .value = &f->region_keys},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &f->json},
        {.name = "help", .kind = OPTION_FLAG, .value = &f->help}};
    int code = options_parse("init", argc, argv, specs, ARRAY_LEN(specs), 0,
                             NULL, NULL);
    return code == CMD_OK && !f->help ? check_flags(f) : code;
}

/* Finds the cluster that is asked for, or makes it, in a folder that holds
 * nothing or what an interrupted init left. */
static int find_or_create(struct layout *l, const char *dir,
                          struct err_msg *msg)
{
    struct layout found;
    int err = layout_load(dir, &found, msg);
    if (err == ERR_OK && !layout_same(l, &found))
        return err_set(msg, ERR_EXISTS,
                       "%s holds cluster %s with %u regions and %u nodes, or "
                       "other hosts, ports or shards than these flags say; "
                       "choose another folder, or give the flags it was made "
                       "with",
                       dir, found.cluster, found.region_count,
                       found.node_count);
    if (err == ERR_OK)
        return create_settle(dir, msg);
    if (err != ERR_NOT_FOUND)
        return err;
    err = create_discard_unfinished(dir, msg);
    return err == ERR_OK ? create_cluster(l, dir, msg) : err;
}

int cmd_init(int argc, char **argv)
{
    struct init_flags f = {.layout = {.nodes_per_region = 1,
                                      .base_port = LAYOUT_BASE_PORT,
                                      .shards = 2}};
    struct layout layout, was;
    struct err_msg msg;
    int code = parse_flags(argc, argv, &f);
    if (code != CMD_OK)
        return code;
    if (f.help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    f.join.host = f.layout.host;
    f.join.sans = f.layout.sans;
    if (f.layout.host == NULL)
        f.layout.host = "127.0.0.1";
    bool makes = !f.region_keys && f.join.region == NULL;
    if (makes && layout_make(&f.layout, &layout, &msg) != ERR_OK)
        return options_refuse("init", "%s", msg.text);
    int err = f.region_keys  ? region_keys_add(f.dir, &layout, &msg)
              : !makes       ? join(&f.join, f.dir, &layout, &was, &msg)
              : f.if_missing ? find_or_create(&layout, f.dir, &msg)
                             : create_cluster(&layout, f.dir, &msg);
    if (err != ERR_OK)
        return options_failed("init", msg.text);
    char *absolute = realpath(f.dir, NULL);
    const char *dir = absolute != NULL ? absolute : f.dir;
    if (f.json)
        print_json(&layout, dir);
    else if (f.region_keys)
        print_region_keys(&layout, dir);
    else if (f.join.region != NULL)
        print_join(&layout, &was, f.join.region, dir);
    else
        print_text(&layout, dir);
    free(absolute);
    return CMD_OK;
}
