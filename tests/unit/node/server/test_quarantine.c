/* Promises of a quarantine: nothing goes before what was promised is written
 * down, wherever it is killed; the replica hears nothing meanwhile; it is over
 * when the replica has everything again. The data directory is real, the rest
 * of the node is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/server/catalog_feed.h"
#include "node/server/digester.h"
#include "node/server/group_edit.h"
#include "node/server/quarantine.h"
#include "node/server/recovery.h"
#include "node/server/worker.h"

#define SHARD 3
#define SELF 1

struct shard {
    enum raft_role role;
    enum raft_amnesia amnesia;
    uint32_t salvage_pending;
    bool installing, flush_pending, distrusted;
    uint64_t durable, written;
    uint64_t lsn, lsn_term, term;
    raft_id vote;
    struct raft_config committed;
};

struct engine {
    uint64_t flushed;
};

static struct world {
    char dir[64];
    struct datadir *datadir;
    struct config config;
    struct node node;
    struct worker *w;
    struct replica *r;
    struct shard *shard; /* the replica's, until they are freed */
    struct engine *engine;
    struct helper_job *job; /* with the helper */
    bool transfers, digest; /* are in the way */
    bool log_durable;
    uint64_t opened_term; /* recovery_open_anew's */
    raft_id opened_vote;
    unsigned opened, told_committed, audits;
    char audit[GROUP_EDIT_WHAT_MAX];
    /* Killed at the step of that number from now on, 1 being the next; 0: not.
     */
    unsigned kill_at, steps;
    jmp_buf killed;
} world;

/* Something outside is done: here a process may end. */
static void step(void)
{
    world.steps++;
    if (world.kill_at > 0 && --world.kill_at == 0)
        longjmp(world.killed, 1);
}

/* ---- what it is linked with -------------------------------------------------
 */

void shard_status(const struct shard *s, usec_t now, struct shard_status *out)
{
    (void)now;
    *out = (struct shard_status){.role = s->role,
                                 .amnesia = s->amnesia,
                                 .salvage_pending = s->salvage_pending};
}
const struct raft *shard_raft(const struct shard *s)
{
    return (const struct raft *)s;
}
static const struct shard *of(const struct raft *r)
{
    return (const struct shard *)r;
}
uint64_t raft_last_lsn(const struct raft *r)
{
    return of(r)->lsn;
}
int raft_term_at(const struct raft *r, uint64_t lsn, uint64_t *term_out)
{
    assert_int_equal(lsn, of(r)->lsn);
    *term_out = of(r)->lsn_term;
    return ERR_OK;
}
uint64_t raft_term(const struct raft *r)
{
    return of(r)->term;
}
raft_id raft_voted_for(const struct raft *r)
{
    return of(r)->vote;
}
const struct raft_config *raft_config_committed(const struct raft *r)
{
    return &of(r)->committed;
}
enum raft_amnesia raft_amnesiac(const struct raft *r)
{
    return of(r)->amnesia;
}
bool raft_amnesia_possible(const struct raft_config *c, raft_id self)
{
    uint32_t others = 0;
    for (uint32_t i = 0; i < c->n; i++)
        others += c->members[i].voter && c->members[i].id != self;
    return others > 0;
}
bool shard_installing(const struct shard *s)
{
    return s->installing;
}
bool shard_flush_pending(const struct shard *s)
{
    return s->flush_pending;
}
uint64_t shard_durable(const struct shard *s)
{
    return s->durable;
}
uint64_t shard_written(const struct shard *s)
{
    return s->written;
}
void shard_distrust(struct shard *s, bool distrusted)
{
    s->distrusted = distrusted;
}
void shard_peer(struct shard *s, usec_t now, raft_id id, bool reachable)
{
    (void)s, (void)now, (void)id, (void)reachable;
}
void shard_set_memtable_bytes(struct shard *s, size_t bytes)
{
    (void)s, (void)bytes;
}
void shard_free(struct shard *s)
{
    step();
    assert_ptr_equal(s, world.shard);
    mem_free(TAKE(world.shard));
}
void engine_close(struct engine *e)
{
    step();
    assert_ptr_equal(e, world.engine);
    mem_free(TAKE(world.engine));
}
uint64_t engine_flushed_lsn(const struct engine *e)
{
    return e->flushed;
}
void flusher_init(struct flusher *f, struct replica *r)
{
    (void)r;
    *f = (struct flusher){.running = false};
}
bool transfers_cancel(struct transfers *t, const struct replica *r)
{
    (void)t, (void)r;
    return !world.transfers;
}
void renewal_end(struct replica *r)
{
    r->renewal.on = false;
}
bool digester_yield(struct replica *r)
{
    (void)r;
    return world.digest;
}
uint64_t log_pipe_mark(const struct log_pipe *p)
{
    (void)p;
    return 7;
}
bool log_pipe_durable(const struct log_pipe *p, uint64_t mark)
{
    (void)p;
    assert_int_equal(mark, 7);
    return world.log_durable;
}
void log_pipe_forget(struct log_pipe *p, uint16_t shard)
{
    (void)p;
    assert_int_equal(shard, SHARD);
    step();
}
void log_pipe_reset(struct log_pipe *p, uint16_t shard, uint64_t lsn,
                    uint64_t term)
{
    (void)p, (void)term;
    assert_int_equal(shard, SHARD);
    assert_int_equal(lsn, 0);
    step();
}
void helper_submit(struct helper *h, enum helper_lane lane,
                   struct helper_job *job)
{
    (void)h;
    assert_int_equal(lane, HELPER_UPKEEP);
    assert_null(world.job);
    world.job = job;
}
void steering_soon(struct steering *s)
{
    (void)s;
}
uint64_t worker_memtable_share(const struct worker *w)
{
    (void)w;
    return 1;
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
void group_edit_audit(struct worker *w, const char *who, const char *what,
                      const char *before, const char *after, const char *reason)
{
    (void)w, (void)before, (void)after, (void)reason;
    assert_string_equal(who, "node a-1");
    snprintf(world.audit, sizeof(world.audit), "%s", what);
    world.audits++;
}
void catalog_feed_keys(struct worker *w, struct replica *r)
{
    (void)w, (void)r;
}
void catalog_feed_committed(struct worker *w, struct shard *s,
                            const struct entry *e)
{
    (void)w, (void)s, (void)e;
    world.told_committed++;
}

static struct shard *shard_new(void)
{
    struct shard *s = mem_zalloc(sizeof(*s));
    s->role = RAFT_FOLLOWER;
    for (uint32_t id = 1; id <= 3; id++)
        assert_int_equal(
            raft_config_add(
                &s->committed,
                (struct raft_member){.id = id, .region = 1, .voter = true}),
            ERR_OK);
    return s;
}

/* As the start does it, for a replica that is marked. */
static void open_replica(void)
{
    struct quarantine_mark mark;
    struct err_msg msg;
    struct replica *r = world.r;
    int err = quarantine_find(r, &mark, &msg);
    assert_true(err == ERR_OK || err == ERR_NOT_FOUND);
    r->marked = r->mending = err == ERR_OK;
    r->shard = world.shard = shard_new();
    r->engine = world.engine = mem_zalloc(sizeof(*r->engine));
    if (r->marked)
        r->shard->amnesia = RAFT_AMNESIA_LEARNING;
}

int recovery_open_anew(struct replica *r, uint64_t term, raft_id vote,
                       struct err_msg *msg)
{
    (void)msg;
    step();
    world.opened++;
    world.opened_term = term;
    world.opened_vote = vote;
    assert_ptr_equal(r, world.r);
    open_replica();
    return ERR_OK;
}

/* ---- the world --------------------------------------------------------------
 */

static const struct datadir_identity mine = {"demo", "id-1", "a-1", 1};

static void path_of(const char *name, char out[DATADIR_PATH_MAX])
{
    snprintf(out, DATADIR_PATH_MAX, "%s/data/%s", world.dir, name);
}

static bool exists(const char *name)
{
    char path[DATADIR_PATH_MAX];
    path_of(name, path);
    return access(path, F_OK) == 0;
}

/* A process begins, on what the last one left. */
static void begin_life(void)
{
    char path[DATADIR_PATH_MAX];
    struct err_msg msg;
    path_of("", path);
    if (datadir_open(path, &mine, &msg, &world.datadir) != ERR_OK)
        fail_msg("%s", msg.text);
    world.node.datadir = world.datadir;
    struct worker *w = world.w = mem_zalloc(sizeof(*w));
    w->magic = WORKER_MAGIC;
    w->node = &world.node;
    struct replica *r = world.r = mem_zalloc(sizeof(*r));
    r->magic = REPLICA_MAGIC;
    r->worker = w;
    r->id = SHARD;
    w->replicas[w->replica_count++] = w->replica_of[SHARD] = r;
    world.node.workers = w;
    world.node.worker_count = 1;
    open_replica();
    assert_int_equal(datadir_shard_path(world.datadir, SHARD, r->path), ERR_OK);
}

static void end_life(void)
{
    mem_free(TAKE(world.shard));
    mem_free(TAKE(world.engine));
    mem_free(TAKE(world.job));
    mem_free(world.r);
    mem_free(world.w);
    datadir_close(world.datadir);
}

/* What the replica has promised. */
static void promise(void)
{
    struct shard *s = world.r->shard;
    s->lsn = 50;
    s->lsn_term = 4;
    s->term = 6;
    s->vote = 2;
    s->durable = s->written = 9;
    s->committed.epoch = 11;
}

static int setup(void **state)
{
    char path[DATADIR_PATH_MAX];
    (void)state;
    memset(&world, 0, sizeof(world));
    snprintf(world.dir, sizeof(world.dir), "/tmp/test-quarantine-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    snprintf(world.config.node, sizeof(world.config.node), "a-1");
    world.config.id = SELF;
    world.node.config = &world.config;
    world.log_durable = true;
    begin_life();
    snprintf(path, sizeof(path), "%.200s/data.mdb", world.r->path);
    FILE *f = fopen(path, "w"); /* the damaged store */
    assert_non_null(f);
    fclose(f);
    promise();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end_life();
    assert_int_equal(file_remove_tree(world.dir), ERR_OK);
    return 0;
}

static void run_job(void)
{
    struct helper_job *job = TAKE(world.job);
    assert_non_null(job);
    job->run(job);
    job->message.deliver(&job->message, world.w);
}

static void expect_mark(void)
{
    struct quarantine_mark m;
    struct err_msg msg;
    assert_int_equal(quarantine_find(world.r, &m, &msg), ERR_OK);
    assert_int_equal(m.lsn, 50);
    assert_int_equal(m.term, 4);
    assert_int_equal(m.config.epoch, 11);
    assert_int_equal(m.config.n, 3);
}

static void expect_no_mark(void)
{
    struct quarantine_mark m;
    struct err_msg msg;
    assert_int_equal(quarantine_find(world.r, &m, &msg), ERR_NOT_FOUND);
}

/* ---- whether it may begin ---------------------------------------------------
 */

static void a_replica_that_the_others_need_is_not_put_away(void **state)
{
    (void)state;
    struct replica *r = world.r;
    struct shard *s = r->shard;
    s->role = RAFT_LEADER;
    assert_int_equal(quarantine_begin(r, "test"), ERR_AGAIN);
    s->role = RAFT_CANDIDATE;
    assert_int_equal(quarantine_begin(r, "test"), ERR_AGAIN);
    s->role = RAFT_FOLLOWER;
    s->amnesia = RAFT_AMNESIA_LEARNING;
    assert_int_equal(quarantine_begin(r, "test"), ERR_AGAIN);
    s->amnesia = RAFT_AMNESIA_NONE;
    s->salvage_pending = 1;
    assert_int_equal(quarantine_begin(r, "test"), ERR_AGAIN);
    s->salvage_pending = 0;
    r->closing = true;
    assert_int_equal(quarantine_begin(r, "test"), ERR_AGAIN);
    r->closing = false;
    r->marked = true;
    assert_int_equal(quarantine_begin(r, "test"), ERR_AGAIN);
    r->marked = false;
    world.node.rebuilding = true;
    assert_int_equal(quarantine_begin(r, "test"), ERR_AGAIN);
    world.node.rebuilding = false;
    s->committed.n = 1; /* nobody else has it */
    assert_int_equal(quarantine_begin(r, "test"), ERR_INVALID);
    assert_false(r->deaf);
    assert_int_equal(world.audits, 0);
    quarantine_turn(world.w);
    expect_no_mark();
    assert_true(exists("shards/3/data.mdb"));
}

/* ---- going ------------------------------------------------------------------
 */

static void nothing_goes_while_something_is_on_its_way(void **state)
{
    (void)state;
    struct replica *r = world.r;
    struct shard *s = r->shard;
    bool *const busy[] = {&s->installing, &s->flush_pending, &world.transfers,
                          &world.digest, &r->flusher.running};
    assert_int_equal(quarantine_begin(r, "test"), ERR_OK);
    assert_true(r->deaf && s->distrusted);
    assert_int_equal(quarantine_begin(r, "test"), ERR_OK); /* under way */
    assert_int_equal(world.audits, 1);
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        *busy[i] = true;
        quarantine_turn(world.w);
        assert_int_equal(world.steps, 0);
        *busy[i] = false;
    }
    s->written = s->durable + 1;
    quarantine_turn(world.w);
    s->written = s->durable;
    world.log_durable = false;
    quarantine_turn(world.w);
    world.log_durable = true;
    world.w->stopping = true;
    quarantine_turn(world.w);
    world.w->stopping = false;
    assert_int_equal(world.steps, 0);
    expect_no_mark();
    quarantine_turn(world.w);
    assert_int_equal(world.opened, 1);
    run_job();
}

static void it_begins_anew_with_the_same_promise(void **state)
{
    (void)state;
    struct replica *r = world.r;
    assert_int_equal(quarantine_begin(r, "test"), ERR_OK);
    quarantine_turn(world.w);
    assert_int_equal(world.opened, 1);
    assert_int_equal(world.opened_term, 6);
    assert_int_equal(world.opened_vote, 2);
    expect_mark();
    assert_true(!r->deaf && r->marked && r->mending);
    assert_true(exists("shards/3") && !exists("shards/3/data.mdb"));
    assert_true(exists("discarded-shard-3/data.mdb"));
    run_job();
    assert_false(exists("discarded-shard-3"));
    assert_string_equal(world.audit, "quarantine of the replica of shard 3");
    /* Not twice. */
    assert_int_equal(quarantine_begin(r, "test"), ERR_AGAIN);
}

/* The mark may be there, so nothing else may be promised until it is true. */
static void a_disk_that_fails_leaves_it_deaf(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX];
    struct replica *r = world.r;
    path_of("rebuilding-3", path);
    assert_int_equal(mkdir(path, 0700), 0); /* in the way */
    assert_int_equal(quarantine_begin(r, "test"), ERR_OK);
    quarantine_turn(world.w);
    assert_int_equal(world.opened, 0);
    assert_true(r->deaf);
    assert_int_equal(rmdir(path), 0);
    quarantine_turn(world.w);
    assert_true(r->deaf); /* a while later */
    r->put_away_us = 0;
    quarantine_turn(world.w);
    assert_false(r->deaf);
    assert_int_equal(world.opened, 1);
    expect_mark();
    run_job();
}

/* Either nothing has happened, or everything that was promised is known. */
static void killed_anywhere_the_promise_is_kept(void **state)
{
    (void)state;
    static unsigned kill_at; /* outlives the jump */
    static bool killed;
    do {
        char path[DATADIR_PATH_MAX];
        world.kill_at = ++kill_at;
        killed = setjmp(world.killed) != 0;
        if (!killed) {
            assert_int_equal(quarantine_begin(world.r, "test"), ERR_OK);
            quarantine_turn(world.w);
        }
        world.kill_at = 0;
        end_life();
        begin_life();
        if (kill_at > 1)
            assert_true(world.r->marked);
        expect_mark();
        assert_true(!exists("discarded-shard-3")); /* the start deletes it */
        assert_true(!exists("shards/3/data.mdb"));
        /* Another one, with the damage back. */
        assert_int_equal(datadir_shard_rebuilt(world.datadir, SHARD), ERR_OK);
        end_life();
        begin_life();
        snprintf(path, sizeof(path), "%.200s/data.mdb", world.r->path);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fclose(f);
        promise();
    } while (killed);
    assert_true(kill_at > 4);
}

/* Before anything is put away a restart finds the replica as it was, and it may
 * be put into quarantine again. */
static void killed_while_it_is_deaf_nothing_has_happened(void **state)
{
    (void)state;
    assert_int_equal(quarantine_begin(world.r, "test"), ERR_OK);
    world.transfers = true;
    quarantine_turn(world.w);
    end_life();
    begin_life();
    world.transfers = false;
    expect_no_mark();
    assert_true(exists("shards/3/data.mdb"));
    assert_false(world.r->deaf || world.r->marked);
    promise();
    assert_int_equal(quarantine_begin(world.r, "test"), ERR_OK);
    quarantine_turn(world.w);
    expect_mark();
    run_job();
}

/* ---- leaving ----------------------------------------------------------------
 */

static struct quarantine_mark found_mark(void)
{
    struct quarantine_mark m;
    struct err_msg msg;
    assert_int_equal(quarantine_find(world.r, &m, &msg), ERR_OK);
    return m;
}

static void leave(void)
{
    struct err_msg msg;
    assert_int_equal(quarantine_leave(world.r, &msg), ERR_OK);
}

/* Durable before the first byte is deleted: the store is only put away, and
 * nothing is closed yet. */
static void one_that_leaves_writes_down_what_it_promised(void **state)
{
    (void)state;
    leave();
    expect_mark();
    struct quarantine_mark m = found_mark();
    assert_int_equal(m.hard_term, 6);
    assert_int_equal(m.vote, 2);
    assert_false(m.asks);
    assert_int_equal(world.steps, 0); /* nor closed, nor anything opened */
    assert_false(exists("shards/3"));
    assert_true(exists("discarded-shard-3/data.mdb"));
    assert_null(world.job);
    end_life();
    begin_life();
    assert_false(exists("discarded-shard-3"));
    assert_true(world.r->marked); /* the next one begins with it */
    m = found_mark();
    assert_int_equal(m.hard_term, 6);
    assert_int_equal(m.vote, 2);
}

static void killed_when_only_the_mark_was_written_it_goes_on(void **state)
{
    (void)state;
    char from[DATADIR_PATH_MAX], to[DATADIR_PATH_MAX];
    leave();
    path_of("rebuilding-3", from);
    path_of("quarantine-3", to);
    assert_int_equal(rename(from, to), 0);
    path_of("discarded-shard-3", from);
    path_of("shards/3", to);
    assert_int_equal(rename(from, to), 0);
    end_life();
    begin_life();
    assert_false(exists("shards/3/data.mdb"));
    assert_true(world.r->marked);
    expect_mark();
    assert_int_equal(found_mark().vote, 2);
}

static void one_that_leaves_uncured_forgets_nothing(void **state)
{
    (void)state;
    leave();
    end_life();
    begin_life();
    struct shard *s = world.r->shard;
    s->lsn = 3; /* of an old term: it has begun to learn, and voted again */
    s->lsn_term = 2;
    s->term = 8;
    s->vote = 3;
    leave();
    struct quarantine_mark m = found_mark();
    assert_int_equal(m.lsn, 50);
    assert_int_equal(m.term, 4);
    assert_int_equal(m.hard_term, 8);
    assert_int_equal(m.vote, 3);
    s->lsn = 4; /* further, though shorter */
    s->lsn_term = 5;
    leave();
    m = found_mark();
    assert_int_equal(m.lsn, 4);
    assert_int_equal(m.term, 5);
}

/* It lost its disk, and leaves before the others have told it. */
static void one_that_does_not_know_asks_the_next_time(void **state)
{
    (void)state;
    world.node.rebuilding = true;
    leave();
    assert_false(found_mark().asks); /* cured already */
    world.r->shard->amnesia = RAFT_AMNESIA_ASKING;
    leave();
    assert_true(found_mark().asks);
    world.node.rebuilding = false;
    end_life();
    begin_life();
    assert_int_equal(world.r->shard->amnesia, RAFT_AMNESIA_LEARNING);
    leave();
    assert_true(found_mark().asks); /* still */
    world.r->shard->amnesia = RAFT_AMNESIA_NONE;
    leave();
    assert_false(found_mark().asks);
}

static void one_that_cannot_be_put_away_stays(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX];
    struct err_msg msg;
    path_of("quarantine-3", path);
    assert_int_equal(mkdir(path, 0700), 0); /* in the way */
    assert_int_not_equal(quarantine_leave(world.r, &msg), ERR_OK);
    assert_true(exists("shards/3/data.mdb"));
    expect_no_mark();
    assert_int_equal(rmdir(path), 0);
    leave();
    expect_mark();
}

/* ---- coming back ------------------------------------------------------------
 */

static void put_away(void)
{
    assert_int_equal(quarantine_begin(world.r, "test"), ERR_OK);
    quarantine_turn(world.w);
    run_job();
}

static void the_mark_goes_when_all_is_there_and_flushed(void **state)
{
    (void)state;
    struct replica *r = world.r;
    put_away();
    quarantine_check(world.w);
    assert_true(r->marked && r->mending); /* it has not caught up */
    r->shard->amnesia = RAFT_AMNESIA_NONE;
    r->shard->installing = true;
    quarantine_check(world.w);
    assert_true(r->mending);
    r->shard->installing = false;
    quarantine_check(world.w);
    assert_true(r->marked && !r->mending);
    assert_string_equal(world.audit, "the replica of shard 3 is rebuilt");
    assert_null(world.job); /* the configuration is in the mark alone */
    r->engine->flushed = 60;
    quarantine_check(world.w);
    quarantine_check(world.w);
    expect_mark();
    run_job();
    expect_no_mark();
    assert_false(r->marked || r->unmarking);
    assert_int_equal(world.audits, 2); /* once for each end */
    quarantine_check(world.w);
    assert_null(world.job);
}

static void killed_before_the_mark_goes_it_is_still_a_patient(void **state)
{
    (void)state;
    put_away();
    world.r->shard->amnesia = RAFT_AMNESIA_NONE;
    world.r->engine->flushed = 60;
    quarantine_check(world.w); /* the helper has the job, and never ends it */
    assert_non_null(world.job);
    end_life();
    begin_life();
    expect_mark();
    assert_true(world.r->marked && world.r->mending);
    world.r->shard->amnesia = RAFT_AMNESIA_NONE;
    world.r->engine->flushed = 60;
    quarantine_check(world.w);
    run_job();
    expect_no_mark();
}

static void a_mark_that_cannot_be_dropped_is_tried_again(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX], file[DATADIR_PATH_MAX];
    put_away();
    path_of("rebuilding-3", path);
    path_of("elsewhere", file);
    assert_int_equal(rename(path, file), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    world.r->shard->amnesia = RAFT_AMNESIA_NONE;
    world.r->engine->flushed = 60;
    quarantine_check(world.w);
    run_job();
    assert_true(world.r->marked && !world.r->unmarking);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rename(file, path), 0);
    quarantine_check(world.w);
    run_job();
    assert_false(world.r->marked);
    expect_no_mark();
}

static void the_catalog_waits_for_a_patient(void **state)
{
    (void)state;
    world.r->id = SHARD_META; /* only now: the directory is shard 3's */
    world.r->marked = world.r->mending = true;
    assert_true(quarantine_holds_catalog(world.r));
    quarantine_check(world.w);
    assert_int_equal(world.told_committed, 1);
    assert_false(quarantine_holds_catalog(world.r));
    world.r->marked = false;
    world.r->id = SHARD;
}

static void a_mark_that_cannot_be_read_stops_the_start(void **state)
{
    (void)state;
    struct quarantine_mark m;
    struct err_msg msg;
    char path[DATADIR_PATH_MAX];
    put_away();
    path_of("rebuilding-3", path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("no mark", f);
    fclose(f);
    assert_int_equal(quarantine_find(world.r, &m, &msg), ERR_CORRUPT);
    assert_non_null(strstr(msg.text, "rebuilding-3"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_replica_that_the_others_need_is_not_put_away),
        TEST(nothing_goes_while_something_is_on_its_way),
        TEST(it_begins_anew_with_the_same_promise),
        TEST(a_disk_that_fails_leaves_it_deaf),
        TEST(killed_anywhere_the_promise_is_kept),
        TEST(killed_while_it_is_deaf_nothing_has_happened),
        TEST(one_that_leaves_writes_down_what_it_promised),
        TEST(killed_when_only_the_mark_was_written_it_goes_on),
        TEST(one_that_leaves_uncured_forgets_nothing),
        TEST(one_that_does_not_know_asks_the_next_time),
        TEST(one_that_cannot_be_put_away_stays),
        TEST(the_mark_goes_when_all_is_there_and_flushed),
        TEST(killed_before_the_mark_goes_it_is_still_a_patient),
        TEST(a_mark_that_cannot_be_dropped_is_tried_again),
        TEST(the_catalog_waits_for_a_patient),
        TEST(a_mark_that_cannot_be_read_stops_the_start),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
