/* The payload of an entry that changes records: what happened, as puts and
 * deletes of keys, with the outcome of the operation that caused it.
 *
 * Layout (little-endian):
 *
 *     u8  version (1)
 *     op_id[16]                      activity that caused it, for deduplication
 *     u16 status  u64 rid            outcome, so that a repeated request can be
 *     u32 len  opaque[len]           answered from the log alone
 *     u16 count
 *     count times:  u8 kind (1 put, 2 delete)  u8 key_len  key
 *                   put only: u32 value_len  value
 *
 * Values are opaque here (already sealed where they hold user data).
 */
#ifndef BASTIDE_STORE_EFFECTS_H
#define BASTIDE_STORE_EFFECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/store/entry.h"

#define EFFECTS_KEY_MAX 64       /* bytes in a record key; at least 1 */
#define EFFECTS_COUNT_MAX 1024   /* effects in one entry */
#define EFFECTS_OPAQUE_MAX 65536 /* bytes of opaque result */
#define EFFECTS_OP_ID_LEN 16

struct effects_head {
    uint8_t op_id[EFFECTS_OP_ID_LEN];
    uint16_t status; /* the shard's own result code */
    uint64_t rid;
    struct bytes opaque; /* borrowed */
};

enum effect_kind { EFFECT_PUT = 1, EFFECT_DELETE = 2 };

struct effect {
    enum effect_kind kind;
    struct bytes key;
    struct bytes value; /* empty for a delete */
};

/* -- building -- */

struct effects_builder {
    struct buf buf;
    size_t count_at; /* where the count is patched */
    uint32_t count;
};

/* `head->opaque` is copied. ERR_LIMIT, ERR_NO_MEMORY; after any failure of any
 * builder call only effects_builder_free may follow. */
int effects_begin(struct effects_builder *b, const struct effects_head *head);
int effects_put(struct effects_builder *b, struct bytes key,
                struct bytes value);
/* A put whose value the caller writes in place (to seal without a copy):
 * exactly `value_len` bytes at *room_out, before the next builder call. */
int effects_put_room(struct effects_builder *b, struct bytes key,
                     size_t value_len, uint8_t **room_out);
int effects_delete(struct effects_builder *b, struct bytes key);
/* Makes the entry (one reference, the caller's). The builder is empty
 * afterwards and needs no free. */
int effects_finish(struct effects_builder *b, uint64_t lsn, uint64_t term,
                   uint8_t type, struct entry **entry_out);
/* The payload alone, borrowed until the next builder call. */
struct bytes effects_payload(struct effects_builder *b);
void effects_builder_free(struct effects_builder *b);

/* -- reading -- */

struct effects_iter {
    struct cursor at;
    uint32_t left;
};

/* Checks the WHOLE payload (foreign bytes are allowed) and positions `iter`
 * before the first effect. Everything handed out borrows from `payload`.
 * ERR_MALFORMED, ERR_LIMIT, ERR_UNSUPPORTED (newer version). */
int effects_open(struct bytes payload, struct effects_head *head_out,
                 struct effects_iter *iter_out);
/* The next effect; false after the last. Cannot fail after effects_open. */
bool effects_next(struct effects_iter *iter, struct effect *effect_out);

#endif
