/* The key of the region that this node is in, and what it shows of it to its
 * peers. */
#ifndef BASTIDE_SERVER_OWN_REGION_H
#define BASTIDE_SERVER_OWN_REGION_H

#include "node/config/config.h"
#include "node/crypt/region_key.h"
#include "replication/peer.h"

struct node;

/* Reads keys.region and checks that it is the pair of the public key that the
 * configuration has for the node's region. Where regions have no keys there is
 * nothing to read: the result is zeroed, with an empty name.
 * ERR_IDENTITY: another pair; otherwise errors of region_key_read. The caller
 * wipes the result. */
int own_region_key(const struct config *config, const struct kek *kek,
                   const char *cluster_id, struct err_msg *msg,
                   struct region_key *key_out);

/* For the links (prove_region and believes_region of struct links_handler), on
 * worker 0's thread. `binding` names the connection. */

/* False where regions have no keys, or this node does not know the other's. */
bool own_region_prove(const struct node *node, const struct peer_identity *to,
                      const uint8_t *binding,
                      uint8_t proof_out[PEER_PROOF_LEN]);
/* Where regions have no keys, a certificate is enough. */
bool own_region_believes(const struct node *node,
                         const struct peer_identity *from,
                         const uint8_t *binding, const uint8_t *proof);

#endif
