/* The checkers of what clients see, with histories made by hand: each accepts a
 * good one and refuses the same with one thing wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "node/history/observed.h"

#define SHARD 1
#define KEY 3

static struct observed o;
static char why[VERDICT_TEXT_MAX];
static usec_t clock_us;

/* ---- making histories -------------------------------------------------------
 */

static void begin(enum consistency_level level)
{
    observed_free(&o);
    clock_us = 0;
    observed_promise(&o, &(struct hist_promise){.level = level,
                                                .max_entries = 2,
                                                .max_us = USEC_PER_SEC});
}

static struct hist_place at(uint32_t epoch, uint64_t lsn)
{
    return (struct hist_place){lsn, (uint64_t)epoch << 32};
}

static uint64_t call(enum linear_kind kind, uint32_t session)
{
    clock_us += 1000;
    return observed_called(&o, &(struct hist_op){.kind = kind,
                                                 .session = session,
                                                 .shard = SHARD,
                                                 .key = KEY,
                                                 .called_us = clock_us});
}

static void answer(uint64_t op, int result, uint64_t version,
                   struct hist_place place)
{
    clock_us += 1000;
    struct hist_op a = o.ops[op - 1];
    a.answered_us = clock_us;
    a.result = result;
    a.version = version;
    a.at = place;
    observed_answered(&o, op, &a);
}

static uint64_t done(enum linear_kind kind, uint32_t session, uint32_t epoch,
                     uint64_t lsn)
{
    uint64_t op = call(kind, session);
    answer(op, ERR_OK, 0, at(epoch, lsn));
    return op;
}

static uint64_t write_at(uint32_t epoch, uint64_t lsn)
{
    return done(LINEAR_REPLACE, 1, epoch, lsn);
}

static uint64_t delete_at(uint32_t epoch, uint64_t lsn)
{
    return done(LINEAR_DELETE, 1, epoch, lsn);
}

static void read_by(uint32_t session, uint64_t version, uint32_t epoch,
                    uint64_t lsn)
{
    answer(call(LINEAR_READ, session), version == 0 ? ERR_NOT_FOUND : ERR_OK,
           version, at(epoch, lsn));
}

static void switch_to(uint32_t epoch, bool forced)
{
    observed_switch(&o, &(struct hist_switch){
                            .us = clock_us, .epoch = epoch, .forced = forced});
}

static void end(uint64_t version, uint32_t epoch, uint64_t lsn)
{
    observed_end(&o, &(struct hist_end){.shard = SHARD,
                                        .key = KEY,
                                        .version = version,
                                        .at = at(epoch, lsn)});
}

static void conflict(uint64_t version, uint32_t epoch, uint64_t lsn)
{
    observed_conflict(&o, &(struct hist_conflict){.shard = SHARD,
                                                  .version = version,
                                                  .at = at(epoch, lsn)});
}

static bool survives(void)
{
    return observed_survival(&o, NULL, why);
}

#define GOOD(check)                                                            \
    do {                                                                       \
        if (!(check))                                                          \
            fail_msg("%s", why);                                               \
    } while (0)
#define BAD(check) assert_false(check)

/* ---- survival ---------------------------------------------------------------
 */

static void test_the_last_write_is_there(void **state)
{
    (void)state;
    begin(CONSISTENCY_SESSION);
    write_at(1, 5);
    uint64_t second = write_at(1, 6);
    end(second, 1, 9);
    GOOD(survives());
    begin(CONSISTENCY_SESSION);
    uint64_t first = write_at(1, 5);
    write_at(1, 6);
    end(first, 1, 9);
    BAD(survives()); /* an older one is */
    begin(CONSISTENCY_SESSION);
    write_at(1, 5);
    end(0, 1, 9);
    BAD(survives()); /* none is */
    begin(CONSISTENCY_SESSION);
    write_at(1, 5);
    end(77, 1, 9);
    BAD(survives()); /* one that nobody wrote */
}

static void test_writes_of_unknown_outcome(void **state)
{
    (void)state;
    begin(CONSISTENCY_SESSION);
    write_at(1, 5);
    uint64_t unknown = call(LINEAR_REPLACE, 2);
    end(unknown, 1, 9);
    GOOD(survives());
    begin(CONSISTENCY_SESSION);
    uint64_t known = write_at(1, 5);
    call(LINEAR_REPLACE, 2);
    end(known, 1, 9);
    GOOD(survives());
}

static void test_deletes_survive(void **state)
{
    (void)state;
    begin(CONSISTENCY_SESSION);
    write_at(1, 5);
    delete_at(1, 6);
    end(0, 1, 9);
    GOOD(survives());
    begin(CONSISTENCY_SESSION);
    uint64_t op = write_at(1, 5);
    delete_at(1, 6);
    end(op, 1, 9);
    BAD(survives());
    begin(CONSISTENCY_SESSION);
    delete_at(1, 5);
    write_at(1, 6);
    end(0, 1, 9);
    BAD(survives());
}

static void test_refused_writes_do_nothing(void **state)
{
    (void)state;
    begin(CONSISTENCY_SESSION);
    write_at(1, 5);
    uint64_t refused = call(LINEAR_REPLACE, 2);
    answer(refused, ERR_UNAVAILABLE, 0, at(0, 0));
    end(1, 1, 9);
    GOOD(survives());
    o.ends[0].version = refused;
    BAD(survives());
    begin(CONSISTENCY_SESSION);
    refused = call(LINEAR_REPLACE, 2);
    answer(refused, ERR_UNAVAILABLE, 0, at(0, 0));
    read_by(1, refused, 1, 5);
    end(0, 1, 9);
    BAD(observed_prefix(&o, why));
}

/* Write 1 at 1#5 was lost to epoch 2, which began before. */
static void lossy(enum consistency_level level, bool forced, bool fed)
{
    begin(level);
    write_at(1, 5);
    switch_to(2, forced);
    if (fed)
        conflict(1, 1, 5);
    end(0, 2, 9);
}

static void test_what_a_forced_switch_may_lose(void **state)
{
    (void)state;
    struct observed_loss loss;
    lossy(CONSISTENCY_SESSION, true, true);
    GOOD(observed_survival(&o, &loss, why));
    assert_int_equal(loss.entries, 1);
    assert_int_equal(loss.in_feed, 1);
    lossy(CONSISTENCY_STRONG, true, true);
    BAD(survives());
    lossy(CONSISTENCY_SESSION, false, true);
    BAD(survives());
    lossy(CONSISTENCY_SESSION, true, false);
    BAD(observed_survival(&o, &loss, why));
    assert_int_equal(loss.in_feed, 0);
}

/* A later write does not hide that one before it is gone: epoch 2 has used its
 * place. */
static void test_a_loss_that_was_overwritten(void **state)
{
    (void)state;
    for (int fed = 0; fed < 2; fed++) {
        begin(CONSISTENCY_SESSION);
        write_at(1, 5);
        switch_to(2, true);
        uint64_t later = write_at(2, 5);
        if (fed)
            conflict(1, 1, 5);
        end(later, 2, 9);
        if (fed)
            GOOD(survives());
        else
            BAD(survives());
    }
}

static void test_the_feed_holds_nothing_else(void **state)
{
    (void)state;
    lossy(CONSISTENCY_SESSION, true, true);
    conflict(1, 1, 5);
    BAD(survives()); /* twice */
    lossy(CONSISTENCY_SESSION, true, true);
    conflict(9, 1, 6);
    BAD(survives()); /* never written */
    begin(CONSISTENCY_SESSION);
    write_at(1, 5);
    conflict(1, 1, 5);
    end(1, 1, 9);
    BAD(survives()); /* not lost */
}

static void test_level_in_change(void **state)
{
    (void)state;
    /* Session was ordered while the write was under way: it counts. */
    begin(CONSISTENCY_STRONG);
    uint64_t op = call(LINEAR_REPLACE, 1);
    observed_promise(&o, &(struct hist_promise){.from_us = clock_us + 1,
                                                .level = CONSISTENCY_SESSION});
    answer(op, ERR_OK, 0, at(1, 5));
    switch_to(2, true);
    conflict(op, 1, 5);
    end(0, 2, 9);
    GOOD(survives());
}

/* ---- reads ------------------------------------------------------------------
 */

static void test_linear(void **state)
{
    (void)state;
    for (int level = CONSISTENCY_STRONG; level <= CONSISTENCY_SESSION; level++)
        for (int stale = 0; stale < 2; stale++) {
            begin((enum consistency_level)level);
            uint64_t first = done(LINEAR_CREATE, 1, 1, 5);
            uint64_t second = write_at(1, 6);
            read_by(2, stale ? first : second, 1, stale ? 5 : 6);
            if (level == CONSISTENCY_STRONG && stale)
                BAD(observed_linear(&o, why));
            else
                GOOD(observed_linear(&o, why));
        }
}

static void test_prefix(void **state)
{
    (void)state;
    begin(CONSISTENCY_EVENTUAL);
    uint64_t first = write_at(1, 5);
    uint64_t second = write_at(1, 7);
    read_by(2, 0, 1, 4);
    read_by(2, first, 1, 6);
    read_by(2, second, 1, 7);
    GOOD(observed_prefix(&o, why));
    read_by(2, first, 1, 7);
    BAD(observed_prefix(&o, why)); /* the second is there */
    begin(CONSISTENCY_EVENTUAL);
    read_by(2, write_at(1, 5), 1, 4);
    BAD(observed_prefix(&o, why)); /* is not there yet */
    begin(CONSISTENCY_EVENTUAL);
    write_at(1, 5);
    read_by(2, 0, 1, 5);
    BAD(observed_prefix(&o, why)); /* a hole */
    begin(CONSISTENCY_EVENTUAL);
    write_at(1, 5);
    read_by(2, 44, 1, 5);
    BAD(observed_prefix(&o, why)); /* nobody wrote that */
}

static void test_prefix_over_switches(void **state)
{
    (void)state;
    for (int forced = 0; forced < 2; forced++) {
        begin(CONSISTENCY_EVENTUAL);
        write_at(1, 5);
        switch_to(2, forced);
        read_by(2, 0, 2, 6);
        if (forced)
            GOOD(observed_prefix(&o, why)); /* it may be lost */
        else
            BAD(observed_prefix(&o, why));
    }
    /* Here it is known to have survived. */
    end(1, 2, 9);
    BAD(observed_prefix(&o, why));
}

/* A delete that went with a lost epoch and was made again in the next. */
static void test_what_was_made_twice(void **state)
{
    (void)state;
    begin(CONSISTENCY_EVENTUAL);
    write_at(1, 5);
    uint64_t deletes = call(LINEAR_DELETE, 2);
    read_by(3, 0, 1, 6);
    switch_to(2, true);
    answer(deletes, ERR_OK, 0, at(2, 6));
    end(0, 2, 9);
    GOOD(observed_prefix(&o, why));
}

static void test_versions_of_unknown_outcome(void **state)
{
    (void)state;
    begin(CONSISTENCY_EVENTUAL);
    uint64_t unknown = call(LINEAR_REPLACE, 2);
    read_by(2, unknown, 1, 5);
    write_at(1, 6);
    GOOD(observed_prefix(&o, why));
    read_by(2, unknown, 1, 6);
    BAD(observed_prefix(&o, why)); /* it was at 5 at the latest */
    begin(CONSISTENCY_EVENTUAL);
    read_by(2, 2, 1, 5);
    call(LINEAR_REPLACE, 2);
    BAD(observed_prefix(&o, why)); /* not even called yet */
}

/* ---- sessions ---------------------------------------------------------------
 */

static void test_read_your_writes(void **state)
{
    (void)state;
    for (uint64_t lsn = 4; lsn <= 5; lsn++) {
        begin(CONSISTENCY_SESSION);
        uint64_t op = write_at(1, 5);
        read_by(1, lsn == 5 ? op : 0, 1, lsn);
        if (lsn == 5)
            GOOD(observed_sessions(&o, why));
        else
            BAD(observed_sessions(&o, why));
    }
}

static void test_monotonic_reads(void **state)
{
    (void)state;
    for (uint32_t session = 2; session <= 3; session++) {
        begin(CONSISTENCY_SESSION);
        read_by(2, 0, 1, 5);
        read_by(session, 0, 1, 4);
        if (session == 3)
            GOOD(observed_sessions(&o, why)); /* another's may be older */
        else
            BAD(observed_sessions(&o, why));
    }
    begin(CONSISTENCY_SESSION);
    read_by(2, 0, 2, 5);
    read_by(2, 0, 1, 6);
    BAD(observed_sessions(&o, why)); /* back to an epoch that has ended */
    begin(CONSISTENCY_EVENTUAL);
    read_by(2, 0, 1, 5);
    read_by(2, 0, 1, 4);
    GOOD(observed_sessions(&o, why)); /* not promised */
}

static void test_session_over_a_loss(void **state)
{
    (void)state;
    for (int forced = 0; forced < 2; forced++) {
        begin(CONSISTENCY_SESSION);
        write_at(1, 5);
        switch_to(2, forced);
        read_by(1, 0, 2, 4);
        if (forced)
            GOOD(observed_sessions(&o, why));
        else
            BAD(observed_sessions(&o, why));
    }
}

static void test_monotonic_writes(void **state)
{
    (void)state;
    begin(CONSISTENCY_SESSION);
    write_at(1, 5);
    write_at(1, 6);
    GOOD(observed_sessions(&o, why));
    write_at(1, 4);
    BAD(observed_sessions(&o, why));
}

/* ---- staleness --------------------------------------------------------------
 */

static void test_entries_of_the_bound(void **state)
{
    (void)state;
    for (uint64_t writes = 2; writes <= 3; writes++) {
        begin(CONSISTENCY_BOUNDED); /* K is 2 */
        for (uint64_t lsn = 1; lsn <= writes; lsn++)
            write_at(1, lsn);
        read_by(2, 0, 0, 0);
        if (writes == 2)
            GOOD(observed_staleness(&o, why));
        else
            BAD(observed_staleness(&o, why));
    }
}

/* What was accepted before a bound became tighter does not count by itself. */
static void test_a_tighter_bound(void **state)
{
    (void)state;
    for (uint64_t after = 0; after <= 1; after++) {
        begin(CONSISTENCY_BOUNDED);
        write_at(1, 1);
        write_at(1, 2);
        struct hist_promise p = observed_promised(&o, clock_us, clock_us);
        p.from_us = clock_us + 1;
        p.max_entries = 1;
        observed_promise(&o, &p);
        clock_us += 10;
        if (after > 0)
            write_at(1, 3);
        read_by(2, 0, 0, 0);
        if (after == 0)
            GOOD(observed_staleness(&o, why));
        else
            BAD(observed_staleness(&o, why));
    }
}

static void test_seconds_of_the_bound(void **state)
{
    (void)state;
    for (usec_t age = 900; age <= 1100; age += 200) {
        begin(CONSISTENCY_BOUNDED); /* T is 1 s */
        write_at(1, 1);
        clock_us += age * USEC_PER_MS;
        read_by(2, 0, 0, 0);
        if (age < 1000)
            GOOD(observed_staleness(&o, why));
        else
            BAD(observed_staleness(&o, why));
    }
}

static void test_all_of_them(void **state)
{
    (void)state;
    begin(CONSISTENCY_STRONG);
    uint64_t op = done(LINEAR_CREATE, 1, 1, 5);
    read_by(2, op, 1, 5);
    end(op, 1, 5);
    GOOD(observed_judge(&o, why));
    o.ends[0].version = 0;
    BAD(observed_judge(&o, why));
}

/* So many unanswered writes can have come in more orders than are tried. */
static void test_what_is_not_decided_is_said(void **state)
{
    (void)state;
    begin(CONSISTENCY_STRONG);
    done(LINEAR_CREATE, 1, 1, 1);
    why[0] = '\0';
    assert_true(observed_linear(&o, why));
    assert_string_equal(why, "");
    for (unsigned i = 0; i < 30; i++)
        call(LINEAR_UPSERT, 2 + i);
    read_by(1, 0, 1, 2);
    assert_true(observed_linear(&o, why));
    assert_memory_equal(why, "1 documents not decided", 23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_write_is_there),
        cmocka_unit_test(test_writes_of_unknown_outcome),
        cmocka_unit_test(test_deletes_survive),
        cmocka_unit_test(test_refused_writes_do_nothing),
        cmocka_unit_test(test_what_a_forced_switch_may_lose),
        cmocka_unit_test(test_a_loss_that_was_overwritten),
        cmocka_unit_test(test_the_feed_holds_nothing_else),
        cmocka_unit_test(test_level_in_change),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_prefix_over_switches),
        cmocka_unit_test(test_what_was_made_twice),
        cmocka_unit_test(test_versions_of_unknown_outcome),
        cmocka_unit_test(test_read_your_writes),
        cmocka_unit_test(test_monotonic_reads),
        cmocka_unit_test(test_session_over_a_loss),
        cmocka_unit_test(test_monotonic_writes),
        cmocka_unit_test(test_entries_of_the_bound),
        cmocka_unit_test(test_a_tighter_bound),
        cmocka_unit_test(test_seconds_of_the_bound),
        cmocka_unit_test(test_all_of_them),
        cmocka_unit_test(test_what_is_not_decided_is_said),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    observed_free(&o);
    return failed;
}
