#include "replication/impair.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"

bool impairment_ok(enum impair_direction direction, const struct impairment *i)
{
    if (direction == IMPAIR_IN)
        return i->delay_us == 0 && i->jitter_us == 0 && i->loss_permille == 0;
    return i->delay_us <= IMPAIR_DELAY_MAX_US &&
           i->jitter_us <= IMPAIR_JITTER_MAX_US && i->loss_permille <= 1000;
}

usec_t impairment_due(const struct impairment *i, usec_t now, struct prng *prng)
{
    usec_t due = now + i->delay_us;
    if (i->jitter_us > 0)
        due += (usec_t)prng_below(prng, (uint64_t)i->jitter_us + 1);
    return due;
}

bool impairment_loses(const struct impairment *i, struct prng *prng)
{
    return i->loss_permille > 0 && prng_below(prng, 1000) < i->loss_permille;
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
            memcpy(d->runs.data + d->runs.head, &run, sizeof(run));
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
