/* bastide init: the folder of a new cluster. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/create.h"
#include "node/cli/options.h"
#include "node/json/json.h"

#define JSON_MAX (1 << 20)

static const char help[] =
    "Usage: bastide init --dir DIR --cluster NAME --regions A,B,C [options]\n"
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
    "  --host H               where the nodes run (default 127.0.0.1): one "
    "host\n"
    "                         for all, or a pattern with a host per node\n"
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
    const char *dir;
    bool json, help;
};

/* CMD_OK, or CMD_USAGE after having said why. */
static int parse_flags(int argc, char **argv, struct init_flags *f)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"cluster", required_argument, NULL, 'c'},
        {"regions", required_argument, NULL, 'r'},
        {"nodes-per-region", required_argument, NULL, 'n'},
        {"shards", required_argument, NULL, 's'},
        {"base-port", required_argument, NULL, 'p'},
        {"host", required_argument, NULL, 'H'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int c;
    bool ok = true;
    optind = 1;
    while (ok && (c = getopt_long(argc, argv, "o:h", options, NULL)) != -1)
        switch (c) {
        case 'd':
            f->dir = optarg;
            break;
        case 'c':
            f->layout.cluster = optarg;
            break;
        case 'r':
            f->layout.regions = optarg;
            break;
        case 'n':
            ok = options_number(optarg, 1, LAYOUT_NODES_PER_REGION_MAX,
                                &f->layout.nodes_per_region);
            break;
        case 's':
            ok =
                options_number(optarg, 1, CONFIG_SHARDS_MAX, &f->layout.shards);
            break;
        case 'p':
            ok = options_number(optarg, 1, LAYOUT_BASE_PORT_MAX,
                                &f->layout.base_port);
            break;
        case 'H':
            f->layout.host = optarg;
            break;
        case 'o':
            ok = options_output(optarg, &f->json);
            break;
        case 'h':
            f->help = true;
            break;
        default:
            return options_refuse("init", "unknown or incomplete flag");
        }
    if (!ok)
        return options_refuse("init", "\"%s\" is not a value that flag takes",
                              optarg);
    if (optind < argc)
        return options_refuse("init", "unexpected argument \"%s\"",
                              argv[optind]);
    if (!f->help && (f->dir == NULL || f->layout.cluster == NULL ||
                     f->layout.regions == NULL))
        return options_refuse("init",
                              "--dir, --cluster and --regions are needed");
    return CMD_OK;
}

int cmd_init(int argc, char **argv)
{
    struct init_flags f = {.layout = {.nodes_per_region = 1,
                                      .base_port = LAYOUT_BASE_PORT,
                                      .host = "127.0.0.1",
                                      .shards = 2}};
    struct layout layout;
    struct err_msg msg;
    int code = parse_flags(argc, argv, &f);
    if (code != CMD_OK)
        return code;
    if (f.help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    if (layout_make(&f.layout, &layout, &msg) != ERR_OK)
        return options_refuse("init", "%s", msg.text);
    if (create_cluster(&layout, f.dir, &msg) != ERR_OK)
        return options_failed("init", msg.text);
    char *absolute = realpath(f.dir, NULL);
    const char *dir = absolute != NULL ? absolute : f.dir;
    if (f.json)
        print_json(&layout, dir);
    else
        print_text(&layout, dir);
    free(absolute);
    return CMD_OK;
}
