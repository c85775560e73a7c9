/* The key of the region that this node is in. */
#ifndef BASTIDE_SERVER_OWN_REGION_H
#define BASTIDE_SERVER_OWN_REGION_H

#include "node/config/config.h"
#include "node/crypt/region_key.h"

/* Reads keys.region and checks that it is the pair of the public key that the
 * configuration has for the node's region. Where regions have no keys there is
 * nothing to read: the result is zeroed, with an empty name.
 * ERR_IDENTITY: another pair; otherwise errors of region_key_read. The caller
 * wipes the result. */
int own_region_key(const struct config *config, const struct kek *kek,
                   const char *cluster_id, struct err_msg *msg,
                   struct region_key *key_out);

#endif
