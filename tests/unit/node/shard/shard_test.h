/* What the tests of a shard share. */
#ifndef BASTIDE_TESTS_SHARD_TEST_H
#define BASTIDE_TESTS_SHARD_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/mem.h"
#include "tests/lib/shard_cluster.h"

/* Three nodes, a leader: what most stories begin with. */
struct story {
    struct cluster *c;
    raft_id leader, other, third;
};

static inline struct story story_begin(const struct cluster_options *options)
{
    struct story s = {.c = cluster_new(options)};
    s.leader = cluster_elect(s.c);
    s.other = s.leader % 3 + 1;
    s.third = s.other % 3 + 1;
    cluster_turns(s.c, 5);
    return s;
}

static inline struct story story_of_three(void)
{
    return story_begin(&(struct cluster_options){.nodes = 3});
}

static inline void story_end(struct story *s)
{
    cluster_free(s->c);
}

/* One write, to its end; its outcome, and its etag unless NULL. */
static inline int written(struct cluster *c, raft_id id,
                          enum op_write_mode mode, struct op_address at,
                          const char *body, struct etag *etag_out)
{
    struct cluster_call call;
    cluster_write(c, &call, mode, at, body);
    int err = cluster_do(c, id, &call);
    if (etag_out != NULL)
        *etag_out = call.result.etag;
    cluster_call_free(&call);
    return err;
}

static inline void put(struct cluster *c, raft_id id, unsigned pk, unsigned doc,
                       const char *body)
{
    assert_int_equal(written(c, id, OP_UPSERT, cluster_at(pk, doc), body, NULL),
                     ERR_OK);
}

/* What a read at `id` finds: whether the stored text begins with `body`; a
 * NULL body stands for "there is none". */
static inline void expect_read(struct cluster *c, raft_id id, unsigned pk,
                               unsigned doc, const char *body)
{
    struct cluster_call call;
    cluster_read(c, &call, cluster_at(pk, doc));
    int err = cluster_do(c, id, &call);
    assert_int_equal(err, body != NULL ? ERR_OK : ERR_NOT_FOUND);
    if (body != NULL)
        assert_memory_equal(cluster_text(&call), body, strlen(body));
    cluster_call_free(&call);
}

/* All running nodes come to hold the same records. */
static inline void expect_same_everywhere(struct cluster *c, unsigned nodes)
{
    cluster_turns(c, 400);
    uint64_t digest = cluster_digest(c, 1);
    for (raft_id id = 2; id <= nodes; id++)
        assert_int_equal(cluster_digest(c, id), digest);
}

#endif
