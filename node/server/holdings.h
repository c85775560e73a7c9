/* What this node holds, said under its signature: for `bastide placement
 * verify` (docs/residency.md).
 *
 *   GET /placement/holdings?nonce=N[&at=SHARD:LSN,SHARD:LSN...]
 *
 *     nonce   16 to 64 letters and digits of the caller's choice, which the
 *             report repeats: it was made after it was asked for
 *     at      replicas to digest (digester.h), each at that LSN; at most
 *             HOLDINGS_DIGESTS_MAX; the others are listed without a digest
 *
 *     200 {"report": "...", "signature": base64, "certificate": PEM}
 *     400 what is wrong with the question; 409 another report is being made
 *
 * `report` is a JSON text, and the signature (crypt/sign.h) is over exactly its
 * bytes. It has no payload, no secret, no name of a document or container:
 *
 *     statement, cluster, cluster_id, region, node, id, version, at, at_us,
 *     nonce, catalog_lsn
 *     nodes     all that this node's configuration names: id, name, region
 *     groups    all of the catalog, as this node knows it: name, number, fence
 *     replicas  open ones: role, members of the shard, LSNs, the digest or why
 *               there is none
 *     folders   what lies in the data directory, open or not: a folder for each
 *               state of a shard, also received (incoming), put away
 *               (discarded-<n>) or foreign, with its size; `shard` is null
 *               where the name is none
 *     log       shards that have entries in the log's files, void ones included
 *               (wal_inspect)
 *     keys      ids of the groups' keys that this process has opened
 *     region_key  whose key it has: "" for none
 *     trouble   what could not be looked at, "" for nothing
 *
 * One report at a time: the files are read through on a helper thread.
 */
#ifndef BASTIDE_SERVER_HOLDINGS_H
#define BASTIDE_SERVER_HOLDINGS_H

#include "node/base/bytes.h"

struct http_request;
struct worker;

#define HOLDINGS_STATEMENT "bastide holdings 1"
#define HOLDINGS_NONCE_MIN 16
#define HOLDINGS_NONCE_MAX 64
/* Digests in one report; ask again for more. */
#define HOLDINGS_DIGESTS_MAX 128

/* On worker 0. */
void holdings_get(struct worker *w, struct http_request *r, struct bytes query);

#endif
