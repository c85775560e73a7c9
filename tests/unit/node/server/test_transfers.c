/* Promises of snapshots between nodes: how many there are at a time, what a
 * lost link or a dead receiver costs, who gives way to whom, and that nothing
 * is taken over that is not what was sent. Two nodes of one process with real
 * stores; Raft, the helper threads and the wire are the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/server/catalog_feed.h"
#include "node/server/digester.h"
#include "node/server/fence_guard.h"
#include "node/server/governor.h"
#include "node/server/peers.h"
#include "node/server/quarantine.h"
#include "node/server/transfers_impl.h"
#include "node/shard/record.h"
#include "node/store/effects.h"

#define SHARDS 4 /* 0 is the meta shard */
#define RECORD_BYTES (100 * 1024)
/* Records of a state, and so its LSN: what most tests need, and one of which
 * some is synced before the end (INGEST_BATCH_BYTES). */
#define FEW 20u
#define MANY 120u
#define LSN ((uint64_t)world.records)
#define TERM 1u

struct shard {
    uint64_t commit, durable;
    bool overruled, contradicted, installing, busy, flush_pending;
    bool no_payload; /* the receiver is a witness */
    bool other_kind; /* it is not what the snapshot says */
    bool witness;
    uint64_t installed_lsn, installed_term;
    unsigned adopted;
    uint64_t retained;
    unsigned sent_ok, sent_failed; /* what Raft was told */
    /* Who else may send, and what that one says. */
    struct shard_sender other;
    int may_send;
    uint32_t learners; /* that are behind, and how fast they get entries */
    uint64_t pace;
    /* A damaged store: */
    enum raft_role role;
    int renewable;
    bool unauthentic; /* what comes */
    size_t dirty;
    uint64_t aim; /* of its flusher */
    unsigned renewed, audits, swept, doubted;
    raft_id leader; /* 0: 1 */
    bool log_ends;  /* before the state that comes */
};

/* One end of the wire. */
struct links {
    raft_id id;
    bool down;
    unsigned asked, answered; /* requests, of snapshots by others */
    raft_id asked_of;
    uint64_t answered_id;
    int answer;
};

struct end {
    struct node node;
    struct worker *w;
    struct links links;
    struct replica replicas[SHARDS];
    struct shard shards[SHARDS];
};

/* A frame or an acknowledgement under way. */
struct cargo {
    struct list node;
    struct transfer_parcel *parcel;
    raft_id from, to;
    bool is_ack;
};

static struct world {
    char dir[64];
    unsigned records;
    struct ev_loop *loop;
    struct catalog *catalog;
    struct config config;
    struct end ends[3]; /* by node id */
    struct list jobs;   /* with the helpers */
    struct list wire;
    unsigned frames; /* that arrived */
    bool hold_jobs;
    uint64_t damage_frame; /* the seq of one that is damaged on its way */
} world;

#define SENDER (&world.ends[1])
#define RECEIVER (&world.ends[2])

/* ---- what it is linked with: Raft -------------------------------------------
 */

const struct raft *shard_raft(const struct shard *s)
{
    return (const struct raft *)s;
}
bool shard_is_witness(const struct shard *s)
{
    return s->witness;
}
bool raft_role_fits(const struct raft *r, const struct raft_config *c)
{
    (void)c;
    return !((const struct shard *)r)->other_kind;
}
uint64_t raft_term(const struct raft *r)
{
    (void)r;
    return TERM;
}
uint64_t shard_commit_lsn(const struct shard *s)
{
    return s->commit;
}
bool shard_flush_pending(const struct shard *s)
{
    return s->flush_pending;
}
bool shard_overruled(const struct shard *s)
{
    return s->overruled;
}
bool shard_contradicted(struct shard *s, struct bytes dedupe)
{
    (void)dedupe;
    return s->contradicted;
}
raft_id shard_leader(const struct shard *s)
{
    return s->leader != 0 ? s->leader : 1;
}
int shard_installed(struct shard *s, usec_t now, raft_id from, uint64_t lsn,
                    uint64_t term, const struct raft_config *config)
{
    (void)now, (void)from;
    assert_int_equal(config->n, 2);
    if (s->busy)
        return ERR_AGAIN;
    s->installing = true;
    s->installed_lsn = lsn;
    s->installed_term = term;
    return ERR_OK;
}
uint64_t shard_written(const struct shard *s)
{
    (void)s;
    return 1;
}
uint64_t shard_durable(const struct shard *s)
{
    return s->durable;
}
void shard_adopted(struct shard *s, usec_t now, struct bytes dedupe)
{
    (void)now, (void)dedupe;
    s->installing = false;
    s->commit = s->installed_lsn;
    s->adopted++;
}
bool shard_sends_payload(const struct shard *s, raft_id to)
{
    (void)to;
    return !s->no_payload;
}
int shard_snapshot_offer(const struct shard *s, raft_id to, uint64_t lsn,
                         struct raft_msg *msg_out)
{
    (void)s, (void)to, (void)lsn;
    *msg_out = (struct raft_msg){.type = RAFT_MSG_SNAP_OFFER};
    return ERR_OK;
}
void shard_snapshot_sent(struct shard *s, usec_t now, raft_id to, bool ok)
{
    (void)now, (void)to;
    s->sent_ok += ok;
    s->sent_failed += !ok;
}
uint32_t shard_senders(const struct shard *s, raft_id to,
                       struct shard_sender *out, uint64_t *least_out)
{
    (void)to;
    *least_out = LSN;
    *out = s->other;
    return s->other.node != 0;
}
int shard_may_send(const struct shard *s, raft_id leader, uint64_t term,
                   raft_id to)
{
    (void)leader, (void)term, (void)to;
    return s->may_send;
}
void shard_retain(struct shard *s, uint64_t lsn)
{
    s->retained = lsn;
}
uint32_t shard_pace_learners(struct shard *s, uint64_t bytes_per_s)
{
    s->pace = bytes_per_s;
    return s->learners;
}

uint64_t raft_last_lsn(const struct raft *r)
{
    return ((const struct shard *)r)->log_ends ? LSN - 1 : LSN;
}
enum raft_role raft_role(const struct raft *r)
{
    return ((const struct shard *)r)->role;
}
void shard_status(const struct shard *s, usec_t now, struct shard_status *out)
{
    (void)now;
    *out = (struct shard_status){.role = s->role, .leader = 1};
}
int shard_renewable(const struct shard *s, uint64_t lsn, uint64_t term)
{
    assert_int_equal(lsn, LSN);
    assert_int_equal(term, TERM);
    return s->renewable;
}
int shard_check_record(struct shard *s, struct bytes key, struct bytes value,
                       bool *sealed_out)
{
    (void)key, (void)value;
    *sealed_out = true;
    return s->unauthentic ? ERR_CORRUPT : ERR_OK;
}
size_t shard_dirty_bytes(const struct shard *s)
{
    return s->dirty;
}

/* ---- the rest of the node ---------------------------------------------------
 */

void peers_send_raft(struct worker *from, uint16_t shard,
                     const struct raft_msg *m, const struct raft_entry *heads,
                     struct entry *const *entries)
{
    (void)from, (void)shard, (void)m, (void)heads, (void)entries;
}
void flusher_aim(struct flusher *f, uint64_t lsn)
{
    if (f->replica != NULL)
        f->replica->shard->aim = lsn;
}
int flusher_sweep(struct flusher *f)
{
    f->replica->shard->swept++;
    return ERR_OK;
}
void scrubber_renewed(struct replica *r)
{
    r->shard->renewed++;
}
void scrubber_doubt(struct replica *r, const char *why)
{
    (void)why;
    r->shard->doubted++;
}
uint64_t worker_memtable_share(const struct worker *w)
{
    return w->node->config->limits.memtable_bytes / w->replica_count;
}
void quarantine_audit(struct worker *w, const char *what, const char *reason)
{
    (void)what, (void)reason;
    w->replicas[0]->shard->audits++;
}
void catalog_feed_committed(struct worker *w, struct shard *s,
                            const struct entry *e)
{
    (void)w, (void)s, (void)e;
}
bool digester_yield(struct replica *r)
{
    (void)r;
    return false;
}
void fence_refused(struct worker *w, const struct fence_refusals *r)
{
    (void)w, (void)r;
}
const struct failover_health *governor_health(const struct governor *g)
{
    (void)g;
    return NULL;
}
uint16_t failover_health_rtt_ms(const struct failover_health *h, uint32_t a,
                                uint32_t b)
{
    (void)h;
    return a == 3 || b == 3 ? 1 : 200;
}
void worker_wake(struct worker *w)
{
    (void)w;
}
void worker_run(struct worker *w, void (*fn)(struct worker *w, void *arg),
                void *arg)
{
    fn(w, arg);
}
void helper_submit(struct helper *h, enum helper_lane lane,
                   struct helper_job *job)
{
    (void)h;
    assert_int_equal(lane, HELPER_STORE);
    list_push_back(&world.jobs, &job->node);
}

/* ---- the wire ---------------------------------------------------------------
 */

struct links *peers_links(struct peers *p)
{
    return (struct links *)p;
}
static void ship(struct links *from, links_peer to, struct transfer_parcel *p,
                 bool is_ack)
{
    struct cargo *c = mem_zalloc(sizeof(*c));
    c->parcel = p;
    c->from = from->id;
    c->to = to;
    c->is_ack = is_ack;
    list_push_back(&world.wire, &c->node);
}
int links_send_snapshot(struct links *l, links_peer to,
                        const struct snapshot_chunk *chunk)
{
    if (l->down)
        return ERR_UNAVAILABLE;
    ship(l, to, transfers_parcel(to, chunk), false);
    return ERR_OK;
}
int links_snapshot_ack(struct links *l, links_peer to,
                       const struct snapshot_ack *ack)
{
    if (l->down)
        return ERR_UNAVAILABLE;
    ship(l, to, transfers_parcel_ack(to, ack), true);
    return ERR_OK;
}
int links_reply(struct links *l, struct links_call call, int err,
                struct bytes body)
{
    (void)body;
    l->answered++;
    l->answered_id = call.id;
    l->answer = err;
    return ERR_OK;
}
int links_request(struct links *l, links_peer to, uint32_t kind, uint64_t shard,
                  uint32_t deadline_ms, struct bytes body, uint64_t *id_out)
{
    (void)deadline_ms;
    assert_int_equal(kind, TRANSFERS_REQUEST_SEND);
    assert_int_equal(transfers_request_shard(body), shard);
    if (l->down)
        return ERR_UNAVAILABLE;
    l->asked_of = to;
    *id_out = ++l->asked;
    return ERR_OK;
}

static void arrive(struct cargo *c)
{
    struct transfer_parcel *p = c->parcel;
    struct worker *w = world.ends[c->to].w;
    if (c->is_ack) {
        transfers_on_ack(w, c->from, &p->ack);
        return;
    }
    world.frames++;
    if (world.damage_frame > 0 && p->chunk.seq == world.damage_frame)
        p->bytes[p->chunk.data.len / 2] ^= 1;
    transfers_on_chunk(w, c->from, &p->chunk);
}

static bool wire_turn(void)
{
    struct list *node = list_pop_front(&world.wire);
    if (node == NULL)
        return false;
    struct cargo *c = LIST_ENTRY(node, struct cargo, node);
    if (!world.ends[c->to].links.down && world.ends[c->to].w != NULL)
        arrive(c);
    mem_free(c->parcel);
    mem_free(c);
    return true;
}

static bool helper_turn(void)
{
    struct list *node = world.hold_jobs ? NULL : list_pop_front(&world.jobs);
    if (node == NULL)
        return false;
    struct helper_job *job = LIST_ENTRY(node, struct helper_job, node);
    job->run(job);
    job->message.deliver(&job->message, NULL); /* it looks at no worker */
    return true;
}

/* Until nothing moves any more, or so many frames have arrived. */
static void pump(unsigned frames)
{
    unsigned until = world.frames + frames;
    for (unsigned idle = 0; idle < 3 && world.frames < until;) {
        ev_run(world.loop, EVRUN_NOWAIT);
        bool moved = helper_turn();
        moved |= wire_turn();
        for (int i = 1; i <= 2; i++)
            if (world.ends[i].w != NULL)
                transfers_turn(&world.ends[i].w->transfers, clock_mono_us());
        idle = moved ? 0 : idle + 1;
    }
}
#define ALL 1000000

static void tick(struct end *e, usec_t later)
{
    transfers_tick(&e->w->transfers, clock_mono_us() + later);
}

/* ---- stores -----------------------------------------------------------------
 */

static void put_record(struct memtable *m, uint64_t lsn)
{
    static char value[RECORD_BYTES];
    struct effects_builder b;
    const struct effects_head head = {.status = 0};
    struct op_address at = {.container = 100};
    struct record_key key;
    struct entry *e;
    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (char)(lsn * 31 + i);
    record_text_key(&at, lsn, &key);
    assert_int_equal(effects_begin(&b, &head), ERR_OK);
    assert_int_equal(
        effects_put(&b, record_key_bytes(&key), bytes_of(value, sizeof(value))),
        ERR_OK);
    assert_int_equal(effects_finish(&b, lsn, TERM, RAFT_ENTRY_DATA, &e),
                     ERR_OK);
    assert_int_equal(memtable_apply(m, e), ERR_OK);
    entry_unref(e);
}

/* What every state has, and no state of heads. */
static void put_history(struct flush *f)
{
    assert_int_equal(flush_set_info(f, SHARD_INFO_DEDUPE, bytes_str("history")),
                     ERR_OK);
}

static void put_config(struct flush *f, bool to_witness)
{
    struct raft_config c = {.n = 0};
    struct buf b;
    buf_init(&b, 1000);
    for (raft_id id = 1; id <= 2; id++) {
        bool witness = to_witness && id == 2;
        struct raft_member m = {.id = id,
                                .region = (raft_region)id,
                                .voter = !witness,
                                .witness = witness};
        assert_int_equal(raft_config_add(&c, m), ERR_OK);
    }
    assert_int_equal(raft_config_encode(&c, &b), ERR_OK);
    assert_int_equal(flush_set_info(f, SHARD_INFO_CONFIG,
                                    bytes_of(buf_bytes(&b), buf_len(&b))),
                     ERR_OK);
    buf_free(&b);
}

/* The records from 1 to LSN, and the configuration. */
static void fill(struct engine *e)
{
    struct memtable *m = memtable_new((size_t)64 << 20);
    for (uint64_t lsn = 1; lsn <= LSN; lsn++)
        put_record(m, lsn);
    struct flush *f = flush_new(0, LSN, TERM);
    while (!flush_collect(f, m, 1000)) {
    }
    put_config(f, false);
    assert_int_equal(engine_flush(e, f), ERR_OK);
    engine_flush_done(e, f);
    flush_free(f);
    memtable_free(m);
}

/* ---- the world --------------------------------------------------------------
 */

static void open_replica(struct end *e, uint32_t shard, bool filled)
{
    struct replica *r = &e->replicas[shard];
    struct err_msg msg;
    *r = (struct replica){.magic = REPLICA_MAGIC,
                          .worker = e->w,
                          .id = (uint16_t)shard,
                          .shard = &e->shards[shard]};
    snprintf(r->path, sizeof(r->path), "%s/%u-%u", world.dir, e->links.id,
             shard);
    const struct engine_options o = {.path = r->path};
    if (engine_open(&o, &msg, &r->engine) != ERR_OK)
        fail_msg("%s", msg.text);
    if (filled && engine_flushed_lsn(r->engine) == 0)
        fill(r->engine);
    r->flusher.replica = r;
    e->shards[shard] = (struct shard){.commit = filled ? LSN : 0, .durable = 1};
    e->w->replica_of[shard] = r;
    e->w->replicas[e->w->replica_count++] = r;
}

static void begin_life(struct end *e)
{
    struct worker *w = e->w = mem_zalloc(sizeof(*w));
    w->magic = WORKER_MAGIC;
    w->node = &e->node;
    w->loop = world.loop;
    w->catalog = world.catalog;
    w->peers = (struct peers *)&e->links;
    w->reachable[1] = w->reachable[2] = true;
    inbox_init(&w->inbox, world.loop, w);
    e->node.workers = w;
    e->node.worker_count = 1;
    e->node.config = &world.config;
    transfers_init(&w->transfers, w);
}

/* What the process of that node had in memory. */
static void end_life(struct end *e)
{
    pump(ALL);
    for (uint32_t i = 0; i < SHARDS; i++)
        if (e->w->replica_of[i] != NULL)
            (void)transfers_cancel(&e->w->transfers, &e->replicas[i]);
    pump(ALL);
    for (uint32_t i = 0; i < SHARDS; i++)
        if (e->w->replica_of[i] != NULL)
            assert_true(transfers_cancel(&e->w->transfers, &e->replicas[i]));
    for (uint32_t i = 0; i < SHARDS; i++)
        if (e->w->replica_of[i] != NULL)
            engine_close(e->replicas[i].engine);
    ev_async_stop(world.loop, &e->w->inbox.wake);
    mem_free(TAKE(e->w));
}

static int begin(unsigned records)
{
    memset(&world, 0, sizeof(world));
    world.records = records;
    snprintf(world.dir, sizeof(world.dir), "/tmp/test-transfers-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    world.loop = ev_loop_new(EVFLAG_AUTO);
    world.catalog = catalog_new();
    world.config.shards = SHARDS - 1;
    world.config.limits.memtable_bytes = 4 * RENEWAL_HELD_BYTES_MAX;
    list_init(&world.jobs);
    list_init(&world.wire);
    for (raft_id id = 1; id <= 2; id++) {
        world.ends[id].links.id = id;
        begin_life(&world.ends[id]);
        open_replica(&world.ends[id], 1, id == 1);
    }
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return begin(FEW);
}

static int setup_many(void **state)
{
    (void)state;
    return begin(MANY);
}

static int teardown(void **state)
{
    (void)state;
    world.hold_jobs = false;
    end_life(SENDER);
    end_life(RECEIVER);
    catalog_free(world.catalog);
    ev_loop_destroy(world.loop);
    assert_int_equal(file_remove_tree(world.dir), ERR_OK);
    return 0;
}

static void start(uint32_t shard)
{
    transfers_start(&SENDER->w->transfers, &SENDER->replicas[shard], 2);
}

static void expect_received(uint32_t shard)
{
    const struct shard *s = &RECEIVER->shards[shard];
    assert_int_equal(s->adopted, 1);
    assert_int_equal(s->installed_lsn, LSN);
    assert_int_equal(s->installed_term, TERM);
    assert_int_equal(engine_flushed_lsn(RECEIVER->replicas[shard].engine), LSN);
    struct engine_stats there, here;
    assert_int_equal(engine_stats(RECEIVER->replicas[shard].engine, &there),
                     ERR_OK);
    assert_int_equal(engine_stats(SENDER->replicas[shard].engine, &here),
                     ERR_OK);
    assert_int_equal(there.records, here.records);
    assert_int_equal(SENDER->shards[shard].sent_ok, 1);
    assert_int_equal(SENDER->shards[shard].retained, UINT64_MAX);
}

static void expect_nothing_taken(void)
{
    assert_int_equal(RECEIVER->shards[1].installed_lsn, 0);
    assert_int_equal(RECEIVER->shards[1].adopted, 0);
    assert_int_equal(engine_flushed_lsn(RECEIVER->replicas[1].engine), 0);
}

static size_t outgoings(void)
{
    return transfers_running(&SENDER->w->transfers);
}

/* ---- whole ------------------------------------------------------------------
 */

static void a_snapshot_becomes_the_receivers_state(void **state)
{
    (void)state;
    start(1);
    assert_int_equal(world.frames, 0); /* Raft is in the middle of a step */
    tick(SENDER, 0);
    assert_int_equal(SENDER->shards[1].retained, LSN);
    pump(ALL);
    expect_received(1);
    assert_int_equal(outgoings(), 0);
    assert_int_equal(SENDER->w->transfers.counts.sent, 1);
    assert_int_equal(RECEIVER->w->transfers.counts.received, 1);
    assert_int_equal(SENDER->w->transfers.counts.resumed, 0);
}

static void what_differs_from_what_was_sent_is_thrown_away(void **state)
{
    (void)state;
    start(1);
    tick(SENDER, 0);
    world.damage_frame = 5;
    pump(ALL);
    expect_nothing_taken();
    assert_int_equal(SENDER->shards[1].sent_failed, 1);
    assert_int_equal(RECEIVER->w->transfers.counts.failed, 1);
    world.damage_frame = 0;
    start(1); /* nothing of it is gone on with */
    tick(SENDER, 0);
    pump(ALL);
    expect_received(1);
    assert_int_equal(SENDER->w->transfers.counts.resumed, 0);
}

/* A flush would change what the configuration belongs to. */
static void nothing_is_opened_while_a_flush_runs(void **state)
{
    (void)state;
    SENDER->shards[1].flush_pending = true;
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(world.frames, 0);
    SENDER->shards[1].flush_pending = false;
    SENDER->replicas[1].flusher.running = true;
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(world.frames, 0);
    SENDER->replicas[1].flusher.running = false;
    tick(SENDER, 0);
    pump(ALL);
    expect_received(1);
}

/* ---- how many at a time -----------------------------------------------------
 */

static void only_so_many_are_sent_at_a_time(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SHARDS; i++)
        if (i != 1)
            for (raft_id id = 1; id <= 2; id++)
                open_replica(&world.ends[id], i, id == 1);
    for (uint32_t i = SHARDS; i-- > 0;)
        start(i);
    world.hold_jobs = true;
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(SENDER->node.snapshots_sending, TRANSFERS_AT_ONCE);
    /* Of 3 and 2, which were first, and of the meta shard, which is small. */
    assert_int_equal(SENDER->shards[3].retained, LSN);
    assert_int_equal(SENDER->shards[2].retained, LSN);
    assert_int_equal(SENDER->shards[0].retained, LSN);
    assert_int_equal(SENDER->shards[1].retained, 0);
    world.hold_jobs = false;
    for (int i = 0; i < 3; i++) {
        tick(SENDER, 0);
        pump(ALL);
    }
    assert_int_equal(SENDER->node.snapshots_sending, 0);
    assert_int_equal(outgoings(), 0);
    assert_int_equal(SENDER->shards[1].sent_ok, 1);
}

/* All learners together get entries as fast as one snapshot may leave. */
static void learners_share_a_rate(void **state)
{
    (void)state;
    const uint64_t rate = 1000000;
    for (uint32_t i = 2; i <= 3; i++)
        open_replica(SENDER, i, false);
    transfers_set_rate(SENDER->w, rate);
    SENDER->shards[1].learners = 1;
    for (uint32_t n = 1; n <= 4; n++) {
        SENDER->shards[2].learners = n - 1;
        tick(SENDER, 0);
        tick(SENDER, 0); /* each goes by what all said last */
        for (uint32_t i = 1; i <= 3; i++)
            assert_int_equal(SENDER->shards[i].pace,
                             rate / TRANSFERS_AT_ONCE / n);
    }
    SENDER->shards[1].learners = SENDER->shards[2].learners = 0;
    tick(SENDER, 0);
    assert_int_equal(SENDER->node.learners_behind, 0);
}

/* The receiver is a witness from now on, and the store has that. */
static void make_witness(struct end *sender, uint32_t shard)
{
    struct flush *f = flush_new(LSN, LSN, TERM);
    f->complete = true;
    put_config(f, true);
    put_history(f);
    assert_int_equal(engine_flush(sender->replicas[shard].engine, f), ERR_OK);
    engine_flush_done(sender->replicas[shard].engine, f);
    flush_free(f);
}

/* Whoever has a store of another kind there must be able to tell. */
static void a_witness_gets_no_state_that_does_not_name_it(void **state)
{
    (void)state;
    SENDER->shards[1].no_payload = true;
    SENDER->shards[1].commit = LSN + 7;
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    expect_nothing_taken();
    assert_int_equal(outgoings(), 1);
    assert_int_equal(SENDER->shards[1].aim, LSN + 7);
    make_witness(SENDER, 1);
    RECEIVER->shards[1].witness = true;
    tick(SENDER, 0);
    assert_int_equal(SENDER->shards[1].aim, SHARD_FLUSH_ALL);
    pump(ALL);
    assert_int_equal(RECEIVER->shards[1].adopted, 1);
}

static void a_replica_of_the_other_kind_takes_nothing(void **state)
{
    (void)state;
    RECEIVER->shards[1].other_kind = true;
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    expect_nothing_taken();
    assert_int_equal(SENDER->shards[1].sent_failed, 1);
}

/* One that was sent while the receiver was a witness. The same, whole, is a
 * state like any other: history may call it what it will. */
static void what_was_a_witness_takes_no_state_of_heads(void **state)
{
    (void)state;
    world.config.id = 2; /* the receiver */
    SENDER->shards[1].no_payload = true;
    make_witness(SENDER, 1);
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    expect_nothing_taken();
    assert_int_equal(SENDER->shards[1].sent_failed, 1);
    SENDER->shards[1].no_payload = false;
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(RECEIVER->shards[1].adopted, 1);
}

static void a_witness_does_not_wait(void **state)
{
    (void)state;
    assert_true(transfers_admit(&SENDER->node));
    assert_true(transfers_admit(&SENDER->node));
    assert_false(transfers_admit(&SENDER->node));
    start(1);
    tick(SENDER, 0);
    assert_int_equal(SENDER->shards[1].retained, 0); /* it waits */
    SENDER->shards[1].no_payload = true;
    make_witness(SENDER, 1);
    tick(SENDER, 0);
    assert_int_equal(SENDER->shards[1].retained, LSN);
    assert_int_equal(SENDER->node.snapshots_sending, TRANSFERS_AT_ONCE);
    pump(ALL);
    assert_int_equal(SENDER->node.snapshots_sending, TRANSFERS_AT_ONCE);
}

/* ---- who gives way ----------------------------------------------------------
 */

/* Raft asked anew, after another leadership: it waits for that one's end. */
static void a_later_one_takes_the_place_of_an_earlier(void **state)
{
    (void)state;
    start(1);
    tick(SENDER, 0);
    pump(4);
    start(1);
    tick(SENDER, 0);
    assert_int_equal(SENDER->shards[1].sent_failed, 0);
    assert_int_equal(SENDER->w->transfers.counts.failed, 1);
    pump(ALL);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(SENDER->shards[1].sent_failed, 0);
    expect_received(1);
    assert_int_equal(outgoings(), 0);
    assert_int_equal(SENDER->node.snapshots_sending, 0);
}

static void a_replica_that_closes_ends_its_own(void **state)
{
    (void)state;
    start(1);
    tick(SENDER, 0);
    world.hold_jobs = true;
    pump(ALL);
    /* The helper reads, or stores: not yet. */
    bool out = transfers_cancel(&SENDER->w->transfers, &SENDER->replicas[1]);
    bool in = transfers_cancel(&RECEIVER->w->transfers, &RECEIVER->replicas[1]);
    assert_false(out && in);
    world.hold_jobs = false;
    pump(ALL);
    assert_true(transfers_cancel(&SENDER->w->transfers, &SENDER->replicas[1]));
    assert_true(
        transfers_cancel(&RECEIVER->w->transfers, &RECEIVER->replicas[1]));
    expect_nothing_taken();
    assert_int_equal(SENDER->node.snapshots_sending, 0);
}

/* ---- refusals ---------------------------------------------------------------
 */

static void who_cannot_take_it_says_so(void **state)
{
    (void)state;
    struct replica *r = &RECEIVER->replicas[1];
    bool *const why[] = {&r->closing, &r->deaf, &RECEIVER->shards[1].overruled};
    for (unsigned i = 0; i < ARRAY_LEN(why); i++) {
        *why[i] = true;
        start(1);
        tick(SENDER, 0);
        pump(ALL);
        assert_int_equal(SENDER->shards[1].sent_failed, i + 1);
        *why[i] = false;
    }
    expect_nothing_taken();
}

/* Its log came that far by itself: Raft may go on from there. */
static void who_has_it_already_needs_nothing(void **state)
{
    (void)state;
    RECEIVER->shards[1].commit = LSN;
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(SENDER->shards[1].sent_ok, 1);
    assert_int_equal(world.frames, 1);
}

static void who_lacks_what_was_recovered_refuses(void **state)
{
    (void)state;
    RECEIVER->shards[1].contradicted = true;
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(SENDER->shards[1].sent_failed, 1);
    expect_nothing_taken();
}

static void a_shard_that_is_busy_is_asked_again(void **state)
{
    (void)state;
    RECEIVER->shards[1].busy = true;
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    expect_nothing_taken();
    tick(RECEIVER, 0);
    RECEIVER->shards[1].busy = false;
    RECEIVER->shards[1].durable = 0; /* the log's reset is not on disk */
    tick(RECEIVER, 0);
    pump(ALL);
    assert_int_equal(RECEIVER->shards[1].adopted, 0);
    RECEIVER->shards[1].durable = 1;
    pump(ALL);
    expect_received(1);
}

static void frames_that_do_not_follow_are_refused(void **state)
{
    (void)state;
    const struct snapshot_chunk stray = {
        .shard = 1, .transfer = 77, .lsn = LSN, .term = TERM, .seq = 4};
    transfers_on_chunk(RECEIVER->w, 1, &stray); /* of no transfer */
    pump(ALL);
    assert_int_equal(transfers_running(&RECEIVER->w->transfers), 0);
    start(1);
    tick(SENDER, 0);
    pump(3);
    transfers_on_chunk(RECEIVER->w, 1, &stray); /* of another one */
    const struct snapshot_chunk beyond = {.shard = NODE_SHARDS_MAX};
    transfers_on_chunk(RECEIVER->w, 1, &beyond);
    pump(ALL);
    expect_received(1);
}

/* ---- at another node's word
 * --------------------------------------------------
 */

/* What a leader, node 3, asks of the sender. */
static void order(uint64_t id, uint64_t least, uint64_t most)
{
    uint8_t storage[64];
    struct buf b = buf_over(storage, sizeof(storage));
    assert_int_equal(buf_append_u16_le(&b, 1), ERR_OK);
    assert_int_equal(buf_append_u32_le(&b, 2), ERR_OK);
    assert_int_equal(buf_append_u64_le(&b, TERM), ERR_OK);
    assert_int_equal(buf_append_u64_le(&b, least), ERR_OK);
    assert_int_equal(buf_append_u64_le(&b, most), ERR_OK);
    transfers_on_request(SENDER->w, (struct links_call){.peer = 3, .id = id},
                         bytes_of(storage, buf_len(&b)));
    pump(ALL);
}

static void expect_said(uint64_t id, int err)
{
    assert_int_equal(SENDER->links.answered_id, id);
    assert_int_equal(SENDER->links.answer, err);
}

static void a_follower_sends_at_its_leaders_word(void **state)
{
    (void)state;
    order(7, LSN, LSN);
    assert_int_equal(SENDER->links.answered, 0);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(RECEIVER->shards[1].adopted, 1);
    expect_said(7, ERR_OK);
    /* Raft, which does not lead there, hears nothing. */
    assert_int_equal(SENDER->shards[1].sent_ok, 0);
    assert_int_equal(SENDER->node.snapshots_sending, 0);
}

static void who_cannot_send_says_so_at_once(void **state)
{
    (void)state;
    struct replica *r = &SENDER->replicas[1];
    SENDER->shards[1].may_send = ERR_STALE;
    order(1, LSN, LSN);
    expect_said(1, ERR_STALE);
    SENDER->shards[1].may_send = ERR_OK;
    r->closing = true;
    order(2, LSN, LSN);
    expect_said(2, ERR_UNAVAILABLE);
    r->closing = false;
    SENDER->w->reachable[2] = false;
    order(3, LSN, LSN);
    expect_said(3, ERR_UNAVAILABLE);
    SENDER->w->reachable[2] = true;
    SENDER->node.snapshots_sending = TRANSFERS_AT_ONCE; /* no room */
    order(4, LSN, LSN);
    expect_said(4, ERR_BUSY);
    SENDER->node.snapshots_sending = 0;
    order(5, LSN, LSN);
    order(6, LSN, LSN); /* the same once more */
    expect_said(6, ERR_BUSY);
    transfers_on_request(SENDER->w, (struct links_call){.peer = 3, .id = 8},
                         bytes_str("nonsense"));
    expect_said(8, ERR_MALFORMED);
    tick(SENDER, 0);
    pump(ALL);
    expect_said(5, ERR_OK);
    assert_int_equal(SENDER->links.answered, 7);
}

/* Its state is newer than what the leader knows to be its own history. */
static void a_state_that_the_leader_does_not_know_is_not_sent(void **state)
{
    (void)state;
    order(1, 1, LSN - 1);
    tick(SENDER, 0);
    pump(ALL);
    expect_said(1, ERR_CANCELLED);
    expect_nothing_taken();
    /* Older than the leader can go on from: it waits for a flush. */
    order(2, LSN + 1, LSN + 5);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(SENDER->links.answered, 1);
    tick(SENDER, TRANSFER_STALL_US + USEC_PER_SEC);
    pump(ALL);
    expect_said(2, ERR_CANCELLED);
    assert_int_equal(SENDER->node.snapshots_sending, 0);
}

/* The leader has node 3 send it, which is nearer. */
static void have_3_send(void)
{
    feature_raise(&SENDER->node.features, FEATURE_PARTS);
    SENDER->w->governor = (struct governor *)&SENDER->links;
    SENDER->shards[1].other =
        (struct shard_sender){.node = 3, .match_lsn = LSN};
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(SENDER->links.asked, 1);
    assert_int_equal(SENDER->links.asked_of, 3);
    assert_int_equal(SENDER->shards[1].retained, LSN);
    assert_int_equal(world.frames, 0);
    tick(SENDER, 2 * TRANSFER_STALL_US); /* it is waited for */
    assert_true(outgoing_any(&SENDER->w->transfers, 1, 2));
    assert_int_equal(outgoings(), 0); /* and shown there */
}

static void a_leader_is_told_that_another_has_sent_it(void **state)
{
    (void)state;
    have_3_send();
    assert_false(transfers_on_response(SENDER->w, 99, ERR_OK));
    assert_true(transfers_on_response(SENDER->w, 1, ERR_OK));
    assert_false(transfers_on_response(SENDER->w, 1, ERR_OK)); /* once */
    pump(ALL);
    assert_int_equal(SENDER->shards[1].sent_ok, 1);
    assert_int_equal(SENDER->w->transfers.counts.near, 1);
    assert_int_equal(outgoings(), 0);
    assert_int_equal(SENDER->shards[1].retained, UINT64_MAX);
}

static void the_leader_sends_what_the_other_does_not(void **state)
{
    (void)state;
    have_3_send();
    assert_true(transfers_on_response(SENDER->w, 1, ERR_BUSY));
    pump(ALL);
    tick(SENDER, 0);
    pump(ALL);
    expect_received(1);
    assert_int_equal(SENDER->links.asked, 1); /* it is asked once */
    assert_int_equal(SENDER->w->transfers.counts.near, 0);
}

/* What it is about was begun anew meanwhile, or is over. */
static void a_late_answer_of_the_other_changes_nothing(void **state)
{
    (void)state;
    have_3_send();
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(SENDER->links.asked, 2);
    assert_true(transfers_on_response(SENDER->w, 1, ERR_OK));
    pump(ALL);
    assert_int_equal(SENDER->shards[1].sent_ok, 0);
    assert_true(transfers_on_response(SENDER->w, 2, ERR_OK));
    pump(ALL);
    assert_int_equal(SENDER->shards[1].sent_ok, 1);
    assert_int_equal(outgoings(), 0);
}

/* ---- a damaged store --------------------------------------------------------
 */

/* Of all records of a store. */
static void digest_store(struct engine *e, uint8_t out[DIGEST_LEN])
{
    struct digest *d = digest_new(NULL, NULL);
    struct digest_result all;
    struct snapshot *s;
    struct buf chunk;
    buf_init(&chunk, ENGINE_CHUNK_BYTES_MAX);
    assert_int_equal(snapshot_open(e, 0, &s), ERR_OK);
    while (snapshot_chunk(s, 1, TRANSFER_CHUNK_BYTES, &chunk) == ERR_OK) {
        assert_int_equal(
            digest_chunk(d, bytes_of(buf_bytes(&chunk), buf_len(&chunk))),
            ERR_OK);
        buf_clear(&chunk);
    }
    digest_finish(d, &all);
    memcpy(out, all.whole, DIGEST_LEN);
    snapshot_close(s);
    digest_free(d);
    buf_free(&chunk);
}

static bool is_right(void)
{
    uint8_t a[DIGEST_LEN], b[DIGEST_LEN];
    digest_store(SENDER->replicas[1].engine, a);
    digest_store(RECEIVER->replicas[1].engine, b);
    return memcmp(a, b, DIGEST_LEN) == 0;
}

static bool has_incoming(void)
{
    char path[DATADIR_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/incoming", RECEIVER->replicas[1].path);
    return access(path, F_OK) == 0;
}

/* The receiver has everything, in a store of which one bit is not as it was. */
static void damage_store(void)
{
    struct engine_flip flip;
    struct replica *r = &RECEIVER->replicas[1];
    fill(r->engine);
    assert_int_equal(engine_flip_bit(r->engine, &flip), ERR_OK);
    r->shard->commit = LSN;
    assert_false(is_right());
}

/* As the leader has it renewed. */
static void renew(void)
{
    assert_int_equal(renewal_begin(&RECEIVER->replicas[1], 1), ERR_OK);
    transfers_renew(&SENDER->w->transfers, &SENDER->replicas[1], 2);
    tick(SENDER, 0);
}

static void expect_damaged_still(void)
{
    const struct shard *s = &RECEIVER->shards[1];
    assert_false(RECEIVER->replicas[1].renewal.on);
    assert_int_equal(s->aim, SHARD_FLUSH_ALL);
    assert_int_equal(s->renewed, 0);
    assert_false(is_right());
}

static void expect_renewed(void)
{
    const struct shard *s = &RECEIVER->shards[1];
    assert_int_equal(s->renewed, 1);
    assert_int_equal(s->swept, 1);
    assert_int_equal(s->audits, 2);
    assert_int_equal(s->aim, SHARD_FLUSH_ALL);
    assert_int_equal(s->adopted, 0);
    assert_false(RECEIVER->replicas[1].renewal.on);
    assert_int_equal(engine_flushed_lsn(RECEIVER->replicas[1].engine), LSN);
    assert_true(is_right());
    assert_false(has_incoming());
    /* Raft hears of nothing. */
    assert_int_equal(SENDER->shards[1].sent_ok + SENDER->shards[1].sent_failed,
                     0);
    assert_int_equal(outgoings(), 0);
    assert_int_equal(transfers_running(&RECEIVER->w->transfers), 0);
}

static void a_damaged_store_is_replaced_when_the_new_one_is_whole(void **state)
{
    (void)state;
    damage_store();
    renew();
    assert_int_equal(RECEIVER->shards[1].aim, LSN); /* it stays where it is */
    assert_int_equal(renewal_begin(&RECEIVER->replicas[1], 1), ERR_BUSY);
    pump(5);
    assert_true(has_incoming());
    assert_false(is_right());
    pump(ALL);
    expect_renewed();
}

/* Who has everything takes nothing that it does not wait for. */
static void nothing_replaces_a_store_unasked(void **state)
{
    (void)state;
    damage_store();
    transfers_renew(&SENDER->w->transfers, &SENDER->replicas[1], 2);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(world.frames, 1);
    RECEIVER->shards[1].aim = SHARD_FLUSH_ALL;
    expect_damaged_still();
    assert_int_equal(renewal_begin(&RECEIVER->replicas[1], 3), ERR_AGAIN);
    assert_int_equal(renewal_begin(&RECEIVER->replicas[1], 1), ERR_OK);
    RECEIVER->replicas[1].renewal.from = 3;
    transfers_renew(&SENDER->w->transfers, &SENDER->replicas[1], 2);
    tick(SENDER, 0);
    pump(ALL);
    assert_int_equal(world.frames, 2); /* from somebody else */
    renewal_end(&RECEIVER->replicas[1]);
    expect_damaged_still();
}

static void what_is_not_authentic_replaces_nothing(void **state)
{
    (void)state;
    damage_store();
    RECEIVER->shards[1].unauthentic = true;
    renew();
    pump(ALL);
    expect_damaged_still();
    RECEIVER->shards[1].unauthentic = false;
    renew();
    world.damage_frame = 5; /* nor what is not what was sent */
    pump(ALL);
    expect_damaged_still();
    assert_false(has_incoming());
}

/* A store that takes no flush: the new one stands for it. */
static void a_store_that_is_behind_is_replaced_by_way_of_a_flush(void **state)
{
    (void)state;
    struct replica *r = &RECEIVER->replicas[1];
    struct flush *early = flush_new(0, LSN - 1, TERM);
    struct flush *f = flush_new(0, LSN, TERM);
    r->shard->commit = LSN; /* nothing is flushed */
    renew();
    assert_false(renewal_swap_at_flush(r, f));
    pump(ALL);
    assert_true(has_incoming());
    assert_int_equal(r->shard->aim, LSN);
    assert_int_equal(r->shard->renewed, 0);
    assert_false(renewal_swap_at_flush(r, early));
    r->shard->renewable = ERR_UNAVAILABLE;
    assert_false(renewal_swap_at_flush(r, f));
    r->shard->renewable = ERR_OK;
    assert_true(renewal_swap_at_flush(r, f));
    assert_int_equal(engine_flushed_lsn(r->engine), LSN);
    pump(ALL);
    expect_renewed();
    flush_free(early);
    flush_free(f);
}

/* Another history, or none that the log goes on from. */
static void a_state_that_does_not_fit_the_log_replaces_nothing(void **state)
{
    (void)state;
    damage_store();
    RECEIVER->shards[1].renewable = ERR_AGAIN;
    renew();
    pump(ALL);
    assert_true(RECEIVER->replicas[1].renewal.on);
    assert_false(is_right());
    RECEIVER->shards[1].renewable = ERR_PRECONDITION;
    pump(ALL);
    expect_damaged_still();
}

static void a_renewal_is_given_up_before_it_costs_too_much(void **state)
{
    (void)state;
    struct replica *r = &RECEIVER->replicas[1];
    damage_store();
    renew();
    pump(5);
    renewal_check(r, clock_mono_us());
    assert_true(r->renewal.on);
    r->shard->dirty = RENEWAL_HELD_BYTES_MAX + 1;
    renewal_check(r, clock_mono_us());
    expect_damaged_still();
    pump(ALL); /* what comes still is refused */
    expect_damaged_still();
    assert_int_equal(SENDER->w->transfers.counts.sent, 0);
    assert_true(has_incoming());
    tick(RECEIVER, 0); /* and what came is removed */
    pump(ALL);
    assert_false(has_incoming());
    assert_int_equal(transfers_running(&RECEIVER->w->transfers), 0);
    r->shard->dirty = 0;
    assert_int_equal(renewal_begin(r, 1), ERR_OK);
    r->renewal.progress_us -= RENEWAL_PATIENCE_US + USEC_PER_SEC;
    renewal_check(r, clock_mono_us());
    expect_damaged_still();
    assert_int_equal(renewal_begin(r, 1), ERR_OK);
    r->shard->role = RAFT_LEADER;
    renewal_check(r, clock_mono_us());
    expect_damaged_still();
    assert_int_equal(renewal_begin(r, 1), ERR_AGAIN);
    r->shard->role = RAFT_FOLLOWER;
    /* No room for both. */
    assert_int_equal(renewal_begin(r, 1), ERR_OK);
    assert_int_equal(renewal_offered(r, LSN, UINT64_MAX / 4), ERR_NO_SPACE);
    expect_damaged_still();
    /* The log may lack what follows an older state. */
    assert_int_equal(renewal_begin(r, 1), ERR_OK);
    assert_int_equal(renewal_offered(r, LSN - 1, 1), ERR_STALE);
    expect_damaged_still();
}

/* Beyond its share of the memory the shard would acknowledge nothing. */
static void a_renewal_leaves_the_shard_memory_to_go_on(void **state)
{
    (void)state;
    struct replica *r = &RECEIVER->replicas[1];
    const size_t share = (size_t)16 << 20;
    world.config.limits.memtable_bytes = share;
    damage_store();
    assert_int_equal(renewal_begin(r, 1), ERR_OK);
    assert_int_equal(r->shard->doubted, 1); /* whoever found it */
    r->shard->dirty = share / 4 * 3;
    renewal_check(r, clock_mono_us());
    assert_true(r->renewal.on);
    r->shard->dirty++;
    renewal_check(r, clock_mono_us());
    expect_damaged_still();
}

/* The new leader's log may lack what that one sends; it sends its own. */
static void a_renewal_ends_with_its_leader(void **state)
{
    (void)state;
    struct replica *r = &RECEIVER->replicas[1];
    damage_store();
    renew();
    pump(5);
    r->shard->leader = 2;
    renewal_check(r, clock_mono_us());
    expect_damaged_still();
    tick(RECEIVER, 0);
    pump(ALL);
    assert_false(has_incoming());
    /* Nor does it need one once all is there. */
    r->shard->leader = 1;
    r->flusher.running = true;
    renew();
    pump(ALL);
    assert_true(r->renewal.ready);
    r->shard->leader = 2;
    renewal_check(r, clock_mono_us());
    assert_true(r->renewal.on);
    r->flusher.running = false;
    pump(ALL);
    assert_true(is_right());
}

/* The leader has dropped what the log here lacks, and sends its state as to
 * anybody who is behind: nothing else brings that. */
static void a_state_beyond_the_log_is_taken_like_any_other(void **state)
{
    (void)state;
    struct replica *r = &RECEIVER->replicas[1];
    r->shard->log_ends = true;
    r->shard->renewable = ERR_AGAIN;
    r->scrub.broken = true;
    assert_int_equal(renewal_begin(r, 1), ERR_OK);
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    expect_received(1);
    assert_false(r->renewal.on);
    assert_false(r->scrub.broken);
    assert_int_equal(r->shard->aim, SHARD_FLUSH_ALL);
    assert_int_equal(r->shard->renewed, 0);
    assert_false(has_incoming());
}

/* Whoever takes a state has no store to be renewed any more. */
static void another_leaders_snapshot_ends_a_renewal(void **state)
{
    (void)state;
    struct replica *r = &RECEIVER->replicas[1];
    assert_int_equal(renewal_begin(r, 1), ERR_OK);
    r->renewal.from = 3;
    start(1);
    tick(SENDER, 0);
    pump(ALL);
    expect_received(1);
    assert_false(r->renewal.on);
    assert_int_equal(r->shard->aim, SHARD_FLUSH_ALL);
}

static void nothing_else_is_in_the_way_of_a_renewal(void **state)
{
    (void)state;
    struct replica *r = &RECEIVER->replicas[1];
    bool *const why[] = {&r->closing, &r->deaf, &r->marked,
                         &RECEIVER->node.rebuilding};
    for (unsigned i = 0; i < ARRAY_LEN(why); i++) {
        *why[i] = true;
        assert_int_equal(renewal_begin(r, 1), ERR_AGAIN);
        *why[i] = false;
    }
    r->digester = (struct digester *)r;
    assert_int_equal(renewal_begin(r, 1), ERR_AGAIN);
    r->digester = NULL;
}

/* ---- what a lost link costs -------------------------------------------------
 */

/* The frames under way are gone with it. */
static void lose_the_link(void)
{
    SENDER->links.down = RECEIVER->links.down = true;
    SENDER->w->reachable[2] = RECEIVER->w->reachable[1] = false;
    pump(ALL);
    transfers_on_peer_down(SENDER->w, 2);
    transfers_on_peer_down(RECEIVER->w, 1);
    pump(ALL);
}

static void find_the_link(void)
{
    SENDER->links.down = RECEIVER->links.down = false;
    SENDER->w->reachable[2] = RECEIVER->w->reachable[1] = true;
    tick(SENDER, 0);
}

static void expect_most_was_kept(void)
{
    expect_received(1);
    assert_int_equal(SENDER->w->transfers.counts.resumed, 1);
    assert_true(SENDER->w->transfers.counts.sent_bytes <
                LSN * RECORD_BYTES * 3 / 2);
}

/* It begins with nothing: of what is there nobody knows whether it is
 * authentic. */
static void a_renewal_outlives_a_lost_link(void **state)
{
    (void)state;
    damage_store();
    renew();
    pump(40);
    lose_the_link();
    assert_false(is_right());
    find_the_link();
    pump(ALL);
    expect_renewed();
    assert_int_equal(SENDER->w->transfers.counts.resumed, 0);
}

/* Nobody waits for the rest: it must not hold the disk. */
static void what_came_of_a_renewal_is_not_left(void **state)
{
    (void)state;
    struct replica *r = &RECEIVER->replicas[1];
    damage_store();
    renew();
    pump(40);
    lose_the_link();
    assert_true(has_incoming());
    tick(RECEIVER, 0);
    assert_true(has_incoming());
    tick(RECEIVER, TRANSFER_RESUME_US + USEC_PER_SEC);
    assert_false(transfers_cancel(&RECEIVER->w->transfers, r));
    pump(ALL);
    assert_false(has_incoming());
    assert_true(transfers_cancel(&RECEIVER->w->transfers, r));
}

/* What was received is not named by the log: a start throws it away. */
static void a_kill_leaves_the_damaged_store(void **state)
{
    (void)state;
    enum engine_recovered outcome;
    struct err_msg msg;
    struct replica *r = &RECEIVER->replicas[1];
    damage_store();
    r->shard->renewable = ERR_AGAIN; /* all is received */
    renew();
    pump(ALL);
    assert_true(has_incoming());
    world.hold_jobs = true;
    assert_false(transfers_cancel(&RECEIVER->w->transfers, r));
    engine_close(r->engine);
    assert_int_equal(engine_recover(r->path, 0, 0, &msg, &outcome), ERR_OK);
    assert_int_equal(outcome, ENGINE_RECOVERED_DISCARDED);
    const struct engine_options o = {.path = r->path};
    assert_int_equal(engine_open(&o, &msg, &r->engine), ERR_OK);
    assert_int_equal(engine_flushed_lsn(r->engine), LSN);
    assert_false(is_right());
}

static void a_lost_link_costs_little(void **state)
{
    (void)state;
    start(1);
    tick(SENDER, 0);
    pump(40); /* most of it */
    lose_the_link();
    unsigned frames = world.frames;
    tick(SENDER, TRANSFER_STALL_US + USEC_PER_SEC); /* it is waited for */
    pump(ALL);
    assert_int_equal(world.frames, frames);
    assert_int_equal(outgoings(), 1);
    find_the_link();
    pump(ALL);
    expect_most_was_kept();
}

static void a_receiver_that_is_started_again_goes_on(void **state)
{
    (void)state;
    start(1);
    tick(SENDER, 0);
    pump(40);
    lose_the_link();
    end_life(RECEIVER);
    begin_life(RECEIVER);
    open_replica(RECEIVER, 1, false);
    find_the_link();
    pump(ALL);
    expect_most_was_kept();
}

static void nobody_is_waited_for_forever(void **state)
{
    (void)state;
    start(1);
    tick(SENDER, 0);
    pump(4);
    lose_the_link();
    tick(SENDER, TRANSFER_RESUME_US + USEC_PER_SEC);
    assert_int_equal(outgoings(), 0);
    assert_int_equal(SENDER->shards[1].sent_failed, 1);
    assert_int_equal(SENDER->node.snapshots_sending, 0);
    tick(RECEIVER, TRANSFER_RESUME_US + USEC_PER_SEC);
    assert_int_equal(transfers_running(&RECEIVER->w->transfers), 0);
}

static void who_does_not_answer_is_given_up(void **state)
{
    (void)state;
    start(1);
    tick(SENDER, 0);
    pump(4);
    world.hold_jobs = true;
    pump(ALL);
    tick(SENDER, TRANSFER_STALL_US + USEC_PER_SEC);
    world.hold_jobs = false;
    pump(ALL);
    assert_int_equal(SENDER->shards[1].sent_failed, 1);
    assert_int_equal(outgoings(), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_MANY(f) cmocka_unit_test_setup_teardown(f, setup_many, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_snapshot_becomes_the_receivers_state),
        TEST(what_differs_from_what_was_sent_is_thrown_away),
        TEST(nothing_is_opened_while_a_flush_runs),
        TEST(only_so_many_are_sent_at_a_time),
        TEST(learners_share_a_rate),
        TEST(a_witness_does_not_wait),
        TEST(a_witness_gets_no_state_that_does_not_name_it),
        TEST(a_replica_of_the_other_kind_takes_nothing),
        TEST(what_was_a_witness_takes_no_state_of_heads),
        TEST(a_later_one_takes_the_place_of_an_earlier),
        TEST(a_replica_that_closes_ends_its_own),
        TEST(who_cannot_take_it_says_so),
        TEST(who_has_it_already_needs_nothing),
        TEST(who_lacks_what_was_recovered_refuses),
        TEST(a_shard_that_is_busy_is_asked_again),
        TEST(frames_that_do_not_follow_are_refused),
        TEST(a_follower_sends_at_its_leaders_word),
        TEST(who_cannot_send_says_so_at_once),
        TEST(a_state_that_the_leader_does_not_know_is_not_sent),
        TEST(a_leader_is_told_that_another_has_sent_it),
        TEST(the_leader_sends_what_the_other_does_not),
        TEST(a_late_answer_of_the_other_changes_nothing),
        TEST(a_damaged_store_is_replaced_when_the_new_one_is_whole),
        TEST(nothing_replaces_a_store_unasked),
        TEST(what_is_not_authentic_replaces_nothing),
        TEST(a_store_that_is_behind_is_replaced_by_way_of_a_flush),
        TEST(a_state_that_does_not_fit_the_log_replaces_nothing),
        TEST(a_renewal_is_given_up_before_it_costs_too_much),
        TEST(nothing_else_is_in_the_way_of_a_renewal),
        TEST(a_renewal_leaves_the_shard_memory_to_go_on),
        TEST(a_renewal_ends_with_its_leader),
        TEST(a_state_beyond_the_log_is_taken_like_any_other),
        TEST(another_leaders_snapshot_ends_a_renewal),
        TEST_MANY(a_renewal_outlives_a_lost_link),
        TEST_MANY(what_came_of_a_renewal_is_not_left),
        TEST(a_kill_leaves_the_damaged_store),
        TEST_MANY(a_lost_link_costs_little),
        TEST_MANY(a_receiver_that_is_started_again_goes_on),
        TEST(nobody_is_waited_for_forever),
        TEST(who_does_not_answer_is_given_up),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
