/* Decides what a write means against the newest state of the shard and makes
 * the log entry of it: the only place where conditions, record numbers, etags
 * and times come into being. Pure. */
#ifndef BASTIDE_SHARD_EVALUATE_H
#define BASTIDE_SHARD_EVALUATE_H

#include "node/crypt/seal.h"
#include "node/shard/op.h"
#include "node/store/entry.h"
#include "node/store/kv.h"
#include "node/store/memtable.h"

struct evaluate_at {
    uint16_t shard;
    uint64_t term; /* of this leader */
    uint64_t lsn;  /* the entry will have this one and no other */
    int64_t now_s; /* wall clock */
    uint32_t key_id;
    struct sealer *sealer;
    const struct memtable *memtable;
    struct kv kv;
};

/* Evaluates `op` (OP_WRITE). ERR_OK: *entry_out is the entry (one reference,
 * the caller's), and `result` says what the client will be told once it is
 * acknowledged, stored text included. Otherwise result->err is the same code:
 * NOT_FOUND, EXISTS, PRECONDITION, LIMIT, CORRUPT, IO; nothing was sealed.
 * After NO_MEMORY something may have been. After ERR_OK the entry must be
 * logged at (term, lsn), after NO_MEMORY another one that seals nothing, or
 * this replica must never lead in `term` again (seal.h). */
int evaluate_write(const struct evaluate_at *at, const struct op *op,
                   struct op_result *result, struct entry **entry_out);

/* The version of a record at `read_lsn`: its number, tag and (unless NULL)
 * sealed text, borrowed as view.h says; the caller is inside kv_begin.
 * ERR_NOT_FOUND; ERR_CORRUPT. */
int evaluate_find(const struct memtable *m, struct kv kv,
                  const struct op_address *at, uint64_t read_lsn,
                  uint64_t *record_out, struct etag *etag_out,
                  struct bytes *sealed_out);

/* Whether `op`'s precondition holds for a record with this tag; `etag` NULL
 * when there is no record. ERR_OK, ERR_PRECONDITION, ERR_NOT_MODIFIED (reads
 * with IF_NONE_MATCH). */
int evaluate_condition(const struct op *op, const struct etag *etag);

#endif
