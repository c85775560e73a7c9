/* Documents that a client addresses by their RID. */
#ifndef BASTIDE_COSMOS_DOCUMENT_H
#define BASTIDE_COSMOS_DOCUMENT_H

#include "node/cosmos/call.h"

/* SDKs may use a document's `_self` as its path: dbs/<rid>/colls/<rid>/docs/
 * <rid>. Shards know documents by their id, so the id is looked up first, by a
 * scan of the partition that the request names.
 *
 * Returns false when the path is by name, or was looked up already: go on. When
 * true, the id is being looked up; path segment 5 becomes the id and `then` is
 * called again, or the call is answered (404: no such document). */
bool document_by_rid(struct call *c, call_step *then);

#endif
