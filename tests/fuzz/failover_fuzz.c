/* Any bytes as gossip: refused, or a report whose encoding is the same bytes
 * again, and which a controller digests. The first byte says how many pieces
 * the rest is cut into; each is a message. */
#include <stddef.h>
#include <stdint.h>

#include "failover/failover.h"
#include "node/base/check.h"
#include "node/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct failover_topology three = {
    .n_regions = 3,
    .regions = {{1, "a"}, {2, "b"}, {3, "c"}},
    .n_nodes = 3,
    .nodes = {{1, 1, true, "a1"}, {2, 2, true, "b1"}, {3, 3, true, "c1"}}};

static void try_message(struct bytes in)
{
    uint8_t storage[FAILOVER_MESSAGE_MAX];
    struct buf out = buf_over(storage, sizeof(storage));
    struct failover_report r;
    struct failover_beat b;
    if (failover_message_decode(in, &r, &b) != ERR_OK)
        return;
    CHECK(failover_message_encode(&r, &b, &out) == ERR_OK);
    CHECK(bytes_equal(bytes_of(storage, buf_len(&out)), in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct failover_group g = {.name = "default",
                               .n_regions = 3,
                               .regions = {1, 2, 3},
                               .write_region = 1,
                               .epoch = 1,
                               .settled = true,
                               .failback = true};
    struct failover_self self = {0};
    struct failover_plan plan;
    usec_t now = 0;
    if (size < 2)
        return 0;
    size_t pieces = data[0] % 16 + 1;
    struct bytes rest = bytes_of(data + 1, size - 1);
    size_t len = rest.len / pieces;
    struct failover *f = failover_new(1, 1, NULL, now);
    CHECK(failover_set_topology(f, &three, now) == ERR_OK);
    for (size_t i = 0; i < pieces; i++) {
        struct bytes in = bytes_of(rest.data + i * len, len);
        try_message(in);
        failover_heard(f, 2 + i % 2, in, now);
        now += FAILOVER_TICK_US * 5;
        failover_tick(f, &self, now);
        failover_plan(f, &g, &plan);
    }
    failover_free(f);
    return 0;
}
