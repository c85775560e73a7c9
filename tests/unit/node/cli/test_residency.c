/* A residency statement holds only if every node has signed, for this occasion,
 * that what it has is where it may be and what the others have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/text.h"
#include "node/cli/residency.h"
#include "node/crypt/sign.h"
#include "node/json/json.h"

#define NODES 3
#define NONCE "0123456789abcdef"
#define TEXT_MAX (1u << 20)

static const char *const names[NODES] = {"germany-1", "france-1", "us-1"};
static const char *const regions[NODES] = {"germany", "france", "us"};

static char folder[64];
static struct err_msg msg;
static struct buf ca_pem, other_pem;
static struct node_signer *signers[NODES];

static struct bytes content(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

static void in(char out[128], const char *name, const char *suffix)
{
    snprintf(out, 128, "%s/%s%s", folder, name, suffix);
}

static void make_ca(const char *name, struct buf *pem)
{
    char cert[128], key[128];
    in(cert, name, ".pem");
    in(key, name, ".key");
    assert_int_equal(cert_create_ca("demo", cert, key, &msg), ERR_OK);
    buf_init(pem, SIGN_PEM_MAX);
    assert_int_equal(file_read(cert, false, pem, &msg), ERR_OK);
}

static void make_node(unsigned i)
{
    char uri[CERT_URI_MAX + 1], ca[128], ca_key[128], cert[128], key[128];
    const struct cert_request request = {.common_name = names[i],
                                         .uri = uri,
                                         .server = true,
                                         .client = true,
                                         .valid_from_sec = -86400,
                                         .valid_days = 30};
    in(ca, "ca", ".pem");
    in(ca_key, "ca", ".key");
    in(cert, names[i], ".pem");
    in(key, names[i], ".key");
    assert_int_equal(cert_uri_node("demo", regions[i], names[i], uri), ERR_OK);
    assert_int_equal(cert_issue(&request, ca, ca_key, cert, key, &msg), ERR_OK);
    assert_int_equal(node_signer_open(cert, key, &msg, &signers[i]), ERR_OK);
}

static int make_cluster(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/bastide-residency-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    make_ca("ca", &ca_pem);
    make_ca("other", &other_pem);
    for (unsigned i = 0; i < NODES; i++)
        make_node(i);
    return 0;
}

static int remove_cluster(void **state)
{
    (void)state;
    char command[128];
    for (unsigned i = 0; i < NODES; i++)
        node_signer_close(signers[i]);
    buf_free(&ca_pem);
    buf_free(&other_pem);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* What a node's report says, where it matters here. */
struct say {
    const char *region, *nonce, *fence, *sha256, *extra_folders, *log, *keys,
        *trouble, *region_key;
    const char *witness_replica; /* in place of one of shard 1 */
    unsigned witness, leaving;   /* of group eu, by id */
    int64_t at_shift_us, lsn, records;
    uint64_t catalog_lsn;
    unsigned signer;
    bool silent; /* not in the statement */
    bool spoil;  /* one byte changes after it was signed */
};

static struct say says[NODES];

static int reset(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        says[i] = (struct say){.region = regions[i],
                               .nonce = NONCE,
                               .fence = "\"germany\",\"france\"",
                               .sha256 = "aa",
                               .extra_folders = "",
                               .log = "",
                               .keys = "",
                               .trouble = "",
                               .region_key = regions[i],
                               .witness_replica = "",
                               .lsn = 100,
                               .records = 40,
                               .catalog_lsn = 12,
                               .signer = i};
    return 0;
}

static void put_replica(struct buf *out, const struct say *s, unsigned shard,
                        const char *members)
{
    (void)buf_printf(
        out,
        "%s{\"shard\":%u,\"role\":\"voter\",\"leads\":false,\"members\":[%s],"
        "\"commit_lsn\":100,\"flushed_lsn\":100,\"digest\":{\"lsn\":%lld,"
        "\"records\":%lld,\"bytes\":1,\"sha256\":\"%s\",\"buckets\":"
        "\"0000000000000000%s00000000000000\"}}",
        shard > 0 ? "," : "", shard, members, (long long)s->lsn,
        (long long)s->records, s->sha256, s->sha256);
}

#define MEMBER(id) "{\"id\":" #id ",\"voter\":true}"

/* Shard 0 is everywhere, shard 1 of group eu in its fence. */
static void put_report(struct buf *out, unsigned i, usec_t now)
{
    const struct say *s = &says[i];
    (void)buf_printf(
        out,
        "{\"statement\":\"bastide holdings 1\",\"cluster\":\"demo\","
        "\"cluster_id\":\"c1\",\"region\":\"%s\",\"node\":\"%s\",\"id\":%u,"
        "\"at\":\"then\",\"at_us\":%lld,\"nonce\":\"%s\",\"catalog_lsn\":%llu,"
        "\"nodes\":[",
        s->region, names[i], i + 1, (long long)(now + s->at_shift_us), s->nonce,
        (unsigned long long)s->catalog_lsn);
    for (unsigned k = 0; k < NODES; k++)
        (void)buf_printf(out, "%s{\"id\":%u,\"name\":\"%s\",\"region\":\"%s\"}",
                         k > 0 ? "," : "", k + 1, names[k], regions[k]);
    (void)buf_printf(out,
                     "],\"groups\":[{\"name\":\"eu\",\"number\":1,\"fenced\":"
                     "true,\"regions\":[%s],\"first_shard\":1,\"shards\":1,"
                     "\"witness\":%u,\"witness_leaving\":%u}],"
                     "\"replicas\":[",
                     s->fence, s->witness, s->leaving);
    put_replica(out, s, 0, MEMBER(1) "," MEMBER(2) "," MEMBER(3));
    if (i < 2)
        put_replica(out, s, 1,
                    s->witness == 3 || s->leaving == 3
                        ? MEMBER(1) "," MEMBER(2) "," MEMBER(3)
                        : MEMBER(1) "," MEMBER(2));
    (void)buf_append_str(out, s->witness_replica);
    (void)buf_printf(out,
                     "],\"folders\":[{\"path\":\"shards/0\",\"shard\":0}%s],"
                     "\"log\":[%s],\"keys\":[%s],\"region_key\":\"%s\","
                     "\"trouble\":\"%s\"}",
                     s->extra_folders, s->log, s->keys, s->region_key,
                     s->trouble);
}

static void put_envelope(struct buf *out, unsigned i, usec_t now)
{
    struct buf report, signature, cert, base64;
    struct json_writer w;
    buf_init(&report, TEXT_MAX);
    buf_init(&signature, SIGN_SIGNATURE_MAX);
    buf_init(&cert, SIGN_PEM_MAX);
    buf_init(&base64, 2 * SIGN_SIGNATURE_MAX);
    put_report(&report, i, now);
    assert_non_null(buf_cstr(&report));
    assert_int_equal(
        node_sign(signers[says[i].signer], content(&report), &signature, &cert),
        ERR_OK);
    if (says[i].spoil) { /* still JSON, with another name in it */
        char *name = strstr((char *)report.data, "shards/0");
        assert_non_null(name);
        name[strlen("shards/")] = '7';
    }
    assert_int_equal(text_base64_encode(content(&signature), &base64), ERR_OK);
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_string(&w, "report", content(&report));
    json_write_member_string(&w, "signature", content(&base64));
    json_write_member_string(&w, "certificate", content(&cert));
    json_write_object_end(&w);
    assert_int_equal(json_writer_end(&w), ERR_OK);
    buf_free(&report);
    buf_free(&signature);
    buf_free(&cert);
    buf_free(&base64);
}

static void make(struct buf *out, const char *group)
{
    struct buf envelopes[NODES];
    struct bytes reports[NODES];
    size_t n = 0;
    usec_t now = clock_wall_us();
    const struct residency_missing missing = {"us-1", "us", "it hangs"};
    for (unsigned i = 0; i < NODES; i++) {
        buf_init(&envelopes[i], TEXT_MAX);
        if (says[i].silent)
            continue;
        put_envelope(&envelopes[i], i, now);
        reports[n++] = content(&envelopes[i]);
    }
    const struct residency_draft d = {.group = group,
                                      .nonce = NONCE,
                                      .made_us = now,
                                      .ca_pem = content(&ca_pem),
                                      .missing = &missing,
                                      .missing_count = says[2].silent,
                                      .reports = reports,
                                      .report_count = n};
    buf_init(out, RESIDENCY_BYTES_MAX);
    assert_int_equal(residency_format(&d, out), ERR_OK);
    for (unsigned i = 0; i < NODES; i++)
        buf_free(&envelopes[i]);
}

static struct residency *judge(const char *group, const struct buf *ca)
{
    struct buf text;
    struct residency *r = NULL;
    make(&text, group);
    if (residency_open(content(&text),
                       ca != NULL ? content(ca) : bytes_of(NULL, 0), &r,
                       &msg) != ERR_OK)
        fail_msg("%s", msg.text);
    buf_free(&text);
    return r;
}

/* Exactly one problem, which says this; NULL: none. */
static void expect(const char *problem)
{
    struct residency *r = judge(NULL, &ca_pem);
    if (residency_problem_count(r) != (problem != NULL))
        fail_msg("%zu problems, the first: %s", residency_problem_count(r),
                 residency_problem_count(r) > 0 ? residency_problem(r, 0) : "");
    if (problem != NULL && strstr(residency_problem(r, 0), problem) == NULL)
        fail_msg("expected %s, not: %s", problem, residency_problem(r, 0));
    residency_free(r);
}

/* Among others. */
static void expect_among(const struct buf *ca, const char *problem)
{
    struct residency *r = judge(NULL, ca);
    for (size_t i = 0; i < residency_problem_count(r); i++)
        if (strstr(residency_problem(r, i), problem) != NULL) {
            residency_free(r);
            return;
        }
    fail_msg("nobody says: %s", problem);
}

static void what_is_right_holds(void **state)
{
    (void)state;
    expect(NULL);
    struct residency *r = judge("eu", NULL);
    assert_int_equal(residency_problem_count(r), 0);
    residency_free(r);
    r = judge("moon", NULL);
    assert_int_equal(residency_problem_count(r), 1);
    residency_free(r);
}

static void every_changed_byte_is_found(void **state)
{
    (void)state;
    struct buf text;
    struct residency *r;
    make(&text, NULL);
    for (size_t i = 0; i < buf_len(&text); i++) {
        text.data[i] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(
            residency_open(content(&text), content(&ca_pem), &r, &msg),
            ERR_MALFORMED);
        text.data[i] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t len = 0; len < buf_len(&text); len += 7)
        assert_int_equal(residency_open(bytes_of(buf_bytes(&text), len),
                                        content(&ca_pem), &r, &msg),
                         ERR_MALFORMED);
    buf_free(&text);
}

/* The checksum is no secret: who changes a report can seal the file again. */
static void a_changed_report_is_not_believed(void **state)
{
    (void)state;
    says[1].spoil = true;
    expect_among(&ca_pem, "in the name of france-1 is not believed");
}

static void nobody_speaks_for_another(void **state)
{
    (void)state;
    says[2].signer = 0;
    expect_among(&ca_pem, "in the name of us-1 is not believed");
    reset(NULL);
    says[2].region = "germany";
    expect_among(&ca_pem, "in the name of us-1 is not believed");
}

static void another_occasion_is_none(void **state)
{
    (void)state;
    says[2].nonce = "fedcba9876543210";
    expect_among(&ca_pem, "(nonce)");
    reset(NULL);
    says[2].at_shift_us = RESIDENCY_SKEW_US + USEC_PER_SEC;
    expect_among(&ca_pem, "clock");
    says[2].at_shift_us = -RESIDENCY_SPAN_US - USEC_PER_SEC;
    expect_among(&ca_pem, "clock");
}

static void another_ca_is_none(void **state)
{
    (void)state;
    expect_among(&other_pem, "another CA");
    expect_among(&other_pem, "no node's report is believed");
}

static void a_node_that_is_silent_is_missing(void **state)
{
    (void)state;
    says[2].silent = true;
    expect_among(&ca_pem, "us-1 (us) did not report, so nothing is known of "
                          "it: it hangs");
    says[2].silent = false;
    says[1].silent = true;
    expect_among(&ca_pem, "france-1 (france) did not report");
    expect_among(&ca_pem, "shard 1: its member france-1 shows no replica");
}

static void what_is_outside_the_fence_is_told(void **state)
{
    (void)state;
    says[2].extra_folders = ",{\"path\":\"shards/1\",\"shard\":1}";
    expect("us-1 (us) holds the folder of shard 1 in shards/1 of group eu "
           "outside its fence (germany, france)");
    says[2].extra_folders = ",{\"path\":\"old\",\"shard\":null}";
    expect("old in its data directory, which is of no group");
    says[2].extra_folders = ",{\"path\":\"shards/9\",\"shard\":9}";
    expect("shard 9 in shards/9, which is of no group");
    reset(NULL);
    says[2].log = "{\"path\":\"wal/0\",\"shard\":1,\"entries\":3}";
    expect("us-1 (us) holds log entries of shard 1 in wal/0");
    reset(NULL);
    says[2].keys = "{\"id\":18,\"group\":1,\"purpose\":\"data\"}";
    expect("us-1 (us) holds the opened key 18 of group eu outside");
    says[2].keys = "{\"id\":30,\"group\":7,\"purpose\":\"data\"}";
    expect("key 30, which is of no group");
    reset(NULL);
    says[2].region_key = "germany";
    expect("has the key of region germany");
}

static void inside_the_fence_the_same_is_right(void **state)
{
    (void)state;
    says[0].extra_folders = ",{\"path\":\"shards/1\",\"shard\":1}";
    says[0].log = "{\"path\":\"wal/0\",\"shard\":1,\"entries\":3}";
    says[1].keys = "{\"id\":18,\"group\":1,\"purpose\":\"data\"}";
    expect(NULL);
}

static void a_fence_is_what_all_say_it_is(void **state)
{
    (void)state;
    /* Who is outside cannot widen it by itself, with whatever catalog. */
    says[2].fence = "\"germany\",\"france\",\"us\"";
    says[2].catalog_lsn = 99;
    expect_among(&ca_pem, "do not define the groups alike");
}

static void members_outside_are_told(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        says[i].fence = "\"germany\"";
    expect_among(&ca_pem, "shard 1 has the member france-1 (france), outside");
    expect_among(&ca_pem, "france-1 (france) holds a replica of shard 1");
}

#define WITNESS_REPLICA(records)                                               \
    ",{\"shard\":1,\"members\":[],\"commit_lsn\":90,\"digest\":{\"lsn\":100,"  \
    "\"records\":" records ",\"bytes\":" records ",\"sha256\":\"cc\","         \
    "\"buckets\":\"\"}}"
#define LOG_WITH(payloads)                                                     \
    "{\"path\":\"wal/0\",\"shard\":1,\"entries\":3,\"payloads\":" payloads "}"

/* A group's witness may be outside, but with heads of entries alone, and so may
 * one that goes. */
static void a_witness_holds_no_payload(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        says[i].leaving = 3;
    says[2].witness_replica = WITNESS_REPLICA("0");
    expect(NULL);
    for (unsigned i = 0; i < NODES; i++) {
        says[i].leaving = 0;
        says[i].witness = 3;
    }
    says[2].witness_replica = WITNESS_REPLICA("0");
    says[2].extra_folders = ",{\"path\":\"shards/1\",\"shard\":1}";
    says[2].log = LOG_WITH("0");
    expect(NULL);
    says[2].witness_replica = WITNESS_REPLICA("1");
    expect("shard 1: the witness us-1 holds 1 records");
    says[2].witness_replica = WITNESS_REPLICA("0");
    says[2].log = LOG_WITH("1");
    expect("us-1 (us) holds log entries of shard 1 in wal/0");
    says[2].log = "";
    says[2].extra_folders = ",{\"path\":\"discarded-1/shards/1\",\"shard\":1}";
    expect("us-1 (us) holds the folder of shard 1 in discarded-1/shards/1");
    says[2].extra_folders = "";
    says[2].keys = "{\"id\":18,\"group\":1,\"purpose\":\"data\"}";
    expect("us-1 (us) holds the opened key 18");
}

static void see_shard(void *user, uint32_t shard)
{
    bool *seen = user;
    assert_true(shard < 2);
    seen[shard] = true;
}

static void replicas_must_agree(void **state)
{
    (void)state;
    bool seen[2] = {false, false};
    says[1].sha256 = "bb";
    expect_among(&ca_pem, "shard 1: germany-1 (40 records) and france-1 (40 "
                          "records) differ at LSN 100, in buckets 1");
    struct residency *r = judge("eu", &ca_pem);
    residency_each_open(r, see_shard, seen);
    assert_true(seen[1] && !seen[0]);
    residency_free(r);
    reset(NULL);
    says[1].records = 41;
    expect_among(&ca_pem, "differ at LSN 100");
    reset(NULL);
    says[1].lsn = 101;
    expect_among(&ca_pem, "not compared at the same LSN");
}

static void what_could_not_be_looked_at_is_told(void **state)
{
    (void)state;
    says[0].trouble = "wal/0: input/output error";
    expect("germany-1 could not look at all it has: wal/0: input/output error");
}

#define TEST(f) cmocka_unit_test_setup(f, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_right_holds),
        TEST(every_changed_byte_is_found),
        TEST(a_changed_report_is_not_believed),
        TEST(nobody_speaks_for_another),
        TEST(another_occasion_is_none),
        TEST(another_ca_is_none),
        TEST(a_node_that_is_silent_is_missing),
        TEST(what_is_outside_the_fence_is_told),
        TEST(inside_the_fence_the_same_is_right),
        TEST(a_fence_is_what_all_say_it_is),
        TEST(members_outside_are_told),
        TEST(a_witness_holds_no_payload),
        TEST(replicas_must_agree),
        TEST(what_could_not_be_looked_at_is_told),
    };
    return cmocka_run_group_tests(tests, make_cluster, remove_cluster);
}
