/* Buffers over the caller's memory, and decoders that fill them exactly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/text.h"

static void fixed_buffer_fills_to_the_last_byte_and_no_further(void **state)
{
    (void)state;
    uint8_t room[5] = {0};
    struct buf b = buf_over(room, 4);
    assert_int_equal(buf_append_str(&b, "abc"), ERR_OK);
    assert_int_equal(buf_append_str(&b, "de"), ERR_LIMIT);
    assert_int_equal(buf_append_str(&b, "d"), ERR_OK);
    assert_memory_equal(room, "abcd\0", 5);
    assert_ptr_equal(buf_bytes(&b), room);
}

static void decoding_needs_no_more_room_than_its_result(void **state)
{
    (void)state;
    uint8_t room[4];
    struct buf b = buf_over(room, 4);
    assert_int_equal(text_percent_decode(bytes_str("%41%42%43%44"), false, &b),
                     ERR_OK);
    assert_memory_equal(room, "ABCD", 4);
    b = buf_over(room, 3);
    assert_int_equal(text_percent_decode(bytes_str("%41%42%43%44"), false, &b),
                     ERR_LIMIT);
    assert_int_equal(buf_len(&b), 0);
}

static void a_broken_escape_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    const char *const bad[] = {"%", "%4", "%4g", "aaaaaaa%%", "%%41", "a%"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t room[16];
        struct buf b = buf_over(room, sizeof(room));
        assert_int_equal(text_percent_decode(bytes_str(bad[i]), false, &b),
                         ERR_MALFORMED);
        assert_int_equal(buf_len(&b), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_buffer_fills_to_the_last_byte_and_no_further),
        cmocka_unit_test(decoding_needs_no_more_room_than_its_result),
        cmocka_unit_test(a_broken_escape_leaves_the_buffer_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
