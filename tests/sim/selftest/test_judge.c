/* The checkers of sites, with histories made by hand: each accepts a good one
 * and rejects the same with one thing wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "tests/sim/site/judge.h"

#define SHARD 1
#define KEY 3

static char why[VERDICT_TEXT_MAX];

/* ---- making histories -------------------------------------------------------
 */

static usec_t clock_us;

static struct history *new_history(enum consistency_level level)
{
    struct history *h = history_new();
    clock_us = 0;
    observed_promise(&h->seen, &(struct hist_promise){.level = level,
                                                      .max_entries = 2,
                                                      .max_us = USEC_PER_SEC});
    return h;
}

static struct hist_place at(uint64_t lsn, uint32_t epoch)
{
    return (struct hist_place){lsn, lsn == 0 ? 0 : RAFT_TERM(epoch, 1)};
}

/* An entry that some replica logged after `prev` of epoch `prev_epoch`. */
static void entry(struct history *h, uint64_t lsn, uint32_t epoch,
                  uint32_t prev_epoch, uint64_t op)
{
    struct hist_entry e = {.shard = SHARD,
                           .at = at(lsn, epoch),
                           .prev_term = at(lsn - 1, prev_epoch).term,
                           .data = op != 0,
                           .op = op};
    history_logged(h, 1, &e);
}

static void commit(struct history *h, uint64_t lsn, uint32_t epoch)
{
    history_committed(h, 1, SHARD, at(lsn, epoch));
}

static uint64_t call(struct history *h, enum linear_kind kind, uint32_t session)
{
    clock_us += 1000;
    return observed_called(&h->seen, &(struct hist_op){.kind = kind,
                                                       .session = session,
                                                       .shard = SHARD,
                                                       .key = KEY,
                                                       .called_us = clock_us});
}

static void answer(struct history *h, uint64_t op, struct hist_place place,
                   uint64_t version)
{
    clock_us += 1000;
    struct hist_op a = h->seen.ops[op - 1];
    a.answered_us = clock_us;
    a.result = a.kind == LINEAR_READ && version == 0 ? ERR_NOT_FOUND : ERR_OK;
    a.version = version;
    a.at = place;
    const struct hist_entry *e = history_at(h, SHARD, place);
    a.created =
        e != NULL &&
        history_state(h, SHARD, KEY,
                      (struct hist_place){place.lsn - 1, e->prev_term}) == 0;
    observed_answered(&h->seen, op, &a);
}

/* A write that is called, logged, committed and answered. */
static uint64_t write_done(struct history *h, uint32_t session, uint64_t lsn,
                           uint32_t epoch, uint32_t prev_epoch)
{
    uint64_t op = call(h, LINEAR_UPSERT, session);
    entry(h, lsn, epoch, prev_epoch, op);
    commit(h, lsn, epoch);
    answer(h, op, at(lsn, epoch), 0);
    return op;
}

static uint64_t read_done(struct history *h, uint32_t session, uint64_t lsn,
                          uint32_t epoch, uint64_t version)
{
    uint64_t op = call(h, LINEAR_READ, session);
    answer(h, op, at(lsn, epoch), version);
    return op;
}

/* Operation 1 was acknowledged at 2 of epoch 1 by region 1 alone; then epoch 2
 * went on after LSN 1. */
static struct history *lossy(enum consistency_level level, bool forced)
{
    struct history *h = new_history(level);
    entry(h, 1, 1, 0, 0);
    commit(h, 1, 1);
    uint64_t op = call(h, LINEAR_UPSERT, 1);
    entry(h, 2, 1, 1, op);
    answer(h, op, at(2, 1), 0);
    entry(h, 2, 2, 1, 0);
    commit(h, 2, 2);
    observed_switch(
        &h->seen,
        &(struct hist_switch){.us = clock_us, .epoch = 2, .forced = forced});
    return h;
}

static void conflict(struct history *h, uint64_t lsn, uint32_t epoch,
                     uint64_t version)
{
    observed_conflict(&h->seen, &(struct hist_conflict){.shard = SHARD,
                                                        .at = at(lsn, epoch),
                                                        .version = version});
}

static bool judge_linear(const struct history *h, char text[VERDICT_TEXT_MAX])
{
    return observed_linear(&h->seen, text);
}

#define GOOD(check, h)                                                         \
    do {                                                                       \
        struct history *history_ = (h);                                        \
        why[0] = '\0';                                                         \
        if (!check(history_, why))                                             \
            fail_msg("%s", why);                                               \
        history_free(history_);                                                \
    } while (0)
#define BAD(check, h)                                                          \
    do {                                                                       \
        struct history *history_ = (h);                                        \
        assert_false(check(history_, why));                                    \
        history_free(history_);                                                \
    } while (0)

/* ---- what is kept -----------------------------------------------------------
 */

static void test_survival(void **state)
{
    (void)state;
    struct history *h = new_history(CONSISTENCY_STRONG);
    write_done(h, 1, 1, 1, 0);
    GOOD(judge_survival, h);
    GOOD(judge_survival, lossy(CONSISTENCY_SESSION, true));
    /* Nothing may be lost without a forced switch, nor at level strong. */
    BAD(judge_survival, lossy(CONSISTENCY_SESSION, false));
    BAD(judge_survival, lossy(CONSISTENCY_STRONG, true));
}

static void test_level_in_change(void **state)
{
    (void)state;
    /* Session was ordered before the write was answered: it counts. */
    struct history *h = new_history(CONSISTENCY_STRONG);
    entry(h, 1, 1, 0, 0);
    commit(h, 1, 1);
    uint64_t op = call(h, LINEAR_UPSERT, 1);
    observed_promise(&h->seen,
                     &(struct hist_promise){.from_us = clock_us + 1,
                                            .level = CONSISTENCY_SESSION});
    entry(h, 2, 1, 1, op);
    answer(h, op, at(2, 1), 0);
    entry(h, 2, 2, 1, 0);
    commit(h, 2, 2);
    observed_switch(&h->seen,
                    &(struct hist_switch){.epoch = 2, .forced = true});
    GOOD(judge_survival, h);
}

static void test_refused_has_no_effect(void **state)
{
    (void)state;
    for (int logged = 0; logged < 2; logged++) {
        struct history *h = new_history(CONSISTENCY_SESSION);
        uint64_t op = call(h, LINEAR_UPSERT, 1);
        entry(h, 1, 1, 0, logged ? op : 0);
        commit(h, 1, 1);
        struct hist_op a = h->seen.ops[op - 1];
        a.answered_us = clock_us + 1;
        a.result = ERR_UNAVAILABLE;
        observed_answered(&h->seen, op, &a);
        if (logged)
            BAD(judge_survival, h);
        else
            GOOD(judge_survival, h);
    }
}

static void test_conflicts(void **state)
{
    (void)state;
    struct history *h = lossy(CONSISTENCY_SESSION, true);
    conflict(h, 2, 1, 1);
    GOOD(judge_conflicts, h);
    BAD(judge_conflicts,
        lossy(CONSISTENCY_SESSION, true)); /* not in the feed */
    h = lossy(CONSISTENCY_SESSION, true);
    conflict(h, 2, 1, 1);
    conflict(h, 2, 1, 1); /* twice */
    BAD(judge_conflicts, h);
    h = lossy(CONSISTENCY_SESSION, true);
    conflict(h, 2, 1, 1);
    conflict(h, 3, 1, 1); /* nobody logged that */
    BAD(judge_conflicts, h);
    h = lossy(CONSISTENCY_SESSION, true);
    conflict(h, 2, 1, 0); /* another text */
    BAD(judge_conflicts, h);
    h = lossy(CONSISTENCY_SESSION, true);
    h->left = 1u << 1; /* with the only one who had it */
    GOOD(judge_conflicts, h);
    h = lossy(CONSISTENCY_SESSION, true);
    h->left = 1u << 2;
    BAD(judge_conflicts, h);
    h = new_history(CONSISTENCY_SESSION);
    write_done(h, 1, 1, 1, 0);
    conflict(h, 1, 1, 1); /* it survived */
    BAD(judge_conflicts, h);
}

/* Operation 1 is logged at 2 by a leader that leaves, and again at 3 by the
 * next one of the epoch; a forced switch follows. When the first leader is back
 * that is no conflict. */
static void test_done_again_in_an_epoch(void **state)
{
    (void)state;
    struct history *h = new_history(CONSISTENCY_SESSION);
    entry(h, 1, 1, 0, 0);
    commit(h, 1, 1);
    uint64_t op = call(h, LINEAR_UPSERT, 1);
    entry(h, 2, 1, 1, op);
    uint64_t next = RAFT_TERM(1, 2);
    history_logged(h, 2,
                   &(struct hist_entry){.shard = SHARD,
                                        .at = {2, next},
                                        .prev_term = at(1, 1).term});
    history_committed(h, 2, SHARD, (struct hist_place){2, next});
    history_logged(h, 2,
                   &(struct hist_entry){.shard = SHARD,
                                        .at = {3, next},
                                        .prev_term = next,
                                        .data = true,
                                        .op = op});
    history_committed(h, 2, SHARD, (struct hist_place){3, next});
    answer(h, op, (struct hist_place){3, next}, 0);
    observed_switch(&h->seen, &(struct hist_switch){
                                  .us = clock_us, .epoch = 2, .forced = true});
    h->left = 1u << 1;
    GOOD(judge_history, h);
}

/* ---- what is read -----------------------------------------------------------
 */

static void test_linear(void **state)
{
    (void)state;
    struct history *h = new_history(CONSISTENCY_STRONG);
    uint64_t first = write_done(h, 1, 1, 1, 0);
    uint64_t second = write_done(h, 1, 2, 1, 1);
    read_done(h, 2, 2, 1, second);
    GOOD(judge_linear, h);
    h = new_history(CONSISTENCY_STRONG);
    first = write_done(h, 1, 1, 1, 0);
    second = write_done(h, 1, 2, 1, 1);
    read_done(h, 2, 1, 1, first);
    BAD(judge_linear, h);
    /* At a weaker level that is allowed. */
    h = new_history(CONSISTENCY_SESSION);
    first = write_done(h, 1, 1, 1, 0);
    second = write_done(h, 1, 2, 1, 1);
    read_done(h, 2, 1, 1, first);
    GOOD(judge_linear, h);
    (void)second;
}

/* Strong only from some time on: what was there before is any. */
static void test_linear_from_then_on(void **state)
{
    (void)state;
    for (int stale = 0; stale < 2; stale++) {
        struct history *h = new_history(CONSISTENCY_SESSION);
        uint64_t first = write_done(h, 1, 1, 1, 0);
        uint64_t second = write_done(h, 1, 2, 1, 1);
        observed_promise(&h->seen,
                         &(struct hist_promise){.from_us = clock_us + 1,
                                                .level = CONSISTENCY_STRONG});
        read_done(h, 2, 2, 1, second);
        read_done(h, 2, stale ? 1 : 2, 1, stale ? first : second);
        if (stale)
            BAD(judge_linear, h);
        else
            GOOD(judge_linear, h);
    }
}

static void test_prefix(void **state)
{
    (void)state;
    struct history *h = new_history(CONSISTENCY_EVENTUAL);
    uint64_t first = write_done(h, 1, 1, 1, 0);
    uint64_t second = write_done(h, 1, 2, 1, 1);
    read_done(h, 2, 1, 1, first);
    read_done(h, 2, 0, 0, 0);
    read_done(h, 2, 2, 1, second);
    GOOD(judge_prefix, h);
    h = new_history(CONSISTENCY_EVENTUAL);
    first = write_done(h, 1, 1, 1, 0);
    second = write_done(h, 1, 2, 1, 1);
    read_done(h, 2, 2, 1, first); /* not what is there */
    BAD(judge_prefix, h);
    h = new_history(CONSISTENCY_EVENTUAL);
    write_done(h, 1, 1, 1, 0);
    read_done(h, 2, 9, 1, 1); /* no such place */
    BAD(judge_prefix, h);
    (void)second;
}

static void test_unacknowledged_is_not_read(void **state)
{
    (void)state;
    struct history *h = lossy(CONSISTENCY_EVENTUAL, true);
    read_done(h, 2, 2, 1, 1);
    GOOD(judge_prefix, h);
    h = lossy(CONSISTENCY_EVENTUAL, false);
    read_done(h, 2, 2, 1, 1);
    BAD(judge_prefix, h);
}

/* ---- sessions ---------------------------------------------------------------
 */

static void test_read_your_writes(void **state)
{
    (void)state;
    for (uint64_t lsn = 1; lsn <= 2; lsn++) {
        struct history *h = new_history(CONSISTENCY_SESSION);
        entry(h, 1, 1, 0, 0);
        commit(h, 1, 1);
        uint64_t op = write_done(h, 1, 2, 1, 1);
        read_done(h, 1, lsn, 1, lsn == 2 ? op : 0);
        if (lsn == 2)
            GOOD(judge_sessions, h);
        else
            BAD(judge_sessions, h);
    }
}

static void test_monotonic_reads(void **state)
{
    (void)state;
    for (uint32_t second_session = 1; second_session <= 2; second_session++) {
        struct history *h = new_history(CONSISTENCY_SESSION);
        uint64_t op = write_done(h, 3, 1, 1, 0);
        read_done(h, 1, 1, 1, op);
        read_done(h, second_session, 0, 0, 0); /* another's may be older */
        if (second_session == 2)
            GOOD(judge_sessions, h);
        else
            BAD(judge_sessions, h);
    }
}

static void test_bounded_keeps_no_session(void **state)
{
    (void)state;
    struct history *h = new_history(CONSISTENCY_BOUNDED);
    uint64_t op = write_done(h, 3, 1, 1, 0);
    read_done(h, 1, 1, 1, op);
    read_done(h, 1, 0, 0, 0);
    GOOD(judge_sessions, h);
}

static void test_session_over_a_loss(void **state)
{
    (void)state;
    /* What was written is gone; what was before it must still be seen. */
    struct history *h = lossy(CONSISTENCY_SESSION, true);
    read_done(h, 1, 2, 2, 0);
    GOOD(judge_sessions, h);
    h = lossy(CONSISTENCY_SESSION, true);
    read_done(h, 1, 0, 0, 0);
    BAD(judge_sessions, h);
}

static void test_monotonic_writes(void **state)
{
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        struct history *h = new_history(CONSISTENCY_SESSION);
        uint64_t first = call(h, LINEAR_UPSERT, 1);
        answer(h, first, at(reverse ? 2 : 1, 1), 0);
        uint64_t second = call(h, LINEAR_UPSERT, 1);
        answer(h, second, at(reverse ? 1 : 2, 1), 0);
        entry(h, 1, 1, 0, reverse ? second : first);
        entry(h, 2, 1, 1, reverse ? first : second);
        commit(h, 1, 1);
        commit(h, 2, 1);
        if (reverse)
            BAD(judge_sessions, h);
        else
            GOOD(judge_sessions, h);
    }
}

/* ---- staleness --------------------------------------------------------------
 */

static void test_k(void **state)
{
    (void)state;
    for (uint64_t writes = 2; writes <= 3; writes++) {
        struct history *h = new_history(CONSISTENCY_BOUNDED); /* K is 2 */
        for (uint64_t lsn = 1; lsn <= writes; lsn++)
            write_done(h, 1, lsn, 1, lsn == 1 ? 0 : 1);
        read_done(h, 2, 0, 0, 0);
        if (writes == 2)
            GOOD(judge_staleness, h);
        else
            BAD(judge_staleness, h);
    }
}

/* A tighter bound speaks of what is accepted from then on. */
static void test_tighter_k(void **state)
{
    (void)state;
    for (uint64_t after = 0; after <= 1; after++) {
        struct history *h = new_history(CONSISTENCY_BOUNDED);
        for (uint64_t lsn = 1; lsn <= 2; lsn++)
            write_done(h, 1, lsn, 1, lsn == 1 ? 0 : 1);
        struct hist_promise p = observed_promised(&h->seen, clock_us, clock_us);
        p.from_us = clock_us + 1;
        p.max_entries = 1;
        observed_promise(&h->seen, &p);
        clock_us += 10;
        if (after > 0)
            write_done(h, 1, 3, 1, 2);
        read_done(h, 2, 0, 0, 0);
        if (after == 0)
            GOOD(judge_staleness, h);
        else
            BAD(judge_staleness, h);
    }
}

static void test_t(void **state)
{
    (void)state;
    for (usec_t age = 900; age <= 1100; age += 200) {
        struct history *h = new_history(CONSISTENCY_BOUNDED); /* T is 1 s */
        write_done(h, 1, 1, 1, 0);
        clock_us += age * USEC_PER_MS;
        read_done(h, 2, 0, 0, 0);
        if (age < 1000)
            GOOD(judge_staleness, h);
        else
            BAD(judge_staleness, h);
    }
}

/* ---- one region -------------------------------------------------------------
 */

static void test_one_region(void **state)
{
    (void)state;
    const struct {
        uint32_t epoch, region;
        bool good;
    } second[] = {{1, 1, true}, {1, 2, false}, {2, 2, true}, {1, 0, true}};
    for (size_t i = 0; i < sizeof(second) / sizeof(second[0]); i++) {
        struct history *h = new_history(CONSISTENCY_SESSION);
        history_acked(
            h, &(struct hist_ack){.shard = SHARD, .epoch = 1, .region = 1});
        history_acked(h, &(struct hist_ack){.shard = SHARD,
                                            .epoch = second[i].epoch,
                                            .region = second[i].region});
        if (second[i].good)
            GOOD(judge_one_region, h);
        else
            BAD(judge_one_region, h);
    }
}

/* ---- logs -------------------------------------------------------------------
 */

static void test_logs(void **state)
{
    (void)state;
    struct history *h = new_history(CONSISTENCY_STRONG);
    write_done(h, 1, 1, 1, 0);
    entry(h, 1, 1, 0, 1); /* the same at another replica */
    commit(h, 1, 1);
    GOOD(judge_history, h);
    h = new_history(CONSISTENCY_STRONG);
    write_done(h, 1, 1, 1, 0);
    entry(h, 1, 1, 0, 0); /* another entry at the same place */
    BAD(judge_history, h);
    h = new_history(CONSISTENCY_STRONG);
    entry(h, 1, 1, 0, 0);
    entry(h, 1, 2, 0, 0);
    commit(h, 1, 1);
    commit(h, 1, 2); /* two committed entries of one LSN */
    BAD(judge_history, h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_survival),
        cmocka_unit_test(test_level_in_change),
        cmocka_unit_test(test_refused_has_no_effect),
        cmocka_unit_test(test_conflicts),
        cmocka_unit_test(test_done_again_in_an_epoch),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_linear_from_then_on),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_unacknowledged_is_not_read),
        cmocka_unit_test(test_read_your_writes),
        cmocka_unit_test(test_monotonic_reads),
        cmocka_unit_test(test_bounded_keeps_no_session),
        cmocka_unit_test(test_session_over_a_loss),
        cmocka_unit_test(test_monotonic_writes),
        cmocka_unit_test(test_k),
        cmocka_unit_test(test_tighter_k),
        cmocka_unit_test(test_t),
        cmocka_unit_test(test_one_region),
        cmocka_unit_test(test_logs),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
