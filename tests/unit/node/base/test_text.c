/* Numbers and digits as text; the encodings are tested where they are used. */
#include "node/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/base/err.h"

static void numbers_are_written_as_printf_does(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {
        0,         1, 9, 10, 99, 100, 1234567890, UINT32_MAX, UINT64_MAX - 1,
        UINT64_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char wanted[32], text[TEXT_U64_MAX + 1] = "#####################";
        int len = snprintf(wanted, sizeof(wanted), "%" PRIu64, numbers[i]);
        assert_int_equal(text_put_u64(numbers[i], text), len);
        assert_memory_equal(text, wanted, (size_t)len);
        if (len < TEXT_U64_MAX) /* nothing behind it is touched */
            assert_int_equal(text[len], '#');
        uint64_t back;
        assert_int_equal(
            text_parse_u64(bytes_of(text, (size_t)len), UINT64_MAX, &back),
            ERR_OK);
        assert_true(back == numbers[i]);
    }
}

static void digits_have_values_in_either_case(void **state)
{
    (void)state;
    static const char digits[] = "0123456789abcdefABCDEF";
    for (unsigned c = 0; c < 256; c++) {
        const char *at = c != 0 ? strchr(digits, (int)c) : NULL;
        int wanted = at == NULL         ? -1
                     : at - digits < 16 ? (int)(at - digits)
                                        : (int)(at - digits) - 6;
        assert_int_equal(text_hex_value((uint8_t)c), wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_as_printf_does),
        cmocka_unit_test(digits_have_values_in_either_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
