/* bastide status: asks nodes about themselves. */
#include "node/cli/status.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/https.h"
#include "node/cli/layout.h"
#include "node/cli/options.h"
#include "node/cli/supervise.h"
#include "node/json/json.h"

#define REQUEST_TIMEOUT_US (3 * USEC_PER_SEC)

static const char help[] =
    "Usage: bastide status [--dir DIR] [options]\n"
    "       bastide status --admin URL --ca FILE --cert FILE --key FILE\n"
    "\n"
    "Shows regions, nodes and shards: who leads, who lags, who cannot be\n"
    "reached.\n"
    "\n"
    "  --dir DIR       a folder made by `bastide init` or `bastide demo`\n"
    "                  (default ./demo): asks every node in it\n"
    "  --admin URL     asks one node, for example https://10.0.0.7:9091/\n"
    "  --ca, --cert, --key FILE\n"
    "                  the cluster's CA certificate and the admin's own\n"
    "                  certificate and key\n"
    "  --ready         exit with 1 unless every node asked is ready\n"
    "  -o text|json    how to show it\n"
    "\n"
    "Examples:\n"
    "  bastide status --dir demo\n"
    "  bastide status --dir demo -o json | jq '.nodes[].status.shards'\n"
    "  bastide status --admin https://eu-1.example.org:9091/ --ready \\\n"
    "      --ca ca.pem --cert admin.pem --key admin.key\n";

struct status_flags {
    const char *dir, *admin, *ca, *cert, *key;
    bool ready, json, help;
};

static int check_flags(const struct status_flags *f)
{
    bool files = f->ca != NULL || f->cert != NULL || f->key != NULL;
    if (f->admin != NULL && f->dir != NULL)
        return options_refuse("status", "--dir and --admin exclude each other");
    if (f->admin == NULL && files)
        return options_refuse("status", "--ca, --cert and --key belong to "
                                        "--admin");
    if (f->admin != NULL &&
        (f->ca == NULL || f->cert == NULL || f->key == NULL))
        return options_refuse("status", "--admin needs --ca, --cert and --key");
    return CMD_OK;
}

static int parse_flags(int argc, char **argv, struct status_flags *f)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"admin", required_argument, NULL, 'a'},
        {"ca", required_argument, NULL, 'A'},
        {"cert", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},
        {"ready", no_argument, NULL, 'r'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int c;
    optind = 1;
    while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1)
        switch (c) {
        case 'd':
            f->dir = optarg;
            break;
        case 'a':
            f->admin = optarg;
            break;
        case 'A':
            f->ca = optarg;
            break;
        case 'c':
            f->cert = optarg;
            break;
        case 'k':
            f->key = optarg;
            break;
        case 'r':
            f->ready = true;
            break;
        case 'o':
            if (!options_output(optarg, &f->json))
                return options_refuse("status", "-o %s: expected text or json",
                                      optarg);
            break;
        case 'h':
            f->help = true;
            break;
        default:
            return options_refuse("status", "unknown or incomplete flag");
        }
    if (optind < argc)
        return options_refuse("status", "unexpected argument \"%s\"",
                              argv[optind]);
    return check_flags(f);
}

/* ---- asking
 * ------------------------------------------------------------------
 */

/* Keeps the answer if it is a JSON object, and what it says of readiness. */
static int check_answer(struct status_node *n, int status)
{
    struct json j;
    bool ready = false;
    json_init(&j);
    int err = ERR_OK;
    if (status != 200)
        err = err_set(&n->why, ERR_PROTOCOL,
                      status == 401 || status == 403
                          ? "it answered %d: not an administrator's certificate"
                          : "it answered %d",
                      status);
    else if (json_parse(&j, bytes_of(buf_bytes(&n->body), buf_len(&n->body)),
                        HTTPS_ANSWER_MAX, NULL) != ERR_OK ||
             json_type(&j, 0) != JSON_OBJECT)
        err = err_set(&n->why, ERR_PROTOCOL, "its answer is not JSON");
    else if (json_get_bool(&j, 0, "ready", &ready) == ERR_OK)
        n->ready = ready;
    json_free(&j);
    return err;
}

static void ask(struct https *https, struct status_node *n)
{
    int status = 0;
    buf_init(&n->body, HTTPS_ANSWER_MAX);
    int err = https_get(https, n->admin, "status", REQUEST_TIMEOUT_US, &status,
                        &n->body, &n->why);
    if (err == ERR_OK)
        err = check_answer(n, status);
    n->reached = err == ERR_OK;
}

/* Fills in whom to ask; the array has room for LAYOUT_NODES_MAX. */
static int find_nodes(const struct status_flags *f, struct status_node *nodes,
                      unsigned *count_out, struct https **https_out,
                      struct err_msg *msg)
{
    if (f->admin != NULL) {
        snprintf(nodes[0].admin, sizeof(nodes[0].admin), "%s", f->admin);
        *count_out = 1;
        return https_new(f->ca, f->cert, f->key, https_out, msg);
    }
    struct layout l;
    const char *dir = f->dir != NULL ? f->dir : "demo";
    int err = layout_load(dir, &l, msg);
    if (err != ERR_OK)
        return err;
    for (unsigned i = 0; i < l.node_count; i++) {
        strcpy(nodes[i].region, l.regions[l.nodes[i].region].name);
        strcpy(nodes[i].name, l.nodes[i].name);
        layout_url(l.nodes[i].host, l.nodes[i].admin_port, nodes[i].admin);
    }
    *count_out = l.node_count;
    return supervise_https(dir, https_out, msg);
}

int cmd_status(int argc, char **argv)
{
    struct status_flags f = {.dir = NULL};
    struct err_msg msg;
    struct https *https = NULL;
    unsigned count = 0;
    bool all_ready = true, any_reached = false;
    int code = parse_flags(argc, argv, &f);
    if (code != CMD_OK)
        return code;
    if (f.help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    struct status_node *nodes = calloc(LAYOUT_NODES_MAX, sizeof(*nodes));
    CHECK(nodes != NULL);
    if (find_nodes(&f, nodes, &count, &https, &msg) != ERR_OK) {
        free(nodes);
        return options_failed("status", msg.text);
    }
    for (unsigned i = 0; i < count; i++) {
        ask(https, &nodes[i]);
        all_ready = all_ready && nodes[i].reached && nodes[i].ready;
        any_reached = any_reached || nodes[i].reached;
    }
    (f.json ? status_print_json : status_print_text)(stdout, nodes, count);
    for (unsigned i = 0; i < count; i++)
        buf_free(&nodes[i].body);
    free(nodes);
    https_free(https);
    return any_reached && (all_ready || !f.ready) ? CMD_OK : CMD_FAILED;
}
