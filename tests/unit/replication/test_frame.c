/* Frames: what is written is read, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/base/prng.h"
#include "replication/frame.h"

static struct bytes text(const char *s)
{
    return bytes_str(s);
}

static void frames_are_read_in_order(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(frame_append(&b, FRAME_PING, text("one")), ERR_OK);
    assert_int_equal(frame_append(&b, FRAME_RAFT, text("")), ERR_OK);
    struct frame f;
    size_t size;
    assert_int_equal(frame_read(&b, 100, &f, &size), ERR_OK);
    assert_int_equal(f.type, FRAME_PING);
    assert_true(bytes_equal(f.payload, text("one")));
    assert_int_equal(size, FRAME_HEADER + 3);
    buf_consume(&b, size);
    assert_int_equal(frame_read(&b, 100, &f, &size), ERR_OK);
    assert_int_equal(f.type, FRAME_RAFT);
    assert_int_equal(f.payload.len, 0);
    buf_consume(&b, size);
    assert_int_equal(frame_read(&b, 100, &f, &size), ERR_AGAIN);
    buf_free(&b);
}

static void a_part_of_a_frame_is_not_read(void **state)
{
    (void)state;
    struct buf whole, part;
    buf_init(&whole, 1000);
    buf_init(&part, 1000);
    assert_int_equal(frame_append(&whole, FRAME_HELLO, text("hello")), ERR_OK);
    for (size_t n = 0; n < buf_len(&whole); n++) {
        struct frame f;
        size_t size;
        buf_clear(&part);
        assert_int_equal(buf_append(&part, buf_bytes(&whole), n), ERR_OK);
        assert_int_equal(frame_read(&part, 100, &f, &size), ERR_AGAIN);
    }
    buf_free(&whole);
    buf_free(&part);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(frame_append(&b, FRAME_RAFT, text("payload")), ERR_OK);
    for (size_t bit = 0; bit < 8 * buf_len(&b); bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct frame f;
        size_t size;
        /* A longer length may also mean "more to come". */
        int err = frame_read(&b, 100, &f, &size);
        assert_int_not_equal(err, ERR_OK);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_free(&b);
}

static void an_oversized_frame_is_refused_by_its_header(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    uint8_t header[FRAME_HEADER] = {0};
    put_u32_le(header, 101);
    header[4] = FRAME_RAFT;
    assert_int_equal(buf_append(&b, header, sizeof(header)), ERR_OK);
    struct frame f;
    size_t size;
    assert_int_equal(frame_read(&b, 101, &f, &size), ERR_AGAIN);
    assert_int_equal(frame_read(&b, 100, &f, &size), ERR_LIMIT);
    buf_free(&b);
}

static void a_full_buffer_stays_as_it_was(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, FRAME_HEADER + 5);
    assert_int_equal(frame_append(&b, FRAME_BYE, text("123456")), ERR_LIMIT);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(frame_append(&b, FRAME_BYE, text("12345")), ERR_OK);
    assert_int_equal(frame_append(&b, FRAME_BYE, text("")), ERR_LIMIT);
    assert_int_equal(buf_len(&b), FRAME_HEADER + 5);
    buf_free(&b);

    struct frame_writer w;
    uint8_t *room;
    buf_init(&b, 4 * FRAME_MAX);
    assert_int_equal(frame_begin(&w, &b, FRAME_RAFT, FRAME_MAX + 1, &room),
                     ERR_LIMIT);
    buf_free(&b);
}

static void the_largest_frame_fits(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, FRAME_BUF_MAX);
    uint8_t *data = mem_zalloc(FRAME_MAX);
    assert_int_equal(frame_append(&b, FRAME_RAFT, bytes_of(data, FRAME_MAX)),
                     ERR_OK);
    struct frame f;
    size_t size;
    assert_int_equal(frame_read(&b, FRAME_MAX, &f, &size), ERR_OK);
    assert_int_equal(f.payload.len, FRAME_MAX);
    mem_free(data);
    buf_free(&b);
}

static void every_type_has_a_name(void **state)
{
    (void)state;
    for (int t = FRAME_HELLO; t < FRAME_TYPE_END; t++)
        assert_string_not_equal(frame_type_name(t), "unknown");
    assert_string_equal(frame_type_name(0), "unknown");
    assert_string_equal(frame_type_name(FRAME_TYPE_END), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_read_in_order),
        cmocka_unit_test(a_part_of_a_frame_is_not_read),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(an_oversized_frame_is_refused_by_its_header),
        cmocka_unit_test(a_full_buffer_stays_as_it_was),
        cmocka_unit_test(the_largest_frame_fits),
        cmocka_unit_test(every_type_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
