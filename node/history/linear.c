#include "node/history/linear.h"

#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/base/prng.h"

struct search {
    const struct linear_op *ops;
    size_t n;
    bool *done;
    uint64_t *names; /* random, per operation */
    uint64_t set;    /* the names of those done, combined */
    uint64_t *seen;  /* open addressing; 0: free */
    size_t n_seen, cap_seen;
    bool full;
};

/* ---- the document -----------------------------------------------------------
 */

static uint64_t effect(const struct linear_op *op, uint64_t state)
{
    switch (op->kind) {
    case LINEAR_READ:
        return state;
    case LINEAR_DELETE:
        return 0;
    default:
        return op->version;
    }
}

/* What the operation answers to a document in this state. */
static int outcome(const struct linear_op *op, uint64_t state)
{
    switch (op->kind) {
    case LINEAR_CREATE:
        return state == 0 ? ERR_OK : ERR_EXISTS;
    case LINEAR_UPSERT:
        return ERR_OK;
    default:
        if (state == 0)
            return ERR_NOT_FOUND;
        if (op->conditional && state != op->expected)
            return ERR_PRECONDITION;
        return ERR_OK;
    }
}

/* The document that the operation tells of, where nobody knew it before: a
 * read or a condition that held names it. */
static uint64_t reveal(const struct linear_op *op)
{
    if (op->answered == LINEAR_NEVER)
        return LINEAR_ANY;
    if (op->kind == LINEAR_READ)
        return op->version;
    if (op->conditional && op->result == ERR_OK)
        return op->expected;
    if (op->result == ERR_NOT_FOUND ||
        (op->result == ERR_OK && (op->kind == LINEAR_CREATE ||
                                  (op->kind == LINEAR_UPSERT && op->created))))
        return 0;
    return LINEAR_ANY;
}

/* Whether an operation may come to a document that nobody knows. */
static bool may_come_to_any(const struct linear_op *op, uint64_t *state_out)
{
    bool done = op->answered == LINEAR_NEVER || op->result == ERR_OK;
    *state_out = done && op->kind != LINEAR_READ ? effect(op, 0) : LINEAR_ANY;
    return true;
}

/* Whether it may come now; then the state after it. */
static bool may_come(const struct linear_op *op, uint64_t state,
                     uint64_t *state_out)
{
    if (state == LINEAR_ANY)
        state = reveal(op);
    if (state == LINEAR_ANY)
        return may_come_to_any(op, state_out);
    int result = outcome(op, state);
    if (op->answered != LINEAR_NEVER) {
        if (result != op->result)
            return false;
        if (op->kind == LINEAR_READ && state != op->version)
            return false;
        if (op->kind == LINEAR_UPSERT && op->created != (state == 0))
            return false;
    }
    *state_out = result == ERR_OK ? effect(op, state) : state;
    return true;
}

/* ---- the search -------------------------------------------------------------
 */

static void put_seen(uint64_t *table, size_t cap, uint64_t name)
{
    size_t i = name & (cap - 1);
    while (table[i] != 0)
        i = (i + 1) & (cap - 1);
    table[i] = name;
}

/* False if it was there. */
static bool visit(struct search *s, uint64_t state)
{
    struct prng mix;
    prng_seed(&mix, s->set ^ (state * 0x9e3779b97f4a7c15ULL));
    uint64_t name = prng_u64(&mix) | 1;
    for (size_t i = name & (s->cap_seen - 1); s->seen[i] != 0;
         i = (i + 1) & (s->cap_seen - 1))
        if (s->seen[i] == name)
            return false;
    if (s->n_seen == LINEAR_SEEN_MAX) {
        s->full = true;
        return false;
    }
    if (s->n_seen * 2 >= s->cap_seen) {
        size_t cap = s->cap_seen * 2;
        uint64_t *table = mem_zalloc(cap * sizeof(*table));
        for (size_t i = 0; i < s->cap_seen; i++)
            if (s->seen[i] != 0)
                put_seen(table, cap, s->seen[i]);
        mem_free(s->seen);
        s->seen = table;
        s->cap_seen = cap;
    }
    put_seen(s->seen, s->cap_seen, name);
    s->n_seen++;
    return true;
}

static void set_done(struct search *s, size_t i, bool done)
{
    s->done[i] = done;
    s->set ^= s->names[i];
}

/* The first answer among those that have not come: nothing that was called
 * later may come before it. */
static uint64_t first_answer(const struct search *s, size_t first)
{
    uint64_t least = LINEAR_NEVER;
    for (size_t i = first; i < s->n && s->ops[i].called < least; i++)
        if (!s->done[i] && s->ops[i].answered < least)
            least = s->ops[i].answered;
    return least;
}

static bool search(struct search *s, size_t first, uint64_t state);

static bool try_one(struct search *s, size_t first, size_t i, uint64_t after)
{
    set_done(s, i, true);
    bool ok = search(s, first, after);
    set_done(s, i, false);
    return ok;
}

static bool search(struct search *s, size_t first, uint64_t state)
{
    while (first < s->n && s->done[first])
        first++;
    uint64_t limit = first_answer(s, first);
    if (limit == LINEAR_NEVER)
        return true; /* what is left need not have happened */
    if (!visit(s, state))
        return false;
    uint64_t after;
    /* What changes nothing never does harm early. */
    for (size_t i = first; i < s->n && s->ops[i].called <= limit; i++)
        if (!s->done[i] && s->ops[i].answered != LINEAR_NEVER &&
            may_come(&s->ops[i], state, &after) && after == state)
            return try_one(s, first, i, after);
    for (size_t i = first; i < s->n && s->ops[i].called <= limit; i++)
        if (!s->done[i] && may_come(&s->ops[i], state, &after) &&
            after != state && try_one(s, first, i, after))
            return true;
    return false;
}

enum linear_verdict linear_check(const struct linear_op *ops, size_t n,
                                 uint64_t initial)
{
    struct search s = {.ops = ops, .n = n, .cap_seen = 1024};
    struct prng prng;
    prng_seed(&prng, n);
    s.done = mem_zalloc((n + 1) * sizeof(*s.done));
    s.names = mem_alloc((n + 1) * sizeof(*s.names));
    for (size_t i = 0; i < n; i++)
        s.names[i] = prng_u64(&prng);
    s.seen = mem_zalloc(s.cap_seen * sizeof(*s.seen));
    bool ok = search(&s, 0, initial);
    mem_free(s.done);
    mem_free(s.names);
    mem_free(s.seen);
    if (ok)
        return LINEAR_GOOD;
    return s.full ? LINEAR_UNDECIDED : LINEAR_BAD;
}
