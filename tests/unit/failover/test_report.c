/* Messages survive the wire and nothing else does; round trips are proved, and
 * by nothing but round trips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failover/report.h"
#include "node/base/err.h"
#include "node/base/prng.h"

#define MS USEC_PER_MS

/* -- the proof ------------------------------------------------------------- */

/* One end of a way, with the incarnation of its process. */
struct end {
    struct failover_pulse pulse;
    uint64_t incarnation;
};

static void send_to(struct end *from, struct end *to, usec_t sent,
                    usec_t arrives)
{
    struct failover_beat b = failover_pulse_send(&from->pulse, sent);
    failover_pulse_heard(&to->pulse, &b, from->incarnation, to->incarnation,
                         arrives);
}

static uint16_t age(const struct end *e, usec_t now)
{
    struct failover_way way;
    failover_pulse_way(&e->pulse, now, &way);
    return way.age_ms;
}

static uint16_t rtt(const struct end *e)
{
    struct failover_way way;
    failover_pulse_way(&e->pulse, e->pulse.proved_us, &way);
    return way.rtt_ms;
}

static void proves_a_round_trip(void **state)
{
    struct end a = {.incarnation = 5}, b = {.incarnation = 9};
    (void)state;
    assert_int_equal(age(&a, 0), FAILOVER_NEVER_MS);
    send_to(&a, &b, 0, 40 * MS);
    assert_int_equal(age(&b, 50 * MS), FAILOVER_NEVER_MS); /* heard only */
    send_to(&b, &a, 100 * MS, 140 * MS);
    assert_int_equal(age(&a, 140 * MS), 0);
    assert_int_equal(age(&a, 190 * MS), 50);
    assert_int_equal(rtt(&a), 140);
    assert_int_equal(age(&b, 190 * MS), FAILOVER_NEVER_MS);
    send_to(&a, &b, 200 * MS, 240 * MS);
    assert_int_equal(age(&b, 250 * MS), 10);
}

static void a_cut_in_one_direction_ages_both_ends(void **state)
{
    struct end a = {.incarnation = 1}, b = {.incarnation = 1};
    (void)state;
    usec_t now = 0;
    for (; now < 1000 * MS; now += 200 * MS) {
        send_to(&a, &b, now, now + 10 * MS);
        send_to(&b, &a, now + 50 * MS, now + 60 * MS);
    }
    for (; now < 3000 * MS; now += 200 * MS) {
        failover_pulse_send(&a.pulse, now); /* lost */
        send_to(&b, &a, now + 50 * MS, now + 60 * MS);
    }
    assert_true(age(&a, now) >= 2000);
    assert_true(age(&b, now) >= 2000);
}

static void a_restart_begins_anew(void **state)
{
    struct end a = {.incarnation = 1}, b = {.incarnation = 1};
    (void)state;
    for (int i = 0; i < 50; i++)
        send_to(&a, &b, 0, 0);
    /* What b echoes is of a's earlier life, and higher than all it has sent. */
    a = (struct end){.incarnation = 2};
    failover_pulse_send(&a.pulse, 10);
    send_to(&b, &a, 20, 20);
    assert_int_equal(age(&a, 30), FAILOVER_NEVER_MS);
    send_to(&a, &b, 40, 40);
    assert_int_equal(b.pulse.peer_number, 2);
    send_to(&b, &a, 50, 50);
    assert_int_equal(age(&a, 50), 0);

    /* The peer starts anew: its lower numbers count, our old proof stays. */
    b = (struct end){.incarnation = 2};
    send_to(&b, &a, 60, 60);
    assert_int_equal(a.pulse.peer_number, 1);
    assert_int_equal(age(&a, 50 + 7 * MS), 7);
    send_to(&a, &b, 70, 70);
    assert_int_not_equal(age(&b, 80), FAILOVER_NEVER_MS);
}

static void repetitions_and_inventions_prove_nothing(void **state)
{
    struct end a = {.incarnation = 1};
    struct failover_beat echo = {.number = 1, .echo_incarnation = 1, .echo = 1};
    (void)state;
    failover_pulse_send(&a.pulse, 0);
    failover_pulse_heard(&a.pulse, &echo, 1, 1, 10 * MS);
    failover_pulse_heard(&a.pulse, &echo, 1, 1, 500 * MS);
    assert_int_equal(age(&a, 510 * MS), 500);
    echo.echo = 2; /* never sent */
    failover_pulse_heard(&a.pulse, &echo, 1, 1, 500 * MS);
    assert_int_equal(age(&a, 510 * MS), 500);
    for (int i = 0; i < FAILOVER_PULSES + 1; i++)
        failover_pulse_send(&a.pulse, 600 * MS);
    failover_pulse_heard(&a.pulse, &echo, 1, 1, 700 * MS); /* too old */
    assert_int_equal(age(&a, 710 * MS), 700);
}

/* -- the wire -------------------------------------------------------------- */

static struct failover_report some_report(struct prng *p)
{
    struct failover_report r = {
        .node = (uint32_t)prng_range(p, 1, FAILOVER_NODES_MAX),
        .incarnation = prng_range(p, 1, UINT64_MAX - 1),
        .seq = prng_range(p, 1, UINT64_MAX - 1),
        .self = {.disk_stall_ms = (uint32_t)prng_u64(p),
                 .no_space = prng_one_in(p, 2),
                 .draining = prng_one_in(p, 2),
                 .behind_ms = (uint32_t)prng_u64(p),
                 .behind_entries = prng_u64(p),
                 .led = (uint32_t)prng_u64(p)}};
    for (uint32_t id = 1; id <= FAILOVER_NODES_MAX; id++)
        if (id != r.node && prng_one_in(p, 3))
            r.ways[r.n++] = (struct failover_way){id, (uint16_t)prng_u64(p),
                                                  (uint16_t)prng_u64(p)};
    return r;
}

static void messages_survive_the_wire(void **state)
{
    struct prng p;
    (void)state;
    prng_seed(&p, 3);
    for (int i = 0; i < 300; i++) {
        uint8_t storage[FAILOVER_MESSAGE_MAX];
        struct buf out = buf_over(storage, sizeof(storage));
        struct failover_report r = some_report(&p), again;
        struct failover_beat b = {prng_u64(&p), prng_u64(&p), prng_u64(&p)};
        struct failover_beat b_again;
        assert_int_equal(failover_message_encode(&r, &b, &out), ERR_OK);
        struct bytes all = bytes_of(buf_bytes(&out), buf_len(&out));
        assert_int_equal(failover_message_decode(all, &again, &b_again),
                         ERR_OK);
        assert_memory_equal(&again.self, &r.self, sizeof(r.self));
        assert_memory_equal(again.ways, r.ways, r.n * sizeof(r.ways[0]));
        assert_memory_equal(&b, &b_again, sizeof(b));
        assert_true(again.node == r.node && again.n == r.n &&
                    again.seq == r.seq && again.incarnation == r.incarnation);
        /* Cut anywhere, or one byte more: refused. */
        for (size_t len = 0; len < all.len; len++) {
            struct bytes cut = bytes_of(all.data, len);
            assert_int_equal(failover_message_decode(cut, &again, &b_again),
                             ERR_MALFORMED);
        }
    }
}

static void refuses_what_makes_no_sense(void **state)
{
    uint8_t storage[FAILOVER_MESSAGE_MAX + 1] = {0};
    struct buf out = buf_over(storage, sizeof(storage));
    struct failover_report r = {.node = 2, .incarnation = 1, .seq = 1, .n = 2};
    struct failover_beat b = {1, 0, 0};
    (void)state;
    r.ways[0].node = 1;
    r.ways[1].node = 3;
    assert_int_equal(failover_message_encode(&r, &b, &out), ERR_OK);
    size_t len = buf_len(&out);
    struct bytes in = bytes_of(storage, len);
    assert_int_equal(failover_message_decode(in, &r, &b), ERR_OK);

    static const struct {
        size_t at;
        uint8_t value;
        int rc;
    } damage[] = {
        {0, 2, ERR_UNSUPPORTED}, /* version */
        {1, 0, ERR_MALFORMED},   /* no node */
        {2, 1, ERR_MALFORMED},   /* node 258 */
        {3, 0, ERR_MALFORMED},   /* incarnation 0 */
        {11, 0, ERR_MALFORMED},  /* report 0 */
        {47, 4, ERR_MALFORMED},  /* unknown flag */
        {64, 1, ERR_MALFORMED},  /* fewer ways than bytes */
        {64, 3, ERR_MALFORMED},  /* more */
        {65, 0, ERR_MALFORMED},  /* way to nobody */
        {65, 3, ERR_MALFORMED},  /* twice the same */
        {65, 4, ERR_MALFORMED},  /* not ascending */
        {65, 2, ERR_MALFORMED},  /* to itself */
    };
    for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
        uint8_t was = storage[damage[i].at];
        storage[damage[i].at] = damage[i].value;
        assert_int_equal(failover_message_decode(in, &r, &b), damage[i].rc);
        storage[damage[i].at] = was;
    }
    in.len++;
    assert_int_equal(failover_message_decode(in, &r, &b), ERR_MALFORMED);
}

static void says_when_there_is_no_room(void **state)
{
    uint8_t storage[FAILOVER_MESSAGE_MAX - 1];
    struct buf out = buf_over(storage, sizeof(storage));
    struct failover_report r = {.node = 2, .incarnation = 1, .seq = 1};
    struct failover_beat b = {1, 0, 0};
    (void)state;
    assert_int_equal(failover_message_encode(&r, &b, &out), ERR_LIMIT);
    assert_int_equal(buf_len(&out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proves_a_round_trip),
        cmocka_unit_test(a_cut_in_one_direction_ages_both_ends),
        cmocka_unit_test(a_restart_begins_anew),
        cmocka_unit_test(repetitions_and_inventions_prove_nothing),
        cmocka_unit_test(messages_survive_the_wire),
        cmocka_unit_test(refuses_what_makes_no_sense),
        cmocka_unit_test(says_when_there_is_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
