#include "node/cli/reach.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/cmd.h"
#include "node/cli/supervise.h"

int reach_check_flags(const char *command, const struct reach_flags *f)
{
    bool files = f->ca != NULL || f->cert != NULL || f->key != NULL;
    if (f->admin != NULL && f->dir != NULL)
        return options_refuse(command, "--dir and --admin exclude each other");
    if (f->admin == NULL && files)
        return options_refuse(command, "--ca, --cert and --key belong to "
                                       "--admin");
    if (f->admin != NULL &&
        (f->ca == NULL || f->cert == NULL || f->key == NULL))
        return options_refuse(command, "--admin needs --ca, --cert and --key");
    return CMD_OK;
}

int reach_open(const struct reach_flags *f, struct reach *out,
               struct err_msg *msg)
{
    struct layout l;
    struct reach r = {.https = NULL};
    if (f->admin != NULL) {
        snprintf(r.nodes[0].admin, sizeof(r.nodes[0].admin), "%s", f->admin);
        r.node_count = 1;
        int err = https_new(f->ca, f->cert, f->key, &r.https, msg);
        if (err == ERR_OK)
            *out = r;
        return err;
    }
    const char *dir = f->dir != NULL ? f->dir : "demo";
    int err = layout_load(dir, &l, msg);
    if (err == ERR_OK)
        err = supervise_https(dir, &r.https, msg);
    if (err != ERR_OK)
        return err;
    for (unsigned i = 0; i < l.node_count; i++) {
        strcpy(r.nodes[i].region, l.regions[l.nodes[i].region].name);
        strcpy(r.nodes[i].name, l.nodes[i].name);
        layout_url(l.nodes[i].host, l.nodes[i].admin_port, r.nodes[i].admin);
    }
    r.node_count = l.node_count;
    *out = r;
    return ERR_OK;
}

void reach_close(struct reach *r)
{
    https_free(r->https);
    r->https = NULL;
}

/* ---- commands --------------------------------------------------------------
 */

/* CMD_OK with `help_out`: only the help is wanted. */
static int read_flags(const struct reach_command *c, int argc, char **argv,
                      struct reach_flags *reach, bool *help_out)
{
    struct option_spec specs[OPTION_SPECS_MAX] = {
        REACH_OPTIONS(reach),
        {.name = "output", .kind = OPTION_OUTPUT, .value = c->json},
        {.name = "help", .kind = OPTION_FLAG, .value = help_out}};
    unsigned common = REACH_OPTION_COUNT + 2, count;
    char **words;
    CHECK(common + c->option_count <= OPTION_SPECS_MAX);
    for (unsigned i = 0; i < c->option_count; i++)
        specs[common + i] = c->options[i];
    int code =
        options_parse(c->name, argc, argv, specs, common + c->option_count,
                      c->words_max, &words, &count);
    if (code != CMD_OK || *help_out)
        return code;
    if (c->check != NULL)
        code = c->check(c->flags, words, count);
    return code == CMD_OK ? reach_check_flags(c->name, reach) : code;
}

int reach_run(const struct reach_command *c, int argc, char **argv)
{
    struct reach_flags flags = {.dir = NULL};
    struct reach r = {.https = NULL};
    struct err_msg msg;
    bool help = false;
    int code = read_flags(c, argc, argv, &flags, &help);
    if (code == CMD_OK && help)
        fputs(c->help, stdout);
    if (code != CMD_OK || help)
        return code;
    if (reach_open(&flags, &r, &msg) != ERR_OK)
        return options_failed(c->name, msg.text);
    code = c->run(&r, c->flags);
    reach_close(&r);
    return code;
}

/* ---- answers ---------------------------------------------------------------
 */

void reach_answer_init(struct reach_answer *a)
{
    a->status = 0;
    buf_init(&a->body, HTTPS_ANSWER_MAX);
    json_init(&a->json);
}

void reach_answer_free(struct reach_answer *a)
{
    json_free(&a->json);
    buf_free(&a->body);
}

/* ---- asking ----------------------------------------------------------------
 */

static int status_error(int status)
{
    switch (status) {
    case 400:
        return ERR_INVALID;
    case 401:
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_PRECONDITION;
    case 503:
        return ERR_UNAVAILABLE;
    default:
        return ERR_PROTOCOL;
    }
}

/* The node's own words for a refusal. */
static int refusal(const struct reach_node *n, struct reach_answer *a,
                   struct err_msg *msg)
{
    struct buf scratch;
    struct bytes text;
    int err = status_error(a->status);
    buf_init(&scratch, HTTPS_ANSWER_MAX);
    if (json_get_string(&a->json, 0, "message", &scratch, &text) == ERR_OK &&
        text.len > 0)
        err_set(msg, err, "%.*s", (int)text.len, (const char *)text.data);
    else
        err_set(msg, err, "%s answered %d", n->admin, a->status);
    buf_free(&scratch);
    return err;
}

static int reach_call(struct reach *r, unsigned node, const char *method,
                      const char *path, const char *request, usec_t timeout_us,
                      struct reach_answer *a, struct err_msg *msg)
{
    CHECK(node < r->node_count);
    const struct reach_node *n = &r->nodes[node];
    buf_clear(&a->body);
    a->status = 0;
    int err = https_call(r->https, method, n->admin, path, request, timeout_us,
                         &a->status, &a->body, msg);
    if (err != ERR_OK)
        return err;
    bool parsed =
        json_parse(&a->json, bytes_of(buf_bytes(&a->body), buf_len(&a->body)),
                   HTTPS_ANSWER_MAX, NULL) == ERR_OK &&
        json_type(&a->json, 0) == JSON_OBJECT;
    if (!parsed)
        return err_set(msg, ERR_PROTOCOL,
                       "%s answered %d without a JSON object", n->admin,
                       a->status);
    return a->status / 100 == 2 ? ERR_OK : refusal(n, a, msg);
}

int reach_ask(struct reach *r, unsigned node, const char *path,
              const char *request, usec_t timeout_us, struct reach_answer *a,
              struct err_msg *msg)
{
    return reach_call(r, node, request != NULL ? "POST" : "GET", path, request,
                      timeout_us, a, msg);
}

/* ---- asking all ------------------------------------------------------------
 */

/* One node's share of reach_each, on a thread of its own. */
struct share {
    pthread_t thread;
    struct reach *reach; /* is only read */
    unsigned node;
    const char *method, *path, *request;
    usec_t timeout_us;
    struct reach_answer answer;
    int err;
    struct err_msg why;
};

static void *ask_share(void *user)
{
    struct share *s = user;
    s->err = reach_call(s->reach, s->node, s->method, s->path, s->request,
                        s->timeout_us, &s->answer, &s->why);
    return NULL;
}

void reach_each(struct reach *r, const char *method, const char *path,
                const char *request, usec_t timeout_us, reach_heard *heard,
                void *user)
{
    struct share *shares = mem_zalloc(r->node_count * sizeof(*shares));
    for (unsigned i = 0; i < r->node_count; i++) {
        struct share *s = &shares[i];
        s->reach = r;
        s->node = i;
        s->method = method;
        s->path = path;
        s->request = request;
        s->timeout_us = timeout_us;
        reach_answer_init(&s->answer);
        CHECK(pthread_create(&s->thread, NULL, ask_share, s) == 0);
    }
    for (unsigned i = 0; i < r->node_count; i++) {
        struct share *s = &shares[i];
        CHECK(pthread_join(s->thread, NULL) == 0);
        heard(user, i, s->err, &s->answer, &s->why);
        reach_answer_free(&s->answer);
    }
    mem_free(shares);
}

/* ---- asking anybody --------------------------------------------------------
 */

/* Whether another node may be able to answer. */
static bool is_not_now(int err)
{
    return err == ERR_UNAVAILABLE || err == ERR_TIMEOUT || err == ERR_IO ||
           err == ERR_PROTOCOL || err == ERR_AUTH;
}

int reach_any(struct reach *r, const char *path, const char *request,
              usec_t timeout_us, struct reach_answer *a, struct err_msg *msg)
{
    struct err_msg why = {""};
    bool answered = false; /* a node's words weigh more than silence */
    for (unsigned i = 0; i < r->node_count; i++) {
        unsigned node = (r->first + i) % r->node_count;
        int err = reach_ask(r, node, path, request, timeout_us, a, &why);
        if (err == ERR_OK || !is_not_now(err)) {
            r->first = node;
            if (msg != NULL) /* what another node said is no error then */
                *msg = err == ERR_OK ? (struct err_msg){""} : why;
            return err;
        }
        if (a->status != 0 || !answered)
            err_set(msg, err, "%s", why.text);
        answered = answered || a->status != 0;
    }
    if (!answered) {
        struct err_msg last = why;
        err_set(msg, ERR_UNAVAILABLE,
                "no node answers (%.300s); is the cluster running?", last.text);
    }
    return ERR_UNAVAILABLE;
}
