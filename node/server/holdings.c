#include "node/server/holdings.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/digester.h"
#include "node/server/holdings_files.h"
#include "node/server/node.h"
#include "node/server/worker.h"

/* By then a replica that follows at all has what the leader had. */
#define REACH_US (8 * USEC_PER_SEC)
/* Quoted and signed it must fit into an answer. */
#define REPORT_MAX (CONTROL_ANSWER_MAX / 2)
#define TROUBLE_MAX 1024
/* Of a bucket's digest: enough to see that two differ. */
#define BUCKET_SHOWN 8

/* A replica here, as its worker found it. */
struct holding {
    bool here;
    struct shard_status status;
    struct raft_config members;
    bool asked; /* for a digest, at `lsn` */
    uint64_t lsn;
    int err;
    struct digest_result digest;
};

/* One worker's share. */
struct share {
    struct holdings *holdings;
    uint32_t digests; /* under way */
};

struct holdings {
    struct helper_job job; /* worker 0's, for the files */
    struct worker *worker;
    struct http_request *request;
    char nonce[HOLDINGS_NONCE_MAX + 1];
    struct holding *of; /* by shard */
    uint32_t missing;   /* workers */
    /* Opened keys, by the group's number: a bit per version, and whether there
     * is an index key. A group has at least one shard, so numbers end where
     * those do. */
    uint16_t data_keys[NODE_SHARDS_MAX];
    bool index_key[NODE_SHARDS_MAX];
    struct buf folders, log, trouble;
    int err;
};

static void holdings_free(struct holdings *h)
{
    h->worker->holdings = NULL;
    buf_free(&h->folders);
    buf_free(&h->log);
    buf_free(&h->trouble);
    mem_free(h->of);
    mem_free(h);
}

/* ---- 3. the report ----------------------------------------------------------
 */

static void put_number(struct json_writer *w, const char *key, uint64_t v)
{
    json_write_key(w, key);
    json_write_uint64(w, v);
}

static void put_hex(struct json_writer *w, const char *key, const uint8_t *data,
                    size_t len)
{
    char text[2 * DIGEST_LEN * DIGEST_BUCKETS + 1];
    struct buf hex = buf_over(text, sizeof(text));
    CHECK(text_hex_encode(bytes_of(data, len), &hex) == ERR_OK);
    json_write_member_string(w, key, bytes_of(buf_bytes(&hex), buf_len(&hex)));
}

static void put_nodes(struct json_writer *w, const struct config *c)
{
    json_write_key(w, "nodes");
    json_write_array_begin(w);
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t k = 0; k < c->regions[i].node_count; k++) {
            json_write_object_begin(w);
            put_number(w, "id", c->regions[i].nodes[k].id);
            json_write_member_str(w, "name", c->regions[i].nodes[k].name);
            json_write_member_str(w, "region", c->regions[i].name);
            json_write_object_end(w);
        }
    json_write_array_end(w);
}

static void put_group(struct json_writer *w, const struct catalog_group *g)
{
    json_write_object_begin(w);
    json_write_member_str(w, "name", g->name);
    put_number(w, "number", g->number);
    json_write_member_bool(w, "fenced", catalog_group_fenced(g));
    json_write_key(w, "regions");
    json_write_array_begin(w);
    for (size_t i = 0; i < g->region_count; i++)
        json_write_str(w, g->regions[i]);
    json_write_array_end(w);
    put_number(w, "first_shard", g->first_shard);
    put_number(w, "shards", g->shard_count);
    put_number(w, "emptied_first_shard", g->emptied.first);
    put_number(w, "emptied_shards", g->emptied.count);
    put_number(w, "witness", g->witness);
    put_number(w, "witness_leaving", g->witness_leaving);
    put_number(w, "epoch", g->decision.epoch);
    /* Nodes of releases that have no transit say nothing, too. */
    if (g->transit)
        json_write_member_str(w, "transit", GROUP_TRANSIT_ALLOW);
    json_write_object_end(w);
}

static void put_groups(struct json_writer *w, const struct catalog *c)
{
    const struct catalog_group *g;
    json_write_key(w, "groups");
    json_write_array_begin(w);
    for (size_t i = 0; (g = catalog_group_at(c, i)) != NULL; i++)
        put_group(w, g);
    json_write_array_end(w);
}

static void put_members(struct json_writer *w, const struct raft_config *c)
{
    json_write_key(w, "members");
    json_write_array_begin(w);
    for (uint32_t i = 0; i < c->n; i++) {
        json_write_object_begin(w);
        put_number(w, "id", c->members[i].id);
        json_write_member_bool(w, "voter",
                               c->members[i].voter || c->members[i].voter_old);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static const char *role_of(const struct holding *h, raft_id self)
{
    for (uint32_t i = 0; i < h->members.n; i++)
        if (h->members.members[i].id == self)
            return h->members.members[i].voter ||
                           h->members.members[i].voter_old
                       ? "voter"
                       : "learner";
    return "none";
}

/* What a reader can do about it, if anything. */
static const char *why_none(int err)
{
    switch (err) {
    case ERR_STALE:
        return "the flushed state is beyond that LSN";
    case ERR_TIMEOUT:
        return "that LSN was not reached, or scanned, in time";
    case ERR_UNAVAILABLE:
        return "a snapshot replaces the state";
    default:
        return err_text(err);
    }
}

/* Records by version of the data key, up to the newest that sealed any. */
static void put_versions(struct json_writer *w,
                         const uint64_t by_key[DIGEST_KEY_VERSIONS])
{
    size_t n = DIGEST_KEY_VERSIONS;
    while (n > 0 && by_key[n - 1] == 0)
        n--;
    json_write_key(w, "by_key_version");
    json_write_array_begin(w);
    for (size_t i = 0; i < n; i++)
        json_write_uint64(w, by_key[i]);
    json_write_array_end(w);
}

static void put_digest(struct json_writer *w, const struct holding *h)
{
    uint8_t shown[DIGEST_BUCKETS * BUCKET_SHOWN];
    json_write_key(w, "digest");
    if (!h->asked) {
        json_write_null(w);
        return;
    }
    json_write_object_begin(w);
    put_number(w, "lsn", h->lsn);
    if (h->err != ERR_OK) {
        json_write_member_str(w, "error", err_name(h->err));
        json_write_member_str(w, "reason", why_none(h->err));
    } else {
        for (size_t i = 0; i < DIGEST_BUCKETS; i++)
            memcpy(shown + i * BUCKET_SHOWN, h->digest.buckets[i],
                   BUCKET_SHOWN);
        put_number(w, "records", h->digest.records);
        put_number(w, "bytes", h->digest.bytes);
        put_versions(w, h->digest.by_key);
        put_hex(w, "sha256", h->digest.whole, DIGEST_LEN);
        put_hex(w, "buckets", shown, sizeof(shown));
    }
    json_write_object_end(w);
}

static void put_replicas(struct json_writer *w, const struct holdings *h)
{
    raft_id self = h->worker->node->config->id;
    json_write_key(w, "replicas");
    json_write_array_begin(w);
    for (uint32_t id = 0; id < NODE_SHARDS_MAX; id++) {
        const struct holding *r = &h->of[id];
        if (!r->here)
            continue;
        json_write_object_begin(w);
        put_number(w, "shard", id);
        json_write_member_str(w, "role", role_of(r, self));
        json_write_member_bool(w, "leads", r->status.role == RAFT_LEADER);
        put_members(w, &r->members);
        put_number(w, "commit_lsn", r->status.commit_lsn);
        put_number(w, "flushed_lsn", r->status.flushed_lsn);
        put_digest(w, r);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void put_key(struct json_writer *w, uint16_t group,
                    enum key_purpose purpose, uint32_t version)
{
    json_write_object_begin(w);
    put_number(w, "id", group_key_id(group, purpose, version));
    put_number(w, "group", group);
    put_number(w, "version", version);
    json_write_member_str(w, "purpose",
                          purpose == KEY_PURPOSE_DATA ? "data" : "index");
    json_write_object_end(w);
}

static void put_keys(struct json_writer *w, const struct holdings *h)
{
    json_write_key(w, "keys");
    json_write_array_begin(w);
    for (uint16_t g = 0; g < NODE_SHARDS_MAX; g++) {
        for (uint32_t v = 0; v < GROUP_KEY_VERSIONS_MAX; v++)
            if ((h->data_keys[g] >> v & 1) != 0)
                put_key(w, g, KEY_PURPOSE_DATA, v);
        if (h->index_key[g])
            put_key(w, g, KEY_PURPOSE_INDEX, 0);
    }
    json_write_array_end(w);
    json_write_member_str(w, "region_key", h->worker->node->region_key.region);
}

static void put_who_and_when(struct json_writer *w, const struct holdings *h)
{
    const struct node *node = h->worker->node;
    const struct config *c = node->config;
    usec_t now = clock_wall_us();
    char at[CLOCK_ISO_LEN + 1];
    clock_iso(now, at);
    json_write_member_str(w, "statement", HOLDINGS_STATEMENT);
    json_write_member_str(w, "cluster", c->cluster);
    json_write_member_str(w, "cluster_id", node->cluster_keys.cluster_id);
    json_write_member_str(w, "region", c->region);
    json_write_member_str(w, "node", c->node);
    put_number(w, "id", c->id);
    json_write_member_str(w, "version", NODE_VERSION);
    json_write_member_str(w, "at", at);
    json_write_member_int64(w, "at_us", now);
    json_write_member_str(w, "nonce", h->nonce);
    put_number(w, "catalog_lsn", catalog_lsn(h->worker->catalog));
}

static int write_report(const struct holdings *h, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    put_who_and_when(&w, h);
    put_nodes(&w, h->worker->node->config);
    put_groups(&w, h->worker->catalog);
    put_replicas(&w, h);
    json_write_member_raw(
        &w, "folders", bytes_of(buf_bytes(&h->folders), buf_len(&h->folders)));
    json_write_member_raw(&w, "log",
                          bytes_of(buf_bytes(&h->log), buf_len(&h->log)));
    put_keys(&w, h);
    json_write_member_string(
        &w, "trouble", bytes_of(buf_bytes(&h->trouble), buf_len(&h->trouble)));
    json_write_object_end(&w);
    return json_writer_end(&w);
}

static int write_envelope(struct bytes report, struct bytes signature,
                          struct bytes cert, struct buf *out)
{
    struct json_writer w;
    struct buf base64;
    buf_init(&base64, 2 * SIGN_SIGNATURE_MAX);
    int err = text_base64_encode(signature, &base64);
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_string(&w, "report", report);
    json_write_member_string(&w, "signature",
                             bytes_of(buf_bytes(&base64), buf_len(&base64)));
    json_write_member_string(&w, "certificate", cert);
    json_write_object_end(&w);
    buf_free(&base64);
    return err != ERR_OK ? err : json_writer_end(&w);
}

static struct bytes content(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

static int make_answer(const struct holdings *h, struct buf *out)
{
    struct buf report, signature, cert;
    buf_init(&report, REPORT_MAX);
    buf_init(&signature, SIGN_SIGNATURE_MAX);
    buf_init(&cert, SIGN_PEM_MAX);
    int err = write_report(h, &report);
    if (err == ERR_OK)
        err = node_sign(h->worker->node->signer, content(&report), &signature,
                        &cert);
    if (err == ERR_OK)
        err = write_envelope(content(&report), content(&signature),
                             content(&cert), out);
    buf_free(&report);
    buf_free(&signature);
    buf_free(&cert);
    return err;
}

static void files_found(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct holdings *h = LIST_ENTRY(m, struct holdings, job.message);
    struct buf body;
    struct err_msg msg;
    buf_init(&body, CONTROL_ANSWER_MAX);
    int err = h->err != ERR_OK ? h->err : make_answer(h, &body);
    if (err == ERR_OK) {
        control_respond(h->request, 200, &body);
    } else {
        buf_free(&body);
        err_set(&msg, err, "the report could not be made: %s", err_text(err));
        control_refuse_err(h->request, ERR_UNAVAILABLE, msg.text);
    }
    holdings_free(h);
}

/* ---- 2. what is here --------------------------------------------------------
 */

static void find_files(struct helper_job *job)
{
    struct holdings *h = LIST_ENTRY(job, struct holdings, job);
    h->err = holdings_files(datadir_path(h->worker->node->datadir), &h->folders,
                            &h->log, &h->trouble);
}

static void worker_told(struct worker *w, void *arg)
{
    struct holdings *h = arg;
    if (--h->missing > 0)
        return;
    /* Last, so that what was flushed for the digests is among the files. */
    h->job.run = find_files;
    h->job.message.deliver = files_found;
    helper_submit(&w->helper, HELPER_UPKEEP, &h->job);
}

static void share_told(struct share *s)
{
    struct holdings *h = s->holdings;
    if (s->digests > 0)
        return;
    worker_run(h->worker, worker_told, h);
    mem_free(s);
}

static void digested(void *user, struct replica *r, int err,
                     const struct digester_result *result)
{
    struct share *s = user;
    struct holding *h = &s->holdings->of[r->id];
    h->err = err;
    if (result != NULL)
        h->digest = result->digest;
    shard_status(r->shard, clock_mono_us(), &h->status);
    s->digests--;
    share_told(s);
}

static void look_at_key(void *user, uint32_t id, enum key_purpose purpose)
{
    struct holdings *h = user;
    if (purpose != KEY_PURPOSE_DATA || id < KEY_ID_GROUP_FIRST)
        return;
    CHECK(group_of_key_id(id) < NODE_SHARDS_MAX &&
          version_of_key_id(id) < GROUP_KEY_VERSIONS_MAX);
    __atomic_or_fetch(&h->data_keys[group_of_key_id(id)],
                      (uint16_t)(1u << version_of_key_id(id)),
                      __ATOMIC_RELAXED);
}

/* Keys that this worker has opened. All workers have the same, but for moments:
 * what one of them has, the node has. */
static void look_at_keys(const struct worker *w, struct holdings *h)
{
    keyring_each(w->keyring, look_at_key, h);
    for (uint32_t i = 0; i < w->group_count; i++)
        __atomic_store_n(&h->index_key[w->groups[i].number], true,
                         __ATOMIC_RELAXED);
}

/* On each worker: its own replicas only, so no two write the same element. */
static void worker_asked(struct worker *w, void *arg)
{
    struct holdings *h = arg;
    struct share *s = mem_zalloc(sizeof(*s));
    usec_t now = clock_mono_us();
    s->holdings = h;
    s->digests = 1; /* this function itself */
    look_at_keys(w, h);
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct replica *r = w->replicas[i];
        struct holding *of = &h->of[r->id];
        of->here = true;
        shard_status(r->shard, now, &of->status);
        of->members = *raft_config_committed(shard_raft(r->shard));
        if (!of->asked)
            continue;
        s->digests++;
        const struct digester_order order = {.lsn = of->lsn,
                                             .give_up_us = now + REACH_US,
                                             .done = digested,
                                             .user = s};
        int err = digester_begin(r, &order);
        if (err != ERR_OK)
            digested(s, r, err, NULL);
    }
    s->digests--;
    share_told(s);
}

/* ---- 1. the question --------------------------------------------------------
 */

static bool nonce_legal(struct bytes n)
{
    if (n.len < HOLDINGS_NONCE_MIN || n.len > HOLDINGS_NONCE_MAX)
        return false;
    for (size_t i = 0; i < n.len; i++)
        if (memchr("0123456789abcdefghijklmnopqrstuvwxyz"
                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                   n.data[i], 62) == NULL)
            return false;
    return true;
}

/* Cuts off what stands before `mark`, or all. */
static struct bytes cut(struct bytes *text, char mark)
{
    const uint8_t *at =
        text->len > 0 ? memchr(text->data, mark, text->len) : NULL;
    size_t len = at != NULL ? (size_t)(at - text->data) : text->len;
    struct bytes first = bytes_of(text->data, len);
    size_t used = at != NULL ? len + 1 : len;
    *text = bytes_of(text->data + used, text->len - used);
    return first;
}

static int parse_at(struct holdings *h, struct bytes list)
{
    for (uint32_t n = 0; list.len > 0; n++) {
        struct bytes one = cut(&list, ',');
        uint64_t shard, lsn;
        if (text_parse_u64(cut(&one, ':'), NODE_SHARDS_MAX - 1, &shard) !=
                ERR_OK ||
            text_parse_u64(one, UINT64_MAX, &lsn) != ERR_OK ||
            h->of[shard].asked)
            return ERR_INVALID;
        if (n == HOLDINGS_DIGESTS_MAX)
            return ERR_LIMIT;
        h->of[shard].asked = true;
        h->of[shard].lsn = lsn;
        h->of[shard].err = ERR_NOT_FOUND;
    }
    return ERR_OK;
}

static int parse(struct holdings *h, struct bytes query)
{
    while (query.len > 0) {
        struct bytes value = cut(&query, '&');
        struct bytes key = cut(&value, '=');
        int err = ERR_INVALID;
        if (bytes_equal(key, bytes_str("nonce")) && nonce_legal(value)) {
            memcpy(h->nonce, value.data, value.len);
            h->nonce[value.len] = '\0';
            err = ERR_OK;
        } else if (bytes_equal(key, bytes_str("at"))) {
            err = parse_at(h, value);
        }
        if (err != ERR_OK)
            return err;
    }
    return h->nonce[0] != '\0' ? ERR_OK : ERR_INVALID;
}

void holdings_get(struct worker *w, struct http_request *r, struct bytes query)
{
    struct node *node = w->node;
    if (w->holdings != NULL) {
        control_refuse_err(r, ERR_BUSY,
                           "another report is being made; ask again");
        return;
    }
    struct holdings *h = mem_zalloc(sizeof(*h));
    h->worker = w;
    h->request = r;
    h->of = mem_zalloc(NODE_SHARDS_MAX * sizeof(*h->of));
    buf_init(&h->folders, REPORT_MAX);
    buf_init(&h->log, REPORT_MAX);
    buf_init(&h->trouble, TROUBLE_MAX);
    h->missing = node->worker_count;
    w->holdings = h;
    if (parse(h, query) != ERR_OK) {
        control_refuse(r, 400, "BadRequest",
                       "expected ?nonce=N, 16 to 64 letters and digits, and "
                       "perhaps &at=SHARD:LSN,... of at most 128 shards");
        holdings_free(h);
        return;
    }
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_run(&node->workers[i], worker_asked, h);
}
