#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/buf.h"
#include "node/base/err.h"

/* Texts of every length around the sizes at which the storage grows. */
static void texts_of_any_length_are_appended_whole(void **state)
{
    (void)state;
    static const char text[700] = {[0 ... 698] = 'x'};
    for (int len = 0; len < 699; len++) {
        struct buf b;
        buf_init(&b, 5000);
        assert_int_equal(buf_printf(&b, "%.*s", len, text), ERR_OK);
        assert_int_equal(buf_printf(&b, "<%d>%.*s", len, len, text), ERR_OK);
        assert_memory_equal(buf_bytes(&b), text, (size_t)len);
        assert_int_equal(buf_bytes(&b)[len], '<');
        const char *all = buf_cstr(&b);
        assert_int_equal(strlen(all), buf_len(&b));
        assert_string_equal(strchr(all, '>') + 1, text + 699 - len);
        buf_free(&b);
    }
}

static void a_text_beyond_the_maximum_changes_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_printf(&b, "%s", "01234567890"), ERR_LIMIT);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_printf(&b, "%s", "0123456"), ERR_OK);
    assert_int_equal(buf_printf(&b, "%s", "7890"), ERR_LIMIT);
    assert_int_equal(buf_printf(&b, "%s", "789"), ERR_OK);
    assert_string_equal(buf_cstr(&b), "0123456789");
    assert_int_equal(buf_printf(&b, "%s", "x"), ERR_LIMIT);
    assert_string_equal(buf_cstr(&b), "0123456789");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_any_length_are_appended_whole),
        cmocka_unit_test(a_text_beyond_the_maximum_changes_nothing),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
