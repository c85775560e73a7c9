/* Faults are read as they are written, and refused with what was expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/inject/inject.h"

static int read_text(const char *text, struct inject_fault *f,
                     struct err_msg *msg)
{
    struct json j;
    json_init(&j);
    assert_int_equal(json_parse(&j, bytes_str(text), INJECT_BODY_MAX, NULL),
                     ERR_OK);
    int err = inject_read(&j, 0, f, msg);
    json_free(&j);
    return err;
}

static void write_text(const struct inject_fault *f, char *out, size_t size)
{
    struct buf b = buf_over(out, size - 1);
    struct json_writer w;
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    inject_write(&w, f);
    json_write_object_end(&w);
    assert_int_equal(json_writer_end(&w), ERR_OK);
    out[buf_len(&b)] = '\0';
}

/* What is read, what is written of it (NULL: the same), and the sentence. */
static const struct {
    const char *text, *written, *sentence;
} good[] = {
    {"{\"kind\":\"cut\",\"from\":\"eastus\",\"to\":\"*\",\"both\":true,"
     "\"for\":\"10s\"}",
     NULL, "cut eastus -> *, both ways"},
    {"{\"for\":0.5,\"to\":\"b\",\"from\":\"a\",\"kind\":\"cut\"}",
     "{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"for\":\"500ms\"}",
     "cut a -> b"},
    {"{\"kind\":\"delay\",\"from\":\"a\",\"to\":\"b\",\"delay_ms\":100,"
     "\"jitter_ms\":20,\"id\":\"slow-1\"}",
     NULL, "delay a -> b: by 100 ms, up to 20 ms more"},
    {"{\"kind\":\"loss\",\"from\":\"a\",\"to\":\"b\",\"percent\":12.5}", NULL,
     "loss a -> b: 12.5%"},
    {"{\"kind\":\"loss\",\"from\":\"a\",\"to\":\"b\",\"percent\":100}", NULL,
     "loss a -> b: 100%"},
    {"{\"kind\":\"handshake-failure\",\"from\":\"a\",\"to\":\"b\"}", NULL,
     "handshake-failure a -> b"},
    {"{\"kind\":\"bandwidth\",\"from\":\"a\",\"to\":\"b\","
     "\"kbit_per_second\":512,\"for\":\"2m\"}",
     "{\"kind\":\"bandwidth\",\"from\":\"a\",\"to\":\"b\","
     "\"kbit_per_second\":512,\"for\":\"120s\"}",
     "bandwidth a -> b: to 512 kbit/s"},
    {"{\"kind\":\"certificate\",\"at\":\"a\",\"problem\":\"wrong-region\"}",
     NULL, "certificate at a: wrong-region"},
    {"{\"kind\":\"certificate\",\"at\":\"a\",\"problem\":\"expired\"}", NULL,
     "certificate at a: expired"},
    {"{\"kind\":\"pause\",\"at\":\"a-1\",\"for\":\"60s\"}", NULL,
     "pause at a-1"},
    {"{\"kind\":\"clock-jump\",\"at\":\"a-1\",\"offset_ms\":-5000}", NULL,
     "clock-jump at a-1: by -5000 ms"},
    {"{\"kind\":\"disk-error\",\"at\":\"a-1\",\"disk\":\"read\"}", NULL,
     "disk-error at a-1: each read"},
    {"{\"kind\":\"bit-flip\",\"at\":\"a-1\",\"file\":\"store\"}", NULL,
     "bit-flip at a-1: in the store"},
    {"{\"kind\":\"respond\",\"status\":429,\"retry_after_ms\":50,"
     "\"operation\":\"create\",\"container\":\"orders\",\"percent\":20,"
     "\"count\":30}",
     "{\"kind\":\"respond\",\"at\":\"*\",\"status\":429,"
     "\"retry_after_ms\":50,\"operation\":\"create\","
     "\"container\":\"orders\",\"percent\":20,\"count\":30}",
     "respond at *: status 429, retry after 50 ms, before it was carried out, "
     "operation create, container orders, 20%, 30 times"},
    {"{\"kind\":\"reset\",\"at\":\"a\",\"when\":\"after\"}", NULL,
     "reset at a: after it was carried out"},
    {"{\"kind\":\"key-rotated\",\"at\":\"*\",\"key\":\"secondary\"}", NULL,
     "key-rotated at *: secondary"},
    {"{\"kind\":\"truncate\",\"at\":\"*\",\"database\":\"\\u00e9\\\"\"}",
     "{\"kind\":\"truncate\",\"at\":\"*\",\"database\":\"\xc3\xa9\\\"\"}",
     "truncate at *: database \xc3\xa9\""},
};

static void what_is_read_is_written(void **state)
{
    (void)state;
    struct inject_fault f, again;
    struct err_msg msg;
    char text[1024], sentence[INJECT_SENTENCE_MAX];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int err = read_text(good[i].text, &f, &msg);
        if (err != ERR_OK)
            fail_msg("%s: %s", good[i].text, msg.text);
        write_text(&f, text, sizeof(text));
        assert_string_equal(text, good[i].written != NULL ? good[i].written
                                                          : good[i].text);
        assert_int_equal(read_text(text, &again, &msg), ERR_OK);
        char twice[1024];
        write_text(&again, twice, sizeof(twice));
        assert_string_equal(twice, text);
        inject_describe(&f, sentence, sizeof(sentence));
        assert_string_equal(sentence, good[i].sentence);
    }
}

static void members_have_their_units(void **state)
{
    (void)state;
    struct inject_fault f;
    struct err_msg msg;
    assert_int_equal(
        read_text("{\"kind\":\"respond\",\"status\":503,\"substatus\":1008,"
                  "\"when\":\"after\",\"percent\":0.1,\"for\":\"1h\"}",
                  &f, &msg),
        ERR_OK);
    assert_int_equal(f.kind, INJECT_RESPOND);
    assert_int_equal(f.status, 503);
    assert_int_equal(f.substatus, 1008);
    assert_int_equal(f.when, INJECT_AFTER);
    assert_int_equal(f.permille, 1);
    assert_true(f.for_us == 3600 * USEC_PER_SEC);
    assert_string_equal(f.at, "*");
    assert_int_equal(f.operation, INJECT_OP_ANY);
    assert_string_equal(f.id, "");
    assert_int_equal(read_text("{\"kind\":\"reset\"}", &f, &msg), ERR_OK);
    assert_int_equal(f.permille, 1000);
}

/* What is refused, and a part of the message. */
static const struct {
    const char *text, *message;
} bad[] = {
    {"[]", "expected an object such as"},
    {"{}", "kind: expected one of cut, delay, loss"},
    {"{\"kind\":\"fire\"}", "kind: expected one of"},
    {"{\"kind\":7}", "kind: expected one of"},
    {"{\"kind\":\"cut\",\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\"}",
     "kind is there twice"},
    {"{\"kind\":\"cut\"}", "cut needs from; it takes from (needed), to "
                           "(needed), both, for, id"},
    {"{\"kind\":\"cut\",\"from\":\"a\"}", "cut needs to"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"delay_ms\":5}",
     "cut does not take delay_ms"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"extra\":5}",
     "cut has no member extra"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"to\":\"c\"}",
     "to is there twice"},
    {"{\"kind\":\"cut\",\"from\":\"\",\"to\":\"b\"}",
     "from: expected a region, a node or \"*\""},
    {"{\"kind\":\"cut\",\"from\":\"a b\",\"to\":\"b\"}", "from: expected"},
    {"{\"kind\":\"cut\",\"from\":\"a\\u0000\",\"to\":\"b\"}", "from: expected"},
    {"{\"kind\":\"cut\",\"from\":5,\"to\":\"b\"}", "from: expected"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"both\":1}",
     "both: expected true or false"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"for\":\"10\"}",
     "for: expected a time such as"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"for\":\"s\"}",
     "for: expected"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"for\":0}",
     "for: expected"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"for\":\"25h\"}",
     "for: expected"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"for\":-1}",
     "for: expected"},
    {"{\"kind\":\"cut\",\"from\":\"a\",\"to\":\"b\",\"id\":\"Big\"}",
     "id: expected 1 to 32"},
    {"{\"kind\":\"delay\",\"from\":\"a\",\"to\":\"b\"}",
     "delay needs delay_ms"},
    {"{\"kind\":\"delay\",\"from\":\"a\",\"to\":\"b\",\"delay_ms\":0}",
     "delay_ms: expected a whole number from 1 to 60000"},
    {"{\"kind\":\"delay\",\"from\":\"a\",\"to\":\"b\",\"delay_ms\":1.5}",
     "delay_ms: expected"},
    {"{\"kind\":\"delay\",\"from\":\"a\",\"to\":\"b\",\"delay_ms\":\"5\"}",
     "delay_ms: expected"},
    {"{\"kind\":\"loss\",\"from\":\"a\",\"to\":\"b\"}", "loss needs percent"},
    {"{\"kind\":\"loss\",\"from\":\"a\",\"to\":\"b\",\"percent\":0}",
     "percent: expected"},
    {"{\"kind\":\"loss\",\"from\":\"a\",\"to\":\"b\",\"percent\":100.1}",
     "percent: expected"},
    {"{\"kind\":\"loss\",\"from\":\"a\",\"to\":\"b\",\"percent\":0.25}",
     "percent: expected"},
    {"{\"kind\":\"certificate\",\"at\":\"a\",\"problem\":\"old\"}",
     "problem: expected expired, revoked or wrong-region"},
    {"{\"kind\":\"pause\",\"at\":\"a\"}", "pause needs for"},
    {"{\"kind\":\"pause\",\"at\":\"a\",\"for\":\"61s\"}",
     "a pause takes at most 60s"},
    {"{\"kind\":\"bit-flip\",\"at\":\"a\",\"file\":\"log\",\"for\":1}",
     "bit-flip does not take for"},
    {"{\"kind\":\"respond\",\"status\":200}", "status: expected"},
    {"{\"kind\":\"reset\",\"count\":0}", "count: expected"},
    {"{\"kind\":\"reset\",\"container\":\"\"}", "container: expected"},
};

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    struct inject_fault f;
    struct err_msg msg;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        memset(&f, 0x5a, sizeof(f));
        assert_int_equal(read_text(bad[i].text, &f, &msg), ERR_INVALID);
        if (strstr(msg.text, bad[i].message) == NULL)
            fail_msg("%s: \"%s\" without \"%s\"", bad[i].text, msg.text,
                     bad[i].message);
    }
}

static void every_kind_says_what_it_takes(void **state)
{
    (void)state;
    char storage[512];
    struct inject_fault f;
    struct err_msg msg;
    for (size_t k = 0; k < INJECT_KIND_COUNT; k++) {
        enum inject_kind kind;
        const char *word = inject_word((enum inject_kind)k);
        assert_int_equal(inject_find_kind(bytes_str(word), &kind), ERR_OK);
        assert_int_equal(kind, k);
        assert_true(strlen(inject_what(kind)) > 0);
        struct buf b = buf_over(storage, sizeof(storage) - 1);
        inject_members(kind, NULL, &b);
        storage[buf_len(&b)] = '\0';
        assert_non_null(strstr(storage, "id"));
        assert_true(inject_family_of(kind) == INJECT_LINK
                        ? strstr(storage, "from (needed), to (needed)") != NULL
                        : strstr(storage, "at") == storage);
        /* A kind alone is either whole, or told what it lacks. */
        char text[64];
        snprintf(text, sizeof(text), "{\"kind\":\"%s\"}", word);
        int err = read_text(text, &f, &msg);
        assert_true(err == ERR_OK || strstr(msg.text, " needs ") != NULL);
        assert_int_equal(err == ERR_OK, strstr(storage, "needed") == NULL);
    }
    assert_int_equal(inject_find_kind(bytes_str("fire"), &f.kind),
                     ERR_NOT_FOUND);
}

/* Flags and scenario files have only text. */
static void members_are_written_from_text(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *json;
    } rows[] = {
        {"delay_ms", "100", "{\"delay_ms\":100}"},
        {"delay_ms", "soon", "{\"delay_ms\":\"soon\"}"},
        {"percent", "12.5", "{\"percent\":12.5}"},
        {"both", "true", "{\"both\":true}"},
        {"both", "yes", "{\"both\":\"yes\"}"},
        {"for", "10s", "{\"for\":\"10s\"}"},
        {"for", "10", "{\"for\":10}"},
        {"from", "7", "{\"from\":\"7\"}"},
        {"container", "true", "{\"container\":\"true\"}"},
        {"extra", "7", "{\"extra\":\"7\"}"},
    };
    char text[128];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = buf_over(text, sizeof(text) - 1);
        struct json_writer w;
        json_writer_init(&w, &b);
        json_write_object_begin(&w);
        inject_put_member(&w, rows[i].name, rows[i].text);
        json_write_object_end(&w);
        assert_int_equal(json_writer_end(&w), ERR_OK);
        text[buf_len(&b)] = '\0';
        assert_string_equal(text, rows[i].json);
    }
    size_t count = 0;
    while (inject_member(count) != NULL)
        assert_true(strlen(inject_member(count++)->expected) > 0);
    assert_int_equal(count, 24);
}

static void a_long_sentence_is_cut(void **state)
{
    (void)state;
    struct inject_fault f = {.kind = INJECT_TRUNCATE, .at = "*"};
    char out[20];
    memset(f.database, 'd', INJECT_RESOURCE_MAX);
    memset(f.container, 'c', INJECT_RESOURCE_MAX);
    inject_describe(&f, out, sizeof(out));
    assert_string_equal(out, "truncate at *: data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_written),
        cmocka_unit_test(members_have_their_units),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(every_kind_says_what_it_takes),
        cmocka_unit_test(members_are_written_from_text),
        cmocka_unit_test(a_long_sentence_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
