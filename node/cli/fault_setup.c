#include "node/cli/fault_setup.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/cosmos/session.h"
#include "node/json/json.h"
#include "node/shard/conflict.h"

#define ASK_TIMEOUT_US (5 * USEC_PER_SEC)
#define RETRY_US (100 * USEC_PER_MS)

/* ---- where ------------------------------------------------------------------
 */

static void put_address(const char *host, unsigned port,
                        char out[FAULT_ADDRESS_MAX])
{
    bool v6 = strchr(host, ':') != NULL;
    snprintf(out, FAULT_ADDRESS_MAX, v6 ? "[%s]:%u" : "%s:%u", host, port);
}

int fault_setup_key(const char *dir, enum config_master_key which,
                    struct auth_key *key_out, struct err_msg *msg)
{
    struct config_account_keys keys;
    int err = layout_account_keys(dir, &keys, msg);
    if (err != ERR_OK)
        return err;
    err =
        auth_key_init(key_out, bytes_of(keys.raw[which], CONFIG_MASTER_KEY_LEN),
                      AUTH_READ_WRITE);
    config_account_keys_wipe(&keys);
    return err;
}

int fault_setup_read(const char *dir, struct fault_cluster *cluster_out,
                     struct auth_key *key_out, struct err_msg *msg)
{
    struct layout *l = mem_zalloc(sizeof(*l));
    struct fault_cluster *k = cluster_out;
    int err = layout_load(dir, l, msg);
    if (err == ERR_OK)
        err = layout_path(dir, "ca.pem", NULL, k->ca, msg);
    if (err == ERR_OK)
        err = fault_setup_key(dir, CONFIG_KEY_PRIMARY, key_out, msg);
    if (err == ERR_OK) {
        put_address(l->host, l->port, k->account);
        k->region_count = l->region_count;
        for (unsigned i = 0; i < l->region_count; i++) {
            strcpy(k->regions[i].name, l->regions[i].name);
            put_address(l->regions[i].host, l->regions[i].port,
                        k->regions[i].address);
        }
    }
    mem_free(l);
    return err;
}

/* ---- asking until it works --------------------------------------------------
 */

static bool may_work_later(int status)
{
    return status == 403 || status == 408 || status == 429 || status == 449 ||
           status == 503 || status == 500;
}

/* Asks until the answer is final. ERR_TIMEOUT with the last reason. */
static int insist(struct fault_ask *a, const char *address,
                  struct bench_wire *wire,
                  int (*build)(const struct bench_wire *w, const char *host,
                               struct buf *out),
                  usec_t until_us, const struct bench_response **answer_out,
                  struct err_msg *msg)
{
    struct buf request;
    struct err_msg why = {""};
    int err = ERR_TIMEOUT;
    buf_init(&request, BENCH_HEAD_MAX * 2);
    while (err != ERR_OK) {
        buf_clear(&request);
        bench_set_date(wire, clock_wall_us() / USEC_PER_SEC);
        CHECK(build(wire, address, &request) == ERR_OK);
        err = fault_ask(a, address, &request, ASK_TIMEOUT_US, answer_out, &why);
        if (err == ERR_OK && !may_work_later((*answer_out)->status))
            break;
        if (err == ERR_OK)
            err = err_set(&why, ERR_UNAVAILABLE, "%s answers %d", address,
                          (*answer_out)->status);
        if (clock_mono_us() > until_us)
            break;
        usleep(RETRY_US);
    }
    buf_free(&request);
    return err == ERR_OK ? ERR_OK : err_set(msg, err, "%s", why.text);
}

int fault_setup_make(struct fault_ask *a, const struct fault_cluster *cluster,
                     struct bench_wire *wire, usec_t timeout_us,
                     struct err_msg *msg)
{
    usec_t until_us = clock_mono_us() + timeout_us;
    const struct bench_response *r;
    int (*const makes[])(const struct bench_wire *w, const char *host,
                         struct buf *out) = {bench_create_database,
                                             bench_create_container};
    for (size_t i = 0; i < ARRAY_LEN(makes); i++) {
        int err =
            insist(a, cluster->account, wire, makes[i], until_us, &r, msg);
        if (err != ERR_OK)
            return err;
        if (r->status != 201 && r->status != 409)
            return err_set(msg, ERR_FORBIDDEN, "making the container: %d %.*s",
                           r->status,
                           (int)(r->body.len < 200 ? r->body.len : 200),
                           (const char *)r->body.data);
    }
    return ERR_OK;
}

void fault_setup_drop(struct fault_ask *a, const struct fault_cluster *cluster,
                      struct bench_wire *wire)
{
    const struct bench_response *r;
    (void)insist(a, cluster->account, wire, bench_delete_container,
                 clock_mono_us(), &r, NULL);
}

/* ---- the end ----------------------------------------------------------------
 */

/* The key of the read under way; requests are built from the wire alone. */
struct end_read {
    struct fault_ask *ask;
    const char *address;
    struct bench_wire *wire;
    usec_t until_us;
};

static int read_one(const struct end_read *e, uint32_t key,
                    const struct bench_response **answer_out,
                    struct err_msg *msg)
{
    struct buf request;
    struct err_msg why = {""};
    int err = ERR_TIMEOUT, status = 0;
    buf_init(&request, FAULT_RANGES_MAX * SESSION_ELEMENT_MAX + BENCH_HEAD_MAX);
    do {
        buf_clear(&request);
        bench_set_date(e->wire, clock_wall_us() / USEC_PER_SEC);
        CHECK(bench_read(e->wire, e->address, key, &request) == ERR_OK);
        err = fault_ask(e->ask, e->address, &request, ASK_TIMEOUT_US,
                        answer_out, &why);
        status = err == ERR_OK ? (*answer_out)->status : 0;
        bool missing = status == 404 && (*answer_out)->substatus == 0;
        if (status == 200 || missing)
            break;
        if (err == ERR_OK)
            err = err_set(&why, ERR_UNAVAILABLE, "%s answers %d/%u", e->address,
                          status, (*answer_out)->substatus);
        usleep(RETRY_US);
    } while (clock_mono_us() < e->until_us);
    buf_free(&request);
    return err == ERR_OK
               ? ERR_OK
               : err_set(msg, err, "document %u: %.300s", key, why.text);
}

/* The documents, each once, with their shards. */
static size_t list_keys(const struct observed *h, struct hist_end **out)
{
    uint32_t keys = 0;
    for (size_t i = 0; i < h->n_ops; i++)
        keys = h->ops[i].key >= keys ? h->ops[i].key + 1 : keys;
    bool *used = mem_zalloc(keys + 1);
    *out = mem_zalloc((keys + 1) * sizeof(**out));
    size_t n = 0;
    for (size_t i = 0; i < h->n_ops; i++) {
        if (used[h->ops[i].key])
            continue;
        used[h->ops[i].key] = true;
        (*out)[n++] =
            (struct hist_end){.shard = h->ops[i].shard, .key = h->ops[i].key};
    }
    mem_free(used);
    return n;
}

int fault_setup_read_ends(struct fault_ask *a, const char *address,
                          struct bench_wire *wire, const char *tokens,
                          usec_t timeout_us, struct observed *history,
                          struct err_msg *msg)
{
    struct end_read e = {a, address, wire, clock_mono_us() + timeout_us};
    struct hist_end *ends;
    struct buf more;
    size_t n = list_keys(history, &ends);
    int err = ERR_OK;
    buf_init(&more, FAULT_RANGES_MAX * SESSION_ELEMENT_MAX + 64);
    if (tokens[0] != '\0')
        CHECK(buf_printf(&more, "x-ms-session-token: %s\r\n", tokens) ==
              ERR_OK);
    wire->more = tokens[0] != '\0' ? buf_cstr(&more) : NULL;
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        const struct bench_response *r = NULL;
        struct session_point point = {0, 0};
        err = read_one(&e, ends[i].key, &r, msg);
        if (err != ERR_OK)
            break;
        (void)session_find(r->session, ends[i].shard, &point);
        ends[i].version = r->status == 200 ? fault_version_of(r->body) : 0;
        ends[i].at =
            (struct hist_place){point.lsn, (uint64_t)point.epoch << 32};
        observed_end(history, &ends[i]);
    }
    wire->more = NULL;
    mem_free(ends);
    buf_free(&more);
    return err;
}

/* ---- conflicts --------------------------------------------------------------
 */

/* The ids of conflicts name shards of the cluster; ranges of the container
 * begin behind the meta shard. */
static void add_conflict(const struct json *j, json_ref c,
                         struct observed *history)
{
    struct buf id, content;
    struct bytes text;
    struct conflict_id at;
    buf_init(&id, 4096);
    buf_init(&content, BENCH_DOCUMENT_MAX);
    if (json_get_string(j, c, "id", &id, &text) == ERR_OK &&
        conflict_id_parse(text, &at) == ERR_OK && at.shard > 0) {
        struct hist_conflict h = {.shard = (uint16_t)(at.shard - 1),
                                  .at = {at.lsn, at.term}};
        if (json_get_string(j, c, "content", &content, &text) == ERR_OK)
            h.version = fault_version_of(text);
        observed_conflict(history, &h);
    }
    buf_free(&id);
    buf_free(&content);
}

static int read_page(const struct bench_response *r, struct observed *history,
                     struct err_msg *msg)
{
    struct json j;
    json_init(&j);
    int err = r->status == 200
                  ? json_parse(&j, r->body, JSON_TEXT_MAX, NULL)
                  : err_set(msg, ERR_UNAVAILABLE,
                            "the conflict feed is answered with %d", r->status);
    json_ref list =
        err == ERR_OK ? json_get_str(&j, 0, "Conflicts") : JSON_NONE;
    if (err == ERR_OK && list == JSON_NONE)
        err = err_set(msg, ERR_PROTOCOL, "the conflict feed is no list");
    for (json_ref c = err == ERR_OK ? json_first(&j, list) : JSON_NONE;
         c != JSON_NONE; c = json_next(&j, list, c))
        add_conflict(&j, c, history);
    json_free(&j);
    return err;
}

int fault_setup_read_conflicts(struct fault_ask *a, const char *address,
                               struct bench_wire *wire,
                               struct observed *history, struct err_msg *msg)
{
    struct buf request, continuation;
    int err = ERR_OK;
    buf_init(&request, BENCH_HEAD_MAX * 2);
    buf_init(&continuation, BENCH_HEAD_MAX);
    history->n_conflicts = 0;
    do {
        const struct bench_response *r = NULL;
        buf_clear(&request);
        bench_set_date(wire, clock_wall_us() / USEC_PER_SEC);
        err = bench_read_conflicts(
            wire, address,
            bytes_of(buf_bytes(&continuation), buf_len(&continuation)),
            &request);
        if (err == ERR_OK)
            err = fault_ask(a, address, &request, ASK_TIMEOUT_US, &r, msg);
        if (err == ERR_OK)
            err = read_page(r, history, msg);
        buf_clear(&continuation);
        if (err == ERR_OK)
            err = buf_append(&continuation, r->continuation.data,
                             r->continuation.len);
    } while (err == ERR_OK && buf_len(&continuation) > 0);
    buf_free(&request);
    buf_free(&continuation);
    return err;
}
