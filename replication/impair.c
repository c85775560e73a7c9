#include "replication/impair.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"

bool impairment_equal(const struct impairment *a, const struct impairment *b)
{
    return a->delay_us == b->delay_us && a->jitter_us == b->jitter_us &&
           a->loss_permille == b->loss_permille &&
           a->duplicate_permille == b->duplicate_permille &&
           a->kbit_per_second == b->kbit_per_second &&
           a->close_delay_us == b->close_delay_us &&
           a->handshake_permille == b->handshake_permille &&
           a->certificate == b->certificate && a->cut == b->cut;
}

bool impairment_ok(enum impair_direction direction, const struct impairment *i)
{
    if (direction == IMPAIR_IN)
        return i->delay_us == 0 && i->jitter_us == 0 && i->loss_permille == 0 &&
               i->duplicate_permille == 0 && i->kbit_per_second == 0 &&
               i->close_delay_us <= IMPAIR_DELAY_MAX_US &&
               i->handshake_permille <= 1000;
    return i->delay_us <= IMPAIR_DELAY_MAX_US &&
           i->jitter_us <= IMPAIR_JITTER_MAX_US && i->loss_permille <= 1000 &&
           i->duplicate_permille <= 1000 && i->close_delay_us == 0 &&
           i->handshake_permille == 0 && i->certificate == IMPAIR_CERT_GOOD;
}

static uint32_t sum(uint32_t a, uint32_t b, usec_t max)
{
    usec_t both = (usec_t)a + b;
    return (uint32_t)(both < max ? both : max);
}

/* How many of 1000 meet at least one of two independent fates. */
static uint32_t either(uint32_t a, uint32_t b)
{
    return 1000 - (1000 - a) * (1000 - b) / 1000;
}

void impairment_add(struct impairment *i, const struct impairment *other)
{
    i->delay_us = sum(i->delay_us, other->delay_us, IMPAIR_DELAY_MAX_US);
    i->jitter_us = sum(i->jitter_us, other->jitter_us, IMPAIR_JITTER_MAX_US);
    i->loss_permille = either(i->loss_permille, other->loss_permille);
    i->duplicate_permille =
        either(i->duplicate_permille, other->duplicate_permille);
    i->handshake_permille =
        either(i->handshake_permille, other->handshake_permille);
    if (i->kbit_per_second == 0 ||
        (other->kbit_per_second != 0 &&
         other->kbit_per_second < i->kbit_per_second))
        i->kbit_per_second = other->kbit_per_second;
    if (other->close_delay_us > i->close_delay_us)
        i->close_delay_us = other->close_delay_us;
    if (i->certificate == IMPAIR_CERT_GOOD)
        i->certificate = other->certificate;
    i->cut |= other->cut;
}

static bool strikes(uint32_t permille, struct prng *prng)
{
    return permille > 0 && prng_below(prng, 1000) < permille;
}

bool impairment_loses(const struct impairment *i, struct prng *prng)
{
    return strikes(i->loss_permille, prng);
}

bool impairment_duplicates(const struct impairment *i, struct prng *prng)
{
    return strikes(i->duplicate_permille, prng);
}

bool impairment_fails_handshake(const struct impairment *i, struct prng *prng)
{
    return strikes(i->handshake_permille, prng);
}

/* -- the delay line ---------------------------------------------------------
 */

void delay_line_init(struct delay_line *d, size_t max)
{
    buf_init(&d->bytes, max);
    buf_init(&d->runs, DELAY_RUNS_MAX * sizeof(struct delay_run));
}

void delay_line_free(struct delay_line *d)
{
    buf_free(&d->bytes);
    buf_free(&d->runs);
}

/* The i-th run; runs are kept in a byte buffer and copied in and out. */
static struct delay_run run_at(const struct delay_line *d, size_t i)
{
    struct delay_run run;
    CHECK((i + 1) * sizeof(run) <= buf_len(&d->runs));
    memcpy(&run, buf_bytes(&d->runs) + i * sizeof(run), sizeof(run));
    return run;
}

static void set_run(struct delay_line *d, size_t i, const struct delay_run *run)
{
    memcpy(d->runs.data + d->runs.head + i * sizeof(*run), run, sizeof(*run));
}

static size_t run_count(const struct delay_line *d)
{
    return buf_len(&d->runs) / sizeof(struct delay_run);
}

/* Notes `len` new bytes: in the last run or in one of their own. */
static int note(struct delay_line *d, usec_t due_us, size_t len)
{
    struct delay_run run = {.due_us = due_us, .len = len};
    size_t n = run_count(d);
    if (n > 0) {
        struct delay_run last = run_at(d, n - 1);
        if (run.due_us < last.due_us)
            run.due_us = last.due_us;
        bool near = run.due_us - last.due_us < DELAY_RUN_US;
        if (near || n == DELAY_RUNS_MAX) {
            run.len += last.len;
            run.due_us = near ? last.due_us : run.due_us;
            buf_truncate(&d->runs, (n - 1) * sizeof(run));
        }
    }
    return buf_append(&d->runs, &run, sizeof(run));
}

int delay_line_put(struct delay_line *d, usec_t due_us, const void *data,
                   size_t len)
{
    size_t before = buf_len(&d->bytes);
    int err = buf_append(&d->bytes, data, len);
    if (err == ERR_OK && len > 0) {
        err = note(d, due_us, len);
        if (err != ERR_OK)
            buf_truncate(&d->bytes, before);
    }
    return err;
}

void delay_line_hurry(struct delay_line *d, usec_t due_us)
{
    for (size_t i = 0; i < run_count(d); i++) {
        struct delay_run run = run_at(d, i);
        if (run.due_us <= due_us)
            continue;
        run.due_us = due_us;
        set_run(d, i, &run);
    }
}

struct bytes delay_line_due(const struct delay_line *d, usec_t now)
{
    size_t due = 0;
    for (size_t i = 0; i < run_count(d); i++) {
        struct delay_run run = run_at(d, i);
        if (run.due_us > now)
            break;
        due += run.len;
    }
    return bytes_of(buf_bytes(&d->bytes), due);
}

struct bytes delay_line_all(const struct delay_line *d)
{
    return bytes_of(buf_bytes(&d->bytes), buf_len(&d->bytes));
}

void delay_line_take(struct delay_line *d, size_t len)
{
    buf_consume(&d->bytes, len);
    while (len > 0) {
        struct delay_run run = run_at(d, 0);
        if (run.len > len) {
            run.len -= len;
            set_run(d, 0, &run);
            return;
        }
        len -= run.len;
        buf_consume(&d->runs, sizeof(run));
    }
}

usec_t delay_line_next(const struct delay_line *d)
{
    return run_count(d) > 0 ? run_at(d, 0).due_us : USEC_NEVER;
}

/* Takes the newest `len` bytes out again. */
static void unput(struct delay_line *d, size_t len)
{
    buf_truncate(&d->bytes, buf_len(&d->bytes) - len);
    while (len > 0) {
        size_t last = run_count(d) - 1;
        struct delay_run run = run_at(d, last);
        if (run.len > len) {
            run.len -= len;
            set_run(d, last, &run);
            return;
        }
        len -= run.len;
        buf_truncate(&d->runs, last * sizeof(run));
    }
}

/* When bytes that are sent now have all left. */
static usec_t leave(const struct impairment *i, usec_t *free_us, usec_t now,
                    size_t len)
{
    if (i->kbit_per_second == 0)
        return now;
    usec_t from = *free_us > now ? *free_us : now;
    *free_us = from + (usec_t)(len * 8 * 1000 / i->kbit_per_second);
    return *free_us;
}

int impair_send(const struct impairment *i, struct delay_line *d,
                usec_t *free_us, usec_t now, struct prng *prng,
                const void *data, size_t len)
{
    usec_t late = i->delay_us;
    if (i->jitter_us > 0)
        late += (usec_t)prng_below(prng, (uint64_t)i->jitter_us + 1);
    for (size_t at = 0; at < len;) {
        size_t n = len - at;
        if (i->kbit_per_second > 0 && n > IMPAIR_PIECE)
            n = IMPAIR_PIECE;
        usec_t due = leave(i, free_us, now, n) + late;
        int err = delay_line_put(d, due, (const uint8_t *)data + at, n);
        if (err != ERR_OK) {
            unput(d, at);
            return err;
        }
        at += n;
    }
    return ERR_OK;
}
