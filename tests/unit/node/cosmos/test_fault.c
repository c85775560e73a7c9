/* Faults on request: whom they strike, and what their answers look like. */
#include "tests/unit/node/cosmos/fake.h"

#define DOCS "/dbs/d/colls/c/docs"
#define DOC(id) DOCS "/" id
#define PK_A "x-ms-documentdb-partitionkey: [\"a\"]"
#define DOC_1 "{\"id\":\"1\",\"pk\":\"a\",\"n\":1}"
#define QUERY "x-ms-documentdb-isquery: true"
#define UPSERT "x-ms-documentdb-is-upsert: True"
#define PLAN "x-ms-cosmos-is-query-plan-request: True"

/* Adds a fault, as it would be asked for. */
static struct inject_active *inject(struct world *w, const char *text)
{
    struct json j;
    struct inject_fault fault;
    struct err_msg msg = {""};
    const struct inject_active *added;
    json_init(&j);
    assert_int_equal(json_parse(&j, bytes_str(text), INJECT_BODY_MAX, NULL),
                     ERR_OK);
    if (inject_read(&j, 0, &fault, &msg) != ERR_OK)
        fail_msg("%s", msg.text);
    assert_int_equal(inject_list_add(&w->faults, &fault, 0, &added), ERR_OK);
    json_free(&j);
    w->faulty++;
    return &w->faults.active[w->faults.count - 1];
}

static void heal(struct world *w)
{
    w->faults.count = 0;
    w->faulty = 0;
}

/* ---- whom ---------------------------------------------------------------- */

static void requests_are_told_by_operation(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *method, *path, *header;
        enum inject_operation operation;
        const char *database, *container;
    } rows[] = {
        {"GET", "/", PK_A, INJECT_OP_ACCOUNT, "", ""},
        {"GET", "/dbs", PK_A, INJECT_OP_METADATA, "", ""},
        {"POST", "/dbs", PK_A, INJECT_OP_METADATA, "", ""},
        {"GET", "/dbs/d", PK_A, INJECT_OP_METADATA, "d", ""},
        {"GET", "/dbs/d/colls", PK_A, INJECT_OP_METADATA, "d", ""},
        {"DELETE", "/dbs/d/colls/x", PK_A, INJECT_OP_METADATA, "d", "x"},
        {"GET", "/dbs/d/colls/c/pkranges", PK_A, INJECT_OP_METADATA, "d", "c"},
        {"GET", "/nothing/d/that/is", PK_A, INJECT_OP_METADATA, "", ""},
        {"GET", DOCS, PK_A, INJECT_OP_QUERY, "d", "c"},
        {"POST", DOCS, QUERY, INJECT_OP_QUERY, "d", "c"},
        {"POST", DOCS, PLAN, INJECT_OP_QUERY, "d", "c"},
        {"POST", DOCS, PK_A, INJECT_OP_CREATE, "d", "c"},
        {"POST", DOCS, UPSERT, INJECT_OP_UPSERT, "d", "c"},
        {"GET", DOC("1"), PK_A, INJECT_OP_READ, "d", "c"},
        {"HEAD", DOC("1"), PK_A, INJECT_OP_READ, "d", "c"},
        {"PUT", DOC("1"), PK_A, INJECT_OP_REPLACE, "d", "c"},
        {"PATCH", DOC("1"), PK_A, INJECT_OP_REPLACE, "d", "c"},
        {"DELETE", DOC("1"), PK_A, INJECT_OP_DELETE, "d", "c"},
        {"GET", "/dbs/d/colls/c/conflicts", PK_A, INJECT_OP_QUERY, "d", "c"},
        {"DELETE", "/dbs/d/colls/c/conflicts/1", PK_A, INJECT_OP_DELETE, "d",
         "c"},
    };
    inject(w, "{\"kind\":\"respond\",\"status\":503}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect_status(
            SEND(w, rows[i].method, rows[i].path, "{}", rows[i].header), 503);
        if (w->asked.operation != rows[i].operation)
            fail_msg("%s %s (%s) is operation %d", rows[i].method, rows[i].path,
                     rows[i].header, w->asked.operation);
        assert_true(
            bytes_equal(w->asked.database, bytes_str(rows[i].database)));
        assert_true(
            bytes_equal(w->asked.container, bytes_str(rows[i].container)));
    }
    world_forget();
}

/* The text between two others in the last answer. */
static const char *between(struct response *r, const char *from, char end)
{
    static char text[64];
    const char *at = strstr(resp_body(r), from);
    assert_non_null(at);
    at += strlen(from);
    snprintf(text, sizeof(text), "%.*s", (int)(strchr(at, end) - at), at);
    return text;
}

static void a_path_of_rids_is_known_by_its_names(void **state)
{
    struct world *w = *state;
    char path[200];
    world_container(w);
    snprintf(
        path, sizeof(path), "/%s",
        between(SEND(w, "GET", "/dbs/d/colls/c", ""), "\"_self\":\"", '"'));
    inject(w, "{\"kind\":\"respond\",\"status\":503,\"container\":\"c\","
              "\"database\":\"d\"}");
    expect_status(SEND(w, "GET", path, ""), 503);
    assert_true(bytes_equal(w->asked.database, bytes_str("d")));
    assert_true(bytes_equal(w->asked.container, bytes_str("c")));
    world_forget();
}

static void filters_leave_the_others_alone(void **state)
{
    struct world *w = *state;
    world_container(w);
    expect_status(SEND(w, "POST", "/dbs/d/colls",
                       "{\"id\":\"e\",\"partitionKey\":{\"paths\":[\"/pk\"],"
                       "\"kind\":\"Hash\",\"version\":2}}"),
                  201);
    const struct inject_active *a =
        inject(w, "{\"kind\":\"respond\",\"status\":429,\"container\":\"c\","
                  "\"operation\":\"write\",\"count\":2}");
    expect_status(SEND(w, "POST", "/dbs/d/colls/e/docs", DOC_1, PK_A), 201);
    expect_status(SEND(w, "GET", DOCS, ""), 200);
    assert_int_equal(a->hits, 0);
    expect_status(SEND(w, "POST", DOCS, DOC_1, PK_A), 429);
    expect_status(SEND(w, "POST", DOCS, DOC_1, PK_A, UPSERT), 429);
    assert_int_equal(a->hits, 2);
    expect_status(SEND(w, "POST", DOCS, DOC_1, PK_A), 201);
    world_forget();
}

static void who_is_not_authorized_is_not_struck(void **state)
{
    struct world *w = *state;
    const struct inject_active *a =
        inject(w, "{\"kind\":\"respond\",\"status\":503}");
    struct fake_request *f = request_new("GET", "/dbs", bytes_of(NULL, 0));
    cosmos_http_handler.on_request(&f->http, w->cosmos);
    expect_status(&f->response, 401);
    assert_int_equal(a->hits, 0);
    request_free(f);
}

/* ---- answers ------------------------------------------------------------- */

static void answers_look_like_the_services_own(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *members, *code, *text, *substatus, *wait;
        int status;
    } rows[] = {
        {"\"status\":429,\"retry_after_ms\":50", "TooManyRequests",
         "Request rate is large", "3200", "50", 429},
        {"\"status\":429", "TooManyRequests", "Request rate is large", "3200",
         "100", 429},
        {"\"status\":429,\"substatus\":3201", "TooManyRequests",
         "Request rate is large", "3201", "100", 429},
        {"\"status\":503", "ServiceUnavailable", "unavailable", NULL, NULL,
         503},
        {"\"status\":503,\"substatus\":21008", "ServiceUnavailable",
         "unavailable", "21008", NULL, 503},
        {"\"status\":408", "RequestTimeout", "timed out", NULL, NULL, 408},
        {"\"status\":410,\"substatus\":1002", "Gone",
         "partition key range does not exist", "1002", NULL, 410},
        {"\"status\":410,\"substatus\":1000", "Gone", "no longer available",
         "1000", NULL, 410},
        {"\"status\":449,\"retry_after_ms\":7", "RetryWith",
         "Retry to avoid conflicts", NULL, "7", 449},
        {"\"status\":403,\"substatus\":3", "Forbidden",
         "Write operations are not allowed on this region", "3", NULL, 403},
        {"\"status\":403,\"substatus\":1008", "Forbidden",
         "\"writableLocations\":[]", "1008", NULL, 403},
        {"\"status\":403", "Forbidden", "not allowed", NULL, NULL, 403},
        {"\"status\":404,\"substatus\":1002", "NotFound",
         "read session is not available", "1002", NULL, 404},
        {"\"status\":401", "Unauthorized", "can't serve the request", NULL,
         NULL, 401},
        {"\"status\":409", "Conflict", "already exists", NULL, NULL, 409},
        {"\"status\":500", "InternalServerError", "could not complete", NULL,
         NULL, 500},
        {"\"status\":504", "GatewayTimeout", "in time", NULL, NULL, 504},
        {"\"status\":418", "BadRequest", "refused", NULL, NULL, 418},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[200];
        snprintf(text, sizeof(text),
                 "{\"kind\":\"respond\",\"id\":\"mine\",%s}", rows[i].members);
        inject(w, text);
        struct response *r = SEND(w, "GET", DOC("1"), "", PK_A);
        expect_failure(r, rows[i].status, rows[i].substatus, rows[i].text);
        expect_header(r, "x-ms-retry-after-ms", rows[i].wait);
        expect_contains(r, "(injected by fault mine)");
        assert_string_equal(between(r, "\"code\":\"", '"'), rows[i].code);
        heal(w);
    }
    world_forget();
}

static void a_missed_session_repeats_the_clients_token(void **state)
{
    struct world *w = *state;
    inject(w, "{\"kind\":\"respond\",\"status\":404,\"substatus\":1002}");
    struct response *r =
        SEND(w, "GET", DOC("1"), "", PK_A, "x-ms-session-token: 0:7#12");
    expect_failure(r, 404, "1002", "session");
    expect_header(r, "x-ms-session-token", "0:7#12");
    world_forget();
}

static void before_nothing_is_carried_out(void **state)
{
    struct world *w = *state;
    world_container(w);
    unsigned writes = w->ops[OP_WRITE];
    inject(w, "{\"kind\":\"respond\",\"status\":408}");
    expect_status(SEND(w, "POST", DOCS, DOC_1, PK_A), 408);
    assert_int_equal(w->ops[OP_WRITE], writes);
    heal(w);
    expect_status(SEND(w, "GET", DOC("1"), "", PK_A), 404);
    world_forget();
}

static void after_the_write_is_there(void **state)
{
    struct world *w = *state;
    world_container(w);
    inject(w, "{\"kind\":\"respond\",\"status\":408,\"when\":\"after\"}");
    struct response *r = SEND(w, "POST", DOCS, DOC_1, PK_A);
    expect_failure(r, 408, NULL, "after the request was carried out");
    expect_header(r, "x-ms-session-token", NULL);
    expect_header(r, "etag", NULL);
    heal(w);
    expect_status(SEND(w, "GET", DOC("1"), "", PK_A), 200);
    world_forget();
}

/* Also where the answer has no body, is a page, or is itself a refusal. */
static void after_replaces_every_kind_of_answer(void **state)
{
    struct world *w = *state;
    world_container(w);
    expect_status(SEND(w, "POST", DOCS, DOC_1, PK_A), 201);
    inject(w, "{\"kind\":\"respond\",\"status\":503,\"when\":\"after\"}");
    expect_failure(SEND(w, "GET", DOCS, ""), 503, NULL, "carried out");
    expect_failure(SEND(w, "GET", DOC("none"), "", PK_A), 503, NULL, "carried");
    expect_failure(SEND(w, "GET", "/", ""), 503, NULL, "carried out");
    expect_failure(SEND(w, "DELETE", DOC("1"), "", PK_A), 503, NULL, "carried");
    heal(w);
    expect_status(SEND(w, "GET", DOC("1"), "", PK_A), 404);
    world_forget();
}

static void after_may_come_late(void **state)
{
    struct world *w = *state;
    world_container(w);
    inject(w, "{\"kind\":\"respond\",\"status\":503,\"when\":\"after\"}");
    w->deferred = true;
    struct response *r = SEND(w, "POST", DOCS, DOC_1, PK_A);
    assert_int_equal(r->status, 0);
    heal(w); /* what struck, struck */
    world_deliver(w);
    expect_failure(r, 503, NULL, "carried out");
    world_forget();
}

static void a_reset_is_the_connections(void **state)
{
    struct world *w = *state;
    world_container(w);
    unsigned writes = w->ops[OP_WRITE];
    inject(w, "{\"kind\":\"reset\"}");
    assert_int_equal(SEND(w, "POST", DOCS, DOC_1, PK_A)->cut, HTTP_CUT_RESET);
    assert_int_equal(w->ops[OP_WRITE], writes);
    heal(w);
    inject(w, "{\"kind\":\"reset\",\"when\":\"after\"}");
    assert_int_equal(SEND(w, "POST", DOCS, DOC_1, PK_A)->cut, HTTP_CUT_RESET);
    assert_int_equal(w->ops[OP_WRITE], writes + 1);
    heal(w);
    struct response *r = SEND(w, "GET", DOC("1"), "", PK_A);
    expect_status(r, 200);
    assert_int_equal(r->cut, HTTP_CUT_NONE);
    world_forget();
}

static void truncated_answers_are_whole_up_to_there(void **state)
{
    struct world *w = *state;
    inject(w, "{\"kind\":\"truncate\"}");
    struct response *r = SEND(w, "GET", "/", "");
    expect_status(r, 200);
    assert_int_equal(r->cut, HTTP_CUT_HALF);
    world_forget();
}

static void a_delay_goes_with_any_other_fault(void **state)
{
    struct world *w = *state;
    inject(w, "{\"kind\":\"answer-delay\",\"delay_ms\":70}");
    struct response *r = SEND(w, "GET", "/", "");
    expect_status(r, 200);
    assert_int_equal(r->delay_us, 70 * USEC_PER_MS);
    inject(w, "{\"kind\":\"respond\",\"status\":503}");
    r = SEND(w, "GET", "/", "");
    expect_status(r, 503);
    assert_int_equal(r->delay_us, 70 * USEC_PER_MS);
    world_forget();
}

static struct response *send_signed_by(struct world *w, uint8_t byte)
{
    uint8_t key[AUTH_KEY_LEN];
    struct auth_key was = w->signer;
    memset(key, byte, sizeof(key));
    auth_key_init(&w->signer, bytes_of(key, sizeof(key)), AUTH_READ_WRITE);
    struct response *r = SEND(w, "GET", "/", "");
    w->signer = was;
    return r;
}

static void a_rotated_key_is_refused_and_the_others_are_not(void **state)
{
    struct world *w = *state;
    inject(w, "{\"kind\":\"key-rotated\",\"key\":\"primary\"}");
    struct response *r = send_signed_by(w, 0x5a);
    expect_failure(r, 401, NULL, "the key was rotated by fault f1");
    expect_status(send_signed_by(w, 0x33), 200);
    heal(w);
    expect_status(send_signed_by(w, 0x5a), 200);
    world_forget();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_told_by_operation),
        TEST(a_path_of_rids_is_known_by_its_names),
        TEST(filters_leave_the_others_alone),
        TEST(who_is_not_authorized_is_not_struck),
        TEST(answers_look_like_the_services_own),
        TEST(a_missed_session_repeats_the_clients_token),
        TEST(before_nothing_is_carried_out),
        TEST(after_the_write_is_there),
        TEST(after_replaces_every_kind_of_answer),
        TEST(after_may_come_late),
        TEST(a_reset_is_the_connections),
        TEST(truncated_answers_are_whole_up_to_there),
        TEST(a_delay_goes_with_any_other_fault),
        TEST(a_rotated_key_is_refused_and_the_others_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
