#include "node/server/own_region.h"

#include <string.h>

#include "node/base/check.h"
#include "node/server/worker.h"
#include "replication/link/chan.h"

_Static_assert(PEER_PROOF_LEN == REGION_PROOF_LEN &&
                   CHAN_BINDING_LEN == REGION_SESSION_LEN,
               "proofs fit into a HELLO");

int own_region_key(const struct config *config, const struct kek *kek,
                   const char *cluster_id, struct err_msg *msg,
                   struct region_key *key_out)
{
    struct region_key key = {.region = ""};
    int err = ERR_OK;
    if (config_has_region_keys(config))
        err = region_key_read(config->keys.region, kek, cluster_id,
                              config->region, msg, &key);
    if (err == ERR_OK && config_has_region_keys(config) &&
        memcmp(key.public_key, config->own_region->key.public_key,
               REGION_KEY_LEN) != 0)
        err = err_set(msg, ERR_IDENTITY,
                      "%.300s: not the key that the configuration says for "
                      "region %s: one of the two is of another cluster or of "
                      "another time",
                      config->keys.region, config->region);
    if (err == ERR_OK)
        *key_out = key;
    region_key_wipe(&key);
    return err;
}

static const uint8_t *public_of(const struct config *c, const char *region)
{
    const struct config_region *r = config_find_region(c, region);
    return r != NULL && r->key.given ? r->key.public_key : NULL;
}

/* Of a proof between two nodes, on the connection that `binding` names. */
static struct region_proof_names names_of(const struct node *node,
                                          const struct peer_identity *from,
                                          const struct peer_identity *to,
                                          const uint8_t *binding)
{
    return (struct region_proof_names){.cluster = node->cluster_keys.cluster_id,
                                       .from_region = from->region,
                                       .from_node = from->node,
                                       .to_region = to->region,
                                       .to_node = to->node,
                                       .session = binding};
}

static struct peer_identity self_of(const struct config *c)
{
    struct peer_identity self;
    CHECK(peer_identity_set(&self, c->cluster, c->region, c->node) == ERR_OK);
    return self;
}

bool own_region_prove(const struct node *node, const struct peer_identity *to,
                      const uint8_t *binding, uint8_t proof_out[PEER_PROOF_LEN])
{
    const uint8_t *public_key = public_of(node->config, to->region);
    const struct peer_identity self = self_of(node->config);
    const struct region_proof_names names = names_of(node, &self, to, binding);
    return node->region_key.region[0] != '\0' && public_key != NULL &&
           region_prove(&node->region_key, public_key, &names, proof_out) ==
               ERR_OK;
}

bool own_region_believes(const struct node *node,
                         const struct peer_identity *from,
                         const uint8_t *binding, const uint8_t *proof)
{
    const uint8_t *public_key = public_of(node->config, from->region);
    const struct peer_identity self = self_of(node->config);
    const struct region_proof_names names =
        names_of(node, from, &self, binding);
    if (node->region_key.region[0] == '\0')
        return true;
    return proof != NULL && public_key != NULL &&
           region_proved(&node->region_key, public_key, &names, proof);
}
