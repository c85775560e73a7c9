/* What a node shows of its region to its peers, and whom it believes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "node/server/own_region.h"
#include "node/server/worker.h"
#include "replication/link/chan.h"

#define GERMANY 0
#define FRANCE 1

static const uint8_t connection[CHAN_BINDING_LEN] = "a connection";

/* Two nodes with the same idea of the regions, each with its own region's key.
 */
static struct end {
    struct config_region regions[2];
    struct config config;
    struct node node;
} ends[2];
static const struct peer_identity ids[2] = {{"t", "germany", "germany-1"},
                                            {"t", "france", "france-1"}};

static int setup(void **state)
{
    (void)state;
    struct region_key keys[2];
    memset(ends, 0, sizeof(ends));
    for (int i = 0; i < 2; i++)
        assert_int_equal(region_key_generate(ids[i].region, &keys[i]), 0);
    for (int i = 0; i < 2; i++) {
        struct end *e = &ends[i];
        for (int r = 0; r < 2; r++) {
            strcpy(e->regions[r].name, ids[r].region);
            e->regions[r].key.given = true;
            memcpy(e->regions[r].key.public_key, keys[r].public_key,
                   REGION_KEY_LEN);
        }
        e->config.regions = e->regions;
        e->config.region_count = 2;
        strcpy(e->config.cluster, ids[i].cluster);
        strcpy(e->config.region, ids[i].region);
        strcpy(e->config.node, ids[i].node);
        strcpy(e->node.cluster_keys.cluster_id, "a cluster");
        e->node.config = &e->config;
        e->node.region_key = keys[i];
    }
    return 0;
}

static bool shows(int from, int to, uint8_t proof_out[PEER_PROOF_LEN])
{
    return own_region_prove(&ends[from].node, &ids[to], connection, proof_out);
}

static bool believes(int to, int from, const uint8_t *proof)
{
    return own_region_believes(&ends[to].node, &ids[from], connection, proof);
}

static void both_ends_believe_each_other(void **state)
{
    (void)state;
    uint8_t proof[PEER_PROOF_LEN];
    assert_true(shows(GERMANY, FRANCE, proof));
    assert_true(believes(FRANCE, GERMANY, proof));
    assert_true(shows(FRANCE, GERMANY, proof));
    assert_true(believes(GERMANY, FRANCE, proof));
}

static void nobody_is_believed_without_a_proof(void **state)
{
    (void)state;
    static const uint8_t other_connection[CHAN_BINDING_LEN] = "another one";
    uint8_t proof[PEER_PROOF_LEN];
    assert_false(believes(FRANCE, GERMANY, NULL));
    assert_true(own_region_prove(&ends[GERMANY].node, &ids[FRANCE],
                                 other_connection, proof));
    assert_false(believes(FRANCE, GERMANY, proof));
    assert_true(shows(FRANCE, GERMANY, proof)); /* sent back */
    assert_false(believes(FRANCE, GERMANY, proof));
    strcpy(ends[GERMANY].node.cluster_keys.cluster_id, "another cluster");
    assert_true(shows(GERMANY, FRANCE, proof));
    assert_false(believes(FRANCE, GERMANY, proof));
}

static void a_region_without_a_known_key_is_not_believed(void **state)
{
    (void)state;
    uint8_t proof[PEER_PROOF_LEN];
    assert_true(shows(GERMANY, FRANCE, proof));
    ends[FRANCE].regions[GERMANY].key.given = false;
    assert_false(believes(FRANCE, GERMANY, proof));
    assert_false(shows(FRANCE, GERMANY, proof));
}

/* Then no group can be fenced. */
static void where_regions_have_no_keys_a_certificate_is_enough(void **state)
{
    (void)state;
    uint8_t proof[PEER_PROOF_LEN];
    memset(&ends[FRANCE].node.region_key, 0, sizeof(struct region_key));
    assert_true(believes(FRANCE, GERMANY, NULL));
    assert_false(shows(FRANCE, GERMANY, proof));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(both_ends_believe_each_other, setup),
        cmocka_unit_test_setup(nobody_is_believed_without_a_proof, setup),
        cmocka_unit_test_setup(a_region_without_a_known_key_is_not_believed,
                               setup),
        cmocka_unit_test_setup(
            where_regions_have_no_keys_a_certificate_is_enough, setup),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
