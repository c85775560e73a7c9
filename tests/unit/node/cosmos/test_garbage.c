/* Whatever a client with a valid key sends is answered once, in the protocol's
 * shape: requests that work, with bytes of path, headers and body changed at
 * random. The seed is fixed; a failure prints its round. */
#include "tests/unit/node/cosmos/fake.h"

#include "node/base/prng.h"

#define ROUNDS 4000
#define SEED UINT64_C(20261122)

struct sample {
    const char *method;
    const char *target;
    const char *body;
    const char *lines[4];
};

#define DOCS "/dbs/d/colls/c/docs"
#define PK_A "x-ms-documentdb-partitionkey: [\"a\"]"

static const struct sample samples[] = {
    {"GET", "/", "", {NULL}},
    {"GET", "/dbs", "", {"x-ms-max-item-count: 2", NULL}},
    {"POST", "/dbs", "{\"id\":\"x\"}", {NULL}},
    {"GET", "/dbs/d", "", {NULL}},
    {"PUT",
     "/dbs/d/colls/c",
     "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\","
     "\"version\":2},\"defaultTtl\":5}",
     {NULL}},
    {"GET", "/dbs/d/colls/c/pkranges", "", {"If-None-Match: \"x\"", NULL}},
    {"POST",
     DOCS,
     "{\"id\":\"1\",\"pk\":\"a\",\"n\":[1,{\"x\":null}]}",
     {PK_A, NULL}},
    {"POST",
     DOCS,
     "{\"id\":\"2\",\"pk\":\"a\",\"ttl\":5}",
     {PK_A, "x-ms-documentdb-is-upsert: true",
      "If-Match: \"00000007-0002-0000-0001-000000000001\"", NULL}},
    {"GET", DOCS "/1%20?", "", {PK_A, "x-ms-session-token: 0:1#2", NULL}},
    {"PUT",
     DOCS "/1",
     "{\"id\":\"1\",\"pk\":\"a\"}",
     {PK_A, "If-Match: *", NULL}},
    {"DELETE", DOCS "/2", "", {PK_A, NULL}},
    {"GET",
     DOCS,
     "",
     {"x-ms-max-item-count: 1", "x-ms-documentdb-partitionkeyrangeid: 1",
      NULL}},
    {"GET", DOCS, "", {"x-ms-start-epk: 10", "x-ms-end-epk: 30", NULL}},
    {"POST",
     "/offers",
     "{\"query\":\"SELECT * FROM r\"}",
     {"x-ms-documentdb-isquery: true", NULL}},
};

/* Changes up to three bytes of `text`; length stays, no NUL appears. */
static void change(struct prng *prng, char *text, bool printable)
{
    size_t len = strlen(text);
    for (uint64_t n = prng_below(prng, 4); n > 0 && len > 0; n--) {
        char c = (char)(printable ? prng_range(prng, 0x20, 0x7e)
                                  : prng_range(prng, 1, 255));
        text[prng_below(prng, len)] = c;
    }
}

static void round_of(struct world *w, struct prng *prng, const struct sample *s)
{
    static char target[256], body[512], lines[4][256];
    const char *list[5] = {NULL};
    snprintf(target, sizeof(target), "%s", s->target);
    snprintf(body, sizeof(body), "%s", s->body);
    if (prng_one_in(prng, 3))
        change(prng, target + 1, true);
    if (prng_one_in(prng, 2))
        change(prng, body, false);
    for (size_t i = 0; s->lines[i] != NULL; i++) {
        snprintf(lines[i], sizeof(lines[i]), "%s", s->lines[i]);
        if (prng_one_in(prng, 3))
            change(prng, strstr(lines[i], ": ") + 2, true);
        list[i] = lines[i];
    }
    struct response *r =
        world_send_bytes(w, s->method, target, bytes_str(body), list);
    assert_true(r->status >= 200 && r->status < 600);
    /* Nothing a client sends is the server's fault. */
    assert_true(r->status < 500 || r->status == 501);
    expect_status(r, r->status);
    assert_int_equal(cosmos_running(w->cosmos), 0);
}

static void garbage_is_answered_in_shape(void **state)
{
    struct world *w = *state;
    struct prng prng;
    prng_seed(&prng, SEED);
    world_container(w);
    for (int i = 0; i < ROUNDS; i++) {
        const struct sample *s =
            &samples[prng_below(&prng, sizeof(samples) / sizeof(samples[0]))];
        round_of(w, &prng, s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(garbage_is_answered_in_shape, world_new,
                                        world_free),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_forget();
    return failed;
}
