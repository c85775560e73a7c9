/* Promises of partition keys: what official SDKs send is read as they mean it,
 * documents and headers agree, and routing agrees with the reported ranges.
 * Golden vectors: protocol reference, Appendix B.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/prng.h"
#include "node/catalog/partition_key.h"

static struct json parser;

static struct pk_def definition(enum pk_kind kind, uint8_t version,
                                const char *a, const char *b, const char *c)
{
    struct pk_def def = {.kind = kind, .version = version};
    const char *const paths[] = {a, b, c};
    for (size_t i = 0; i < 3 && paths[i] != NULL; i++)
        def.paths[def.path_count++] = bytes_str(paths[i]);
    return def;
}

static struct partition_key key(const char *header)
{
    struct partition_key pk;
    struct err_msg msg;
    assert_int_equal(pk_parse(&parser, bytes_str(header), &pk, &msg), ERR_OK);
    return pk;
}

static void expect_epk(const struct pk_def *def, const char *header,
                       const char *expected)
{
    struct partition_key pk = key(header);
    struct epk epk;
    epk_compute(def, &pk, &epk);
    assert_string_equal(epk.text, expected);
    assert_int_equal(epk.len, strlen(expected));
}

static const char *repeated(char c, int count)
{
    static char text[PK_HEADER_MAX];
    char *at = text;
    *at++ = '[';
    *at++ = '"';
    memset(at, c, (size_t)count);
    memcpy(at + count, "\"]", 3);
    return text;
}

struct vector {
    const char *header;
    const char *epk;
};

static const struct vector v2_vectors[] = {
    {"[\"\"]", "32E9366E637A71B4E710384B2F4970A0"},
    {"[\"A\"]", "14F53A0810CE6727EB1CD722D321216F"},
    {"[\"test\"]", "08C5A1618234B14BE512B8525E2282FA"},
    {"[\"partitionKey\"]", "013AEFCF77FA271571CF665A58C933F1"},
    {"[\"redmond\"]", "22E342F38A486A088463DFF7838A5963"},
    {"[\"\\u00e9\"]", "007199F104E04116EE25AF912CA4889B"},
    {"[\"\\u65e5\\u672c\"]", "2F64A78CFF1F1D412A8B6220090E9767"},
    {"[\"\\ud83d\\ude00\"]", "28D7FCB721E75FBE0DAC3D71DAB82766"},
    {"[\"\xf0\x9f\x98\x80\"]", "28D7FCB721E75FBE0DAC3D71DAB82766"},
    {"[0]", "155B95BEDAC4B1E9EC1CDC9BB0DDDE58"},
    {"[-0]", "3D018BB1DF3DB27235766E81FD10406E"},
    {"[1]", "20CD98B339BA78A5D0CF6953B87070B0"},
    {"[5]", "19C08621B135968252FB34B4CF66F811"},
    {"[5.0]", "19C08621B135968252FB34B4CF66F811"},
    {"[-1]", "19938E7A936C1C5B9E3AE842BBC16839"},
    {"[5.5]", "0E2EE47829D1AF775EEFB6540FD1D0ED"},
    {"[12313.1221]", "27E7ECA8F2EE3E53424DE8D5220631C6"},
    {"[9007199254740991]", "12C221C7032CED1F9E6693CE1428E6CF"},
    {"[true]", "0E711127C5B5A8E4726AC6DD306A3E59"},
    {"[false]", "2FE1BE91E90A3439635E0E9E37361EF2"},
    {"[null]", "378867E4430E67857ACE5C908374FE16"},
    {"[{}]", "11622DAA78F835834610ABE56EFF5CB5"},
    {" [ { } ] ", "11622DAA78F835834610ABE56EFF5CB5"},
};

static void version_2_matches_the_golden_vectors(void **state)
{
    (void)state;
    struct pk_def def = definition(PK_HASH, 2, "/pk", NULL, NULL);
    for (size_t i = 0; i < sizeof(v2_vectors) / sizeof(v2_vectors[0]); i++)
        expect_epk(&def, v2_vectors[i].header, v2_vectors[i].epk);
    expect_epk(&def, repeated('x', 99), "306F0D7B5A6F7CDF0EA30D793E921470");
    expect_epk(&def, repeated('x', 100), "3F35F33CA8F8DA98DB46E18CDC66A245");
    expect_epk(&def, repeated('x', 101), "300C91B3A88EBBFFE4DB4541EA0875FC");
}

static const struct vector v1_vectors[] = {
    {"[\"\"]", "05C1CF33970FF80800"},
    {"[\"A\"]", "05C1ED4B21E306084200"},
    {"[\"test\"]", "05C1EBFB1F1FE6087566747500"},
    {"[\"partitionKey\"]", "05C1E1B3D9CD2608716273756A756A706F4C667A00"},
    {"[\"redmond\"]", "05C1EFE313830C087366656E706F6500"},
    {"[\"\\u00e9\"]", "05C1B3CD91912008C4AA00"},
    {"[1]", "05C1ED172B6B2605BFF0"},
    {"[5]", "05C1D9C1C5517C05C014"},
    {"[-1]", "05C1D1A5BDDF9C054010"},
    {"[5.5]", "05C1D7A771716C05C016"},
    {"[-128]", "05C1D73349F54C053FA0"},
    {"[127]", "05C1DD539DDFCC05C05FE0"},
    {"[-2147483648]", "05C1DFBF252BCC053E20"},
    {"[2147483647]", "05C1E1F503DFB205C1DFFFFFFFFC"},
    {"[5e-324]", "05C1E5C91F4D3005800101010101010102"},
    {"[1.7976931348623157e308]", "05C1CBE367C53005FFEFFFFFFFFFFFFFFE"},
    {"[true]", "05C1D7C5A903D803"},
    {"[false]", "05C1DB857D857C02"},
    {"[null]", "05C1ED45D7475601"},
    {"[{}]", "05C1D529E345DC00"},
    {"[0]", "05C1BF6DA11560058000"},
};

static void version_1_matches_the_golden_vectors(void **state)
{
    (void)state;
    struct pk_def def = definition(PK_HASH, 1, "/pk", NULL, NULL);
    for (size_t i = 0; i < sizeof(v1_vectors) / sizeof(v1_vectors[0]); i++)
        expect_epk(&def, v1_vectors[i].header, v1_vectors[i].epk);
    char expected[EPK_TEXT_MAX + 1] = "05C1EB5921F70608";
    for (int i = 0; i < 100; i++)
        strcat(expected, "62");
    strcat(expected, "00");
    expect_epk(&def, repeated('a', 1024), expected);
}

static void multi_hash_matches_the_golden_vectors(void **state)
{
    (void)state;
    struct pk_def def = definition(PK_MULTI_HASH, 2, "/a", "/b", "/c");
    expect_epk(&def, "[\"a\"]", "3A5381E1114EB8D3FCC90795045B49B7");
    expect_epk(
        &def, "[\"a\",\"b\"]",
        "3A5381E1114EB8D3FCC90795045B49B7195644569A78B1E22D200348AF9416CE");
    expect_epk(
        &def, "[\"a\",1]",
        "3A5381E1114EB8D3FCC90795045B49B720CD98B339BA78A5D0CF6953B87070B0");
    expect_epk(&def, "[\"a\",null,true]",
               "3A5381E1114EB8D3FCC90795045B49B7"
               "378867E4430E67857ACE5C908374FE16"
               "0E711127C5B5A8E4726AC6DD306A3E59");
    expect_epk(
        &def, "[\"a\",{}]",
        "3A5381E1114EB8D3FCC90795045B49B711622DAA78F835834610ABE56EFF5CB5");
}

static void malformed_headers_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "a",     "\"a\"",         "5",
        "{}",        "[",     "[\"a\"",        "[\"a\",]",
        "[\"a\"] x", "[[]]",  "[{\"a\":1}]",   "[undefined]",
        "['a']",     "[NaN]", "[\"\\ud83d\"]", "[\"\xff\"]",
        "[1e999]",   "null",  "[\"a\" \"b\"]",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct partition_key pk = {.count = 77};
        struct err_msg msg = {""};
        assert_int_equal(pk_parse(&parser, bytes_str(bad[i]), &pk, &msg),
                         ERR_MALFORMED);
        assert_non_null(strstr(msg.text, "Partition key header is invalid"));
        assert_int_equal(pk.count, 77);
    }
    struct partition_key pk;
    assert_int_equal(pk_parse(&parser, bytes_str("[1,2,3,4]"), &pk, NULL),
                     ERR_LIMIT);
    assert_int_equal(
        pk_parse(&parser, bytes_str(repeated('x', 2049)), &pk, NULL),
        ERR_LIMIT);
    assert_int_equal(pk_parse(&parser,
                              bytes_str(repeated('x', PK_HEADER_MAX - 5)), &pk,
                              NULL),
                     ERR_LIMIT);
}

static void the_longest_value_may_be_escaped_throughout(void **state)
{
    (void)state;
    static char header[PK_HEADER_MAX + 64];
    char *at = header + sprintf(header, "[\"");
    for (int i = 0; i < PK_TEXT_MAX_V2; i++)
        at += sprintf(at, "\\u0041");
    strcpy(at, "\"]");
    struct partition_key pk = key(header);
    assert_int_equal(pk.parts[0].len, PK_TEXT_MAX_V2);
    struct pk_def def = definition(PK_HASH, 2, "/pk", NULL, NULL);
    assert_int_equal(pk_fit(&def, PK_POINT, &pk, NULL), ERR_OK);
    strcpy(at, "\\u0041\"]");
    assert_int_equal(pk_parse(&parser, bytes_str(header), &pk, NULL),
                     ERR_LIMIT);
}

static void values_are_fitted_to_the_definition(void **state)
{
    (void)state;
    struct pk_def one = definition(PK_HASH, 2, "/pk", NULL, NULL);
    struct pk_def three = definition(PK_MULTI_HASH, 2, "/a", "/b", "/c");
    struct err_msg msg;
    struct partition_key pk = key("[]");
    assert_int_equal(pk.count, 0);
    assert_int_equal(pk_fit(&one, PK_POINT, &pk, &msg), ERR_OK);
    struct partition_key none = key("[{}]");
    assert_true(pk_equal(&pk, &none));

    pk = key("[\"a\",1]");
    assert_int_equal(pk_fit(&one, PK_POINT, &pk, &msg), ERR_INVALID);
    assert_non_null(strstr(msg.text, "more components"));
    assert_int_equal(pk_fit(&three, PK_POINT, &pk, &msg), ERR_INVALID);
    assert_string_equal(msg.text,
                        "The partition key supplied in x-ms-partitionkey "
                        "header has fewer components than defined in the the "
                        "collection.");
    assert_int_equal(pk_fit(&three, PK_PREFIX, &pk, &msg), ERR_OK);
    pk = key("[]");
    assert_int_equal(pk_fit(&three, PK_PREFIX, &pk, &msg), ERR_INVALID);
    pk = key("[\"a\",{},null]");
    assert_int_equal(pk_fit(&three, PK_POINT, &pk, &msg), ERR_OK);
}

static void sizes_depend_on_the_hash_version(void **state)
{
    (void)state;
    struct pk_def v1 = definition(PK_HASH, 1, "/pk", NULL, NULL);
    struct pk_def v2 = definition(PK_HASH, 2, "/pk", NULL, NULL);
    struct err_msg msg;
    struct partition_key pk = key(repeated('x', 101));
    assert_int_equal(pk_fit(&v1, PK_POINT, &pk, &msg), ERR_OK);
    pk = key(repeated('x', 102));
    assert_int_equal(pk_fit(&v1, PK_POINT, &pk, &msg), ERR_LIMIT);
    assert_non_null(strstr(msg.text, "101"));
    assert_int_equal(pk_fit(&v2, PK_POINT, &pk, &msg), ERR_OK);
    pk = key(repeated('x', 2048));
    assert_int_equal(pk_fit(&v2, PK_POINT, &pk, &msg), ERR_OK);
}

/* The value that `def` finds in a document, in comparison with a header. */
static void expect_extracted(const struct pk_def *def, const char *document,
                             const char *header)
{
    struct json doc;
    json_init(&doc);
    assert_int_equal(json_parse(&doc, bytes_str(document), 1 << 20, NULL),
                     ERR_OK);
    struct partition_key found;
    assert_int_equal(pk_extract(def, &doc, 0, &found, NULL), ERR_OK);
    struct partition_key expected = key(header);
    assert_true(pk_equal(&found, &expected));
    uint8_t a[PK_CANONICAL_MAX], b[PK_CANONICAL_MAX];
    size_t len = pk_canonical(&found, a);
    assert_int_equal(len, pk_canonical(&expected, b));
    assert_memory_equal(a, b, len);
    json_free(&doc);
}

static void documents_yield_what_the_header_says(void **state)
{
    (void)state;
    struct pk_def pk = definition(PK_HASH, 2, "/pk", NULL, NULL);
    expect_extracted(&pk, "{\"id\":\"1\",\"pk\":\"a\"}", "[\"a\"]");
    expect_extracted(&pk, "{\"pk\":\"\\u00e9\\n\"}", "[\"\xc3\xa9\\u000a\"]");
    expect_extracted(&pk, "{\"pk\":5.50}", "[5.5]");
    expect_extracted(&pk, "{\"pk\":1e1}", "[10]");
    expect_extracted(&pk, "{\"pk\":null}", "[null]");
    expect_extracted(&pk, "{\"pk\":true}", "[true]");
    expect_extracted(&pk, "{\"pk\":false}", "[false]");
    expect_extracted(&pk, "{\"PK\":1}", "[{}]");
    expect_extracted(&pk, "{\"pk\":[1]}", "[{}]");
    expect_extracted(&pk, "{\"pk\":{\"x\":1}}", "[{}]");
    expect_extracted(&pk, "{}", "[{}]");
    expect_extracted(&pk, "{\"pk\":1,\"pk\":2}", "[2]");
    struct pk_def nested = definition(PK_HASH, 2, "/a/b", NULL, NULL);
    expect_extracted(&nested, "{\"a\":{\"b\":\"x\"}}", "[\"x\"]");
    expect_extracted(&nested, "{\"a\":{\"c\":1}}", "[{}]");
    expect_extracted(&nested, "{\"a\":5}", "[{}]");
    expect_extracted(&nested, "{\"a\":[{\"b\":1}]}", "[{}]");
    struct pk_def quoted =
        definition(PK_HASH, 2, "/\"a b\"/\"q\\\"q\"", NULL, NULL);
    expect_extracted(&quoted, "{\"a b\":{\"q\\\"q\":7}}", "[7]");
    struct pk_def id = definition(PK_HASH, 2, "/id", NULL, NULL);
    expect_extracted(&id, "{\"id\":\"x\"}", "[\"x\"]");
    struct pk_def three = definition(PK_MULTI_HASH, 2, "/t", "/u/v", "/w");
    expect_extracted(&three, "{\"t\":\"x\",\"u\":{\"v\":\"y\"},\"w\":\"z\"}",
                     "[\"x\",\"y\",\"z\"]");
    expect_extracted(&three, "{\"t\":\"x\",\"w\":3}", "[\"x\",{},3]");
}

static void a_document_may_not_carry_a_longer_key_than_a_header(void **state)
{
    (void)state;
    struct pk_def v1 = definition(PK_HASH, 1, "/pk", NULL, NULL);
    struct pk_def v2 = definition(PK_HASH, 2, "/pk", NULL, NULL);
    static char text[40000];
    struct json doc;
    json_init(&doc);
    struct partition_key pk;
    snprintf(text, sizeof(text), "{\"pk\":\"%0102d\"}", 1);
    assert_int_equal(json_parse(&doc, bytes_str(text), sizeof(text), NULL),
                     ERR_OK);
    assert_int_equal(pk_extract(&v1, &doc, 0, &pk, NULL), ERR_LIMIT);
    assert_int_equal(pk_extract(&v2, &doc, 0, &pk, NULL), ERR_OK);
    snprintf(text, sizeof(text), "{\"pk\":\"\\n%030000d\"}", 1);
    assert_int_equal(json_parse(&doc, bytes_str(text), sizeof(text), NULL),
                     ERR_OK);
    assert_int_equal(pk_extract(&v2, &doc, 0, &pk, NULL), ERR_LIMIT);
    json_free(&doc);
}

static void canonical_bytes_tell_values_apart(void **state)
{
    (void)state;
    static const char *const values[] = {
        "[\"a\"]",
        "[\"b\"]",
        "[\"ab\"]",
        "[\"\"]",
        "[0]",
        "[-0]",
        "[1]",
        "[\"1\"]",
        "[true]",
        "[false]",
        "[null]",
        "[\"null\"]",
        "[{}]",
        "[\"a\",\"b\"]",
        "[\"a\",{}]",
        "[{},\"a\"]",
        "[\"\",\"\"]",
        "[\"a\",\"\"]",
        "[\"\\u0000\"]",
        "[{},{}]",
        "[\"ab\",\"c\"]",
        "[\"a\",\"bc\"]",
    };
    size_t count = sizeof(values) / sizeof(values[0]);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++) {
            struct partition_key a = key(values[i]);
            struct partition_key b = key(values[k]);
            uint8_t x[PK_CANONICAL_MAX], y[PK_CANONICAL_MAX];
            size_t xn = pk_canonical(&a, x), yn = pk_canonical(&b, y);
            bool same = xn == yn && memcmp(x, y, xn) == 0;
            assert_int_equal(same, i == k);
            assert_int_equal(pk_equal(&a, &b), i == k);
            /* prefixes of values are prefixes of bytes */
            if (pk_has_prefix(&a, &b))
                assert_true(yn <= xn && memcmp(x, y, yn) == 0);
        }
}

static void prefixes_are_recognised(void **state)
{
    (void)state;
    struct partition_key pk = key("[\"a\",1,null]");
    struct partition_key yes[] = {key("[\"a\"]"), key("[\"a\",1]"), pk};
    struct partition_key no[] = {key("[\"b\"]"), key("[\"a\",2]"),
                                 key("[\"a\",1,true]")};
    for (size_t i = 0; i < 3; i++) {
        assert_true(pk_has_prefix(&pk, &yes[i]));
        assert_false(pk_has_prefix(&pk, &no[i]));
    }
    assert_false(pk_has_prefix(&yes[0], &pk));
}

static void ranges_begin_and_end_as_the_protocol_says(void **state)
{
    (void)state;
    struct pk_def v1 = definition(PK_HASH, 1, "/pk", NULL, NULL);
    struct pk_def v2 = definition(PK_HASH, 2, "/pk", NULL, NULL);
    struct epk epk;
    epk_boundary(&v2, 0, 2, &epk);
    assert_string_equal(epk.text, "");
    epk_boundary(&v2, 1, 2, &epk);
    assert_string_equal(epk.text, "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    epk_boundary(&v2, 2, 2, &epk);
    assert_string_equal(epk.text, "FF");
    epk_boundary(&v1, 1, 2, &epk);
    assert_string_equal(epk.text, "05C1DFFFFFFFFC");
    epk_boundary(&v1, 0, 1, &epk);
    assert_string_equal(epk.text, "");
    epk_boundary(&v1, 1, 1, &epk);
    assert_string_equal(epk.text, "FF");
}

static void boundaries_grow_strictly(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 5, 7, 64, 1000, 4095};
    for (uint8_t version = 1; version <= 2; version++) {
        struct pk_def def = definition(PK_HASH, version, "/pk", NULL, NULL);
        for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
            for (uint32_t k = 0; k < counts[i]; k++) {
                struct epk low, high;
                epk_boundary(&def, k, counts[i], &low);
                epk_boundary(&def, k + 1, counts[i], &high);
                assert_true(epk_compare(&low, &high) < 0);
            }
    }
}

static void random_key(struct prng *rng, struct pk_def *def,
                       struct partition_key *pk)
{
    char header[256] = "[";
    for (size_t i = 0; i < def->path_count; i++) {
        char part[64];
        switch (prng_below(rng, 6)) {
        case 0:
            strcpy(part, "{}");
            break;
        case 1:
            strcpy(part, prng_one_in(rng, 2) ? "true" : "null");
            break;
        case 2:
            snprintf(part, sizeof(part), "%.17g",
                     (double)(int64_t)prng_u64(rng) / 1000);
            break;
        default:
            snprintf(part, sizeof(part), "\"k-%llx\"",
                     (unsigned long long)prng_u64(rng));
        }
        strcat(header, i > 0 ? "," : "");
        strcat(header, part);
    }
    strcat(header, "]");
    *pk = key(header);
}

static void check_routing(struct prng *rng, struct pk_def *def)
{
    struct partition_key pk;
    random_key(rng, def, &pk);
    uint32_t count = 1 + (uint32_t)prng_below(rng, 12);
    if (prng_one_in(rng, 20))
        count = 4095;
    uint32_t shard = epk_shard(def, &pk, count);
    assert_true(shard < count);
    struct epk epk, low, high;
    epk_compute(def, &pk, &epk);
    epk_boundary(def, shard, count, &low);
    epk_boundary(def, shard + 1, count, &high);
    assert_true(epk_compare(&low, &epk) <= 0);
    assert_true(epk_compare(&epk, &high) < 0);
    uint32_t found;
    assert_int_equal(
        epk_range_of(def, bytes_of(epk.text, epk.len), count, &found), ERR_OK);
    assert_int_equal(found, shard);
    while (pk.count > 1) { /* every prefix is in the same shard */
        pk.count--;
        assert_int_equal(epk_shard(def, &pk, count), shard);
    }
}

static void routing_agrees_with_the_reported_ranges(void **state)
{
    (void)state;
    struct pk_def defs[] = {
        definition(PK_HASH, 1, "/pk", NULL, NULL),
        definition(PK_HASH, 2, "/pk", NULL, NULL),
        definition(PK_MULTI_HASH, 2, "/a", "/b", NULL),
        definition(PK_MULTI_HASH, 2, "/a", "/b", "/c"),
    };
    struct prng rng;
    prng_seed(&rng, 3);
    for (int round = 0; round < 20000; round++)
        check_routing(&rng, &defs[round % 4]);
}

static void keys_spread_over_all_shards(void **state)
{
    (void)state;
    for (uint8_t version = 1; version <= 2; version++) {
        struct pk_def def = definition(PK_HASH, version, "/pk", NULL, NULL);
        uint32_t seen[8] = {0};
        for (int i = 0; i < 8000; i++) {
            char header[32];
            snprintf(header, sizeof(header), "[\"key-%d\"]", i);
            struct partition_key pk = key(header);
            seen[epk_shard(&def, &pk, 8)]++;
        }
        for (int i = 0; i < 8; i++)
            assert_true(seen[i] > 800 && seen[i] < 1200);
    }
}

static void range_texts_are_read_leniently_but_only_hex(void **state)
{
    (void)state;
    struct pk_def def = definition(PK_HASH, 2, "/pk", NULL, NULL);
    uint32_t index = 99;
    assert_int_equal(epk_range_of(&def, bytes_str(""), 4, &index), ERR_OK);
    assert_int_equal(index, 0);
    assert_int_equal(epk_range_of(&def, bytes_str("FF"), 4, &index), ERR_OK);
    assert_int_equal(index, 3);
    assert_int_equal(epk_range_of(&def,
                                  bytes_str("1fffffffffffffffffffffffffffffff"),
                                  4, &index),
                     ERR_OK);
    assert_int_equal(index, 2);
    static const char *const bad[] = {"F", "GG", "0x", "1 ", "-1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(epk_range_of(&def, bytes_str(bad[i]), 4, &index),
                         ERR_MALFORMED);
    char longer[EPK_TEXT_MAX + 3];
    memset(longer, '0', sizeof(longer));
    assert_int_equal(
        epk_range_of(&def, bytes_of(longer, EPK_TEXT_MAX + 2), 4, &index),
        ERR_MALFORMED);
}

/* Deterministic smoke fuzz: mutated headers never crash, and what is accepted
 * can be fitted, hashed and routed. */
static void random_headers_are_parsed_quietly(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "[",    "]",        "{",       "}",    ",",       "\"",   "a",
        "\\",   "\\u00e9",  "null",    "true", "-0",      "1e5",  " ",
        "\xff", "\xc3\xa9", "\\ud83d", "{}",   "\"xyz\"", "12.5", "\\n"};
    struct pk_def def = definition(PK_MULTI_HASH, 2, "/a", "/b", "/c");
    struct prng rng;
    prng_seed(&rng, 5);
    for (int round = 0; round < 60000; round++) {
        char text[256] = "[";
        for (uint64_t n = prng_below(&rng, 12); n > 0; n--)
            strcat(text, pieces[prng_below(&rng, 21)]);
        if (!prng_one_in(&rng, 4))
            strcat(text, "]");
        uint8_t *exact = malloc(strlen(text));
        memcpy(exact, text, strlen(text));
        struct partition_key pk;
        int err = pk_parse(&parser, bytes_of(exact, strlen(text)), &pk, NULL);
        assert_true(err == ERR_OK || err == ERR_MALFORMED || err == ERR_LIMIT);
        if (err == ERR_OK && pk_fit(&def, PK_PREFIX, &pk, NULL) == ERR_OK) {
            struct epk epk;
            epk_compute(&def, &pk, &epk);
            assert_int_equal(epk.len, 32 * pk.count);
        }
        free(exact);
    }
}

static int free_parser(void **state)
{
    (void)state;
    json_free(&parser);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_2_matches_the_golden_vectors),
        cmocka_unit_test(version_1_matches_the_golden_vectors),
        cmocka_unit_test(multi_hash_matches_the_golden_vectors),
        cmocka_unit_test(malformed_headers_are_refused_with_a_reason),
        cmocka_unit_test(the_longest_value_may_be_escaped_throughout),
        cmocka_unit_test(values_are_fitted_to_the_definition),
        cmocka_unit_test(sizes_depend_on_the_hash_version),
        cmocka_unit_test(documents_yield_what_the_header_says),
        cmocka_unit_test(a_document_may_not_carry_a_longer_key_than_a_header),
        cmocka_unit_test(canonical_bytes_tell_values_apart),
        cmocka_unit_test(prefixes_are_recognised),
        cmocka_unit_test(ranges_begin_and_end_as_the_protocol_says),
        cmocka_unit_test(boundaries_grow_strictly),
        cmocka_unit_test(routing_agrees_with_the_reported_ranges),
        cmocka_unit_test(keys_spread_over_all_shards),
        cmocka_unit_test(range_texts_are_read_leniently_but_only_hex),
        cmocka_unit_test(random_headers_are_parsed_quietly),
    };
    json_init(&parser);
    return cmocka_run_group_tests(tests, NULL, free_parser);
}
