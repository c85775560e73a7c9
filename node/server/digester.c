#include "node/server/digester.h"

#include <stdlib.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/catalog/numbers.h"
#include "node/server/worker.h"

#define PAGE 256 /* containers listed at a time */
#define CHUNK_BYTES ((size_t)256 << 10)

/* The containers there are, by what the catalog knew when the scan began. */
struct alive {
    uint64_t catalog_lsn;
    uint32_t *numbers; /* rising */
    size_t count;
};

struct digester {
    struct helper_job job;
    struct replica *replica;
    uint64_t lsn;
    usec_t give_up_us;
    digester_done *done;
    void *user;
    struct alive alive;
    struct digest *digest;
    struct snapshot *snapshot; /* NULL: the state is not there yet */
    usec_t pinned_us;
    bool reading; /* the helper has the job */
    bool yields;  /* to be ended once it has not */
    int err;      /* of the last slice */
};

/* ---- containers -------------------------------------------------------------
 */

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void add_containers(struct alive *a, const struct catalog *c,
                           const struct catalog_database *db)
{
    struct container_def *page[PAGE];
    uint32_t after = 0;
    size_t n;
    do {
        n = catalog_list_containers(c, db, after, page, PAGE);
        for (size_t i = 0; i < n; i++)
            a->numbers[a->count++] = after = page[i]->number;
    } while (n == PAGE);
}

static void alive_take(struct alive *a, const struct catalog *c)
{
    struct catalog_database *page[PAGE];
    uint32_t after = 0;
    size_t n;
    a->catalog_lsn = catalog_lsn(c);
    a->numbers = mem_alloc((catalog_container_count(c) + 1) * sizeof(uint32_t));
    do {
        n = catalog_list_databases(c, after, page, PAGE);
        for (size_t i = 0; i < n; i++) {
            add_containers(a, c, page[i]);
            after = page[i]->number;
        }
    } while (n == PAGE);
    qsort(a->numbers, a->count, sizeof(*a->numbers), by_number);
}

/* On the helper. As server_container_deleted: who is not known yet counts. */
static bool counts(void *user, uint32_t container)
{
    const struct alive *a = user;
    uint32_t number = CONTAINER_BASE(container);
    return number < CONTAINER_FIRST_USER ||
           a->catalog_lsn + RID_NUMBER_FIRST < number ||
           bsearch(&number, a->numbers, a->count, sizeof(number), by_number) !=
               NULL;
}

/* ---- the scan ---------------------------------------------------------------
 */

static void end(struct digester *d, int err)
{
    struct replica *r = d->replica;
    struct digest_result result;
    CHECK(!d->reading && r->digester == d);
    snapshot_close(d->snapshot);
    if (d->snapshot == NULL)
        flusher_aim(&r->flusher, SHARD_FLUSH_ALL);
    if (err == ERR_OK)
        digest_finish(d->digest, &result);
    r->digester = NULL;
    d->done(d->user, r, err, err == ERR_OK ? &result : NULL);
    digest_free(d->digest);
    mem_free(d->alive.numbers);
    mem_free(d);
}

static void slice_run(struct helper_job *job)
{
    struct digester *d = LIST_ENTRY(job, struct digester, job);
    struct buf chunk;
    buf_init(&chunk, ENGINE_CHUNK_BYTES_MAX);
    d->err = ERR_OK;
    for (size_t bytes = 0; d->err == ERR_OK && bytes < DIGESTER_SLICE_BYTES;
         bytes += buf_len(&chunk)) {
        buf_clear(&chunk);
        d->err =
            snapshot_chunk(d->snapshot, clock_mono_us(), CHUNK_BYTES, &chunk);
        if (d->err == ERR_OK)
            d->err = digest_chunk(d->digest,
                                  bytes_of(buf_bytes(&chunk), buf_len(&chunk)));
    }
    buf_free(&chunk);
}

static void slice_begin(struct digester *d)
{
    d->reading = true;
    helper_submit(&d->replica->worker->helper, HELPER_STORE, &d->job);
}

static void slice_done(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct digester *d = LIST_ENTRY(m, struct digester, job.message);
    d->reading = false;
    if (d->yields)
        end(d, ERR_UNAVAILABLE);
    else if (d->err == ERR_EOF)
        end(d, ERR_OK);
    else if (d->err == ERR_OK &&
             clock_mono_us() - d->pinned_us > DIGESTER_PIN_US)
        end(d, ERR_TIMEOUT);
    else if (d->err == ERR_OK)
        slice_begin(d);
    else
        end(d, d->err == ERR_MALFORMED ? ERR_CORRUPT : d->err);
}

/* The store has the state: pins it. */
static void pin(struct digester *d, usec_t now)
{
    struct replica *r = d->replica;
    int err = snapshot_open(r->engine, now, &d->snapshot);
    if (err == ERR_OK)
        flusher_aim(&r->flusher, SHARD_FLUSH_ALL);
    if (err == ERR_OK && snapshot_lsn(d->snapshot) != d->lsn)
        err = ERR_STALE; /* a flush that was under way has just ended */
    if (err != ERR_OK) {
        end(d, err);
        return;
    }
    d->pinned_us = now;
    slice_begin(d);
}

static void wait_for_state(struct digester *d, usec_t now)
{
    struct replica *r = d->replica;
    uint64_t flushed = engine_flushed_lsn(r->engine);
    if (flushed > d->lsn)
        end(d, ERR_STALE);
    else if (flushed == d->lsn && !shard_installing(r->shard))
        pin(d, now);
    else if (now >= d->give_up_us)
        end(d, ERR_TIMEOUT);
    else
        flusher_check(&r->flusher, now);
}

int digester_begin(struct replica *r, uint64_t lsn, usec_t give_up_us,
                   digester_done *done, void *user)
{
    if (r->digester != NULL)
        return ERR_BUSY;
    struct digester *d = mem_zalloc(sizeof(*d));
    *d = (struct digester){.replica = r,
                           .lsn = lsn,
                           .give_up_us = give_up_us,
                           .done = done,
                           .user = user};
    d->job.run = slice_run;
    d->job.message.deliver = slice_done;
    alive_take(&d->alive, r->worker->catalog);
    d->digest = digest_new(counts, &d->alive);
    r->digester = d;
    flusher_aim(&r->flusher, lsn);
    worker_wake(r->worker);
    return ERR_OK;
}

void digester_turn(struct worker *w, usec_t now)
{
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct digester *d = w->replicas[i]->digester;
        if (d != NULL && d->snapshot == NULL)
            wait_for_state(d, now);
    }
}

bool digester_yield(struct replica *r)
{
    struct digester *d = r->digester;
    if (d == NULL)
        return false;
    d->yields = true;
    if (d->reading)
        return true;
    end(d, ERR_UNAVAILABLE);
    return false;
}
