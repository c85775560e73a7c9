/* What nodes say of groups in their gossip, byte by byte: releases of one
 * feature level must understand each other. */
#include "node/govern/word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "node/catalog/catalog.h"

static const struct govern_word sample = {
    .decision = {.epoch = 0x01020304,
                 .write_region = 2,
                 .forced = true,
                 .consistency = {.level = CONSISTENCY_BOUNDED,
                                 .max_staleness_prefix = 100000,
                                 .max_staleness_interval = 300},
                 .recovered_epoch = 7},
    .followed = true,
    .pause_ms = 250,
    .at_risk_entries = 0x1122334455667788,
    .at_risk_ms = 900};

static const uint8_t sample_bytes[GOVERN_WORD_BYTES] = {
    4,
    3,
    2,
    1, /* epoch */
    250,
    0,
    0,
    0, /* pause */
    0x88,
    0x77,
    0x66,
    0x55,
    0x44,
    0x33,
    0x22,
    0x11, /* entries at risk */
    0x84,
    3,
    0,
    0, /* ms at risk */
    2,
    0,                   /* write region */
    1 | 4,               /* forced, followed */
    CONSISTENCY_BOUNDED, /* level */
    0xa0,
    0x86,
    1,
    0, /* K */
    0x2c,
    1,
    0,
    0, /* T */
    7,
    0,
    0,
    0}; /* recovered epoch */

static struct bytes content(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

static void assert_sample(const struct govern_word *w)
{
    const struct govern_hint *d = &w->decision;
    assert_int_equal(d->epoch, sample.decision.epoch);
    assert_int_equal(d->write_region, 2);
    assert_true(d->forced && w->followed);
    assert_false(d->settled);
    assert_int_equal(d->consistency.level, CONSISTENCY_BOUNDED);
    assert_int_equal(d->consistency.max_staleness_prefix, 100000);
    assert_int_equal(d->consistency.max_staleness_interval, 300);
    assert_int_equal(d->recovered_epoch, 7);
    assert_int_equal(w->pause_ms, 250);
    assert_true(w->at_risk_entries == sample.at_risk_entries);
    assert_int_equal(w->at_risk_ms, 900);
}

static void default_alone_is_version_2(void **state)
{
    (void)state;
    struct buf b;
    struct govern_words words;
    struct govern_word w;
    struct bytes rest;
    uint16_t number = 9;
    buf_init(&b, 1024);
    govern_words_begin(1, &b);
    govern_words_put(1, GROUP_DEFAULT, &sample, &b);
    assert_int_equal(buf_len(&b), 1 + GOVERN_WORD_BYTES);
    assert_int_equal(buf_bytes(&b)[0], 2);
    assert_memory_equal(buf_bytes(&b) + 1, sample_bytes, GOVERN_WORD_BYTES);
    assert_int_equal(buf_append(&b, "tail", 4), ERR_OK);

    assert_int_equal(govern_words_open(&words, content(&b)), ERR_OK);
    assert_true(govern_words_next(&words, &number, &w));
    assert_int_equal(number, GROUP_DEFAULT);
    assert_sample(&w);
    assert_false(govern_words_next(&words, &number, &w));
    assert_int_equal(govern_words_end(&words, &rest), ERR_OK);
    assert_int_equal(rest.len, 4);
    assert_memory_equal(rest.data, "tail", 4);
    buf_free(&b);
}

static void several_are_version_3(void **state)
{
    (void)state;
    const struct govern_word unknown = {.followed = false};
    struct buf b;
    struct govern_words words;
    struct govern_word w;
    struct bytes rest;
    uint16_t number;
    buf_init(&b, 1024);
    govern_words_begin(2, &b);
    govern_words_put(2, GROUP_DEFAULT, &unknown, &b);
    govern_words_put(2, 0x0203, &sample, &b);
    assert_int_equal(buf_len(&b), GOVERN_WORDS_BYTES(2));
    assert_memory_equal(buf_bytes(&b), "\3\2\0\0", 4);
    assert_memory_equal(buf_bytes(&b) + 4 + GOVERN_WORD_BYTES, "\3\2", 2);

    assert_int_equal(govern_words_open(&words, content(&b)), ERR_OK);
    assert_true(govern_words_next(&words, &number, &w));
    assert_int_equal(number, GROUP_DEFAULT);
    assert_int_equal(w.decision.epoch, 0);
    assert_int_equal(w.decision.write_region, 0);
    assert_true(govern_words_next(&words, &number, &w));
    assert_int_equal(number, 0x0203);
    assert_sample(&w);
    assert_int_equal(govern_words_end(&words, &rest), ERR_OK);
    assert_int_equal(rest.len, 0);
    buf_free(&b);
}

/* Wherever it is cut, no word is made of what is not there. */
static void what_is_cut_is_no_word(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1024);
    govern_words_begin(2, &b);
    govern_words_put(2, GROUP_DEFAULT, &sample, &b);
    govern_words_put(2, 5, &sample, &b);
    for (size_t len = 2; len < buf_len(&b); len++) {
        struct govern_words words;
        struct govern_word w;
        struct bytes rest;
        uint16_t number;
        unsigned n = 0;
        assert_int_equal(
            govern_words_open(&words, bytes_of(buf_bytes(&b), len)), ERR_OK);
        while (govern_words_next(&words, &number, &w)) {
            assert_sample(&w);
            n++;
        }
        assert_int_equal(n, (len - 2) / (2 + GOVERN_WORD_BYTES));
        assert_int_equal(govern_words_end(&words, &rest), ERR_MALFORMED);
    }
    buf_free(&b);
}

static void other_versions_are_refused(void **state)
{
    (void)state;
    struct govern_words words;
    for (unsigned version = 0; version < 256; version++) {
        uint8_t text[64] = {(uint8_t)version};
        int wanted = version == 2 || version == 3 ? ERR_OK : ERR_UNSUPPORTED;
        assert_int_equal(
            govern_words_open(&words, bytes_of(text, sizeof(text))), wanted);
    }
    assert_int_equal(govern_words_open(&words, bytes_of("", 0)),
                     ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_alone_is_version_2),
        cmocka_unit_test(several_are_version_3),
        cmocka_unit_test(what_is_cut_is_no_word),
        cmocka_unit_test(other_versions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
