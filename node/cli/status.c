/* bastide status: asks nodes about themselves. */
#include "node/cli/status.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/reach.h"

static const char help[] =
    "Usage: bastide status [--dir DIR] [options]\n"
    "       bastide status --admin URL --ca FILE --cert FILE --key FILE\n"
    "       bastide status --ready --config FILE\n"
    "\n"
    "Shows regions, nodes and shards: where writes go, what a lost region "
    "would\n"
    "cost, who leads, who lags, who cannot be reached, and why writes stop if "
    "they\n"
    "do. Every node of the folder is asked.\n"
    "\n" REACH_HELP
    "  --config FILE   with --ready: the node of this node.yaml, asked on its "
    "own\n"
    "                  machine and without a certificate; by default what\n"
    "                  BASTIDE_CONFIG in the environment names\n"
    "  --ready         exit with 1 unless every node asked is ready\n"
    "  -o text|json    how to show it\n"
    "\n"
    "Examples:\n"
    "  bastide status --dir demo\n"
    "  bastide status --dir demo -o json | jq '.nodes[].status.shards'\n"
    "  bastide status --admin https://eu-1.example.org:9091/ --ready \\\n"
    "      --ca ca.pem --cert admin.pem --key admin.key\n"
    "  bastide status --ready --config eu-1/node.yaml\n";

struct status_flags {
    struct reach_flags reach;
    const char *config;
    bool ready, json, help;
};

static int parse_flags(int argc, char **argv, struct status_flags *f)
{
    const struct option_spec specs[] = {
        REACH_OPTIONS(&f->reach),
        {.name = "config", .kind = OPTION_TEXT, .value = &f->config},
        {.name = "ready", .kind = OPTION_FLAG, .value = &f->ready},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &f->json},
        {.name = "help", .kind = OPTION_FLAG, .value = &f->help}};
    int code = options_parse("status", argc, argv, specs, ARRAY_LEN(specs), 0,
                             NULL, NULL);
    bool other = f->reach.dir != NULL || f->reach.admin != NULL;
    if (f->ready && f->config == NULL && !other)
        f->config = getenv(CONFIG_ENV_FILE);
    if (code == CMD_OK && f->config != NULL && (!f->ready || other))
        code = options_refuse("status", "--config goes with --ready alone");
    return code == CMD_OK ? reach_check_flags("status", &f->reach) : code;
}

/* ---- asking
 * ------------------------------------------------------------------
 */

/* Keeps a node's answer, and what it says of readiness. */
static void ask(struct reach *r, unsigned node, struct status_node *n)
{
    struct reach_answer a;
    const struct reach_node *target = &r->nodes[node];
    memcpy(n->region, target->region, sizeof(n->region));
    memcpy(n->name, target->name, sizeof(n->name));
    memcpy(n->admin, target->admin, sizeof(n->admin));
    buf_init(&n->body, HTTPS_ANSWER_MAX);
    reach_answer_init(&a);
    n->reached = reach_ask(r, node, "status", NULL, REACH_ASK_TIMEOUT_US, &a,
                           &n->why) == ERR_OK;
    if (n->reached) {
        (void)json_get_bool(&a.json, 0, "ready", &n->ready);
        CHECK(buf_append(&n->body, buf_bytes(&a.body), buf_len(&a.body)) ==
              ERR_OK);
    }
    reach_answer_free(&a);
}

/* Who is asked for the topology: one that is ready, if any is. One that is not
 * may be cut off, or overruled, and know an old one. */
static unsigned who_knows(const struct status_view *v)
{
    unsigned best = 0;
    for (unsigned i = 0; i < v->count; i++) {
        const struct status_node *n = &v->nodes[i], *b = &v->nodes[best];
        if (n->reached + n->ready > b->reached + b->ready)
            best = i;
    }
    return best;
}

static int show(struct reach *r, const struct status_flags *f)
{
    struct reach_answer topology;
    struct status_view view = {.count = r->node_count,
                               .colour = isatty(STDOUT_FILENO) == 1};
    bool all_ready = true, any_reached = false;
    view.nodes = mem_zalloc(r->node_count * sizeof(*view.nodes));
    reach_answer_init(&topology);
    for (unsigned i = 0; i < r->node_count; i++) {
        struct status_node *n = &view.nodes[i];
        ask(r, i, n);
        all_ready = all_ready && n->reached && n->ready;
        any_reached = any_reached || n->reached;
    }
    r->first = who_knows(&view);
    if (any_reached && reach_any(r, "topology", NULL, REACH_ASK_TIMEOUT_US,
                                 &topology, &view.topology_why) == ERR_OK)
        view.topology = &topology.json;
    (f->json ? status_print_json : status_print_text)(stdout, &view);
    for (unsigned i = 0; i < r->node_count; i++)
        buf_free(&view.nodes[i].body);
    mem_free(view.nodes);
    reach_answer_free(&topology);
    return any_reached && (all_ready || !f->ready) ? CMD_OK : CMD_FAILED;
}

/* ---- one node, on its own machine ------------------------------------------
 */

/* Where a process on the same machine reaches a listener that is bound to all
 * addresses. */
static const char *local_host(const char *listen)
{
    return strcmp(listen, "0.0.0.0") == 0 ? "127.0.0.1"
           : strcmp(listen, "::") == 0    ? "::1"
                                          : listen;
}

/* Asks for /readyz, which needs no certificate: for health checks. */
static int ask_ready(const struct config *c, struct buf *body,
                     struct err_msg *msg)
{
    struct https *https = NULL;
    char url[LAYOUT_URL_MAX + 1];
    int status = 0, err = https_new(c->tls.ca, NULL, NULL, &https, msg);
    layout_url(local_host(c->listen.admin.host), c->listen.admin.port, url);
    if (err == ERR_OK)
        err = https_get(https, url, "readyz?verbose", REACH_ASK_TIMEOUT_US,
                        &status, body, msg);
    https_free(https);
    if (err != ERR_OK)
        return err;
    return status == 200
               ? ERR_OK
               : err_set(msg, ERR_UNAVAILABLE, "not ready: %s", buf_cstr(body));
}

static int show_ready(const struct status_flags *f)
{
    struct config *c = NULL;
    struct buf body;
    struct err_msg msg;
    const struct config_sources sources = {.file = f->config,
                                           .env = (const char *const *)environ};
    buf_init(&body, HTTPS_ANSWER_MAX);
    int err = config_load(&sources, &c, &msg);
    if (err == ERR_OK)
        err = ask_ready(c, &body, &msg);
    if (err == ERR_OK)
        puts(f->json ? "{\"ready\":true}" : "ready");
    config_free(c);
    buf_free(&body);
    return err == ERR_OK ? CMD_OK : options_failed("status", msg.text);
}

int cmd_status(int argc, char **argv)
{
    struct status_flags f = {.ready = false};
    struct reach r = {.https = NULL};
    struct err_msg msg;
    int code = parse_flags(argc, argv, &f);
    if (code != CMD_OK)
        return code;
    if (f.help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    if (f.config != NULL)
        return show_ready(&f);
    if (reach_open(&f.reach, &r, &msg) != ERR_OK)
        return options_failed("status", msg.text);
    code = show(&r, &f);
    reach_close(&r);
    return code;
}
