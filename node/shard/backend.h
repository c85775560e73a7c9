/* How the APIs in front reach the shards: one function.
 *
 * The node (node/server) implements it; tests of the APIs implement it over a
 * table in memory. One backend belongs to one worker and is used only from its
 * loop.
 */
#ifndef BASTIDE_SHARD_BACKEND_H
#define BASTIDE_SHARD_BACKEND_H

#include "node/shard/op.h"

/* Called exactly once, from the loop, possibly before op submission returns.
 * The result is borrowed for the call; take what must live longer with
 * op_result_move. */
typedef void op_done_cb(void *user, struct op_result *result);

struct backend {
    /* Runs `op` wherever its shard can be served, retrying inside until
     * `timeout_us` from now has passed: leader changes and lost connections
     * are hidden from the caller as long as time allows and the outcome is
     * certain. Everything `op` borrows must live until `done`. Never refuses:
     * errors arrive in the result. */
    void (*submit)(struct backend *self, const struct op *op, usec_t timeout_us,
                   op_done_cb *done, void *user);
};

static inline void backend_submit(struct backend *b, const struct op *op,
                                  usec_t timeout_us, op_done_cb *done,
                                  void *user)
{
    b->submit(b, op, timeout_us, done, user);
}

#endif
