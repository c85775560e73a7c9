/* Conflicts: versions of documents that a forced failover overwrote, kept as
 * records beside the container they were in (salvage.h makes them).
 *
 * A conflict is named by the place of the effect that was overwritten, which
 * names it for good: every replica that had to give it up makes the same name.
 * The whole term and not only its epoch is in it, since two leaders of one
 * epoch may have written at one LSN.
 *
 * Conflicts of container n are ordinary records of container
 * `n | CONTAINER_CONFLICTS` (node/catalog/numbers.h), on the shard where they
 * happened. Their address is computed from the name alone, without a key:
 * there is nothing of a user's in it. Pure.
 */
#ifndef BASTIDE_SHARD_CONFLICT_H
#define BASTIDE_SHARD_CONFLICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/shard/op.h"

struct conflict_id {
    uint16_t shard;    /* below SHARD_MAX */
    uint64_t term;     /* of the entry that was overwritten */
    uint64_t lsn;      /* its LSN, at most RID_LSN_MAX */
    uint16_t position; /* of the effect among those on documents, at most
                        * CONFLICT_POSITION_MAX */
};

#define CONFLICT_POSITION_MAX 1023u
/* Longest text and its NUL. */
#define CONFLICT_ID_MAX 56

/* `<shard>-<epoch>.<counter>-<lsn>-<position>`, all decimal; epoch and counter
 * are the halves of the term. Returns the length; writes a NUL. */
size_t conflict_id_format(const struct conflict_id *id,
                          char out[CONFLICT_ID_MAX]);
/* Strict: only what conflict_id_format writes. ERR_MALFORMED. */
int conflict_id_parse(struct bytes text, struct conflict_id *id_out);

/* Where the conflict of a document of `container` (a user's own, without the
 * bit) is. All conflicts of a container have one partition. CHECKs the ranges.
 */
void conflict_address(const struct conflict_id *id, uint32_t container,
                      struct op_address *address_out);

/* What was done to the document. */
enum conflict_kind { CONFLICT_CREATE, CONFLICT_REPLACE, CONFLICT_DELETE };

struct conflict {
    struct conflict_id id;
    enum conflict_kind kind;
    /* Known to have been acknowledged to a client; else nobody could tell. */
    bool acknowledged;
    uint8_t container_rid[8];
    uint64_t record;      /* of the document: the counter in its RID */
    struct bytes content; /* JSON text that was lost; empty for a delete */
};

/* Appends the JSON of a conflict, open as op.body is: the properties id,
 * operationType ("create", "replace", "delete"), resourceType ("document"),
 * resourceId, content, _acknowledged (true or null), _lsn, _epoch. `content` is
 * a string of JSON text as the protocol has it; where that would be larger than
 * a record can be (escapes may double a document of nearly 2 MiB) it is the
 * JSON value itself, so that nothing is lost. Errors of buf_append. */
int conflict_body(const struct conflict *c, struct buf *out);

#endif
