/* The account document, authorization, and what no route answers. */
#include "tests/unit/node/cosmos/fake.h"

static struct json doc;

static void parse(struct response *r)
{
    json_init(&doc);
    assert_int_equal(json_parse(&doc, bytes_str(resp_body(r)), 1 << 20, NULL),
                     ERR_OK);
}

static void expect_text(const char *key, const char *text)
{
    json_ref v = json_get_str(&doc, 0, key);
    assert_true(v != JSON_NONE);
    assert_true(json_string_equal(&doc, v, bytes_str(text)));
}

static void account_document_is_complete(void **state)
{
    struct world *w = *state;
    struct response *r = SEND(w, "GET", "/", "");
    expect_status(r, 200);
    expect_header(r, "Content-Type", "application/json");
    assert_int_equal(strlen(resp_header(r, "x-ms-activity-id")), 36);
    parse(r);
    expect_text("id", "acct");
    expect_text("_self", "");
    expect_text("_dbs", "//dbs/");
    static const char *const present[] = {"_rid",
                                          "media",
                                          "addresses",
                                          "enableMultipleWriteLocations",
                                          "readPolicy",
                                          "userReplicationPolicy",
                                          "systemReplicationPolicy"};
    for (size_t i = 0; i < sizeof(present) / sizeof(present[0]); i++)
        assert_true(json_get_str(&doc, 0, present[i]) != JSON_NONE);
    json_ref policy = json_get_str(&doc, 0, "userConsistencyPolicy");
    json_ref level = json_get_str(&doc, policy, "defaultConsistencyLevel");
    assert_true(json_string_equal(&doc, level, bytes_str("Strong")));
    /* A string that holds JSON. */
    struct buf inner;
    buf_init(&inner, 65536);
    json_ref engine = json_get_str(&doc, 0, "queryEngineConfiguration");
    assert_int_equal(json_decode_string(json_raw(&doc, engine), &inner), 0);
    struct json j;
    json_init(&j);
    assert_int_equal(json_parse(&j,
                                bytes_of(buf_bytes(&inner), buf_len(&inner)),
                                65536, NULL),
                     ERR_OK);
    json_free(&j);
    buf_free(&inner);
    json_free(&doc);
}

static void expect_location(json_ref list, uint32_t i, const char *name,
                            const char *endpoint)
{
    json_ref item = json_at(&doc, list, i);
    assert_true(json_string_equal(&doc, json_get_str(&doc, item, "name"),
                                  bytes_str(name)));
    assert_true(json_string_equal(
        &doc, json_get_str(&doc, item, "databaseAccountEndpoint"),
        bytes_str(endpoint)));
}

static void regions_stand_in_order_of_priority(void **state)
{
    struct world *w = *state;
    parse(SEND(w, "GET", "/", ""));
    json_ref readable = json_get_str(&doc, 0, "readableLocations");
    json_ref writable = json_get_str(&doc, 0, "writableLocations");
    assert_int_equal(json_count(&doc, readable), 3);
    assert_int_equal(json_count(&doc, writable), 1);
    expect_location(writable, 0, "eastus", "https://127.0.0.1:8082/");
    expect_location(readable, 0, "eastus", "https://127.0.0.1:8082/");
    expect_location(readable, 2, "northeu", "https://127.0.0.1:8084/");
    json_free(&doc);

    struct cosmos_account moved = {.id = "acct",
                                   .regions = fake_regions,
                                   .region_count = 3,
                                   .write_region = 2};
    assert_int_equal(cosmos_set_account(w->cosmos, &moved, NULL), ERR_OK);
    parse(SEND(w, "GET", "/", ""));
    expect_location(json_get_str(&doc, 0, "writableLocations"), 0, "northeu",
                    "https://127.0.0.1:8084/");
    /* Who has no preference reads where it writes. */
    readable = json_get_str(&doc, 0, "readableLocations");
    expect_location(readable, 0, "northeu", "https://127.0.0.1:8084/");
    expect_location(readable, 1, "eastus", "https://127.0.0.1:8082/");
    expect_location(readable, 2, "westus", "https://127.0.0.1:8083/");
    json_free(&doc);
}

static void lost_regions_are_not_advertised(void **state)
{
    struct world *w = *state;
    struct cosmos_region regions[3] = {fake_regions[0], fake_regions[1],
                                       fake_regions[2]};
    struct cosmos_account a = {
        .id = "acct", .regions = regions, .region_count = 3};
    regions[1].down = true;
    assert_int_equal(cosmos_set_account(w->cosmos, &a, NULL), ERR_OK);
    parse(SEND(w, "GET", "/", ""));
    json_ref readable = json_get_str(&doc, 0, "readableLocations");
    assert_int_equal(json_count(&doc, readable), 2);
    expect_location(readable, 0, "eastus", "https://127.0.0.1:8082/");
    expect_location(readable, 1, "northeu", "https://127.0.0.1:8084/");
    json_free(&doc);

    /* The write region is lost and no other has been decided on. */
    regions[0].down = true;
    assert_int_equal(cosmos_set_account(w->cosmos, &a, NULL), ERR_OK);
    parse(SEND(w, "GET", "/", ""));
    readable = json_get_str(&doc, 0, "readableLocations");
    assert_int_equal(json_count(&doc, readable), 1);
    expect_location(readable, 0, "northeu", "https://127.0.0.1:8084/");
    json_ref writable = json_get_str(&doc, 0, "writableLocations");
    assert_int_equal(json_count(&doc, writable), 1);
    expect_location(writable, 0, "northeu", "https://127.0.0.1:8084/");
    json_free(&doc);

    /* SDKs crash on empty lists. */
    regions[2].down = true;
    assert_int_equal(cosmos_set_account(w->cosmos, &a, NULL), ERR_OK);
    parse(SEND(w, "GET", "/", ""));
    writable = json_get_str(&doc, 0, "writableLocations");
    expect_location(writable, 0, "eastus", "https://127.0.0.1:8082/");
    json_free(&doc);
}

/* What GET / gives for westus when asked with this Host header. */
static void expect_westus(struct world *w, const char *host,
                          const char *endpoint)
{
    char line[512];
    snprintf(line, sizeof(line), "Host: %s", host);
    parse(SEND(w, "GET", "/", "", line));
    expect_location(json_get_str(&doc, 0, "readableLocations"), 1, "westus",
                    endpoint);
    json_free(&doc);
}

static void regions_are_told_by_the_name_the_client_used(void **state)
{
    struct world *w = *state;
    struct cosmos_account a = {.id = "acct",
                               .regions = fake_regions,
                               .region_count = 3,
                               .advertise = COSMOS_ADVERTISE_HOST};
    const char *listed = "https://127.0.0.1:8083/";
    assert_int_equal(cosmos_set_account(w->cosmos, &a, NULL), ERR_OK);
    expect_westus(w, "localhost:18081", "https://localhost:8083/");
    expect_westus(w, "db.example.org", "https://db.example.org:8083/");
    expect_westus(w, "[::1]:8081", "https://[::1]:8083/");
    a.advertise = COSMOS_ADVERTISE_REQUEST;
    assert_int_equal(cosmos_set_account(w->cosmos, &a, NULL), ERR_OK);
    expect_westus(w, "localhost:32768", "https://localhost:32768/");
    expect_westus(w, "db.example.org", "https://db.example.org/");
    a.advertise = COSMOS_ADVERTISE_LISTED;
    assert_int_equal(cosmos_set_account(w->cosmos, &a, NULL), ERR_OK);
    expect_westus(w, "localhost:18081", listed);
}

/* Nothing but a host gets into the document. */
static void a_host_that_is_none_is_not_told(void **state)
{
    struct world *w = *state;
    struct cosmos_account a = {.id = "acct",
                               .regions = fake_regions,
                               .region_count = 3,
                               .advertise = COSMOS_ADVERTISE_REQUEST};
    static const char *const bad[] = {"h\"},{\"name\":\"x",
                                      "user@h",
                                      "h/path",
                                      "h:",
                                      "h:0",
                                      "h:65536",
                                      "h:1:2",
                                      "[::1",
                                      "[]:1",
                                      "[::1]x",
                                      "[fe80::1%eth0]:80",
                                      "h h",
                                      "h\\",
                                      "h\xc3\xa4",
                                      ":80"};
    assert_int_equal(cosmos_set_account(w->cosmos, &a, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_westus(w, bad[i], "https://127.0.0.1:8083/");
    char longest[300];
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    expect_westus(w, longest, "https://127.0.0.1:8083/");
}

static void account_document_is_the_same_every_time(void **state)
{
    struct world *w = *state;
    char first[16384];
    snprintf(first, sizeof(first), "%s", resp_body(SEND(w, "GET", "/", "")));
    assert_string_equal(first, resp_body(SEND(w, "GET", "/", "")));
}

static void refuses_accounts_that_break_clients(void **state)
{
    struct world *w = *state;
    struct err_msg msg;
    struct cosmos_account a = {
        .id = "localhost", .regions = fake_regions, .region_count = 3};
    assert_int_equal(cosmos_set_account(w->cosmos, &a, &msg), ERR_INVALID);
    a.id = "LocalHost";
    assert_int_equal(cosmos_set_account(w->cosmos, &a, &msg), ERR_INVALID);
    a.id = "";
    assert_int_equal(cosmos_set_account(w->cosmos, &a, &msg), ERR_INVALID);
    a.id = "x";
    a.write_region = 3;
    assert_int_equal(cosmos_set_account(w->cosmos, &a, &msg), ERR_INVALID);
    a.write_region = 0;
    a.own_region = 3;
    assert_int_equal(cosmos_set_account(w->cosmos, &a, &msg), ERR_INVALID);
    a.own_region = 0;
    a.region_count = 0;
    assert_int_equal(cosmos_set_account(w->cosmos, &a, &msg), ERR_INVALID);
    static const char *const bad[] = {"http://a/", "https://a", "a", ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cosmos_region region = {.name = "r", .endpoint = bad[i]};
        a.regions = &region;
        a.region_count = 1;
        assert_int_equal(cosmos_set_account(w->cosmos, &a, &msg), ERR_INVALID);
    }
    expect_contains(SEND(w, "GET", "/", ""), "\"id\":\"acct\"");
}

/* ---- authorization ------------------------------------------------------- */

static struct response *send_unsigned(struct world *w, const char *method,
                                      const char *target)
{
    world_forget();
    last_request = request_new(method, target, bytes_str(""));
    cosmos_http_handler.on_request(&last_request->http, w->cosmos);
    return &last_request->response;
}

static struct response *send_signed(struct world *w, const struct auth_key *key,
                                    const char *method, const char *target,
                                    const char *line, int64_t wall_s)
{
    struct signature s;
    world_forget();
    last_request = request_new(method, target, bytes_str("{\"query\":\"x\"}"));
    if (line != NULL)
        request_header(last_request, line);
    request_sign(key, last_request, wall_s, &s);
    cosmos_http_handler.on_request(&last_request->http, w->cosmos);
    return &last_request->response;
}

static void unsigned_requests_get_401_everywhere(void **state)
{
    struct world *w = *state;
    static const char *const targets[] = {
        "/", "/dbs", "/dbs/d", "/dbs/d/colls/c/docs/1", "/offers", "/nowhere"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        expect_failure(send_unsigned(w, "GET", targets[i]), 401, NULL,
                       "Required Header authorization is missing");
    assert_int_equal(w->ops[OP_READ] + w->ops[OP_BARRIER], 0);
}

static void wrongly_signed_requests_get_401(void **state)
{
    struct world *w = *state;
    struct auth_key key;
    uint8_t raw[AUTH_KEY_LEN] = {1};
    assert_int_equal(
        auth_key_init(&key, bytes_of(raw, sizeof(raw)), AUTH_READ_WRITE), 0);
    struct response *r = send_signed(w, &key, "GET", "/dbs", NULL, FAKE_WALL_S);
    expect_failure(r, 401, NULL,
                   "The input authorization token can't serve "
                   "the request.");
    expect_contains(r, "\"code\":\"Unauthorized\"");
    expect_contains(r, "get\\ndbs\\n");
}

static void old_and_future_dates_get_403(void **state)
{
    struct world *w = *state;
    int64_t skew = AUTH_SKEW_MAX_S + 1;
    expect_failure(
        send_signed(w, &w->signer, "GET", "/", NULL, FAKE_WALL_S - skew), 403,
        NULL, "not valid at the current time");
    expect_failure(
        send_signed(w, &w->signer, "GET", "/", NULL, FAKE_WALL_S + skew), 403,
        NULL, "not valid at the current time");
    expect_status(
        send_signed(w, &w->signer, "GET", "/", NULL, FAKE_WALL_S - skew + 1),
        200);
}

static void a_read_only_key_reads_and_queries_only(void **state)
{
    struct world *w = *state;
    struct auth_key key;
    uint8_t raw[AUTH_KEY_LEN];
    memset(raw, 0x33, sizeof(raw));
    world_container(w);
    assert_int_equal(
        auth_key_init(&key, bytes_of(raw, sizeof(raw)), AUTH_READ_ONLY), 0);
    static const char docs[] = "/dbs/d/colls/c/docs";
    expect_status(send_signed(w, &key, "GET", docs, NULL, FAKE_WALL_S), 200);
    expect_status(send_signed(w, &key, "POST", docs, NULL, FAKE_WALL_S), 403);
    expect_status(
        send_signed(w, &key, "PUT", "/dbs/d/colls/c/docs/1", NULL, FAKE_WALL_S),
        403);
    expect_status(send_signed(w, &key, "DELETE", "/dbs/d", NULL, FAKE_WALL_S),
                  403);
    expect_status(send_signed(w, &key, "GET", "/dbs/d/users/u/permissions",
                              NULL, FAKE_WALL_S),
                  403);
    /* A query, though a bad one; the plan is refused as such. */
    expect_status(send_signed(w, &key, "POST", docs,
                              "x-ms-documentdb-isquery: True", FAKE_WALL_S),
                  400);
    expect_status(send_signed(w, &key, "POST", docs,
                              "x-ms-cosmos-is-query-plan-request: True",
                              FAKE_WALL_S),
                  400);
}

/* ---- no route ------------------------------------------------------------ */

static void unknown_routes_and_methods(void **state)
{
    struct world *w = *state;
    expect_failure(SEND(w, "GET", "/nowhere", ""), 404, NULL, "NotFound");
    expect_failure(SEND(w, "GET", "/a/b/c/d/e/f/g/h/i/j", ""), 404, NULL,
                   "NotFound");
    expect_failure(SEND(w, "PUT", "/", ""), 405, NULL, "MethodNotAllowed");
    expect_failure(SEND(w, "PUT", "/dbs/d", ""), 405, NULL, "");
    expect_failure(SEND(w, "DELETE", "/dbs", ""), 405, NULL, "");
    expect_failure(SEND(w, "OPTIONS", "/dbs", ""), 405, NULL, "");
    expect_failure(send_unsigned(w, "GET", "/dbs/%zz"), 400, NULL,
                   "path is malformed");
}

static void later_resources_answer_in_the_protocol(void **state)
{
    struct world *w = *state;
    world_container(w);
    static const char query[] = "{\"query\":\"SELECT * FROM root\"}";
    struct response *r =
        SEND(w, "POST", "/offers", query, "x-ms-documentdb-isquery: true");
    expect_status(r, 200);
    assert_string_equal(resp_body(r),
                        "{\"_rid\":\"\",\"Offers\":[],\"_count\":0}");
    expect_status(SEND(w, "GET", "/offers", ""), 200);
    expect_status(SEND(w, "GET", "/offers/abcd", ""), 404);
    r = SEND(w, "GET", "/dbs/d/colls/c/sprocs", "");
    expect_status(r, 200);
    expect_contains(r, "\"StoredProcedures\":[],\"_count\":0");
    expect_contains(SEND(w, "GET", "/dbs/d/colls/c/conflicts", ""),
                    "\"Conflicts\":[]");
    expect_contains(SEND(w, "GET", "/dbs/d/users", ""), "\"Users\":[]");
    expect_failure(SEND(w, "POST", "/dbs/d/users", "{\"id\":\"u\"}"), 501, NULL,
                   "not supported yet");
    expect_failure(SEND(w, "POST", "/dbs/d/colls/c/sprocs/s", "[]"), 501, NULL,
                   "not supported yet");
    expect_failure(SEND(w, "PATCH", "/dbs/d/colls/c/docs/1", "[]"), 501, NULL,
                   "not supported yet");
    expect_failure(SEND(w, "POST", "/dbs/d/colls/c/docs", "[]",
                        "x-ms-cosmos-is-batch-request: true"),
                   501, NULL, "not supported yet");
    expect_failure(
        SEND(w, "GET", "/dbs/d/colls/c/docs", "", "A-IM: Incremental Feed"),
        501, NULL, "not supported yet");
    r = SEND(w, "POST", "/dbs/d/colls/c/docs", query,
             "x-ms-cosmos-is-query-plan-request: True",
             "x-ms-documentdb-isquery: True");
    expect_failure(r, 400, NULL, "Query plans are not supported yet");
    /* These words would make the JavaScript SDK give up on its raw query. */
    assert_null(strstr(resp_body(r), "additionalErrorInfo"));
    assert_null(strstr(resp_body(r), "Cross partition query only supports"));
    expect_failure(SEND(w, "GET", "/dbs/d/colls/x/udfs", ""), 404, "1003", "");
}

static void activity_ids_are_unique_or_the_clients(void **state)
{
    struct world *w = *state;
    char first[64];
    snprintf(first, sizeof(first), "%s",
             resp_header(SEND(w, "GET", "/", ""), "x-ms-activity-id"));
    assert_string_not_equal(
        first, resp_header(SEND(w, "GET", "/", ""), "x-ms-activity-id"));
    static const char own[] = "2f5a0b9c-ea24-46b6-8022-8754b7c925aa";
    expect_header(
        SEND(w, "GET", "/", "",
             "x-ms-activity-id: 2f5a0b9c-ea24-46b6-8022-8754b7c925aa"),
        "x-ms-activity-id", own);
    struct response *r =
        SEND(w, "GET", "/", "", "x-ms-activity-id: <script>\"x\"");
    assert_int_equal(strlen(resp_header(r, "x-ms-activity-id")), 36);
}

static void session_tokens_and_levels_are_checked(void **state)
{
    struct world *w = *state;
    static const char *const good[] = {
        "x-ms-session-token: 0:1#120#1=118#2=97,1:1#44#1=44",
        "x-ms-session-token: 0:-1#5", "x-ms-session-token: 17:5",
        "x-ms-consistency-level: Session", "x-ms-consistency-level: Strong"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        expect_status(SEND(w, "GET", "/", "", good[i]), 200);
    static const char *const bad[] = {
        "x-ms-session-token: zero",   "x-ms-session-token: 0:1#NaN",
        "x-ms-session-token: 0:1#2#", "x-ms-session-token: 0:1#2#3",
        "x-ms-session-token: 0:",     "x-ms-session-token: 0:1#2,",
        "x-ms-session-token: 0:1:2",  "x-ms-consistency-level: Quorum"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_status(SEND(w, "GET", "/", "", bad[i]), 400);
    struct cosmos_account weaker = {.id = "acct",
                                    .regions = fake_regions,
                                    .region_count = 3,
                                    .consistency = {CONSISTENCY_SESSION, 0, 0}};
    assert_int_equal(cosmos_set_account(w->cosmos, &weaker, NULL), ERR_OK);
    expect_status(SEND(w, "GET", "/", "", good[4]), 400);
    expect_status(SEND(w, "GET", "/", "", good[3]), 200);
}

static void the_fronts_refusals_have_our_shape(void **state)
{
    struct world *w = *state;
    struct fake_request *f = request_new("GET", "/", bytes_str(""));
    struct buf body;
    buf_init(&body, 65536);
    cosmos_http_handler.format_error(&f->http, HTTP_REJECT_SYNTAX,
                                     "a \"bad\" request", &body, w->cosmos);
    assert_string_equal(buf_cstr(&body), "{\"code\":\"BadRequest\",\"message\":"
                                         "\"a \\\"bad\\\" request\"}");
    assert_non_null(resp_header(&f->response, "x-ms-activity-id"));
    buf_clear(&body);
    cosmos_http_handler.format_error(&f->http, HTTP_REJECT_BODY_SIZE, "too big",
                                     &body, w->cosmos);
    assert_non_null(strstr(buf_cstr(&body), "Request size is too large"));
    buf_free(&body);
    request_free(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(account_document_is_complete),
        TEST(regions_stand_in_order_of_priority),
        TEST(lost_regions_are_not_advertised),
        TEST(regions_are_told_by_the_name_the_client_used),
        TEST(a_host_that_is_none_is_not_told),
        TEST(account_document_is_the_same_every_time),
        TEST(refuses_accounts_that_break_clients),
        TEST(unsigned_requests_get_401_everywhere),
        TEST(wrongly_signed_requests_get_401),
        TEST(old_and_future_dates_get_403),
        TEST(a_read_only_key_reads_and_queries_only),
        TEST(unknown_routes_and_methods),
        TEST(later_resources_answer_in_the_protocol),
        TEST(activity_ids_are_unique_or_the_clients),
        TEST(session_tokens_and_levels_are_checked),
        TEST(the_fronts_refusals_have_our_shape),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
