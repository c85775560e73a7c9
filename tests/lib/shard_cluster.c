#include "tests/lib/shard_cluster.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/hash.h"
#include "node/base/list.h"
#include "node/base/mem.h"
#include "node/crypt/keyring.h"
#include "node/shard/record.h"
#include "node/shard/salvage.h"
#include "node/store/view.h"

#define COMMITS_MAX 200000
#define CALL_TIME_US (5 * USEC_PER_SEC)
#define SETTLE_ROUNDS 1000

/* -- what moves ------------------------------------------------------------ */

struct packet {
    struct list node;
    usec_t due_us;
    struct raft_msg msg;
    struct raft_entry *heads;
    struct bytes *payloads; /* owned copies */
};

enum record_kind {
    LOG_ENTRY,
    LOG_HARD_STATE,
    LOG_TRUNCATE,
    LOG_RESET,
    LOG_SALVAGE,
    LOG_SALVAGED,
};

struct log_record {
    enum record_kind kind;
    struct entry *entry;
    uint64_t lsn, term;
    raft_id vote;
    uint32_t number; /* of salvage */
    bool acknowledged;
};

/* A snapshot on its way from one node to another. */
struct snapshot {
    struct list node;
    raft_id from, to;
    bool opened; /* the state is copied and offered */
    bool reset;  /* the receiver's log is reset; adoption follows */
    uint64_t lsn, term;
    uint64_t reset_update;
    struct raft_config config;
    struct kv_mem *state;
};

struct cluster_node {
    struct cluster *cluster;
    raft_id id;
    raft_region region;
    struct shard *shard; /* NULL while it is down */
    struct sealer *sealer;
    struct kv_mem *store;
    struct log_record *log;
    size_t log_len, log_cap;
    size_t synced;
    uint64_t committed;
    bool hold_sync, hold_adoption;
};

struct cluster {
    unsigned n;
    uint16_t shard;
    bool no_key;
    size_t memtable_bytes, retain_lagging;
    usec_t now, wan_us;
    raft_id witness, other_witness;
    struct prng prng;
    struct raft_config config;
    struct shard_policy policy;
    struct keyring *keys;
    struct cluster_node nodes[CLUSTER_NODES_MAX + 1];
    struct list links[CLUSTER_NODES_MAX + 1][CLUSTER_NODES_MAX + 1];
    bool cut[CLUSTER_NODES_MAX + 1][CLUSTER_NODES_MAX + 1];
    bool held[CLUSTER_NODES_MAX + 1][CLUSTER_NODES_MAX + 1];
    struct list snapshots;
    unsigned installed;
    /* Hash of each committed entry, by LSN: the same for everybody. */
    uint64_t *commits;
    uint32_t deleted;
    const char *refused;
    uint64_t op_number;
};

static struct cluster_node *node_of(struct cluster *c, raft_id id)
{
    CHECK(id >= 1 && id <= c->n);
    return &c->nodes[id];
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(1099511628211);
    return h;
}

/* -- the environment of a shard ---------------------------------------------
 */

static struct cluster_node *env_node(struct shard *s)
{
    return shard_user(s);
}

static struct log_record *log_add(struct cluster_node *n, enum record_kind kind)
{
    if (n->log_len == n->log_cap) {
        n->log_cap = n->log_cap > 0 ? 2 * n->log_cap : 64;
        n->log = mem_realloc(n->log, n->log_cap * sizeof(*n->log));
    }
    struct log_record *r = &n->log[n->log_len++];
    *r = (struct log_record){.kind = kind};
    return r;
}

static void env_log_entry(void *user, struct shard *s, const struct entry *e)
{
    (void)user;
    struct log_record *r = log_add(env_node(s), LOG_ENTRY);
    CHECK(entry_copy(e->lsn, e->term, e->type, entry_payload(e), &r->entry) ==
          ERR_OK);
}

static void env_log_hard_state(void *user, struct shard *s, uint64_t term,
                               raft_id vote)
{
    (void)user;
    struct log_record *r = log_add(env_node(s), LOG_HARD_STATE);
    r->term = term;
    r->vote = vote;
}

static void env_log_truncate(void *user, struct shard *s, uint64_t from)
{
    (void)user;
    log_add(env_node(s), LOG_TRUNCATE)->lsn = from;
}

static void env_log_reset(void *user, struct shard *s, uint64_t lsn,
                          uint64_t term)
{
    (void)user;
    struct log_record *r = log_add(env_node(s), LOG_RESET);
    r->lsn = lsn;
    r->term = term;
}

static void env_log_salvage(void *user, struct shard *s, uint32_t number,
                            bool acknowledged, const struct entry *e)
{
    (void)user;
    struct log_record *r = log_add(env_node(s), LOG_SALVAGE);
    CHECK(entry_copy(e->lsn, e->term, e->type, entry_payload(e), &r->entry) ==
          ERR_OK);
    r->number = number;
    r->acknowledged = acknowledged;
}

static void env_log_salvaged(void *user, struct shard *s, uint32_t number)
{
    (void)user;
    log_add(env_node(s), LOG_SALVAGED)->number = number;
}

static struct packet *packet_new(const struct raft_msg *m,
                                 const struct raft_entry *heads,
                                 struct entry *const *entries)
{
    struct packet *p = mem_zalloc(sizeof(*p));
    p->msg = *m;
    uint32_t n = m->type == RAFT_MSG_APPEND ? m->append.n : 0;
    if (n == 0)
        return p;
    p->heads = mem_alloc(n * sizeof(*p->heads));
    p->payloads = mem_alloc(n * sizeof(*p->payloads));
    for (uint32_t i = 0; i < n; i++) {
        const struct entry *e = entries[i];
        CHECK(heads[i].term == e->term && heads[i].type == e->type);
        CHECK(e->lsn == m->append.prev_lsn + 1 + i);
        p->heads[i] = heads[i];
        p->heads[i].config = NULL;
        p->payloads[i] = bytes_of(mem_dup(e->data, e->len), e->len);
    }
    p->msg.append.entries = p->heads;
    return p;
}

static void packet_free(struct packet *p)
{
    for (uint32_t i = 0; p->payloads != NULL && i < p->msg.append.n; i++)
        mem_free((void *)p->payloads[i].data);
    mem_free(p->payloads);
    mem_free(p->heads);
    mem_free(p);
}

static raft_region region_of(const struct cluster *c, raft_id id)
{
    return c->nodes[id].region;
}

static void env_send(void *user, struct shard *s, const struct raft_msg *m,
                     const struct raft_entry *heads,
                     struct entry *const *entries)
{
    (void)user;
    struct cluster_node *n = env_node(s);
    struct cluster *c = n->cluster;
    CHECK(m->from == n->id && m->to >= 1 && m->to <= c->n);
    CHECK_IMPLIES(m->after_persist && s == n->shard,
                  shard_durable(s) <= shard_written(s));
    if (c->cut[m->from][m->to] || c->nodes[m->to].shard == NULL)
        return;
    struct packet *p = packet_new(m, heads, entries);
    p->due_us =
        c->now + (region_of(c, m->from) != region_of(c, m->to) ? c->wan_us : 0);
    list_push_back(&c->links[m->from][m->to], &p->node);
}

static bool is_witness(const struct cluster *c, raft_id id)
{
    return id == c->witness || id == c->other_witness;
}

static void env_committed(void *user, struct shard *s, const struct entry *e)
{
    (void)user;
    struct cluster_node *n = env_node(s);
    if (e == NULL) { /* a snapshot was adopted */
        n->committed = shard_commit_lsn(s);
        return;
    }
    if (!shard_installing(s)) {
        /* A witness is not shown what it has no payload of. */
        CHECK(e->lsn == n->committed + 1 ||
              (is_witness(n->cluster, n->id) && e->lsn > n->committed));
        n->committed = e->lsn;
    }
    CHECK(e->lsn < COMMITS_MAX);
    uint64_t h = hash_bytes(UINT64_C(14695981039346656037), e->data, e->len);
    h = hash_bytes(h, &e->term, sizeof(e->term)) | 1;
    uint64_t *known = &n->cluster->commits[e->lsn];
    CHECK(*known == 0 || *known == h);
    *known = h;
}

static void env_start_snapshot(void *user, struct shard *s, raft_id to)
{
    (void)user;
    struct cluster_node *n = env_node(s);
    struct snapshot *snap = mem_zalloc(sizeof(*snap));
    snap->from = n->id;
    snap->to = to;
    list_push_back(&n->cluster->snapshots, &snap->node);
}

static bool env_container_deleted(void *user, const struct shard *s,
                                  uint32_t container)
{
    (void)user;
    const struct cluster_node *n = shard_user(s);
    return n->cluster->deleted == container;
}

static int env_admit(void *user, const struct shard *s, const struct op *op,
                     struct err_msg *msg)
{
    (void)user;
    const struct cluster_node *n = shard_user(s);
    CHECK(op->kind == OP_WRITE);
    return n->cluster->refused == NULL
               ? ERR_OK
               : err_set(msg, ERR_INVALID, "%s", n->cluster->refused);
}

static int64_t env_wall_sec(void *user)
{
    (void)user;
    return CLUSTER_WALL_SEC;
}

static const struct shard_env cluster_env = {
    .log_entry = env_log_entry,
    .log_hard_state = env_log_hard_state,
    .log_truncate = env_log_truncate,
    .log_reset = env_log_reset,
    .send = env_send,
    .on_committed = env_committed,
    .log_salvage = env_log_salvage,
    .log_salvaged = env_log_salvaged,
    .start_snapshot = env_start_snapshot,
    .container_deleted = env_container_deleted,
    .admit = env_admit,
    .wall_sec = env_wall_sec,
};

/* -- stopping and starting --------------------------------------------------
 */

static void snapshot_free(struct snapshot *snap)
{
    list_remove(&snap->node);
    kv_mem_free(snap->state);
    mem_free(snap);
}

static void link_clear(struct cluster *c, raft_id from, raft_id to)
{
    struct list *node;
    while ((node = list_pop_front(&c->links[from][to])) != NULL)
        packet_free(LIST_ENTRY(node, struct packet, node));
}

static void log_cut(struct cluster_node *n, size_t len)
{
    while (n->log_len > len)
        entry_unref(n->log[--n->log_len].entry);
}

/* A crash between the log's reset and the adoption: what a node finds is a
 * whole snapshot beside the old state. */
static void adopt_at_start(struct cluster_node *n, const struct snapshot *snap)
{
    for (size_t i = 0; i < n->synced; i++)
        if (n->log[i].kind == LOG_RESET && n->log[i].lsn == snap->lsn)
            kv_mem_copy(n->store, snap->state);
}

void cluster_crash(struct cluster *c, raft_id id)
{
    struct cluster_node *n = node_of(c, id);
    CHECK(n->shard != NULL);
    shard_free(n->shard); /* answers may submit to it until it is gone */
    n->shard = NULL;
    log_cut(n, n->synced);
    for (raft_id other = 1; other <= c->n; other++) {
        link_clear(c, id, other);
        link_clear(c, other, id);
        if (other != id && c->nodes[other].shard != NULL)
            shard_peer(c->nodes[other].shard, c->now, id, false);
    }
    LIST_EACH_SAFE(it, &c->snapshots)
    {
        struct snapshot *snap = LIST_ENTRY(it, struct snapshot, node);
        if (snap->to == id && snap->reset)
            adopt_at_start(n, snap);
        if (snap->to != id && snap->from != id)
            continue;
        if (snap->to == id && c->nodes[snap->from].shard != NULL)
            shard_snapshot_sent(c->nodes[snap->from].shard, c->now, id, false);
        snapshot_free(snap);
    }
}

/* Replays the log: what is left of it above the flushed LSN. */
struct replay {
    struct entry **entries;
    size_t n, cap;
    uint64_t term;
    raft_id vote;
    struct shard_salvage *salvage; /* from salvage_first on: pending */
    size_t n_salvage, salvage_first;
    uint32_t salvage_number;
};

static void replay_salvage(struct replay *r, const struct log_record *rec)
{
    CHECK(rec->number > r->salvage_number);
    r->salvage_number = rec->number;
    r->salvage =
        mem_realloc(r->salvage, (r->n_salvage + 1) * sizeof(*r->salvage));
    r->salvage[r->n_salvage++] =
        (struct shard_salvage){.entry = rec->entry,
                               .number = rec->number,
                               .acknowledged = rec->acknowledged};
}

static void replay_salvaged(struct replay *r, uint32_t number)
{
    CHECK(number <= r->salvage_number);
    while (r->salvage_first < r->n_salvage &&
           r->salvage[r->salvage_first].number <= number)
        r->salvage_first++;
}

static void replay_truncate(struct replay *r, uint64_t from)
{
    while (r->n > 0 && r->entries[r->n - 1]->lsn >= from)
        entry_unref(r->entries[--r->n]);
}

static void replay_log(const struct cluster_node *n, struct replay *r)
{
    uint64_t flushed = kv_flushed_lsn(kv_mem_kv(n->store));
    for (size_t i = 0; i < n->log_len; i++) {
        const struct log_record *rec = &n->log[i];
        switch (rec->kind) {
        case LOG_HARD_STATE:
            r->term = rec->term;
            r->vote = rec->vote;
            break;
        case LOG_TRUNCATE:
            replay_truncate(r, rec->lsn);
            break;
        case LOG_RESET:
            replay_truncate(r, 0);
            break;
        case LOG_SALVAGE:
            replay_salvage(r, rec);
            break;
        case LOG_SALVAGED:
            replay_salvaged(r, rec->number);
            break;
        case LOG_ENTRY:
            if (rec->entry->lsn <= flushed)
                break;
            if (r->n == r->cap) {
                r->cap = r->cap > 0 ? 2 * r->cap : 64;
                r->entries =
                    mem_realloc(r->entries, r->cap * sizeof(*r->entries));
            }
            r->entries[r->n++] = entry_ref(rec->entry);
        }
    }
    for (size_t i = 0; i < r->n; i++)
        CHECK(r->entries[i]->lsn == flushed + 1 + i);
}

static void start_options(struct cluster_node *n, struct shard_options *o)
{
    struct cluster *c = n->cluster;
    *o = (struct shard_options){.id = c->shard,
                                .memtable_bytes = c->memtable_bytes,
                                .retain_lagging = c->retain_lagging,
                                .sealer = n->sealer,
                                .kv = kv_mem_kv(n->store),
                                .env = &cluster_env,
                                .user = n};
    raft_options_default(&o->raft);
    o->raft.self = n->id;
    o->raft.witness = is_witness(c, n->id);
    o->raft.seed = prng_u64(&c->prng);
}

static void start(struct cluster *c, raft_id id, bool amnesia)
{
    struct cluster_node *n = node_of(c, id);
    CHECK(n->shard == NULL);
    struct replay replay = {0};
    replay_log(n, &replay);
    struct shard_options options;
    start_options(n, &options);
    struct shard_restored restored = {
        .term = replay.term,
        .vote = replay.vote,
        .base_lsn = kv_flushed_lsn(kv_mem_kv(n->store)),
        .base_term = kv_mem_flushed_term(n->store),
        .amnesia = amnesia,
        .entries = replay.entries,
        .n_entries = replay.n,
        .salvage = replay.salvage + replay.salvage_first,
        .n_salvage = replay.n_salvage - replay.salvage_first,
        .salvage_number = replay.salvage_number,
    };
    if (raft_config_find(&c->config, id) != NULL)
        restored.config = c->config;
    for (size_t i = 0; i < restored.n_salvage; i++)
        entry_ref(restored.salvage[i].entry);
    restored.commit_lsn = restored.base_lsn;
    struct bytes blob;
    if (kv_mem_info(n->store, SHARD_INFO_CONFIG, &blob) == ERR_OK)
        CHECK(raft_config_decode(blob, &restored.config) == ERR_OK);
    (void)kv_mem_info(n->store, SHARD_INFO_DEDUPE, &restored.dedupe);
    struct err_msg msg;
    CHECK(shard_open(&options, &restored, c->now, &msg, &n->shard) == ERR_OK);
    mem_free(replay.entries);
    mem_free(replay.salvage);
    n->committed = restored.commit_lsn;
    n->synced = n->log_len;
    if (!c->no_key)
        shard_set_key(n->shard, CLUSTER_KEY_ID);
    shard_set_policy(n->shard, c->now, &c->policy);
    for (raft_id other = 1; other <= c->n; other++) {
        if (other == id || c->cut[id][other] || c->nodes[other].shard == NULL)
            continue;
        shard_peer(n->shard, c->now, other, true);
        shard_peer(c->nodes[other].shard, c->now, id, true);
    }
}

void cluster_start(struct cluster *c, raft_id id)
{
    start(c, id, false);
}

void cluster_rebuild(struct cluster *c, raft_id id)
{
    struct cluster_node *n = node_of(c, id);
    cluster_crash(c, id);
    log_cut(n, 0);
    n->synced = 0;
    kv_mem_free(n->store);
    n->store = kv_mem_new();
    start(c, id, true);
}

void cluster_withhold_key(struct cluster *c)
{
    c->no_key = true;
}

struct cluster *cluster_new(const struct cluster_options *options)
{
    struct cluster *c = mem_zalloc(sizeof(*c));
    CHECK(options->nodes >= 1 && options->nodes <= CLUSTER_NODES_MAX);
    c->n = options->nodes;
    c->no_key = options->no_key;
    c->policy.epoch = UINT32_MAX;
    c->shard = options->meta ? SHARD_META : CLUSTER_SHARD;
    c->retain_lagging = options->retain_lagging;
    c->memtable_bytes =
        options->memtable_bytes > 0 ? options->memtable_bytes : 16u << 20;
    c->now = USEC_PER_SEC;
    prng_seed(&c->prng, options->seed);
    c->commits = mem_zalloc(COMMITS_MAX * sizeof(*c->commits));
    list_init(&c->snapshots);
    c->wan_us = options->wan_us;
    c->witness = options->witness;
    c->other_witness = options->other_witness;
    if (options->regions != NULL && !options->by_majority) {
        c->config.ack = RAFT_ACK_REGION;
        c->config.write_region = 1;
    }
    c->keys = keyring_new();
    uint8_t key[KEY_LEN];
    memset(key, 7, sizeof(key));
    CHECK(keyring_add(c->keys, CLUSTER_KEY_ID, KEY_PURPOSE_DATA, key) ==
          ERR_OK);
    for (raft_id id = 1; id <= c->n; id++) {
        struct raft_member m = {
            .id = id, .region = 1, .voter = true, .witness = is_witness(c, id)};
        if (options->regions != NULL)
            m.region = options->regions[id - 1];
        c->nodes[id].region = m.region;
        if (id + options->spares <= c->n)
            CHECK(raft_config_add(&c->config, m) == ERR_OK);
        for (raft_id to = 1; to <= c->n; to++)
            list_init(&c->links[id][to]);
        struct cluster_node *n = &c->nodes[id];
        n->cluster = c;
        n->id = id;
        n->store = kv_mem_new();
        n->sealer = sealer_new(c->keys);
    }
    for (raft_id id = 1; id <= c->n; id++)
        cluster_start(c, id);
    return c;
}

void cluster_free(struct cluster *c)
{
    for (raft_id id = 1; id <= c->n; id++) {
        struct cluster_node *n = &c->nodes[id];
        if (n->shard != NULL)
            cluster_crash(c, id);
        log_cut(n, 0);
        mem_free(n->log);
        kv_mem_free(n->store);
        sealer_free(n->sealer);
    }
    CHECK(list_empty(&c->snapshots));
    keyring_free(c->keys);
    mem_free(c->commits);
    mem_free(c);
}

/* -- a turn -----------------------------------------------------------------
 */

static bool deliver_link(struct cluster *c, raft_id from, raft_id to)
{
    struct list batch;
    list_init(&batch);
    if (c->held[from][to])
        return false;
    struct list *link = &c->links[from][to];
    while (!list_empty(link) &&
           LIST_ENTRY(link->next, struct packet, node)->due_us <= c->now)
        list_push_back(&batch, list_pop_front(link));
    bool any = !list_empty(&batch);
    struct list *node;
    while ((node = list_pop_front(&batch)) != NULL) {
        struct packet *p = LIST_ENTRY(node, struct packet, node);
        int err =
            shard_receive(c->nodes[to].shard, c->now, &p->msg, p->payloads);
        CHECK(err == ERR_OK || err == ERR_FULL);
        packet_free(p);
    }
    return any;
}

static bool deliver_all(struct cluster *c)
{
    bool any = false;
    for (raft_id from = 1; from <= c->n; from++)
        for (raft_id to = 1; to <= c->n; to++)
            any |= deliver_link(c, from, to);
    return any;
}

/* A store that holds the position of another, and no records. */
static void copy_position(struct kv_mem *to, struct kv_mem *from,
                          struct bytes config)
{
    struct memtable *nothing = memtable_new(1);
    struct flush *f = flush_new(0, kv_flushed_lsn(kv_mem_kv(from)),
                                kv_mem_flushed_term(from));
    CHECK(flush_collect(f, nothing, 1));
    CHECK(flush_set_info(f, SHARD_INFO_CONFIG, config) == ERR_OK);
    kv_mem_flush(to, f);
    flush_free(f);
    memtable_free(nothing);
}

/* The sender's side: a copy of its flushed state, and the offer. */
static void snapshot_open(struct cluster *c, struct snapshot *snap)
{
    struct cluster_node *from = &c->nodes[snap->from];
    struct kv kv = kv_mem_kv(from->store);
    snap->lsn = kv_flushed_lsn(kv);
    snap->term = kv_mem_flushed_term(from->store);
    struct raft_msg offer;
    struct bytes blob;
    if (kv_mem_info(from->store, SHARD_INFO_CONFIG, &blob) != ERR_OK ||
        shard_snapshot_offer(from->shard, snap->to, snap->lsn, &offer) !=
            ERR_OK) {
        shard_snapshot_sent(from->shard, c->now, snap->to, false);
        snapshot_free(snap);
        return;
    }
    CHECK(raft_config_decode(blob, &snap->config) == ERR_OK);
    snap->state = kv_mem_new();
    if (shard_sends_payload(from->shard, snap->to))
        kv_mem_copy(snap->state, from->store);
    else
        copy_position(snap->state, from->store, blob);
    env_send(NULL, from->shard, &offer, NULL, NULL);
    snap->opened = true;
}

static void snapshot_end(struct cluster *c, struct snapshot *snap, bool ok)
{
    struct shard *from = c->nodes[snap->from].shard;
    raft_id to = snap->to;
    snapshot_free(snap);
    if (from != NULL)
        shard_snapshot_sent(from, c->now, to, ok);
}

/* The receiver's side: install, and adopt once the reset is durable. */
static void snapshot_receive(struct cluster *c, struct snapshot *snap)
{
    struct cluster_node *to = &c->nodes[snap->to];
    if (!snap->reset) {
        int err = shard_installed(to->shard, c->now, snap->from, snap->lsn,
                                  snap->term, &snap->config);
        if (err == ERR_AGAIN)
            return;
        if (err != ERR_OK) {
            snapshot_end(c, snap, true);
            return;
        }
        snap->reset = true;
        snap->reset_update = shard_written(to->shard);
        CHECK(shard_installing(to->shard));
    }
    if (shard_durable(to->shard) < snap->reset_update || to->hold_adoption)
        return;
    kv_mem_copy(to->store, snap->state);
    c->installed++;
    struct bytes dedupe = bytes_of(NULL, 0);
    (void)kv_mem_info(to->store, SHARD_INFO_DEDUPE, &dedupe);
    shard_adopted(to->shard, c->now, dedupe);
    snapshot_end(c, snap, true);
}

static void snapshots_go_on(struct cluster *c)
{
    LIST_EACH_SAFE(it, &c->snapshots)
    {
        struct snapshot *snap = LIST_ENTRY(it, struct snapshot, node);
        if (c->cut[snap->from][snap->to] || c->held[snap->from][snap->to] ||
            c->nodes[snap->to].shard == NULL)
            snapshot_end(c, snap, false);
        else if (!snap->opened)
            snapshot_open(c, snap);
        else
            snapshot_receive(c, snap);
    }
}

/* The end of a node's turn: its batch, and if the disk works, its sync. */
static void node_flush(struct cluster_node *n)
{
    usec_t now = n->cluster->now;
    for (int i = 0; i < 100 && shard_flush(n->shard, now); i++) {
    }
    if (n->hold_sync)
        return;
    n->synced = n->log_len;
    shard_persisted(n->shard, now, shard_written(n->shard));
}

static void nodes_flush(struct cluster *c)
{
    for (raft_id id = 1; id <= c->n; id++)
        if (c->nodes[id].shard != NULL)
            node_flush(&c->nodes[id]);
}

void cluster_turn(struct cluster *c)
{
    c->now += USEC_PER_MS;
    deliver_all(c);
    snapshots_go_on(c);
    for (raft_id id = 1; id <= c->n; id++) {
        struct shard *s = c->nodes[id].shard;
        if (s != NULL && c->now >= shard_deadline(s))
            shard_tick(s, c->now);
    }
    nodes_flush(c);
}

void cluster_turns(struct cluster *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cluster_turn(c);
}

void cluster_settle(struct cluster *c)
{
    nodes_flush(c);
    for (int i = 0; i < SETTLE_ROUNDS && deliver_all(c); i++)
        nodes_flush(c);
}

usec_t cluster_now(const struct cluster *c)
{
    return c->now;
}

void cluster_sleep(struct cluster *c, usec_t us)
{
    c->now += us;
}

/* -- nodes and roles --------------------------------------------------------
 */

struct shard *cluster_shard(struct cluster *c, raft_id id)
{
    return node_of(c, id)->shard;
}

struct kv_mem *cluster_store(struct cluster *c, raft_id id)
{
    return node_of(c, id)->store;
}

uint64_t cluster_committed(const struct cluster *c, raft_id id)
{
    return c->nodes[id].committed;
}

raft_id cluster_leader(const struct cluster *c)
{
    raft_id leader = 0;
    uint64_t term = 0;
    for (raft_id id = 1; id <= c->n; id++) {
        const struct shard *s = c->nodes[id].shard;
        if (s == NULL || raft_role(shard_raft(s)) != RAFT_LEADER)
            continue;
        CHECK(raft_term(shard_raft(s)) != term);
        if (raft_term(shard_raft(s)) > term) {
            leader = id;
            term = raft_term(shard_raft(s));
        }
    }
    return leader;
}

static bool leads_surely(struct cluster *c, raft_id id)
{
    const struct raft *r = shard_raft(c->nodes[id].shard);
    uint64_t term;
    return raft_may_ack(r, c->now) &&
           raft_term_at(r, raft_commit_lsn(r), &term) == ERR_OK &&
           term == raft_term(r);
}

raft_id cluster_elect(struct cluster *c)
{
    for (int i = 0; i < 20000; i++) {
        raft_id leader = cluster_leader(c);
        if (leader != 0 && leads_surely(c, leader))
            return leader;
        cluster_turn(c);
    }
    CHECK_UNREACHABLE();
}

raft_id cluster_other(const struct cluster *c, raft_id id)
{
    for (raft_id other = 1; other <= c->n; other++)
        if (other != id && c->nodes[other].shard != NULL)
            return other;
    CHECK_UNREACHABLE();
}

void cluster_transfer(struct cluster *c, raft_id to)
{
    raft_id from = cluster_elect(c);
    CHECK(shard_transfer(c->nodes[from].shard, c->now, to) == ERR_OK);
    for (int i = 0; i < 5000; i++) {
        cluster_turn(c);
        if (cluster_leader(c) == to && leads_surely(c, to))
            return;
    }
    CHECK_UNREACHABLE();
}

void cluster_decide(struct cluster *c, raft_id id, uint32_t epoch,
                    raft_region region)
{
    shard_decide(node_of(c, id)->shard, c->now, epoch, region, RAFT_ACK_REGION,
                 0);
}

void cluster_set_policy(struct cluster *c, const struct shard_policy *policy)
{
    c->policy = *policy;
    for (raft_id id = 1; id <= c->n; id++)
        if (c->nodes[id].shard != NULL)
            shard_set_policy(c->nodes[id].shard, c->now, policy);
}

/* -- faults -----------------------------------------------------------------
 */

static void link_set(struct cluster *c, raft_id a, raft_id b, bool up)
{
    if (a == b || c->cut[a][b] == !up)
        return;
    c->cut[a][b] = c->cut[b][a] = !up;
    link_clear(c, a, b);
    link_clear(c, b, a);
    if (c->nodes[a].shard == NULL || c->nodes[b].shard == NULL)
        return;
    shard_peer(c->nodes[a].shard, c->now, b, up);
    shard_peer(c->nodes[b].shard, c->now, a, up);
}

void cluster_cut(struct cluster *c, raft_id a, raft_id b)
{
    link_set(c, a, b, false);
}

void cluster_join(struct cluster *c, raft_id a, raft_id b)
{
    link_set(c, a, b, true);
}

void cluster_isolate(struct cluster *c, raft_id id)
{
    for (raft_id other = 1; other <= c->n; other++)
        link_set(c, id, other, false);
}

void cluster_cut_region(struct cluster *c, raft_region region)
{
    for (raft_id a = 1; a <= c->n; a++)
        for (raft_id b = 1; b <= c->n; b++)
            if (region_of(c, a) == region && region_of(c, b) != region)
                link_set(c, a, b, false);
}

void cluster_heal(struct cluster *c)
{
    for (raft_id a = 1; a <= c->n; a++)
        for (raft_id b = a + 1; b <= c->n; b++)
            link_set(c, a, b, true);
}

void cluster_hold_link(struct cluster *c, raft_id from, raft_id to, bool hold)
{
    c->held[from][to] = hold;
}

void cluster_hold_sync(struct cluster *c, raft_id id, bool hold)
{
    node_of(c, id)->hold_sync = hold;
}

void cluster_hold_adoption(struct cluster *c, raft_id id, bool hold)
{
    node_of(c, id)->hold_adoption = hold;
}

void cluster_delete_container(struct cluster *c, uint32_t container)
{
    c->deleted = container;
}

void cluster_refuse(struct cluster *c, const char *reason)
{
    c->refused = reason;
}

/* -- flushing ---------------------------------------------------------------
 */

bool cluster_flush(struct cluster *c, raft_id id, bool trim)
{
    struct cluster_node *n = node_of(c, id);
    if (!shard_flush_begin(n->shard, SHARD_FLUSH_ALL))
        return false;
    struct flush *f;
    while ((f = shard_flush_take(n->shard)) == NULL)
        node_flush(n);
    kv_mem_flush(n->store, f);
    shard_flushed(n->shard, c->now, f);
    flush_free(f);
    while (trim && !shard_trim(n->shard, 7)) {
    }
    return true;
}

/* The shard keeps SHARD_RETAIN_ENTRIES behind the flushed point. */
void cluster_compact(struct cluster *c, raft_id id)
{
    uint64_t until = shard_commit_lsn(cluster_shard(c, id));
    uint64_t base = 0;
    while (base <= until) {
        for (int i = 0; i < 600; i++) {
            struct cluster_call call;
            cluster_write(c, &call, OP_UPSERT, cluster_at(999, 999),
                          "{\"id\":\"padding\"");
            cluster_submit(c, id, &call);
            cluster_wait(c, &call);
            CHECK(call.result.err == ERR_OK);
            cluster_call_free(&call);
        }
        cluster_flush(c, id, true);
        base = raft_base_lsn(shard_raft(cluster_shard(c, id)));
    }
}

void cluster_damage(struct cluster *c, raft_id id)
{
    struct kv kv = kv_mem_kv(node_of(c, id)->store);
    struct kv_iter *iter;
    struct record_key from, to;
    struct bytes key, value;
    record_container_range(CONTAINER_FIRST_USER, &from, &to);
    CHECK(kv_begin(kv) == ERR_OK);
    CHECK(kv_iter_open(kv, record_key_bytes(&from), record_key_bytes(&to),
                       &iter) == ERR_OK);
    while (kv_iter_next(iter, &key, &value) == ERR_OK)
        ((uint8_t *)value.data)[value.len - 1] ^= 1;
    kv_iter_close(iter);
    kv_end(kv);
}

unsigned cluster_snapshots(const struct cluster *c)
{
    return c->installed;
}

/* -- operations -------------------------------------------------------------
 */

struct op_address cluster_at(unsigned pk, unsigned id)
{
    struct op_address at = {.container = CONTAINER_FIRST_USER};
    put_u32_be(at.pk_hash, pk);
    put_u32_be(at.id_hash, id);
    return at;
}

static void call_begin(struct cluster *c, struct cluster_call *call,
                       enum op_kind kind)
{
    *call = (struct cluster_call){.op = {.kind = kind, .shard = c->shard}};
    put_u64_be(call->op.id, ++c->op_number);
    op_result_init(&call->result);
}

void cluster_read(struct cluster *c, struct cluster_call *call,
                  struct op_address at)
{
    call_begin(c, call, OP_READ);
    call->op.at = at;
}

void cluster_write(struct cluster *c, struct cluster_call *call,
                   enum op_write_mode mode, struct op_address at,
                   const char *body)
{
    static const uint8_t container_rid[8] = {0, 0, 0, 32, 0x80, 0, 0, 16};
    call_begin(c, call, OP_WRITE);
    call->op.at = at;
    call->op.mode = mode;
    call->op.resource = OP_RESOURCE_DOCUMENT;
    memcpy(call->op.parent_rid, container_rid, sizeof(container_rid));
    if (body != NULL)
        call->op.body = bytes_str(body);
}

void cluster_barrier(struct cluster *c, struct cluster_call *call,
                     uint64_t min_lsn)
{
    call_begin(c, call, OP_BARRIER);
    call->op.min_lsn = min_lsn;
}

void cluster_scan(struct cluster *c, struct cluster_call *call,
                  uint32_t max_items, const char *query)
{
    call_begin(c, call, OP_SCAN);
    call->op.at.container = CONTAINER_FIRST_USER;
    call->op.max_items = max_items;
    call->op.max_bytes = OP_PAGE_MAX;
    if (query != NULL)
        call->op.query = bytes_str(query);
}

static void call_done(struct shard_request *req, struct op_result *result)
{
    struct cluster_call *call = LIST_ENTRY(req, struct cluster_call, req);
    CHECK(call->running && call->done == 0);
    call->running = false;
    call->done++;
    op_result_free(&call->result);
    op_result_move(&call->result, result);
    if (call->then != NULL)
        call->then(call->user, call);
}

void cluster_submit(struct cluster *c, raft_id id, struct cluster_call *call)
{
    CHECK(!call->running);
    call->running = true;
    call->done = 0;
    call->req.op = &call->op;
    call->req.deadline_us = c->now + CALL_TIME_US;
    call->req.done = call_done;
    bool before = mem_may_fail(true); /* as in the node */
    shard_submit(cluster_shard(c, id), c->now, &call->req);
    mem_may_fail(before);
}

int cluster_wait(struct cluster *c, struct cluster_call *call)
{
    for (int i = 0; i < 20000 && call->done == 0; i++) {
        cluster_settle(c);
        if (call->done == 0)
            cluster_turn(c);
    }
    CHECK(call->done == 1);
    return call->result.err;
}

int cluster_do(struct cluster *c, raft_id id, struct cluster_call *call)
{
    cluster_submit(c, id, call);
    return cluster_wait(c, call);
}

unsigned cluster_salvaged(const struct cluster *c, raft_id id)
{
    const struct cluster_node *n = &c->nodes[id];
    unsigned count = 0;
    for (size_t i = 0; i < n->log_len; i++)
        count += n->log[i].kind == LOG_SALVAGE;
    return count;
}

unsigned cluster_deliver(struct cluster *c, raft_id id, unsigned max)
{
    struct shard *s = cluster_shard(c, id);
    struct salvage_delivery d;
    unsigned n = 0;
    while (n < max && shard_salvage_next(s, c->now, &d) == ERR_OK) {
        struct cluster_call call = {.op = d.op};
        op_result_init(&call.result);
        (void)cluster_do(c, cluster_elect(c), &call);
        shard_salvage_done(s, c->now, &d, &call.result);
        cluster_call_free(&call);
        n++;
    }
    return n;
}

const char *cluster_text(struct cluster_call *call)
{
    const char *text = buf_cstr(&call->result.body);
    return text != NULL ? text : "";
}

void cluster_call_free(struct cluster_call *call)
{
    CHECK(!call->running);
    op_result_free(&call->result);
}

/* -- looking ----------------------------------------------------------------
 */

struct digest {
    uint64_t hash;
};

static void digest_record(void *user, uint64_t record, struct bytes text)
{
    struct digest *d = user;
    d->hash = hash_bytes(d->hash, &record, sizeof(record));
    d->hash = hash_bytes(d->hash, text.data, text.len);
}

uint64_t cluster_digest(struct cluster *c, raft_id id)
{
    struct digest d = {.hash = UINT64_C(14695981039346656037)};
    CHECK(shard_each_record(cluster_shard(c, id), CONTAINER_FIRST_USER,
                            digest_record, &d) == ERR_OK);
    return d.hash;
}

size_t cluster_payloads(const struct cluster *c, raft_id id)
{
    const struct cluster_node *n = &c->nodes[id];
    size_t count = kv_mem_count(n->store);
    for (size_t i = 0; i < n->log_len; i++) {
        const struct entry *e = n->log[i].entry;
        count += e != NULL && e->type == RAFT_ENTRY_DATA && e->len > 0;
    }
    return count;
}

/* The newest entry with payload that the node has logged. */
static const struct entry *newest_payload(const struct cluster_node *n)
{
    for (size_t i = n->log_len; i > 0; i--) {
        const struct entry *e = n->log[i - 1].entry;
        if (e != NULL && e->type == RAFT_ENTRY_DATA)
            return e;
    }
    return NULL;
}

int cluster_smuggle(struct cluster *c, raft_id from, raft_id to)
{
    const struct entry *e = newest_payload(node_of(c, from));
    CHECK(e != NULL);
    const struct raft *r = shard_raft(node_of(c, from)->shard);
    struct raft_entry head = {
        .term = e->term, .size = e->len, .type = RAFT_ENTRY_DATA};
    struct raft_msg m = {
        .type = RAFT_MSG_APPEND, .from = from, .to = to, .term = raft_term(r)};
    m.append = (struct raft_append){
        .prev_lsn = e->lsn - 1, .n = 1, .bytes = e->len, .entries = &head};
    CHECK(raft_term_at(r, e->lsn - 1, &m.append.prev_term) == ERR_OK);
    struct bytes payload = entry_payload(e);
    return shard_receive(node_of(c, to)->shard, c->now, &m, &payload);
}
