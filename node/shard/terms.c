#include "node/shard/terms.h"

#include <string.h>

#include "consensus/raft.h"
#include "node/base/check.h"
#include "node/base/mem.h"

static void push(struct terms *t, uint64_t lsn, uint64_t term)
{
    if (t->count == TERMS_MAX) {
        t->count--;
        memmove(t->runs, t->runs + 1, t->count * sizeof(*t->runs));
    }
    if (t->count == t->cap) {
        t->cap = t->cap > 0 ? 2 * t->cap : 16;
        t->runs = mem_realloc(t->runs, t->cap * sizeof(*t->runs));
    }
    t->runs[t->count++] = (struct term_run){.first = lsn, .term = term};
}

void terms_begin(struct terms *t, uint64_t lsn, uint64_t term)
{
    t->count = 0;
    push(t, lsn, term);
}

void terms_free(struct terms *t)
{
    mem_free(t->runs);
    *t = (struct terms){0};
}

void terms_copy(struct terms *to, const struct terms *from)
{
    CHECK(to->runs == NULL);
    *to = (struct terms){.count = from->count, .cap = from->count};
    if (from->count > 0)
        to->runs = mem_dup(from->runs, from->count * sizeof(*from->runs));
}

void terms_add(struct terms *t, uint64_t lsn, uint64_t term)
{
    const struct term_run *last = t->count > 0 ? &t->runs[t->count - 1] : NULL;
    if (last != NULL)
        CHECK(lsn > last->first && term >= last->term);
    if (last == NULL || term > last->term)
        push(t, lsn, term);
}

void terms_truncate(struct terms *t, uint64_t from)
{
    while (t->count > 0 && t->runs[t->count - 1].first >= from)
        t->count--;
}

/* The run that holds `lsn`; NULL: too old. Most questions are about the end. */
static const struct term_run *run_of(const struct terms *t, uint64_t lsn)
{
    for (uint32_t i = t->count; i > 0; i--)
        if (t->runs[i - 1].first <= lsn)
            return &t->runs[i - 1];
    return NULL;
}

int terms_at(const struct terms *t, uint64_t lsn, uint64_t *term_out)
{
    const struct term_run *run = run_of(t, lsn);
    if (run == NULL)
        return ERR_NOT_FOUND;
    *term_out = run->term;
    return ERR_OK;
}

/* Whether the log has entries of a later term of the same epoch. */
static bool later_in_epoch(const struct terms *t, uint64_t term)
{
    for (uint32_t i = t->count; i > 0 && t->runs[i - 1].term > term; i--)
        if (RAFT_TERM_EPOCH(t->runs[i - 1].term) == RAFT_TERM_EPOCH(term))
            return true;
    return false;
}

bool terms_overwritten(const struct terms *t, uint64_t last, uint64_t term,
                       uint64_t lsn)
{
    uint64_t here;
    if (later_in_epoch(t, term))
        return false;
    return lsn > last || terms_at(t, lsn, &here) != ERR_OK || here != term;
}

int terms_encode(const struct terms *t, uint64_t upto, struct buf *out)
{
    uint32_t count = 0;
    while (count < t->count && t->runs[count].first <= upto)
        count++;
    int err = buf_append_u32_le(out, count);
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        err = buf_append_u64_le(out, t->runs[i].first);
        if (err == ERR_OK)
            err = buf_append_u64_le(out, t->runs[i].term);
    }
    return err;
}

int terms_decode(struct terms *t, struct bytes in)
{
    struct cursor c = cursor_of(in.data, in.len);
    struct terms read = {0};
    uint32_t count = cursor_u32_le(&c);
    bool good = count > 0 && count <= TERMS_MAX;
    for (uint32_t i = 0; good && i < count; i++) {
        uint64_t first = cursor_u64_le(&c);
        uint64_t term = cursor_u64_le(&c);
        good = cursor_ok(&c) && (i == 0 || (first > read.runs[i - 1].first &&
                                            term > read.runs[i - 1].term));
        push(&read, first, term);
    }
    if (!good || !cursor_done(&c)) {
        terms_free(&read);
        return ERR_MALFORMED;
    }
    terms_free(t);
    *t = read;
    return ERR_OK;
}
