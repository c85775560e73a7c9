/* How a leader decides what to relay, the frames, and the box of entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "replication/frame.h"
#include "replication/relay.h"

static uint8_t entries[1000];
#define ENTRIES bytes_of(entries, sizeof(entries))

static struct relay_key key_at(uint64_t lsn)
{
    return (struct relay_key){
        .shard = 1, .term = 2, .prev_lsn = lsn, .n = 3, .bytes = 1000};
}

/* Region b is 2, 3, 4, region c is 5, 6. */
static struct relay_choice choose(struct relay_sender *s, usec_t now,
                                  uint64_t lsn, uint32_t to)
{
    struct relay_choice choice;
    struct relay_key key = key_at(lsn);
    uint32_t others[3], n = 0;
    for (uint32_t id = to < 5 ? 2 : 5; id <= (to < 5 ? 4 : 6); id++)
        if (id != to)
            others[n++] = id;
    relay_choose(s, now, &key, ENTRIES, to, others, n, &choice);
    return choice;
}

static void each_region_gets_entries_once(void **state)
{
    (void)state;
    struct relay_sender s;
    uint8_t digest[RELAY_DIGEST_LEN];
    relay_sender_init(&s);
    relay_digest(ENTRIES, digest);
    struct relay_choice c = choose(&s, 0, 10, 2);
    assert_int_equal(c.way, RELAY_SHARED);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.neighbours[0], 3);
    assert_int_equal(c.neighbours[1], 4);
    c = choose(&s, 0, 10, 3);
    assert_int_equal(c.way, RELAY_BARE);
    assert_memory_equal(c.digest, digest, sizeof(digest));
    assert_int_equal(choose(&s, 0, 10, 5).way, RELAY_SHARED);
    c = choose(&s, 0, 10, 4);
    assert_int_equal(c.way, RELAY_BARE);
    c = choose(&s, 0, 10, 6);
    assert_int_equal(c.way, RELAY_BARE);
    assert_memory_equal(c.digest, digest, sizeof(digest));
    /* Other entries have a relay of their own. */
    assert_int_equal(choose(&s, 0, 13, 4).way, RELAY_SHARED);
    assert_int_equal(choose(&s, 0, 13, 2).way, RELAY_BARE);
}

static void repetitions_go_in_full(void **state)
{
    (void)state;
    struct relay_sender s;
    relay_sender_init(&s);
    assert_int_equal(choose(&s, 0, 10, 2).way, RELAY_SHARED);
    assert_int_equal(choose(&s, 0, 10, 3).way, RELAY_BARE);
    assert_int_equal(choose(&s, 0, 10, 3).way, RELAY_PLAIN);
    assert_int_equal(choose(&s, 0, 10, 2).way, RELAY_PLAIN);
    /* A mark does not outlive its moment. */
    assert_int_equal(choose(&s, RELAY_MARK_US + 1, 10, 4).way, RELAY_SHARED);
}

static void doubt_means_sending_in_full(void **state)
{
    (void)state;
    struct relay_sender s;
    struct relay_choice c;
    struct relay_key key = key_at(10);
    uint32_t others[] = {3, 4};
    relay_sender_init(&s);
    /* Few bytes; nobody else there. */
    relay_choose(&s, 0, &key, bytes_of(entries, RELAY_BYTES_MIN - 1), 2, others,
                 2, &c);
    assert_int_equal(c.way, RELAY_PLAIN);
    relay_choose(&s, 0, &key, ENTRIES, 2, others, 0, &c);
    assert_int_equal(c.way, RELAY_PLAIN);
    /* The relay was lost before the second heard of it. */
    assert_int_equal(choose(&s, 0, 10, 2).way, RELAY_SHARED);
    relay_choose(&s, 0, &key, ENTRIES, 3, others + 1, 1, &c);
    assert_int_equal(c.way, RELAY_PLAIN);
    /* The shared append was not sent. */
    assert_int_equal(choose(&s, 0, 20, 2).way, RELAY_SHARED);
    key = key_at(20);
    relay_failed(&s, &key, 2);
    assert_int_equal(choose(&s, 0, 20, 3).way, RELAY_SHARED);
    /* Who missed entries gets them in full for a while, and relays none. */
    relay_pause(&s, 1000, 3);
    c = choose(&s, 1000, 30, 2);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.neighbours[0], 4);
    assert_int_equal(choose(&s, 1000, 30, 3).way, RELAY_PLAIN);
    assert_int_equal(choose(&s, 1000, 30, 4).way, RELAY_BARE);
    assert_int_equal(choose(&s, 1000 + RELAY_PAUSE_US, 40, 3).way,
                     RELAY_SHARED);
}

static void who_does_not_use_entries_is_left_out(void **state)
{
    (void)state;
    struct relay_sender s;
    struct relay_choice c;
    relay_sender_init(&s);
    uint64_t lsn = 0;
    do { /* node 4 lags: it never needs what 2 and 3 get */
        lsn += 3;
        c = choose(&s, 0, lsn, 2);
        assert_int_equal(c.way, RELAY_SHARED);
        assert_int_equal(choose(&s, 0, lsn, 3).way, RELAY_BARE);
        assert_true(lsn < 3 * (RELAY_MARKS_MAX + RELAY_UNUSED_MAX + 2));
    } while (c.n == 2);
    assert_int_equal(c.neighbours[0], 3);
    assert_int_equal(choose(&s, RELAY_PAUSE_US, lsn + 3, 2).n, 2);
}

static void frames_carry_what_was_put(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, FRAME_BUF_MAX);
    /* A head of 5 bytes, then entries of 4. */
    static const uint8_t raft[] = "\5\0\0\0headsDATA";
    struct bytes payload = bytes_of(raft, sizeof(raft) - 1);
    assert_true(bytes_equal(relay_entries(payload), bytes_str("DATA")));
    uint32_t ids[] = {7, 0x01020304};
    struct frame f;
    size_t size;
    assert_int_equal(relay_put_shared(&out, ids, 2, payload), ERR_OK);
    assert_int_equal(frame_read(&out, FRAME_MAX, &f, &size), ERR_OK);
    assert_int_equal(f.type, FRAME_RAFT_SHARED);
    struct relay_shared shared;
    assert_int_equal(relay_get_shared(f.payload, &shared), ERR_OK);
    assert_int_equal(shared.n, 2);
    assert_int_equal(shared.neighbours[1], 0x01020304);
    assert_true(bytes_equal(shared.raft, payload));
    buf_clear(&out);
    uint8_t digest[RELAY_DIGEST_LEN];
    relay_digest(bytes_str("DATA"), digest);
    assert_int_equal(relay_put_bare(&out, digest, payload), ERR_OK);
    assert_int_equal(frame_read(&out, FRAME_MAX, &f, &size), ERR_OK);
    assert_int_equal(f.type, FRAME_RAFT_BARE);
    struct relay_bare bare;
    assert_int_equal(relay_get_bare(f.payload, &bare), ERR_OK);
    assert_memory_equal(bare.digest, digest, sizeof(digest));
    assert_true(bytes_equal(bare.head, bytes_of(raft, 9)));
    buf_free(&out);
}

static void malformed_frames_are_refused(void **state)
{
    (void)state;
    struct relay_shared shared;
    struct relay_bare bare;
    assert_int_equal(relay_get_shared(bytes_of("", 0), &shared), ERR_MALFORMED);
    assert_int_equal(relay_get_shared(bytes_of("\0abc", 4), &shared),
                     ERR_MALFORMED);
    assert_int_equal(relay_get_shared(bytes_of("\2abcdefg", 8), &shared),
                     ERR_MALFORMED);
    assert_int_equal(relay_get_shared(bytes_of("\21abcdefg", 8), &shared),
                     ERR_LIMIT);
    uint8_t b[RELAY_DIGEST_LEN + 10] = {0};
    assert_int_equal(relay_get_bare(bytes_of(b, 31), &bare), ERR_MALFORMED);
    assert_int_equal(relay_get_bare(bytes_of(b, 34), &bare), ERR_MALFORMED);
    b[RELAY_DIGEST_LEN] = 7; /* more head than there is */
    assert_int_equal(relay_get_bare(bytes_of(b, sizeof(b)), &bare),
                     ERR_MALFORMED);
    b[RELAY_DIGEST_LEN] = 5; /* something behind the head */
    assert_int_equal(relay_get_bare(bytes_of(b, sizeof(b)), &bare),
                     ERR_MALFORMED);
    b[RELAY_DIGEST_LEN] = 6;
    assert_int_equal(relay_get_bare(bytes_of(b, sizeof(b)), &bare), ERR_OK);
    assert_int_equal(relay_entries(bytes_of("\5\0\0\0abcd", 8)).len, 0);
}

static bool take(struct relay_box *box, const char *text)
{
    uint8_t digest[RELAY_DIGEST_LEN];
    struct buf out;
    buf_init(&out, 100);
    relay_digest(bytes_str(text), digest);
    bool found = relay_box_take(box, digest, &out);
    if (found)
        assert_true(bytes_equal(bytes_of(buf_bytes(&out), buf_len(&out)),
                                bytes_str(text)));
    buf_free(&out);
    return found;
}

static void the_box_keeps_entries_under_their_digest(void **state)
{
    (void)state;
    struct relay_box box;
    relay_box_init(&box);
    relay_box_put(&box, 0, bytes_str("one"));
    relay_box_put(&box, 0, bytes_str("two"));
    assert_false(take(&box, "three"));
    assert_true(take(&box, "two"));
    assert_false(take(&box, "two"));
    assert_int_equal(box.bytes, 3);
    /* Age, number and size are bounded. */
    relay_box_put(&box, RELAY_BOX_AGE_US + 1, bytes_str("late"));
    assert_false(take(&box, "one"));
    assert_int_equal(box.count, 1);
    for (int i = 0; i < RELAY_BOX_COUNT_MAX; i++)
        relay_box_put(&box, RELAY_BOX_AGE_US + 1, bytes_str("x"));
    assert_int_equal(box.count, RELAY_BOX_COUNT_MAX);
    assert_false(take(&box, "late"));
    static uint8_t large[RELAY_BOX_BYTES_MAX + 1];
    relay_box_put(&box, RELAY_BOX_AGE_US + 1, bytes_of(large, sizeof(large)));
    assert_int_equal(box.count, RELAY_BOX_COUNT_MAX);
    relay_box_put(&box, RELAY_BOX_AGE_US + 1,
                  bytes_of(large, RELAY_BOX_BYTES_MAX));
    assert_int_equal(box.count, 1);
    relay_box_free(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_region_gets_entries_once),
        cmocka_unit_test(repetitions_go_in_full),
        cmocka_unit_test(doubt_means_sending_in_full),
        cmocka_unit_test(who_does_not_use_entries_is_left_out),
        cmocka_unit_test(frames_carry_what_was_put),
        cmocka_unit_test(malformed_frames_are_refused),
        cmocka_unit_test(the_box_keeps_entries_under_their_digest),
    };
    return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
