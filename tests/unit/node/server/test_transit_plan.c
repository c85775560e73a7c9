/* Promises about a request that is passed on: who is asked, for how long, and
 * what its client may believe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "node/server/transit_plan.h"

#define T0 (1000 * USEC_PER_SEC)
#define TIMEOUT_US (10 * USEC_PER_SEC)

/* 1 is near, but its region does not take the writes; 2 and 3 are there. */
static const struct transit_member three[] = {
    {1, 1000, true}, {2, 9000, false}, {3, 8000, false}};

static struct transit_plan begin(bool writes)
{
    struct transit_plan p;
    transit_plan_begin(&p, writes, T0, TIMEOUT_US);
    return p;
}

/* Whom it asks next of those three; 0: nobody. */
static raft_id next(struct transit_plan *p, usec_t now)
{
    raft_id node = 0;
    enum transit_step step = transit_plan_next(p, now, three, 3, false, &node);
    assert_int_equal(step == TRANSIT_ASK, node != 0);
    return node;
}

static enum transit_step answered(struct transit_plan *p, uint16_t status)
{
    bool keep;
    enum transit_step step =
        transit_plan_answered(p, T0 + 1000, status, false, &keep);
    assert_int_equal(keep, step == TRANSIT_ASK);
    return step;
}

static void expect_over(struct transit_plan *p, usec_t now, int verdict)
{
    raft_id node = 0;
    assert_int_equal(transit_plan_next(p, now, three, 3, false, &node),
                     TRANSIT_OVER);
    assert_int_equal(transit_plan_verdict(p), verdict);
}

/* ---- whom -------------------------------------------------------------------
 */

static void
reads_go_to_the_nearest_and_writes_to_where_they_are_made(void **state)
{
    (void)state;
    struct transit_plan p = begin(false);
    assert_int_equal(next(&p, T0), 1);
    assert_int_equal(next(&p, T0), 3);
    assert_int_equal(next(&p, T0), 2);
    p = begin(true);
    assert_int_equal(next(&p, T0), 3);
    assert_int_equal(next(&p, T0), 2);
    assert_int_equal(next(&p, T0), 1);
}

static void
a_round_asks_each_once_and_the_next_comes_later_and_later(void **state)
{
    (void)state;
    struct transit_plan p = begin(false);
    usec_t now = T0, pause = TRANSIT_RETRY_US;
    raft_id node;
    for (int round = 0; round < 12 && now < T0 + TIMEOUT_US; round++) {
        for (int i = 0; i < 3; i++) {
            assert_int_not_equal(next(&p, now), 0);
            assert_int_equal(transit_plan_failed(&p, ERR_UNAVAILABLE),
                             TRANSIT_ASK);
        }
        assert_int_equal(transit_plan_next(&p, now, three, 3, false, &node),
                         TRANSIT_WAIT);
        assert_int_equal(p.retry_us, now + pause);
        now = p.retry_us;
        pause = pause < TRANSIT_RETRY_MAX_US ? pause * 2 : pause;
    }
    assert_int_equal(pause, TRANSIT_RETRY_MAX_US);
}

static void nobody_is_asked_after_the_time_is_over(void **state)
{
    (void)state;
    struct transit_plan p = begin(false);
    raft_id node = 0;
    /* The last round is not later than that. */
    usec_t late = T0 + TIMEOUT_US - 1;
    assert_int_equal(transit_plan_next(&p, late, NULL, 0, false, &node),
                     TRANSIT_WAIT);
    assert_int_equal(p.retry_us, T0 + TIMEOUT_US);
    expect_over(&p, T0 + TIMEOUT_US, ERR_UNAVAILABLE);
    p = begin(false);
    assert_int_equal(transit_plan_next(&p, T0, three, 3, true, &node),
                     TRANSIT_OVER); /* the node stops */
    assert_int_equal(node, 0);
}

/* ---- what is believed -------------------------------------------------------
 */

static void an_answer_is_the_answer(void **state)
{
    (void)state;
    static const uint16_t final[] = {200, 201, 204, 304, 400, 403, 404,
                                     409, 410, 412, 413, 429, 449, 500};
    for (size_t i = 0; i < sizeof(final) / sizeof(final[0]); i++) {
        struct transit_plan p = begin(i % 2 == 0);
        assert_int_not_equal(next(&p, T0), 0);
        assert_int_equal(answered(&p, final[i]), TRANSIT_OVER);
    }
    /* Its container is elsewhere by now: the API looks again. */
    struct transit_plan p = begin(true);
    bool keep;
    assert_int_equal(transit_plan_answered(&p, T0, 503, true, &keep),
                     TRANSIT_OVER);
    assert_false(keep);
}

static void a_read_that_one_cannot_answer_is_asked_of_each_once(void **state)
{
    (void)state;
    struct transit_plan p = begin(false);
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(next(&p, T0), 0);
        assert_int_equal(answered(&p, 503), TRANSIT_ASK);
    }
    expect_over(&p, T0, ERR_OK); /* what the last of them said */
    /* Time is over for a read: its 408 is the answer. */
    p = begin(false);
    assert_int_not_equal(next(&p, T0), 0);
    assert_int_equal(answered(&p, 408), TRANSIT_OVER);
}

static void
a_write_that_may_have_been_made_is_never_called_untouched(void **state)
{
    (void)state;
    static const int open[] = {ERR_TIMEOUT, ERR_IO, ERR_CLOSED, ERR_NO_MEMORY};
    static const uint16_t untouched[] = {503, 429, 403};
    for (size_t i = 0; i < 4; i++) {
        struct transit_plan p = begin(true);
        assert_int_not_equal(next(&p, T0), 0);
        assert_int_equal(transit_plan_failed(&p, open[i]), TRANSIT_ASK);
        assert_true(p.in_doubt);
        for (size_t k = 0; k < 3; k++) {
            assert_int_not_equal(next(&p, T0), 0);
            assert_int_equal(answered(&p, untouched[k]), TRANSIT_WAIT);
        }
        expect_over(&p, T0 + TIMEOUT_US, ERR_TIMEOUT);
    }
    /* So says the peer, too. */
    struct transit_plan p = begin(true);
    assert_int_not_equal(next(&p, T0), 0);
    assert_int_equal(answered(&p, 503), TRANSIT_ASK); /* before any doubt */
    assert_int_not_equal(next(&p, T0), 0);
    assert_int_equal(answered(&p, 408), TRANSIT_ASK);
    expect_over(&p, T0 + TIMEOUT_US, ERR_TIMEOUT);
    /* And in doubt, what became of it is heard. */
    assert_int_equal(answered(&p, 201), TRANSIT_OVER);
    assert_int_equal(answered(&p, 412), TRANSIT_OVER);
}

static void what_was_not_taken_leaves_no_doubt(void **state)
{
    (void)state;
    static const int none[] = {ERR_FULL, ERR_FORBIDDEN, ERR_UNAVAILABLE,
                               ERR_UNSUPPORTED};
    for (size_t i = 0; i < 4; i++) {
        struct transit_plan p = begin(true);
        assert_int_not_equal(next(&p, T0), 0);
        assert_int_equal(transit_plan_failed(&p, none[i]), TRANSIT_ASK);
        assert_false(p.in_doubt);
        assert_int_equal(transit_plan_age_ms(&p, T0 + 5000), 0);
    }
    struct transit_plan p = begin(false); /* and nor does a read */
    assert_int_not_equal(next(&p, T0), 0);
    (void)transit_plan_failed(&p, ERR_TIMEOUT);
    assert_false(p.in_doubt);
    assert_int_equal(transit_plan_age_ms(&p, T0 + 5000), 0);
}

/* The next who is asked can tell whether it may have forgotten it. */
static void another_attempt_says_how_old_it_is(void **state)
{
    (void)state;
    struct transit_plan p = begin(true);
    assert_int_not_equal(next(&p, T0), 0);
    assert_int_equal(transit_plan_age_ms(&p, T0), 0);
    (void)transit_plan_failed(&p, ERR_TIMEOUT);
    assert_int_equal(transit_plan_age_ms(&p, T0), 1);
    assert_int_equal(transit_plan_age_ms(&p, T0 + 4999 * USEC_PER_MS), 5000);
}

/* ---- refusals ---------------------------------------------------------------
 */

static void a_fence_that_refuses_is_not_asked_again(void **state)
{
    (void)state;
    struct transit_plan p = begin(false);
    assert_int_not_equal(next(&p, T0), 0);
    (void)transit_plan_failed(&p, ERR_FORBIDDEN); /* theirs */
    assert_int_not_equal(next(&p, T0), 0);
    transit_plan_unsent(&p, ERR_FORBIDDEN); /* ours */
    assert_int_not_equal(next(&p, T0), 0);
    (void)transit_plan_failed(&p, ERR_UNAVAILABLE);
    expect_over(&p, T0, ERR_FORBIDDEN);
    /* But one may know better than another. */
    p = begin(true);
    assert_int_not_equal(next(&p, T0), 0);
    (void)transit_plan_failed(&p, ERR_FORBIDDEN);
    assert_int_not_equal(next(&p, T0), 0);
    assert_int_equal(answered(&p, 201), TRANSIT_OVER);
    /* A write in doubt stays in doubt. */
    p = begin(true);
    assert_int_not_equal(next(&p, T0), 0);
    (void)transit_plan_failed(&p, ERR_TIMEOUT);
    for (int i = 0; i < 2; i++) {
        assert_int_not_equal(next(&p, T0), 0);
        (void)transit_plan_failed(&p, ERR_FORBIDDEN);
    }
    expect_over(&p, T0, ERR_TIMEOUT);
}

static void who_is_full_is_told_apart_from_who_is_gone(void **state)
{
    (void)state;
    struct transit_plan p = begin(false);
    raft_id node;
    for (int i = 0; i < 3; i++) {
        assert_int_not_equal(next(&p, T0), 0);
        if (i == 1)
            transit_plan_unsent(&p, ERR_FULL); /* our own queue */
        else
            (void)transit_plan_failed(&p, ERR_FULL);
    }
    assert_int_equal(transit_plan_next(&p, T0, three, 3, false, &node),
                     TRANSIT_WAIT);
    struct transit_plan gone = p;
    expect_over(&p, T0 + TIMEOUT_US, ERR_THROTTLED);
    /* Now all links are down. */
    assert_int_equal(transit_plan_next(&gone, T0 + 1, NULL, 0, false, &node),
                     TRANSIT_WAIT);
    expect_over(&gone, T0 + TIMEOUT_US, ERR_UNAVAILABLE);
}

static void an_answer_that_is_too_large_is_the_end(void **state)
{
    (void)state;
    struct transit_plan p = begin(false);
    assert_int_not_equal(next(&p, T0), 0);
    assert_int_equal(answered(&p, 503), TRANSIT_ASK);
    assert_int_not_equal(next(&p, T0), 0);
    assert_int_equal(transit_plan_failed(&p, ERR_LIMIT), TRANSIT_OVER);
    assert_int_equal(transit_plan_verdict(&p), ERR_LIMIT);
    p = begin(true);
    (void)transit_plan_failed(&p, ERR_TIMEOUT);
    assert_int_equal(transit_plan_failed(&p, ERR_LIMIT), TRANSIT_OVER);
    assert_int_equal(transit_plan_verdict(&p), ERR_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            reads_go_to_the_nearest_and_writes_to_where_they_are_made),
        cmocka_unit_test(
            a_round_asks_each_once_and_the_next_comes_later_and_later),
        cmocka_unit_test(nobody_is_asked_after_the_time_is_over),
        cmocka_unit_test(an_answer_is_the_answer),
        cmocka_unit_test(a_read_that_one_cannot_answer_is_asked_of_each_once),
        cmocka_unit_test(
            a_write_that_may_have_been_made_is_never_called_untouched),
        cmocka_unit_test(what_was_not_taken_leaves_no_doubt),
        cmocka_unit_test(another_attempt_says_how_old_it_is),
        cmocka_unit_test(a_fence_that_refuses_is_not_asked_again),
        cmocka_unit_test(who_is_full_is_told_apart_from_who_is_gone),
        cmocka_unit_test(an_answer_that_is_too_large_is_the_end),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
