/* Which shards a question to all workers is about. */
#include "node/server/shard_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "node/base/mem.h"

static void holds_what_is_here(void **state)
{
    (void)state;
    static const uint16_t here[] = {0, 3, 4, 700, NODE_SHARDS_MAX - 1};
    struct node n = {.board = mem_zalloc(NODE_SHARDS_MAX * sizeof(*n.board))};
    for (size_t i = 0; i < ARRAY_LEN(here); i++)
        n.board[here[i]].here = true;
    struct shard_set *s = shard_set_new(&n);
    assert_int_equal(s->n, ARRAY_LEN(here));
    for (uint32_t i = 0; i < s->n; i++) {
        assert_int_equal(s->list[i].id, here[i]);
        assert_int_equal(shard_set_find(s, here[i]), i);
    }
    assert_int_equal(shard_set_find(s, 1), s->n);
    assert_int_equal(shard_set_find(s, 699), s->n);
    assert_int_equal(shard_set_find(s, 701), s->n);
    mem_free(s);
    mem_free(n.board);
}

static void names_only_who_told(void **state)
{
    (void)state;
    struct node n = {.board = mem_zalloc(NODE_SHARDS_MAX * sizeof(*n.board))};
    n.board[2].here = n.board[5].here = n.board[9].here = true;
    struct shard_set *s = shard_set_new(&n);
    s->list[shard_set_find(s, 2)].told = true;
    s->list[shard_set_find(s, 9)].told = true;
    uint32_t count = 0, sum = 0;
    SHARD_SET_EACH(s, i)
    {
        count++;
        sum += s->list[i].id;
    }
    assert_int_equal(count, 2);
    assert_int_equal(sum, 11);
    mem_free(s);
    mem_free(n.board);
}

static void may_be_empty(void **state)
{
    (void)state;
    struct node n = {.board = mem_zalloc(NODE_SHARDS_MAX * sizeof(*n.board))};
    struct shard_set *s = shard_set_new(&n);
    assert_int_equal(s->n, 0);
    assert_int_equal(shard_set_find(s, 0), 0);
    mem_free(s);
    mem_free(n.board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_what_is_here),
        cmocka_unit_test(names_only_who_told),
        cmocka_unit_test(may_be_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
