/* Under which address clients are told to find a region.
 *
 * Behind mapped ports a node cannot know what it is called outside: but the
 * client that asks for the account document has just used such a name, in its
 * Host header. That header is a client's word, so it is taken apart strictly,
 * and it is told back to nobody but the client that sent it. */
#ifndef BASTIDE_COSMOS_ADVERTISE_H
#define BASTIDE_COSMOS_ADVERTISE_H

#include "node/base/bytes.h"
#include "node/cosmos/cosmos.h"

/* Bytes of a Host header that is considered. */
#define ADVERTISE_HOST_MAX 200

/* Writes into `out` (COSMOS_NAME_MAX + 1 bytes) the URL under which a client
 * that sent `host` finds the region whose listed URL is `listed`. A host that
 * is missing or not one leaves it as it is listed. */
void advertise_url(enum cosmos_advertise how, struct bytes host,
                   const char *listed, char *out);

#endif
