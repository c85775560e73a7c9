/* Requests for documents of groups that allow transit: passed on by a node
 * outside, and run by one inside. The world is in region eastus. */
#include "tests/unit/node/cosmos/fake.h"

#include "node/cosmos/call.h" /* CALL_MOVED_MAX */
#include "node/cosmos/passage.h"

#define DOCS "/dbs/d/colls/c/docs"
#define ID "abcdefghijklmnop"
#define SINCE_US 4711

static void know(struct world *w, const char *region, bool allows)
{
    char json[512];
    struct err_msg msg = {""};
    snprintf(json, sizeof(json),
             "{\"id\":\"eu\",\"number\":1,\"firstShard\":2,\"shards\":1,"
             "\"keys\":[],\"members\":[1],\"firstMembers\":[1],"
             "\"regions\":[\"%s\"]%s}",
             region, allows ? ",\"transit\":\"allow\"" : "");
    if (catalog_put(w->catalog, CONTAINER_GROUPS, rid_counter(2, 0, 0),
                    bytes_str(json), 1, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
}

/* A group in `region`, and a container in it. */
static void with_group(struct world *w, const char *region, bool allows)
{
    know(w, region, allows);
    expect_status(SEND(w, "POST", "/dbs", "{\"id\":\"d\"}"), 201);
    expect_status(SEND(w, "POST", "/dbs/d/colls",
                       "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"]}}",
                       "x-bastide-placement: eu"),
                  201);
}

static struct passage passed(const struct world *w)
{
    struct passage p;
    assert_int_equal(
        passage_decode(bytes_of(buf_bytes(&w->passage), buf_len(&w->passage)),
                       &p),
        ERR_OK);
    return p;
}

static bool head_has(const struct passage *p, const char *line)
{
    return memmem(p->head.data, p->head.len, line, strlen(line)) != NULL;
}

/* What the node inside says. */
static void will_answer(struct world *w, struct buf *storage, uint16_t status,
                        const char *headers, const char *body)
{
    const struct passage_answer a = {.status = status,
                                     .headers = bytes_str(headers),
                                     .body = bytes_str(body)};
    buf_init(storage, PASSAGE_ANSWER_ENCODED_MAX);
    assert_int_equal(passage_answer_encode(&a, storage), ERR_OK);
    w->passed = (struct cosmos_passed){
        .answer = bytes_of(buf_bytes(storage), buf_len(storage))};
}

/* ---- outside ---------------------------------------------------------------
 */

static void a_request_is_passed_on_as_it_is(void **state)
{
    struct world *w = *state;
    struct buf answer;
    with_group(w, "westus", true);
    will_answer(
        w, &answer, 201,
        "Content-Type: application/json\r\nx-ms-session-token: 0:1#9\r\n"
        "etag: \"e\"\r\n",
        "{\"id\":\"1\"}");
    unsigned writes = w->ops[OP_WRITE];
    struct response *r =
        SEND(w, "POST", DOCS, "{\"id\":\"1\",\"pk\":\"a\"}",
             "x-ms-documentdb-partitionkey: [\"a\"]", "If-Match: \"x\"",
             "x-ms-activity-id: 6ba7b810-9dad-41d1-80b4-00c04fd430c8",
             "Content-Type: application/json", "Cookie: secret");
    expect_status(r, 201);
    expect_header(r, "x-ms-session-token", "0:1#9");
    expect_header(r, "etag", "\"e\"");
    assert_string_equal(resp_body(r), "{\"id\":\"1\"}");
    struct passage p = passed(w);
    assert_int_equal(p.shard, 2);
    assert_false(p.read_only);
    assert_true(w->passed_writes);
    assert_int_equal(w->passed_group, 1);
    assert_true(bytes_equal(p.body, bytes_str("{\"id\":\"1\",\"pk\":\"a\"}")));
    assert_int_equal(
        memcmp(p.head.data, "POST " DOCS " HTTP/1.1\r\nhost: transit\r\n",
               strlen("POST " DOCS " HTTP/1.1\r\nhost: transit\r\n")),
        0);
    assert_true(head_has(&p, "\r\nx-ms-documentdb-partitionkey: [\"a\"]\r\n"));
    assert_true(head_has(&p, "\r\nIf-Match: \"x\"\r\n"));
    assert_true(head_has(&p, "\r\ncontent-length: 19\r\n"));
    assert_true(head_has(&p, "\r\nx-ms-activity-id: 6ba7b810-9dad-41d1-80b4-"
                             "00c04fd430c8\r\n"));
    assert_false(head_has(&p, "authorization"));
    assert_false(head_has(&p, "x-ms-date"));
    assert_false(head_has(&p, "secret"));
    /* Nothing was done here. */
    assert_int_equal(w->ops[OP_WRITE], writes);
    buf_free(&answer);
}

static void what_the_key_may_is_passed_on(void **state)
{
    struct world *w = *state;
    struct buf answer;
    uint8_t key[AUTH_KEY_LEN];
    with_group(w, "westus", true);
    will_answer(w, &answer, 200, "", "{}");
    memset(key, 0x33, sizeof(key));
    assert_int_equal(
        auth_key_init(&w->signer, bytes_of(key, sizeof(key)), AUTH_READ_ONLY),
        ERR_OK);
    expect_status(
        SEND(w, "GET", DOCS "/1", "", "x-ms-documentdb-partitionkey: [\"a\"]"),
        200);
    assert_true(passed(w).read_only);
    assert_false(w->passed_writes);
    /* A write is refused where the key is verified. */
    expect_status(SEND(w, "POST", DOCS, "{\"id\":\"1\",\"pk\":\"a\"}"), 403);
    assert_int_equal(w->passed_on, 1);
    buf_free(&answer);
}

static void denied_is_denied(void **state)
{
    struct world *w = *state;
    with_group(w, "westus", false);
    expect_failure(SEND(w, "GET", DOCS "/1", ""), 403, NULL,
                   "keeps them in westus; this is eastus");
    know(w, "westus", true);
    w->passed.err = ERR_FORBIDDEN; /* the other knows better */
    expect_failure(SEND(w, "GET", DOCS "/1", ""), 403, NULL,
                   "keeps them in westus; this is eastus");
    assert_int_equal(w->passed_on, 1);
    /* Ranges are no documents. */
    expect_status(SEND(w, "GET", "/dbs/d/colls/c/pkranges", ""), 200);
    assert_int_equal(w->passed_on, 1);
}

static void failures_keep_their_promises(void **state)
{
    struct world *w = *state;
    static const struct {
        int err, status;
    } cases[] = {{ERR_UNAVAILABLE, 503},
                 {ERR_TIMEOUT, 408},
                 {ERR_THROTTLED, 429},
                 {ERR_LIMIT, 413}};
    with_group(w, "westus", true);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        w->passed = (struct cosmos_passed){.err = cases[i].err};
        expect_status(SEND(w, "POST", DOCS, "{\"id\":\"1\",\"pk\":\"a\"}"),
                      cases[i].status);
    }
    /* An answer that cannot be read: what it did is unknown. */
    w->passed = (struct cosmos_passed){.answer = bytes_str("nonsense")};
    expect_status(SEND(w, "POST", DOCS, "{\"id\":\"1\",\"pk\":\"a\"}"), 408);
    expect_status(SEND(w, "GET", DOCS "/1", ""), 503);
}

static void a_container_that_moves_is_looked_up_again(void **state)
{
    struct world *w = *state;
    struct buf answer;
    with_group(w, "westus", true);
    will_answer(w, &answer, 503, "x-bastide-elsewhere: true\r\n", "{}");
    unsigned barriers = w->ops[OP_BARRIER];
    expect_status(SEND(w, "GET", DOCS "/1", ""), 503);
    assert_int_equal(w->passed_on, 1 + CALL_MOVED_MAX);
    assert_int_equal(w->ops[OP_BARRIER] - barriers, CALL_MOVED_MAX);
    expect_header(SEND(w, "GET", DOCS "/1", ""), "x-bastide-elsewhere", NULL);
    buf_free(&answer);
}

/* ---- inside ----------------------------------------------------------------
 */

static struct response *receive(struct world *w, struct passage p,
                                const char *method, const char *target,
                                const char *body)
{
    world_forget();
    struct fake_request *f = request_new(method, target, bytes_str(body));
    last_request = f;
    request_header(f, "x-ms-documentdb-partitionkey: [\"a\"]");
    memcpy(p.id, ID, OP_ID_LEN);
    cosmos_on_passage(w->cosmos, &f->http, &p, SINCE_US, true);
    return &f->response;
}

static void a_passage_is_run_without_a_signature(void **state)
{
    struct world *w = *state;
    const struct passage p = {.shard = 2};
    with_group(w, "eastus", true);
    expect_status(receive(w, p, "POST", DOCS, "{\"id\":\"1\",\"pk\":\"a\"}"),
                  201);
    /* By the id that it came with, and as old. */
    assert_memory_equal(w->last_id, ID, OP_ID_LEN);
    assert_int_equal(w->last_since, SINCE_US);
    assert_true(w->last_again);
    expect_status(receive(w, p, "GET", DOCS "/1", ""), 200);
    expect_contains(&last_request->response, "\"pk\":\"a\"");
    expect_failure(receive(w, p, "GET", DOCS "/2", ""), 404, NULL,
                   "does not exist");
    /* And nothing but documents. */
    expect_status(receive(w, p, "GET", "/dbs/d", ""), 404);
    expect_status(receive(w, p, "DELETE", "/dbs/d", ""), 404);
    expect_status(SEND(w, "GET", "/dbs/d", ""), 200);
}

/* Whoever sent it may have asked another node meanwhile. */
static void a_write_is_not_run_late(void **state)
{
    struct world *w = *state;
    const struct passage p = {.shard = 2};
    with_group(w, "eastus", true);
    expect_status(receive(w, p, "POST", DOCS, "{\"id\":\"1\",\"pk\":\"a\"}"),
                  201);
    assert_int_equal(w->last_timeout, COSMOS_PASSED_TIMEOUT_US);
    expect_status(receive(w, p, "GET", DOCS "/1", ""), 200);
    assert_true(w->last_timeout > COSMOS_PASSED_TIMEOUT_US);
}

static void a_read_only_key_stays_one(void **state)
{
    struct world *w = *state;
    const struct passage p = {.shard = 2, .read_only = true};
    with_group(w, "eastus", true);
    expect_failure(receive(w, p, "POST", DOCS, "{\"id\":\"1\",\"pk\":\"a\"}"),
                   403, NULL, "read-only key");
    expect_status(receive(w, p, "GET", DOCS, ""), 200);
}

static void a_passage_that_does_not_fit_is_sent_back(void **state)
{
    struct world *w = *state;
    with_group(w, "eastus", true);
    struct response *r =
        receive(w, (struct passage){.shard = 1}, "GET", DOCS "/1", "");
    expect_status(r, 503);
    expect_header(r, "x-bastide-elsewhere", "true");
    know(w, "eastus", false);
    r = receive(w, (struct passage){.shard = 2}, "GET", DOCS "/1", "");
    expect_header(r, "x-bastide-elsewhere", "true");
    /* Outside, too, it is not passed on once more. */
    know(w, "westus", true);
    r = receive(w, (struct passage){.shard = 2}, "GET", DOCS "/1", "");
    expect_header(r, "x-bastide-elsewhere", "true");
    assert_int_equal(w->passed_on, 0);
}

/* ---- the bytes -------------------------------------------------------------
 */

static void passages_survive(void **state)
{
    (void)state;
    struct buf b;
    struct passage p = {.shard = 7,
                        .read_only = true,
                        .id = ID "",
                        .head = bytes_str("GET"),
                        .body = bytes_str("body")},
                   q;
    buf_init(&b, PASSAGE_ENCODED_MAX);
    assert_int_equal(passage_encode(&p, &b), ERR_OK);
    struct bytes in = bytes_of(buf_bytes(&b), buf_len(&b));
    assert_int_equal(passage_encoded_shard(in), 7);
    assert_int_equal(passage_decode(in, &q), ERR_OK);
    assert_true(q.shard == 7 && q.read_only);
    assert_memory_equal(q.id, ID, OP_ID_LEN);
    assert_true(bytes_equal(q.head, p.head) && bytes_equal(q.body, p.body));
    for (size_t cut = 0; cut < in.len; cut++)
        assert_int_equal(passage_decode(bytes_of(in.data, cut), &q),
                         ERR_MALFORMED);
    assert_int_equal(passage_encoded_shard(bytes_of(in.data, 2)), SHARD_META);
    p.body.len = PASSAGE_BODY_MAX + 1;
    assert_int_equal(passage_encode(&p, &b), ERR_LIMIT);
    buf_free(&b);
}

static void answers_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"x",          "x: y",       ": y\r\n",
                                      "x y: z\r\n", "x:y\r\n",    "a: b\r\nx",
                                      "\r\n",       "a: b\nc\r\n"};
    struct buf b;
    struct passage_answer a = {.status = 200,
                               .headers = bytes_str("a: b\r\nC: \r\n")},
                          back;
    struct http_header h;
    size_t at = 0;
    buf_init(&b, PASSAGE_ANSWER_ENCODED_MAX);
    assert_int_equal(passage_answer_encode(&a, &b), ERR_OK);
    assert_int_equal(
        passage_answer_decode(bytes_of(buf_bytes(&b), buf_len(&b)), &back),
        ERR_OK);
    assert_true(passage_header_next(back.headers, &at, &h));
    assert_true(bytes_equal(h.value, bytes_str("b")));
    assert_true(passage_header_next(back.headers, &at, &h));
    assert_true(bytes_equal(h.name, bytes_str("C")) && h.value.len == 0);
    assert_false(passage_header_next(back.headers, &at, &h));
    for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
        buf_clear(&b);
        a.headers = bytes_str(i > 0 ? bad[i - 1] : "");
        a.status = i > 0 ? 200 : 199;
        assert_int_equal(passage_answer_encode(&a, &b), ERR_OK);
        assert_int_equal(
            passage_answer_decode(bytes_of(buf_bytes(&b), buf_len(&b)), &back),
            ERR_MALFORMED);
    }
    buf_free(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_passed_on_as_it_is),
        TEST(what_the_key_may_is_passed_on),
        TEST(denied_is_denied),
        TEST(failures_keep_their_promises),
        TEST(a_container_that_moves_is_looked_up_again),
        TEST(a_passage_is_run_without_a_signature),
        TEST(a_write_is_not_run_late),
        TEST(a_read_only_key_stays_one),
        TEST(a_passage_that_does_not_fit_is_sent_back),
        cmocka_unit_test(passages_survive),
        cmocka_unit_test(answers_are_checked),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
