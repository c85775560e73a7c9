#include "node/server/digester.h"

#include <stdlib.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/catalog/numbers.h"
#include "node/server/worker.h"
#include "node/shard/record.h"

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
    struct digester_order order;
    struct alive alive;
    struct digest *digest;
    struct snapshot *snapshot; /* NULL: the state is not there yet */
    usec_t pinned_us;
    usec_t next_us;   /* of the next slice */
    struct buf chunk; /* the last one read */
    struct digester_result result;
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
    CHECK(!d->reading && r->digester == d);
    snapshot_close(d->snapshot);
    if (d->snapshot == NULL)
        flusher_aim(&r->flusher, SHARD_FLUSH_ALL);
    if (err == ERR_OK)
        digest_finish(d->digest, &d->result.digest);
    r->digester = NULL;
    d->order.done(d->order.user, r, err, err == ERR_OK ? &d->result : NULL);
    digest_free(d->digest);
    buf_free(&d->chunk);
    mem_free(d->alive.numbers);
    mem_free(d);
}

static struct bytes content(const struct digester *d)
{
    return bytes_of(buf_bytes(&d->chunk), buf_len(&d->chunk));
}

/* With `open`, one chunk: the loop looks at it, too. */
static void slice_run(struct helper_job *job)
{
    struct digester *d = LIST_ENTRY(job, struct digester, job);
    size_t bytes = 0;
    do {
        buf_clear(&d->chunk);
        d->err = snapshot_chunk(d->snapshot, clock_mono_us(), CHUNK_BYTES,
                                &d->chunk);
        if (d->err == ERR_OK)
            d->err = digest_chunk(d->digest, content(d));
        bytes += buf_len(&d->chunk);
    } while (d->err == ERR_OK && !d->order.open &&
             bytes < DIGESTER_SLICE_BYTES);
}

static void slice_begin(struct digester *d)
{
    d->reading = true;
    helper_submit(&d->replica->worker->helper, HELPER_STORE, &d->job);
}

static int open_record(void *user, struct bytes key, struct bytes sealed)
{
    struct digester *d = user;
    bool is_sealed;
    int err = shard_check_record(d->replica->shard, key, sealed, &is_sealed);
    d->result.opened += is_sealed && err == ERR_OK;
    d->result.unknown += err == ERR_UNAVAILABLE;
    if (err == ERR_CORRUPT || err == ERR_MALFORMED) {
        d->result.damaged++;
        d->result.spoilt |= (uint16_t)(1u << digest_bucket(key));
    }
    return ERR_OK;
}

/* After a slice: when the rate lets all of the worker go on. */
static void pace(struct digester *d, usec_t now)
{
    struct worker *w = d->replica->worker;
    usec_t from = w->digest_next_us > now ? w->digest_next_us : now;
    w->digest_next_us =
        from + (usec_t)(buf_len(&d->chunk) * USEC_PER_SEC / d->order.rate);
    d->next_us = w->digest_next_us;
}

static void go_on(struct digester *d, usec_t now)
{
    usec_t pin = d->order.open ? DIGESTER_OPEN_PIN_US : DIGESTER_PIN_US;
    if (now - d->pinned_us > pin) {
        end(d, ERR_TIMEOUT);
    } else if (d->order.open) {
        pace(d, now);
        worker_wake(d->replica->worker);
    } else {
        slice_begin(d);
    }
}

static void slice_done(struct inbox_message *m, void *owner)
{
    (void)owner;
    struct digester *d = LIST_ENTRY(m, struct digester, job.message);
    d->reading = false;
    if (d->err == ERR_OK && d->order.open)
        CHECK(digest_each(content(d), open_record, d) == ERR_OK);
    if (d->yields)
        end(d, ERR_UNAVAILABLE);
    else if (d->err == ERR_EOF)
        end(d, ERR_OK);
    else if (d->err == ERR_OK)
        go_on(d, clock_mono_us());
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
    if (err == ERR_OK && snapshot_lsn(d->snapshot) != d->order.lsn)
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
    if (flushed > d->order.lsn)
        end(d, ERR_STALE);
    else if (flushed == d->order.lsn && !shard_installing(r->shard))
        pin(d, now);
    else if (now >= d->order.give_up_us)
        end(d, ERR_TIMEOUT);
    else
        flusher_check(&r->flusher, now);
}

int digester_begin(struct replica *r, const struct digester_order *order)
{
    if (r->digester != NULL || r->renewal.on)
        return ERR_BUSY;
    struct digester *d = mem_zalloc(sizeof(*d));
    d->replica = r;
    d->order = *order;
    d->job.run = slice_run;
    d->job.message.deliver = slice_done;
    buf_init(&d->chunk, ENGINE_CHUNK_BYTES_MAX);
    alive_take(&d->alive, r->worker->catalog);
    d->digest = digest_new(counts, &d->alive);
    r->digester = d;
    flusher_aim(&r->flusher, order->lsn);
    worker_wake(r->worker);
    return ERR_OK;
}

void digester_turn(struct worker *w, usec_t now)
{
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct digester *d = w->replicas[i]->digester;
        if (d != NULL && d->snapshot == NULL)
            wait_for_state(d, now);
        else if (d != NULL && !d->reading && now >= d->next_us)
            slice_begin(d);
    }
}

usec_t digester_deadline(const struct worker *w)
{
    usec_t deadline = USEC_NEVER;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        const struct digester *d = w->replicas[i]->digester;
        if (d != NULL && d->snapshot != NULL && !d->reading &&
            d->next_us < deadline)
            deadline = d->next_us;
    }
    return deadline;
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
