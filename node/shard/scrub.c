#include "node/shard/scrub.h"

#include <string.h>

#include "consensus/quorum.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/shard/canary.h"

#define ANSWER_VERSION 1

const char *scrub_verdict_name(enum scrub_verdict v)
{
    static const char *const names[] = {"unknown",   "fine",  "damaged",
                                        "divergent", "doubt", "witness"};
    return names[v];
}

static bool has_digest(const struct scrub_answer *a)
{
    return !a->witness && a->err == ERR_OK;
}

static bool is_same(const struct scrub_answer *a, const struct scrub_answer *b)
{
    return memcmp(a->whole, b->whole, DIGEST_LEN) == 0;
}

static bool unreadable_store(const struct scrub_answer *a)
{
    return !a->witness && (a->err == ERR_CORRUPT || a->err == ERR_IO);
}

/* What more than half of those asked have, if it is authentic at one of them;
 * else what all have whose records are authentic. NULL: there is no such. */
static const struct scrub_answer *right_one(const struct scrub_answer *answers,
                                            uint32_t n)
{
    uint32_t asked = 0;
    const struct scrub_answer *clean = NULL;
    bool agreed = true;
    for (uint32_t i = 0; i < n; i++) {
        asked += !answers[i].witness;
        if (!has_digest(&answers[i]) || answers[i].damaged > 0)
            continue;
        agreed &= clean == NULL || is_same(clean, &answers[i]);
        clean = &answers[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t same = 0;
        if (!has_digest(&answers[i]) || answers[i].damaged > 0)
            continue;
        for (uint32_t k = 0; k < n; k++)
            same +=
                has_digest(&answers[k]) && is_same(&answers[i], &answers[k]);
        if (same > asked / 2)
            return &answers[i];
    }
    return agreed ? clean : NULL;
}

static enum scrub_verdict verdict(const struct scrub_answer *a,
                                  const struct scrub_answer *right)
{
    if (a->witness)
        return SCRUB_WITNESS;
    if (unreadable_store(a))
        return SCRUB_DAMAGED;
    if (a->err != ERR_OK)
        return SCRUB_UNKNOWN;
    if (right == NULL)
        return SCRUB_DOUBT;
    if (is_same(a, right))
        return SCRUB_FINE;
    return a->damaged > 0 ? SCRUB_DAMAGED : SCRUB_DIVERGENT;
}

static uint16_t differing_pair(const struct scrub_answer *a,
                               const struct scrub_answer *b)
{
    uint16_t buckets = 0;
    for (uint32_t i = 0; i < DIGEST_BUCKETS; i++)
        if (memcmp(a->buckets[i], b->buckets[i], DIGEST_LEN) != 0)
            buckets |= (uint16_t)(1u << i);
    return buckets;
}

static uint16_t differing(const struct scrub_answer *answers, uint32_t n)
{
    const struct scrub_answer *first = NULL;
    uint16_t buckets = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!has_digest(&answers[i]))
            continue;
        if (first == NULL)
            first = &answers[i];
        buckets |= differing_pair(first, &answers[i]);
    }
    return buckets;
}

void scrub_judge(const struct scrub_answer *answers, uint32_t n,
                 struct scrub_judgement *out)
{
    CHECK(n <= RAFT_MEMBERS_MAX);
    const struct scrub_answer *right = right_one(answers, n);
    *out = (struct scrub_judgement){.buckets = differing(answers, n)};
    for (uint32_t i = 0; i < n; i++) {
        out->of[i] = verdict(&answers[i], right);
        out->unreadable |=
            answers[i].damaged > 0 && has_digest(&answers[i]) &&
            (out->of[i] == SCRUB_FINE || (right == NULL && out->buckets == 0));
    }
}

/* Those who are left and well. */
struct good_ones {
    raft_id ids[RAFT_MEMBERS_MAX];
    uint32_t n;
};

static enum quorum_vote is_good(const void *ctx, raft_id id)
{
    const struct good_ones *g = ctx;
    for (uint32_t i = 0; i < g->n; i++)
        if (g->ids[i] == id)
            return QUORUM_VOTE_GRANTED;
    return QUORUM_VOTE_DENIED;
}

bool scrub_spares(const struct raft_config *c,
                  const struct scrub_answer *answers,
                  const struct scrub_judgement *j, const bool *well, uint32_t n,
                  uint32_t target)
{
    struct good_ones good = {.n = 0};
    bool payload = false;
    for (uint32_t i = 0; i < n; i++) {
        const struct scrub_answer *a = &answers[i];
        if (i == target || !well[i] ||
            (j->of[i] != SCRUB_FINE && j->of[i] != SCRUB_WITNESS))
            continue;
        good.ids[good.n++] = a->node;
        payload |= a->voter && !a->witness;
    }
    if (SHARD_PLANTED(SPARE_ANYONE))
        return payload;
    return payload && quorum_votes(c, (enum raft_ack)c->ack, c->write_region,
                                   is_good, &good) == QUORUM_WON;
}

/* Whether all that a store which can be read has beyond `right` is damage. Who
 * cannot open a record for want of its key could not check what comes. */
static bool only_damaged(const struct scrub_answer *a,
                         const struct scrub_answer *right)
{
    return a->unknown == 0 && a->records == right->records &&
           (differing_pair(a, right) & ~a->spoilt) == 0;
}

bool scrub_renews(const struct scrub_answer *answers,
                  const struct scrub_judgement *j, const bool *well,
                  uint32_t from, uint32_t target)
{
    const struct scrub_answer *right = &answers[from], *a = &answers[target];
    return j->of[target] == SCRUB_DAMAGED && j->of[from] == SCRUB_FINE &&
           right->damaged == 0 && right->unknown == 0 && well[from] &&
           well[target] && (unreadable_store(a) || only_damaged(a, right));
}

/* ---- the wire form ---------------------------------------------------------
 */

int scrub_answer_encode(const struct scrub_answer *a, struct buf *out)
{
    const uint64_t numbers[] = {a->records, a->bytes, a->opened, a->unknown,
                                a->damaged};
    uint8_t head[5] = {ANSWER_VERSION};
    uint8_t spoilt[2] = {(uint8_t)a->spoilt, (uint8_t)(a->spoilt >> 8)};
    put_u32_le(head + 1, (uint32_t)a->err);
    int err = buf_append(out, head, sizeof(head));
    for (size_t i = 0; i < ARRAY_LEN(numbers) && err == ERR_OK; i++)
        err = buf_append_u64_le(out, numbers[i]);
    if (err == ERR_OK)
        err = buf_append(out, spoilt, sizeof(spoilt));
    if (err == ERR_OK)
        err = buf_append(out, a->whole, sizeof(a->whole));
    if (err == ERR_OK)
        err = buf_append(out, a->buckets, sizeof(a->buckets));
    return err;
}

int scrub_answer_decode(struct bytes in, struct scrub_answer *out)
{
    struct cursor c = cursor_of(in.data, in.len);
    *out = (struct scrub_answer){0};
    bool known = cursor_u8(&c) == ANSWER_VERSION;
    out->err = (int)cursor_u32_le(&c);
    out->records = cursor_u64_le(&c);
    out->bytes = cursor_u64_le(&c);
    out->opened = cursor_u64_le(&c);
    out->unknown = cursor_u64_le(&c);
    out->damaged = cursor_u64_le(&c);
    out->spoilt = cursor_u16_le(&c);
    const void *whole = cursor_take(&c, sizeof(out->whole));
    const void *buckets = cursor_take(&c, sizeof(out->buckets));
    if (!known || !cursor_done(&c))
        return ERR_MALFORMED;
    memcpy(out->whole, whole, sizeof(out->whole));
    memcpy(out->buckets, buckets, sizeof(out->buckets));
    return ERR_OK;
}
