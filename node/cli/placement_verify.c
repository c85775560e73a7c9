/* bastide placement verify: what every node holds, signed, and whether that is
 * as it should be. */
#include "node/cli/placement_verify.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/base/text.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/reach.h"
#include "node/cli/residency.h"
#include "node/server/holdings.h"
#include "node/server/worker.h"

/* A replica has DIGESTER_PIN_US to be scanned, after a moment to get there. */
#define ASK_TIMEOUT_US (90 * USEC_PER_SEC)
/* A replica may have flushed beyond the LSN just before it was asked; then all
 * replicas of the shard are asked again. */
#define ROUNDS_MAX 5
#define NONCE_BYTES 16

static const char help[] =
    "Usage: bastide placement verify [--group G] [--out FILE] [options]\n"
    "\n"
    "Asks every node of the cluster what it holds of every placement group, "
    "signed\n"
    "with the node's key, and checks the signatures, that nothing is outside "
    "its\n"
    "fence (replicas, folders, log entries, opened keys), that every node has\n"
    "reported, and that the replicas of each shard hold the same records. "
    "Exits\n"
    "with 1 if something does not hold, and says what.\n"
    "\n"
    "  --group G       this group alone (all nodes report nevertheless)\n"
    "  --out FILE      write the statement, with all reports, to keep it:\n"
    "                  `bastide placement check FILE` reads it without the "
    "cluster\n" REACH_HELP
    "                  (the other nodes count as missing then)\n"
    "  -o text|json    how to show it\n"
    "\n"
    "Examples:\n"
    "  bastide placement verify --dir demo\n"
    "  bastide placement verify --group eu --out residency.json\n";

struct verify {
    struct reach reach;
    const char *group; /* NULL: all */
    struct buf ca_pem;
    char nonce[2 * NONCE_BYTES + 1];
    /* Where replicas are, as the nodes say: the highest commit LSN, and which
     * shards are (still) to be compared. */
    uint64_t lsn[NODE_SHARDS_MAX];
    bool known[NODE_SHARDS_MAX], open[NODE_SHARDS_MAX];
    struct buf *answers;
    size_t answer_count;
    struct err_msg why[LAYOUT_NODES_MAX]; /* it did not report; "": it did */
    bool busy; /* somebody makes a report for somebody else */
};

static struct bytes content(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

/* ---- asking
 * ------------------------------------------------------------------
 */

static bool wanted(const struct verify *v, const struct json *j, json_ref shard)
{
    json_ref group = json_get_str(j, shard, "group");
    return v->group == NULL ||
           (group != JSON_NONE && json_type(j, group) == JSON_STRING &&
            json_string_equal(j, group, bytes_str(v->group)));
}

/* An answer to GET /status. */
static void heard_status(void *user, unsigned node, int err,
                         const struct reach_answer *a,
                         const struct err_msg *why)
{
    struct verify *v = user;
    const struct json *j = &a->json;
    if (err != ERR_OK) {
        v->why[node] = *why;
        return;
    }
    json_ref list = json_get_str(j, 0, "shards");
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY)
        return;
    for (json_ref s = json_first(j, list); s != JSON_NONE;
         s = json_next(j, list, s)) {
        int64_t id, lsn;
        if (json_get_int64(j, s, "shard", &id) != ERR_OK ||
            json_get_int64(j, s, "commit_lsn", &lsn) != ERR_OK || id < 0 ||
            id >= NODE_SHARDS_MAX || lsn < 0 || !wanted(v, j, s))
            continue;
        v->known[id] = true;
        if ((uint64_t)lsn > v->lsn[id])
            v->lsn[id] = (uint64_t)lsn;
    }
}

static void heard_report(void *user, unsigned node, int err,
                         const struct reach_answer *a,
                         const struct err_msg *why)
{
    struct verify *v = user;
    if (err != ERR_OK) {
        v->busy |= err == ERR_PRECONDITION;
        v->why[node] = *why;
        return;
    }
    v->why[node].text[0] = '\0';
    v->answers =
        mem_realloc(v->answers, (v->answer_count + 1) * sizeof(*v->answers));
    struct buf *kept = &v->answers[v->answer_count++];
    buf_init(kept, HTTPS_ANSWER_MAX);
    CHECK(buf_append(kept, buf_bytes(&a->body), buf_len(&a->body)) == ERR_OK);
}

/* Asks every node for a report with digests of up to HOLDINGS_DIGESTS_MAX of
 * the open shards from `*next` on; true when there are more. */
static bool ask_some(struct verify *v, uint32_t *next)
{
    struct buf path;
    unsigned n = 0;
    uint32_t id = *next;
    buf_init(&path, HTTPS_REQUEST_MAX);
    CHECK(buf_printf(&path, "placement/holdings?nonce=%s", v->nonce) == ERR_OK);
    for (; id < NODE_SHARDS_MAX && n < HOLDINGS_DIGESTS_MAX; id++)
        if (v->open[id])
            CHECK(buf_printf(&path, "%s%u:%llu", n++ == 0 ? "&at=" : ",", id,
                             (unsigned long long)v->lsn[id]) == ERR_OK);
    *next = id;
    reach_each(&v->reach, "GET", buf_cstr(&path), NULL, ASK_TIMEOUT_US,
               heard_report, v);
    buf_free(&path);
    for (; id < NODE_SHARDS_MAX; id++)
        if (v->open[id])
            return true;
    return false;
}

static void ask_all(struct verify *v, bool first)
{
    uint32_t next = 0;
    v->busy = false;
    memset(v->lsn, 0, sizeof(v->lsn));
    reach_each(&v->reach, "GET", "status", NULL, REACH_ASK_TIMEOUT_US,
               heard_status, v);
    if (first)
        memcpy(v->open, v->known, sizeof(v->open));
    while (ask_some(v, &next)) {
    }
}

/* ---- judging
 * ------------------------------------------------------------------
 */

static int make_statement(const struct verify *v, struct buf *out)
{
    struct residency_missing missing[LAYOUT_NODES_MAX];
    struct residency_draft d = {.group = v->group,
                                .nonce = v->nonce,
                                .made_us = clock_wall_us(),
                                .ca_pem = content(&v->ca_pem),
                                .missing = missing,
                                .report_count = v->answer_count};
    struct bytes *reports = mem_alloc((v->answer_count + 1) * sizeof(*reports));
    for (size_t i = 0; i < v->answer_count; i++)
        reports[i] = content(&v->answers[i]);
    d.reports = reports;
    for (unsigned i = 0; i < v->reach.node_count; i++)
        if (v->why[i].text[0] != '\0')
            missing[d.missing_count++] =
                (struct residency_missing){.node = v->reach.nodes[i].name,
                                           .region = v->reach.nodes[i].region,
                                           .reason = v->why[i].text};
    int err = residency_format(&d, out);
    mem_free(reports);
    return err;
}

static int judge(const struct verify *v, struct buf *statement,
                 struct residency **out, struct err_msg *msg)
{
    buf_clear(statement);
    int err = make_statement(v, statement);
    if (err != ERR_OK)
        return err_set(msg, err, "no statement can be made of the answers: %s",
                       err_text(err));
    return residency_open(content(statement), content(&v->ca_pem), out, msg);
}

static void note_open(void *user, uint32_t shard)
{
    struct verify *v = user;
    v->open[shard] = true;
}

/* Whether another round may do better. */
static bool again(struct verify *v, const struct residency *r)
{
    memset(v->open, 0, sizeof(v->open));
    residency_each_open(r, note_open, v);
    bool any = false;
    for (uint32_t i = 0; i < NODE_SHARDS_MAX; i++)
        any |= v->open[i];
    return any;
}

static int run(struct verify *v, struct buf *statement, struct residency **out,
               struct err_msg *msg)
{
    for (int round = 1;; round++) {
        ask_all(v, round == 1);
        int err = judge(v, statement, out, msg);
        if (err != ERR_OK)
            return err;
        if (residency_problem_count(*out) == 0 || round == ROUNDS_MAX ||
            !(again(v, *out) || v->busy))
            return ERR_OK;
        residency_free(TAKE(*out));
    }
}

/* ---- the command
 * ---------------------------------------------------------------
 */

static int show(struct verify *v, const char *file, bool json)
{
    struct buf statement;
    struct residency *r = NULL;
    struct err_msg msg;
    buf_init(&statement, RESIDENCY_BYTES_MAX);
    int err = run(v, &statement, &r, &msg);
    if (err == ERR_OK && file != NULL)
        err = file_replace(file, 0644, content(&statement), &msg);
    if (err == ERR_OK)
        (json ? residency_print_json : residency_print)(stdout, r);
    int code = err != ERR_OK ? options_failed("placement verify", msg.text)
               : residency_problem_count(r) > 0 ? CMD_FAILED
                                                : CMD_OK;
    residency_free(r);
    buf_free(&statement);
    return code;
}

static int open_all(struct verify *v, const struct reach_flags *f,
                    struct err_msg *msg)
{
    uint8_t random[NONCE_BYTES];
    char path[PATH_MAX];
    struct buf hex = buf_over(v->nonce, sizeof(v->nonce) - 1);
    rng_fill(random, sizeof(random));
    CHECK(text_hex_encode(bytes_of(random, sizeof(random)), &hex) == ERR_OK);
    buf_init(&v->ca_pem, SIGN_PEM_MAX);
    int err = reach_open(f, &v->reach, msg);
    if (err == ERR_OK && f->ca == NULL)
        err = layout_path(f->dir != NULL ? f->dir : "demo", "ca.pem", NULL,
                          path, msg);
    return err == ERR_OK
               ? file_read(f->ca != NULL ? f->ca : path, false, &v->ca_pem, msg)
               : err;
}

static void close_all(struct verify *v)
{
    for (size_t i = 0; i < v->answer_count; i++)
        buf_free(&v->answers[i]);
    mem_free(v->answers);
    buf_free(&v->ca_pem);
    reach_close(&v->reach);
    mem_free(v);
}

int placement_verify(int argc, char **argv)
{
    struct reach_flags reach = {.dir = NULL};
    const char *group = NULL, *file = NULL;
    bool json = false, want_help = false;
    const struct option_spec specs[] = {
        REACH_OPTIONS(&reach),
        {.name = "group", .kind = OPTION_TEXT, .value = &group},
        {.name = "out", .kind = OPTION_TEXT, .value = &file},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &json},
        {.name = "help", .kind = OPTION_FLAG, .value = &want_help}};
    struct err_msg msg;
    int code = options_parse("placement verify", argc, argv, specs,
                             ARRAY_LEN(specs), 0, NULL, NULL);
    if (code == CMD_OK && want_help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    if (code == CMD_OK)
        code = reach_check_flags("placement verify", &reach);
    if (code != CMD_OK)
        return code;
    struct verify *v = mem_zalloc(sizeof(*v));
    v->group = group;
    if (open_all(v, &reach, &msg) == ERR_OK)
        code = show(v, file, json);
    else
        code = options_failed("placement verify", msg.text);
    close_all(v);
    return code;
}
