/* One table says which flags a command takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"

struct flags {
    const char *name, *colour;
    unsigned number;
    bool on, json, help;
};

static bool read_colour(const char *text, void *value)
{
    *(const char **)value = text;
    return strcmp(text, "red") == 0;
}

static char **words;
static unsigned word_count;

static int parse(int argc, const char **argv, struct flags *f)
{
    const struct option_spec specs[] = {
        {.name = "name", .kind = OPTION_TEXT, .value = &f->name},
        {.name = "number",
         .kind = OPTION_NUMBER,
         .value = &f->number,
         .min = 2,
         .max = 9},
        {.name = "on", .kind = OPTION_FLAG, .value = &f->on},
        {.name = "colour",
         .kind = OPTION_OTHER,
         .value = &f->colour,
         .read = read_colour,
         .expected = "red"},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &f->json},
        {.name = "help", .kind = OPTION_FLAG, .value = &f->help}};
    *f = (struct flags){.number = 5};
    return options_parse("test", argc, (char **)argv, specs, ARRAY_LEN(specs),
                         1, &words, &word_count);
}

#define PARSE(f, ...)                                                          \
    parse(                                                                     \
        (int)(sizeof((const char *[]){"test", __VA_ARGS__}) / sizeof(char *)), \
        (const char *[]){"test", __VA_ARGS__, NULL}, f)

static void flags_stand_anywhere_among_the_words(void **state)
{
    (void)state;
    struct flags f;
    assert_int_equal(PARSE(&f, "--on", "word", "--name", "x", "--number=9",
                           "-o", "json", "--colour", "red"),
                     CMD_OK);
    assert_true(f.on && f.json && !f.help);
    assert_string_equal(f.name, "x");
    assert_string_equal(f.colour, "red");
    assert_int_equal(f.number, 9);
    assert_int_equal(word_count, 1);
    assert_string_equal(words[0], "word");
}

static void what_is_not_given_stays_as_it_was(void **state)
{
    (void)state;
    struct flags f;
    assert_int_equal(PARSE(&f, "-h"), CMD_OK);
    assert_true(f.help && !f.on);
    assert_null(f.name);
    assert_int_equal(f.number, 5);
    assert_int_equal(word_count, 0);
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
    struct flags f;
    assert_int_equal(PARSE(&f, "--nope"), CMD_USAGE);
    assert_int_equal(PARSE(&f, "-x"), CMD_USAGE);
    assert_int_equal(PARSE(&f, "--name"), CMD_USAGE);
    assert_int_equal(PARSE(&f, "--number", "1"), CMD_USAGE);
    assert_int_equal(PARSE(&f, "--number", "10"), CMD_USAGE);
    assert_int_equal(PARSE(&f, "--number", "2x"), CMD_USAGE);
    assert_int_equal(PARSE(&f, "--colour", "blue"), CMD_USAGE);
    assert_int_equal(PARSE(&f, "-o", "xml"), CMD_USAGE);
    assert_int_equal(PARSE(&f, "one", "two"), CMD_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_stand_anywhere_among_the_words),
        cmocka_unit_test(what_is_not_given_stays_as_it_was),
        cmocka_unit_test(what_is_wrong_is_refused),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
