/* Promises of edits of the account's record: who asked hears how one ended, and
 * so does the audit. The meta shard is the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/base/mem.h"
#include "node/server/account_edit.h"
#include "node/server/worker.h"

static struct world {
    struct worker *w;
    struct keyed_hash *hash;
    /* What waits for its answer; NULL: nothing. */
    const struct op *op;
    op_done_cb *done;
    void *user;
    char audit[400]; /* what was noted, each with a ';' behind it */
    unsigned times;  /* that the end was told, and which it was */
    int err;
    char text[ERR_MSG_MAX];
} world;

/* ---- what it is linked with -------------------------------------------------
 */

static void fake_submit(struct backend *b, const struct op *op,
                        usec_t timeout_us, op_done_cb *done, void *user)
{
    (void)b;
    assert_int_equal(timeout_us, USEC_PER_SEC);
    assert_int_equal(op->at.container, CONTAINER_ACCOUNT);
    assert_null(world.op);
    world.op = op;
    world.done = done;
    world.user = user;
}

void group_edit_audit(struct worker *w, const char *who, const char *what,
                      const char *before, const char *after, const char *reason)
{
    (void)w, (void)who, (void)before, (void)after, (void)reason;
    size_t len = strlen(world.audit);
    snprintf(world.audit + len, sizeof(world.audit) - len, "%s;", what);
}

/* ---- the world --------------------------------------------------------------
 */

static int setup(void **state)
{
    static const uint8_t key[SEAL_KEY_LEN];
    (void)state;
    memset(&world, 0, sizeof(world));
    world.hash = keyed_hash_new(key);
    world.w = mem_zalloc(sizeof(*world.w));
    world.w->magic = WORKER_MAGIC;
    world.w->meta_hash = world.hash;
    world.w->router.backend.submit = fake_submit;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_null(world.op);
    mem_free(world.w);
    keyed_hash_free(world.hash);
    return 0;
}

static int change(void *user, struct catalog_account *a,
                  const struct etag *etag, struct err_msg *msg)
{
    (void)user, (void)a, (void)etag, (void)msg;
    return ERR_OK;
}

static void describe(const struct catalog_account *a, char *out, size_t size)
{
    (void)a;
    snprintf(out, size, "as it is");
}

static void edited(void *user, int err, const struct catalog_account *a,
                   const struct etag *etag, const struct err_msg *msg)
{
    (void)user;
    assert_true((a != NULL) == (err == ERR_OK));
    assert_true((etag != NULL) == (err == ERR_OK));
    world.times++;
    world.err = err;
    snprintf(world.text, sizeof(world.text), "%s", msg->text);
}

static void begin(void)
{
    const struct account_edit edit = {.change = change,
                                      .describe = describe,
                                      .done = edited,
                                      .timeout_us = USEC_PER_SEC,
                                      .who = "me",
                                      .what = "edit"};
    world.times = 0;
    world.audit[0] = '\0';
    account_edit_begin(world.w, &edit);
}

static void answer(enum op_kind kind, int err, const char *text)
{
    struct op_result r;
    op_result_init(&r);
    assert_non_null(world.op);
    assert_int_equal(world.op->kind, kind);
    r.err = err;
    if (kind == OP_READ) {
        buf_init(&r.body, DEFINITION_MAX);
        assert_int_equal(buf_append(&r.body, text, strlen(text)), ERR_OK);
    } else {
        snprintf(r.message.text, sizeof(r.message.text), "%s", text);
    }
    world.op = NULL;
    world.done(world.user, &r);
    op_result_free(&r);
}

static void is_read(void)
{
    answer(OP_READ, ERR_OK, "{\"id\":\"account\"}");
}

static void expect_end(int err, const char *text, const char *audit)
{
    assert_int_equal(world.times, 1);
    assert_int_equal(world.err, err);
    assert_string_equal(world.text, text);
    assert_string_equal(world.audit, audit);
}

/* ---- how it ends ------------------------------------------------------------
 */

static void what_is_written_is_audited_once(void **state)
{
    (void)state;
    begin();
    is_read();
    answer(OP_WRITE, ERR_OK, "");
    expect_end(ERR_OK, "", "edit;");
}

static void one_that_is_overtaken_begins_anew(void **state)
{
    (void)state;
    begin();
    is_read();
    answer(OP_WRITE, ERR_PRECONDITION, "");
    is_read();
    answer(OP_WRITE, ERR_OK, "");
    expect_end(ERR_OK, "",
               "edit;edit: not done, another change came first;edit;");
}

/* Nothing was written, and the gate has said why. */
static void a_refusal_is_told_as_it_is(void **state)
{
    (void)state;
    begin();
    is_read();
    answer(OP_WRITE, ERR_INVALID, "placement group 'eu' is being removed");
    expect_end(ERR_INVALID, "placement group 'eu' is being removed",
               "edit;edit: refused;");
}

static void an_open_outcome_is_told_as_one(void **state)
{
    (void)state;
    begin();
    is_read();
    answer(OP_WRITE, ERR_TIMEOUT, "");
    assert_int_equal(world.err, ERR_TIMEOUT);
    assert_string_equal(world.audit, "edit;edit: may not have been done;");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_is_audited_once),
        TEST(one_that_is_overtaken_begins_anew),
        TEST(a_refusal_is_told_as_it_is),
        TEST(an_open_outcome_is_told_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
