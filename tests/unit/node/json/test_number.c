/* Numbers print as JavaScript prints them and read back exactly. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/check.h"
#include "node/base/prng.h"
#include "node/json/json.h"

static void known_numbers_print_as_in_javascript(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "0"},
        {1, "1"},
        {-1, "-1"},
        {1.5, "1.5"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {100, "100"},
        {123456789012345680.0, "123456789012345680"},
        {999999999999999900000.0, "999999999999999900000"},
        {1e21, "1e+21"},
        {1.5e300, "1.5e+300"},
        {0.000001, "0.000001"},
        {0.0000001, "1e-7"},
        {-0.00000015, "-1.5e-7"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {9007199254740991.0, "9007199254740991"},
        {9007199254740992.0, "9007199254740992"},
        {9007199254740993.0, "9007199254740992"},
        {4.35, "4.35"},
        {0x1p-44, "5.684341886080802e-14"},
        {0x1p-1074, "5e-324"},
        {0x1p-1022, "2.2250738585072014e-308"},
        {0x1p89, "6.189700196426902e+26"},
        {1e23, "1e+23"},
        {123.456, "123.456"},
        {12345678.9, "12345678.9"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[JSON_NUMBER_MAX];
        size_t len = json_format_number(cases[i].value, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(len, strlen(text));
    }
}

static double random_double(struct prng *prng)
{
    double value;
    do {
        uint64_t bits = prng_u64(prng);
        memcpy(&value, &bits, sizeof(value));
    } while (!isfinite(value));
    return value;
}

static void random_numbers_survive_a_round_trip(void **state)
{
    struct prng prng;
    (void)state;
    prng_seed(&prng, 11);
    for (int i = 0; i < 20000; i++) {
        char text[JSON_NUMBER_MAX];
        double value = random_double(&prng);
        if (i % 2 != 0)
            value = (double)(int64_t)prng_below(&prng, 1u << 30) /
                    (double)(1 + prng_below(&prng, 1000));
        size_t len = json_format_number(value, text);
        assert_true(json_text_to_double(bytes_of(text, len)) == value);
    }
}

static void random_texts_read_as_the_c_library_reads_them(void **state)
{
    struct prng prng;
    (void)state;
    prng_seed(&prng, 12);
    for (int i = 0; i < 100000; i++) {
        char text[64];
        int len = snprintf(
            text, sizeof(text), "%s%llu", prng_one_in(&prng, 2) ? "-" : "",
            (unsigned long long)(prng_u64(&prng) >> prng_below(&prng, 64)));
        if (prng_one_in(&prng, 2))
            len +=
                sprintf(text + len, ".%0*llu", (int)(1 + prng_below(&prng, 20)),
                        (unsigned long long)prng_below(&prng, 100000));
        if (prng_one_in(&prng, 2))
            len +=
                sprintf(text + len, "e%d", (int)prng_below(&prng, 700) - 350);
        double want = strtod(text, NULL);
        double got = json_text_to_double(bytes_of(text, (size_t)len));
        assert_memory_equal(&got, &want, sizeof(got));
    }
}

static void long_numbers_are_converted_exactly(void **state)
{
    char text[1200] = "0.";
    (void)state;
    memset(text + 2, '0', 1000);
    strcpy(text + 1002, "1e1001");
    assert_true(json_text_to_double(bytes_str(text)) == 1);
    memset(text, '9', 400);
    text[400] = '\0';
    assert_true(isinf(json_text_to_double(bytes_str(text))));
    assert_true(json_text_to_double(bytes_str("-0")) == 0);
    assert_true(signbit(json_text_to_double(bytes_str("-0"))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_numbers_print_as_in_javascript),
        cmocka_unit_test(random_numbers_survive_a_round_trip),
        cmocka_unit_test(random_texts_read_as_the_c_library_reads_them),
        cmocka_unit_test(long_numbers_are_converted_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
