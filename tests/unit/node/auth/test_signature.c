/* Promises of request signing: what official clients send is accepted, and
 * nothing else is. Golden vectors: protocol reference, Appendix B.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/auth/signature.h"
#include "node/base/clock.h"
#include "node/base/prng.h"
#include "node/base/text.h"

#define DATE_2017 "Thu, 27 Apr 2017 00:51:12 GMT"
#define NOW_2017 1493254272
#define DATE_2026 "Sun, 22 Nov 2026 01:53:57 GMT"

static struct auth_keys emulator_keys(void)
{
    struct auth_keys keys;
    auth_keys_init(&keys);
    assert_int_equal(auth_keys_add_emulator(&keys), ERR_OK);
    return keys;
}

/* Key `n` of a test account: 64 bytes that depend on `n`. */
static struct bytes test_key(uint8_t n)
{
    static uint8_t raw[8][AUTH_KEY_LEN];
    for (size_t i = 0; i < AUTH_KEY_LEN; i++)
        raw[n][i] = (uint8_t)(i * 7 + n * 31 + 1);
    return bytes_of(raw[n], AUTH_KEY_LEN);
}

static struct auth_keys account_keys(void)
{
    struct auth_keys keys;
    auth_keys_init(&keys);
    for (uint8_t n = 0; n < 4; n++)
        assert_int_equal(auth_keys_add(&keys, test_key(n),
                                       n < 2 ? AUTH_READ_WRITE : AUTH_READ_ONLY,
                                       NULL),
                         ERR_OK);
    return keys;
}

/* One request; a test changes what it is about. */
struct sample {
    const char *method;
    const char *path;
    const char *authorization;
    const char *ms_date;
    const char *date;
    bool needs_write;
    int64_t now_s;
};

static struct bytes header(const char *text)
{
    return text != NULL ? bytes_str(text) : bytes_of(NULL, 0);
}

static const struct auth_verdict *verify(const struct auth_keys *keys,
                                         const struct sample *s)
{
    static struct auth_target target;
    static struct auth_verdict verdict;
    assert_int_equal(auth_target_parse(bytes_str(s->path), &target), ERR_OK);
    struct auth_request req = {.method = bytes_str(s->method),
                               .target = &target,
                               .authorization = header(s->authorization),
                               .ms_date = header(s->ms_date),
                               .date = header(s->date),
                               .needs_write = s->needs_write};
    auth_verify(keys, &req, s->now_s, &verdict);
    return &verdict;
}

/* A header value signed by test key `n`. */
static const char *signed_by(uint8_t n, const char *method, const char *type,
                             const char *link, const char *date)
{
    static char value[AUTH_HEADER_MAX];
    struct auth_key key;
    assert_int_equal(auth_key_init(&key, test_key(n), AUTH_READ_WRITE), ERR_OK);
    assert_int_equal(auth_sign(&key, bytes_str(method), bytes_str(type),
                               bytes_str(link), bytes_str(date), value),
                     ERR_OK);
    return value;
}

static const struct {
    const char *method, *path, *date, *signature;
} golden[] = {
    {"GET", "/", DATE_2026, "CPK84ooXfStEeRjfDSefycFK+RvuXQ6XSshicZ1d9V4="},
    {"GET", "/", DATE_2017, "gFB1bRB/PLJTG3bCgMuoVgNzOyFvZAamzEtLuSITjRc="},
    {"GET", "/dbs/ToDoList", DATE_2017,
     "mM0rMK/7o1MZhQwDitGRoGisPRPx09os/86Jk0YwquY="},
    {"POST", "/dbs", DATE_2017, "CHjhNtQltyEuPdWLf2/f+hSkSlYg+7UuFlwMyv8L7mI="},
    {"GET", "/dbs/MyDb/colls", DATE_2017,
     "d7Tfo+8jdR8JjD1JKqU5x1Xg0SuBj7sRll1YpdO6NlM="},
    {"POST", "/dbs/MyDb/colls/MyColl/docs", DATE_2017,
     "s0xP8VO0ZOVHL99FhcwggjhrnponOpQXEk+T5PrPBUg="},
    {"GET", "/dbs/MyDb/colls/MyColl/docs/Item%201", DATE_2017,
     "+iTPxBd6Bv8ev8MmYaM9XX1Blc5LEHlqSdEY6RVB3f0="},
    {"PUT", "/offers/TeSu", DATE_2017,
     "GjcVjlUnxXV+B+yoLP9k3aK6znMXvf1WPMMAmIxCHdI="},
    {"GET", "/dbs/MyDb/colls/MyColl/pkranges/", DATE_2017,
     "5srEQMjQi8V1T5dmuS5a/PbgvPk/b3s+0N+G3WWNtug="},
};

/* The value as a header in one of the forms that clients use. */
static void format_header(const char *signature, int form, char out[256])
{
    char plain[128];
    snprintf(plain, sizeof(plain), "type=master&ver=1.0&sig=%s", signature);
    struct buf b = buf_over(out, 255);
    if (form == 0)
        assert_int_equal(buf_append_str(&b, plain), ERR_OK);
    else
        assert_int_equal(text_percent_encode(bytes_str(plain), &b), ERR_OK);
    out[buf_len(&b)] = '\0';
    if (form == 2) /* lower-case hex digits */
        for (char *p = out; *p != '\0'; p++)
            if (*p == '%')
                for (int i = 1; i <= 2; i++)
                    p[i] =
                        p[i] >= 'A' && p[i] <= 'F' ? (char)(p[i] + 32) : p[i];
}

static void golden_vectors_are_accepted_in_every_header_form(void **state)
{
    (void)state;
    struct auth_keys keys = emulator_keys();
    for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
        int64_t now;
        assert_int_equal(
            clock_parse_http_date(golden[i].date, strlen(golden[i].date), &now),
            ERR_OK);
        for (int form = 0; form < 3; form++) {
            char value[256];
            format_header(golden[i].signature, form, value);
            struct sample s = {.method = golden[i].method,
                               .path = golden[i].path,
                               .authorization = value,
                               .ms_date = golden[i].date,
                               .needs_write = true,
                               .now_s = now};
            assert_int_equal(verify(&keys, &s)->result, AUTH_OK);
        }
    }
}

static void a_client_signature_is_the_captured_one(void **state)
{
    (void)state;
    uint8_t raw[AUTH_KEY_LEN];
    struct buf b = buf_over(raw, sizeof(raw));
    assert_int_equal(text_base64_decode(bytes_str(auth_emulator_key_text), &b),
                     ERR_OK);
    struct auth_key key;
    assert_int_equal(
        auth_key_init(&key, bytes_of(raw, sizeof(raw)), AUTH_READ_WRITE),
        ERR_OK);
    char value[AUTH_HEADER_MAX];
    assert_int_equal(auth_sign(&key, bytes_str("GET"), bytes_str(""),
                               bytes_str(""), bytes_str(DATE_2026), value),
                     ERR_OK);
    assert_string_equal(value,
                        "type%3Dmaster%26ver%3D1.0%26sig%3DCPK84ooXfStEeRjfDSef"
                        "ycFK%2BRvuXQ6XSshicZ1d9V4%3D");
}

static void
what_was_signed_differently_is_refused_with_the_payload(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    struct sample s = {.method = "GET",
                       .path = "/dbs/d/colls/c/docs/a%20b",
                       .ms_date = DATE_2017,
                       .now_s = NOW_2017};
    static const char expected[] =
        "get\ndocs\ndbs/d/colls/c/docs/a b\nthu, 27 apr 2017 00:51:12 gmt\n\n";
    const char *const headers[] = {
        signed_by(5, "GET", "docs", "dbs/d/colls/c/docs/a b", DATE_2017)};
    s.authorization = headers[0]; /* a key that is none of ours */
    const struct auth_verdict *v = verify(&keys, &s);
    assert_int_equal(v->result, AUTH_BAD_SIGNATURE);
    assert_int_equal(v->payload_len, strlen(expected));
    assert_memory_equal(v->payload, expected, v->payload_len);

    struct buf text;
    buf_init(&text, 8192);
    assert_int_equal(auth_message(v, NOW_2017, &text), ERR_OK);
    assert_non_null(strstr(buf_cstr(&text), "The wrong key is being used"));
    assert_non_null(strstr(buf_cstr(&text), expected));
    buf_free(&text);

    static const struct {
        const char *method, *type, *link, *date;
    } wrong[] = {
        {"POST", "docs", "dbs/d/colls/c/docs/a b", DATE_2017},
        {"GET", "colls", "dbs/d/colls/c/docs/a b", DATE_2017},
        {"GET", "docs", "dbs/d/colls/c/docs/a%20b", DATE_2017},
        {"GET", "docs", "dbs/d/colls/c/docs/A b", DATE_2017},
        {"GET", "docs", "dbs/d/colls/c", DATE_2017},
        {"GET", "docs", "/dbs/d/colls/c/docs/a b", DATE_2017},
        {"GET", "docs", "dbs/d/colls/c/docs/a b",
         "Thu, 27 Apr 2017 00:51:13 GMT"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        s.authorization = signed_by(0, wrong[i].method, wrong[i].type,
                                    wrong[i].link, wrong[i].date);
        assert_int_equal(verify(&keys, &s)->result, AUTH_BAD_SIGNATURE);
    }
}

static void every_bit_of_the_signature_counts(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    char value[AUTH_HEADER_MAX];
    strcpy(value, signed_by(1, "GET", "dbs", "dbs/d", DATE_2017));
    struct sample s = {.method = "GET",
                       .path = "/dbs/d",
                       .authorization = value,
                       .ms_date = DATE_2017,
                       .now_s = NOW_2017};
    assert_int_equal(verify(&keys, &s)->result, AUTH_OK);
    size_t start = strlen("type%3Dmaster%26ver%3D1.0%26sig%3D");
    for (size_t i = start; value[i] != '\0' && value[i] != '%'; i++) {
        char was = value[i];
        value[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(verify(&keys, &s)->result, AUTH_BAD_SIGNATURE);
        value[i] = was;
    }
}

static void all_four_keys_read_and_two_write(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    for (uint8_t n = 0; n < 4; n++) {
        struct sample s = {
            .method = "POST",
            .path = "/dbs/d/colls",
            .authorization = signed_by(n, "POST", "colls", "dbs/d", DATE_2017),
            .ms_date = DATE_2017,
            .now_s = NOW_2017};
        const struct auth_verdict *v = verify(&keys, &s);
        assert_int_equal(v->result, AUTH_OK);
        assert_int_equal(v->rights, n < 2 ? AUTH_READ_WRITE : AUTH_READ_ONLY);
        assert_int_equal(v->key, n);
        s.needs_write = true;
        assert_int_equal(verify(&keys, &s)->result,
                         n < 2 ? AUTH_OK : AUTH_KEY_READ_ONLY);
    }
}

static void dates_beyond_fifteen_minutes_are_refused(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    static const struct {
        int64_t offset;
        enum auth_result result;
    } cases[] = {{0, AUTH_OK},           {900, AUTH_OK},
                 {-900, AUTH_OK},        {901, AUTH_DATE_SKEW},
                 {-901, AUTH_DATE_SKEW}, {86400, AUTH_DATE_SKEW}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sample s = {.method = "GET",
                           .path = "/dbs",
                           .authorization =
                               signed_by(0, "GET", "dbs", "", DATE_2017),
                           .ms_date = DATE_2017,
                           .now_s = NOW_2017 + cases[i].offset};
        const struct auth_verdict *v = verify(&keys, &s);
        assert_int_equal(v->result, cases[i].result);
        assert_int_equal(v->token_start_s, NOW_2017 - 900);
        assert_int_equal(v->token_expiry_s, NOW_2017 + 900);
    }
}

static void a_skewed_client_is_told_all_three_times(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    struct sample s = {.method = "GET",
                       .path = "/dbs",
                       .authorization =
                           signed_by(0, "GET", "dbs", "", DATE_2017),
                       .ms_date = DATE_2017,
                       .now_s = NOW_2017 + 3600};
    struct buf text;
    buf_init(&text, 4096);
    assert_int_equal(auth_message(verify(&keys, &s), s.now_s, &text), ERR_OK);
    assert_non_null(strstr(buf_cstr(&text),
                           "(token start time: Thu, 27 Apr 2017 00:36:12 GMT, "
                           "token expiry time: Thu, 27 Apr 2017 01:06:12 GMT, "
                           "current server time: Thu, 27 Apr 2017 01:51:12 "
                           "GMT)"));
    buf_free(&text);
}

static void the_date_header_serves_when_ms_date_is_absent(void **state)
{
    (void)state;
    struct auth_keys keys = emulator_keys();
    /* HMAC over "get\ndbs\n\n\nthu, 27 apr 2017 00:51:12 gmt\n", made with the
     * openssl command. */
    struct sample s = {.method = "GET",
                       .path = "/dbs",
                       .authorization =
                           "type=master&ver=1.0&sig=2zMBmoCGZPiQif+"
                           "Pxk0KClxx37Ob0uu1vmiprvY2SnM=",
                       .date = DATE_2017,
                       .now_s = NOW_2017};
    assert_int_equal(verify(&keys, &s)->result, AUTH_OK);
    s.ms_date = DATE_2017; /* then the date line must be empty */
    assert_int_equal(verify(&keys, &s)->result, AUTH_BAD_SIGNATURE);
}

static void a_signed_request_needs_a_readable_date(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    struct sample s = {.method = "GET",
                       .path = "/dbs",
                       .authorization = signed_by(0, "GET", "dbs", "", ""),
                       .now_s = NOW_2017};
    assert_int_equal(verify(&keys, &s)->result, AUTH_NO_DATE);
    s.ms_date = "yesterday";
    s.authorization = signed_by(0, "GET", "dbs", "", "yesterday");
    assert_int_equal(verify(&keys, &s)->result, AUTH_BAD_DATE);
    s.authorization = signed_by(5, "GET", "dbs", "", "yesterday");
    assert_int_equal(verify(&keys, &s)->result, AUTH_BAD_SIGNATURE);
}

static void tokens_that_are_no_master_token_are_told_apart(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    char jwt[2048];
    memset(jwt, 'x', sizeof(jwt) - 1);
    jwt[sizeof(jwt) - 1] = '\0';
    memcpy(jwt, "type=aad&ver=1.0&sig=", 21);
    char encoded_jwt[2048];
    memset(encoded_jwt, 'x', sizeof(encoded_jwt) - 1);
    encoded_jwt[sizeof(encoded_jwt) - 1] = '\0';
    memcpy(encoded_jwt, "type%3Daad%26ver%3D1.0%26sig%3D", 31);
    memcpy(encoded_jwt + 254, "%2B", 3); /* half an escape at the cut */
    static const char sig44[] = "CPK84ooXfStEeRjfDSefycFK+RvuXQ6XSshicZ1d9V4=";
    char missing_type[128];
    snprintf(missing_type, sizeof(missing_type), "ver=1.0&sig=%s", sig44);
    char version[128];
    snprintf(version, sizeof(version), "type=master&ver=2.0&sig=%s", sig44);
    const struct {
        const char *value;
        enum auth_result result;
    } cases[] = {
        {NULL, AUTH_MISSING},
        {"", AUTH_MISSING},
        {"Bearer abc", AUTH_MALFORMED},
        {"type=master&ver=1.0", AUTH_MALFORMED},
        {"type=master&ver=1.0&sig=", AUTH_MALFORMED},
        {"type=master&ver=1.0&sig=AAAA", AUTH_MALFORMED},
        {"type=master&ver=1.0&sig=!!!!", AUTH_MALFORMED},
        {"type%3Dmaster%26ver%3D1.0%2", AUTH_MALFORMED},
        {"%%%", AUTH_MALFORMED},
        {missing_type, AUTH_MALFORMED},
        {version, AUTH_MALFORMED},
        {jwt, AUTH_UNSUPPORTED},
        {encoded_jwt, AUTH_UNSUPPORTED},
        {"type%3Dresource%26ver%3D1.0%26sig%3Dabc%3B", AUTH_UNSUPPORTED},
        {"type=sas&ver=1.0&sig=a;b", AUTH_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sample s = {.method = "GET",
                           .path = "/dbs",
                           .authorization = cases[i].value,
                           .ms_date = DATE_2017,
                           .now_s = NOW_2017};
        const struct auth_verdict *v = verify(&keys, &s);
        assert_int_equal(v->result, cases[i].result);
        struct buf text;
        buf_init(&text, 4096);
        assert_int_equal(auth_message(v, NOW_2017, &text), ERR_OK);
        assert_true(buf_len(&text) > 0);
        buf_free(&text);
    }
}

static void rid_links_are_accepted_whole_or_as_the_lower_case_rid(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    static const struct {
        const char *path, *type, *link;
        enum auth_result result;
    } cases[] = {
        {"/dbs/kdY4AA==/colls/kdY4AIn8g54=/docs", "docs",
         "kdy4ain8g54=", AUTH_OK},
        {"/dbs/kdY4AA==/colls/kdY4AIn8g54=/docs/", "docs",
         "dbs/kdY4AA==/colls/kdY4AIn8g54=", AUTH_OK},
        {"/dbs/kdY4AA%3D%3D/colls", "colls", "kdy4aa==", AUTH_OK},
        {"/dbs/kdY4AA==/colls/kdY4AIn8g54=/docs/kdY4AIn8g54BAAAAAAAAAA==",
         "docs", "kdy4ain8g54baaaaaaaaaa==", AUTH_OK},
        {"/dbs/kdY4AA==/colls/kdY4AIn8g54=/docs", "docs",
         "kdY4AIn8g54=", AUTH_BAD_SIGNATURE},
        /* one segment is a name: only the whole link */
        {"/dbs/name/colls/kdY4AIn8g54=/docs", "docs",
         "kdy4ain8g54=", AUTH_BAD_SIGNATURE},
        {"/dbs/kdY4AA==/colls/kdY4AIn8g54=/docs/name", "docs", "name",
         AUTH_BAD_SIGNATURE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sample s = {.method = "POST",
                           .path = cases[i].path,
                           .authorization = signed_by(0, "POST", cases[i].type,
                                                      cases[i].link, DATE_2017),
                           .ms_date = DATE_2017,
                           .now_s = NOW_2017};
        assert_int_equal(verify(&keys, &s)->result, cases[i].result);
    }
}

static void deleting_by_partition_key_may_be_signed_in_two_ways(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    const char *const types[] = {"colls", "partitionkey"};
    for (size_t i = 0; i < 2; i++) {
        struct sample s = {
            .method = "POST",
            .path = "/dbs/d/colls/c/operations/partitionkeydelete",
            .authorization =
                signed_by(0, "POST", types[i], "dbs/d/colls/c", DATE_2017),
            .ms_date = DATE_2017,
            .needs_write = true,
            .now_s = NOW_2017};
        assert_int_equal(verify(&keys, &s)->result, AUTH_OK);
    }
}

static void keys_must_be_whole_distinct_and_secret(void **state)
{
    (void)state;
    struct auth_keys keys;
    struct err_msg msg;
    auth_keys_init(&keys);
    struct bytes key = test_key(0);
    assert_int_equal(
        auth_keys_add(&keys, bytes_of(key.data, 63), AUTH_READ_WRITE, &msg),
        ERR_INVALID);
    assert_int_equal(auth_keys_add(&keys, key, AUTH_READ_WRITE, &msg), ERR_OK);
    assert_int_equal(auth_keys_add(&keys, key, AUTH_READ_ONLY, &msg),
                     ERR_EXISTS);
    uint8_t raw[AUTH_KEY_LEN];
    struct buf b = buf_over(raw, sizeof(raw));
    assert_int_equal(text_base64_decode(bytes_str(auth_emulator_key_text), &b),
                     ERR_OK);
    assert_int_equal(
        auth_keys_add(&keys, bytes_of(raw, sizeof(raw)), AUTH_READ_WRITE, &msg),
        ERR_FORBIDDEN);
    assert_int_equal(auth_keys_add_emulator(&keys), ERR_OK);
    for (uint8_t n = 1; n < 4; n++)
        assert_int_equal(
            auth_keys_add(&keys, test_key(n), AUTH_READ_WRITE, &msg), ERR_OK);
    assert_int_equal(auth_keys_add(&keys, test_key(4), AUTH_READ_ONLY, &msg),
                     ERR_FULL);
    auth_keys_wipe(&keys);
    struct auth_keys zero;
    memset(&zero, 0, sizeof(zero));
    assert_memory_equal(&keys, &zero, sizeof(keys));
}

static void without_keys_nothing_is_accepted(void **state)
{
    (void)state;
    struct auth_keys keys;
    auth_keys_init(&keys);
    struct sample s = {.method = "GET",
                       .path = "/",
                       .authorization = signed_by(0, "GET", "", "", DATE_2017),
                       .ms_date = DATE_2017,
                       .now_s = NOW_2017};
    assert_int_equal(verify(&keys, &s)->result, AUTH_BAD_SIGNATURE);
}

static void signing_refuses_what_could_not_be_verified(void **state)
{
    (void)state;
    struct auth_key key;
    assert_int_equal(auth_key_init(&key, test_key(0), AUTH_READ_WRITE), ERR_OK);
    static char link[AUTH_LINK_MAX + 2];
    memset(link, 'x', AUTH_LINK_MAX + 1);
    char value[AUTH_HEADER_MAX];
    assert_int_equal(auth_sign(&key, bytes_str("GET"), bytes_str("docs"),
                               bytes_str(link), bytes_str(DATE_2017), value),
                     ERR_LIMIT);
    assert_int_equal(auth_sign(&key, bytes_str("GET"), bytes_str("docs"),
                               bytes_of(link, AUTH_LINK_MAX),
                               bytes_str(DATE_2017), value),
                     ERR_OK);
}

/* Deterministic smoke fuzz: no input crashes, and none is accepted. */
static void random_requests_are_refused_quietly(void **state)
{
    (void)state;
    struct auth_keys keys = account_keys();
    struct prng rng;
    prng_seed(&rng, 20261122);
    static const char pieces[][12] = {
        "type=", "master", "&ver=1.0", "&sig=", "%3D",  "%",
        "=",     "&",      "resour",   "aad",   "AAAA", "/"};
    static struct auth_target target;
    static struct auth_verdict verdict;
    for (int round = 0; round < 20000; round++) {
        char value[600] = "";
        char path[600] = "/";
        for (uint64_t n = prng_u64(&rng) % 40; n > 0; n--) {
            strcat(value, pieces[prng_u64(&rng) % 12]);
            strcat(path, pieces[prng_u64(&rng) % 12]);
        }
        int err = auth_target_parse(bytes_str(path), &target);
        if (err != ERR_OK) {
            assert_true(err == ERR_MALFORMED || err == ERR_LIMIT);
            continue;
        }
        struct auth_request req = {.method = bytes_str("GET"),
                                   .target = &target,
                                   .authorization = bytes_str(value),
                                   .ms_date = bytes_str(DATE_2017)};
        auth_verify(&keys, &req, NOW_2017, &verdict);
        assert_int_not_equal(verdict.result, AUTH_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors_are_accepted_in_every_header_form),
        cmocka_unit_test(a_client_signature_is_the_captured_one),
        cmocka_unit_test(
            what_was_signed_differently_is_refused_with_the_payload),
        cmocka_unit_test(every_bit_of_the_signature_counts),
        cmocka_unit_test(all_four_keys_read_and_two_write),
        cmocka_unit_test(dates_beyond_fifteen_minutes_are_refused),
        cmocka_unit_test(a_skewed_client_is_told_all_three_times),
        cmocka_unit_test(the_date_header_serves_when_ms_date_is_absent),
        cmocka_unit_test(a_signed_request_needs_a_readable_date),
        cmocka_unit_test(tokens_that_are_no_master_token_are_told_apart),
        cmocka_unit_test(rid_links_are_accepted_whole_or_as_the_lower_case_rid),
        cmocka_unit_test(deleting_by_partition_key_may_be_signed_in_two_ways),
        cmocka_unit_test(keys_must_be_whole_distinct_and_secret),
        cmocka_unit_test(without_keys_nothing_is_accepted),
        cmocka_unit_test(signing_refuses_what_could_not_be_verified),
        cmocka_unit_test(random_requests_are_refused_quietly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
