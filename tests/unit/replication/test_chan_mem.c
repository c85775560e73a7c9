/* The channel in memory keeps the promises of chan.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "replication/link/chan_mem.h"

struct side {
    struct chan *chan;
    unsigned opens, datas, writables, closes;
    int err;
    bool consume, free_on_data, free_on_close;
};

static void on_open(struct chan *c, void *user)
{
    (void)c;
    ((struct side *)user)->opens++;
}

static void on_data(struct chan *c, void *user)
{
    struct side *s = user;
    s->datas++;
    if (s->consume)
        buf_consume(chan_input(c), buf_len(chan_input(c)));
    if (s->free_on_data) {
        chan_free(c);
        s->chan = NULL;
    }
}

static void on_writable(struct chan *c, void *user)
{
    assert_true(chan_output_len(c) <= CHAN_OUTPUT_LOW);
    ((struct side *)user)->writables++;
}

static void on_close(struct chan *c, void *user, int err)
{
    struct side *s = user;
    s->closes++;
    s->err = err;
    if (s->free_on_close) {
        chan_free(c);
        s->chan = NULL;
    }
}

static const struct chan_handler handler = {on_open, on_data, on_writable,
                                            on_close};

static void open_pair(const struct chan_mem_options *o, struct side *a,
                      struct side *b)
{
    chan_mem_pair(o, &a->chan, &b->chan);
    chan_set_handler(a->chan, &handler, a);
    chan_set_handler(b->chan, &handler, b);
    chan_mem_run(a->chan);
    assert_int_equal(a->opens, 1);
    assert_int_equal(b->opens, 1);
}

static void bytes_move_only_in_steps(void **state)
{
    (void)state;
    struct chan_mem_options o = {.step_bytes = 2,
                                 .uri_seen_by_b = "spiffe://x"};
    struct side a = {0}, b = {0};
    open_pair(&o, &a, &b);
    assert_null(chan_peer_uri(a.chan));
    assert_string_equal(chan_peer_uri(b.chan), "spiffe://x");
    assert_int_equal(chan_write(a.chan, "hello", 5), ERR_OK);
    assert_int_equal(b.datas, 0);
    assert_true(chan_mem_step(a.chan));
    assert_int_equal(buf_len(chan_input(b.chan)), 2);
    assert_int_equal(chan_sent(a.chan), 2);
    assert_int_equal(chan_output_len(a.chan), 3);
    chan_mem_run(b.chan);
    assert_int_equal(b.datas, 3);
    assert_memory_equal(buf_bytes(chan_input(b.chan)), "hello", 5);
    assert_false(chan_mem_step(a.chan));
    chan_free(a.chan);
    chan_free(b.chan);
}

static void limits_push_back(void **state)
{
    (void)state;
    struct chan_mem_options o = {.input_max = 4, .output_max = 6};
    struct side a = {0}, b = {0};
    open_pair(&o, &a, &b);
    assert_int_equal(chan_write(a.chan, "1234567", 7), ERR_FULL);
    assert_int_equal(chan_write(a.chan, "123456", 6), ERR_OK);
    chan_mem_run(a.chan);
    assert_int_equal(buf_len(chan_input(b.chan)), 4);
    assert_int_equal(a.writables, 1);
    chan_read_stop(b.chan);
    buf_consume(chan_input(b.chan), 4);
    chan_mem_run(a.chan);
    assert_int_equal(buf_len(chan_input(b.chan)), 0);
    chan_read_start(b.chan);
    chan_mem_run(a.chan);
    assert_int_equal(buf_len(chan_input(b.chan)), 2);
    chan_free(a.chan);
    chan_free(b.chan);
}

static void closing_sends_first(void **state)
{
    (void)state;
    struct side a = {0}, b = {.consume = true};
    open_pair(NULL, &a, &b);
    assert_int_equal(chan_write(a.chan, "bye", 3), ERR_OK);
    chan_close_when_sent(a.chan);
    assert_int_equal(chan_write(a.chan, "x", 1), ERR_CLOSED);
    chan_mem_run(a.chan);
    assert_int_equal(b.datas, 1);
    assert_true(a.closes == 1 && a.err == ERR_EOF);
    assert_true(b.closes == 1 && b.err == ERR_EOF);
    chan_free(a.chan);
    chan_free(b.chan);
}

static void a_broken_pair_loses_what_was_queued(void **state)
{
    (void)state;
    struct side a = {0}, b = {0};
    open_pair(NULL, &a, &b);
    assert_int_equal(chan_write(a.chan, "lost", 4), ERR_OK);
    chan_mem_break(a.chan, ERR_IO, "cut");
    assert_int_equal(a.closes, 0);
    chan_mem_run(a.chan);
    assert_int_equal(b.datas, 0);
    assert_true(a.closes == 1 && b.closes == 1);
    assert_int_equal(b.err, ERR_IO);
    assert_string_equal(chan_reason(b.chan), "cut");
    chan_free(a.chan);
    chan_free(b.chan);
}

static void a_reset_end_is_a_break_for_the_other(void **state)
{
    (void)state;
    struct side a = {0}, b = {0};
    open_pair(NULL, &a, &b);
    assert_int_equal(chan_write(a.chan, "lost", 4), ERR_OK);
    chan_reset(a.chan);
    assert_int_equal(chan_write(a.chan, "x", 1), ERR_CLOSED);
    chan_free(a.chan);
    chan_mem_run(b.chan);
    assert_int_equal(b.datas, 0);
    assert_true(b.closes == 1 && b.err == ERR_IO);
    assert_string_equal(chan_reason(b.chan), "reset by the peer");
    chan_free(b.chan);
}

static void freeing_inside_callbacks_is_allowed(void **state)
{
    (void)state;
    struct side a = {.free_on_close = true}, b = {.free_on_data = true};
    open_pair(NULL, &a, &b);
    assert_int_equal(chan_write(a.chan, "x", 1), ERR_OK);
    chan_mem_run(a.chan); /* frees both; a hears of b's end */
    assert_null(a.chan);
    assert_null(b.chan);
    assert_true(a.closes == 1 && a.err == ERR_EOF);
    assert_int_equal(b.closes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_move_only_in_steps),
        cmocka_unit_test(limits_push_back),
        cmocka_unit_test(closing_sends_first),
        cmocka_unit_test(a_broken_pair_loses_what_was_queued),
        cmocka_unit_test(a_reset_end_is_a_break_for_the_other),
        cmocka_unit_test(freeing_inside_callbacks_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
