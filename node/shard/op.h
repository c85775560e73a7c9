/* One operation on one shard, as the API in front asks for it, and its result.
 *
 * The node that received the client's request validates it, works out which
 * shard it concerns, and describes the work in a `struct op`. The operation is
 * then run by whoever can: the worker that owns the shard's replica here, or
 * (encoded, over the peer link) the node that leads the shard. An operation is
 * therefore plain data with a bounded encoding, and running it twice with the
 * same `id` has the effect of running it once: a retry after a lost connection
 * is answered from what the first run did, or refused if a busy shard cannot
 * know that any more (dedupe.h).
 *
 * Ownership: all `struct bytes` in an op are borrowed; they must live until the
 * operation's result was delivered. A result owns its buffers (op_result_free).
 */
#ifndef BASTIDE_SHARD_OP_H
#define BASTIDE_SHARD_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/err.h"
#include "node/catalog/catalog.h"
#include "node/catalog/numbers.h"

/* The shard that holds the account itself: databases, containers, groups. */
#define SHARD_META 0
/* Shards 1..SHARD_MAX-1 hold documents; the number has 12 bits in a RID. */
#define SHARD_MAX 4096

#define OP_ID_LEN 16
#define OP_HASH_LEN 16
/* Longest record key, and so the longest scan position. */
#define OP_KEY_MAX 64
/* A document may have 2 MiB as the client sends it; system properties and
 * framing fit in the rest. */
#define OP_DOCUMENT_MAX (2u * 1024 * 1024)
#define OP_BODY_MAX (OP_DOCUMENT_MAX + 64 * 1024)
#define OP_QUERY_MAX (256u * 1024)
#define OP_PARAMS_MAX (512u * 1024)
#define OP_MERGE_REQUEST_MAX (64u * 1024)
/* A page of results as one answer: the protocol's 4 MiB. */
#define OP_PAGE_MAX (4u * 1024 * 1024)
/* Documents that one scan step may look at before it must come back with a
 * position to go on from, so that no request holds a worker for long. */
#define OP_SCAN_EXAMINE_MAX 2000
/* Records that one OP_DROP deletes. */
#define OP_DROP_MAX 500

enum op_kind {
    OP_READ = 1, /* one record by address */
    OP_WRITE,    /* create, upsert, replace or delete one record */
    OP_SCAN,     /* the next records of a container or partition, filtered */
    OP_BARRIER,  /* nothing, once this node's replica is new enough */
    OP_KIND_COUNT
};

enum op_write_mode {
    OP_CREATE = 1, /* ERR_EXISTS when there is one */
    OP_UPSERT,
    OP_REPLACE, /* ERR_NOT_FOUND when there is none */
    OP_DELETE,  /* ERR_NOT_FOUND when there is none. With `cascade`, ERR_LIMIT
                 * when that is more than one log entry can delete (some 500
                 * records) */
    /* A mover's (mark.h); ERR_PRECONDITION when it was overtaken. */
    OP_COPY,   /* puts a document of another shard: its record number and _ts
                * stay, its etag is new */
    OP_UNCOPY, /* deletes it if its record is still `copy_record`; ERR_NOT_FOUND
                * otherwise */
    OP_MARK,   /* sets the mark of the container */
    OP_DROP,   /* deletes some of all that the container has in the shard, or of
                * its graves alone; ERR_NOT_FOUND when nothing is left */
    OP_WRITE_MODE_COUNT
};

/* See mark.h. The numbers are stored. */
enum op_mark {
    OP_MARK_NONE = 0,
    OP_MARK_OPEN,
    OP_MARK_COMING,
    OP_MARK_LEAVING,
    OP_MARK_SEALED,
    OP_MARK_GONE,
    OP_MARK_COUNT
};

/* What kind of resource a record is: decides which system properties are
 * appended to the stored text and how the RID is made. */
enum op_resource {
    OP_RESOURCE_DOCUMENT = 1,
    OP_RESOURCE_DATABASE,
    OP_RESOURCE_CONTAINER,
    OP_RESOURCE_INTERNAL, /* account and group records: no properties added */
    OP_RESOURCE_CONFLICT, /* like a document; its parent is a container, too */
    OP_RESOURCE_COUNT
};

enum op_condition {
    OP_COND_NONE = 0,
    OP_COND_IF_MATCH,      /* `etag` must be the current one */
    OP_COND_IF_MATCH_ANY,  /* "*": the record must exist */
    OP_COND_IF_NONE_MATCH, /* reads: ERR_NOT_MODIFIED when `etag` is current;
                              writes: ERR_PRECONDITION */
    OP_COND_IF_NONE_MATCH_ANY, /* "*": the record must not exist */
    /* Writes: the entry that `etag` names (term and LSN) was overwritten by a
     * forced failover, as far as this log tells; else ERR_PRECONDITION. */
    OP_COND_IF_OVERWRITTEN,
    OP_COND_COUNT
};

/* A version of a record: who wrote it and where in the log. Its text form is
 * the API's etag; unique for the life of the shard, also across leaders whose
 * unacknowledged entries were lost (hence the term). */
struct etag {
    uint64_t term;
    uint64_t lsn;
    uint16_t shard;
    uint16_t position;
};

/* `"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"` with its quotes. */
#define ETAG_TEXT_LEN 38
void etag_format(const struct etag *e, char out[ETAG_TEXT_LEN + 1]);
/* Accepts the text with or without quotes. ERR_MALFORMED for anything that
 * this system never issued (such a tag simply matches nothing). */
int etag_parse(struct bytes text, struct etag *etag_out);
bool etag_equal(const struct etag *a, const struct etag *b);

/* Where a record lives inside its shard. */
struct op_address {
    uint32_t container;
    uint8_t pk_hash[OP_HASH_LEN]; /* keyed hash of the partition key */
    uint8_t id_hash[OP_HASH_LEN]; /* keyed hash of the id */
};

struct op {
    enum op_kind kind;
    uint16_t shard;
    uint8_t id[OP_ID_LEN]; /* random; the same in every retry */
    struct op_address at;

    /* A mover's operation: the number of its attempt. A client's on a container
     * that was moved to where it is: the number of that move, which the
     * replica's mark must have reached. Else 0. */
    uint64_t move;
    enum op_mark mark;    /* OP_MARK */
    bool graves;          /* OP_DROP, OP_SCAN: the container's graves */
    uint64_t copy_record; /* OP_COPY, OP_UNCOPY */
    int64_t copy_ts;      /* OP_COPY: seconds since 1970 */

    /* OP_READ, OP_SCAN, OP_BARRIER with min_lsn 0: the enum consistency_level
     * to read by; 0 is CONSISTENCY_STRONG. See shard.h for what each means. */
    uint8_t level;
    /* CONSISTENCY_SESSION: the client's token, 0/0 when it sent none. The
     * answer reflects a state at or above it: one of a newer epoch, or of the
     * same and at least this LSN. */
    uint32_t session_epoch;
    uint64_t session_lsn;
    /* A read: ask the leader first, if it answers. A wish of the node in front,
     * which stays there: not part of the encoding. */
    bool at_leader;
    /* A write that may have been logged by another attempt: when the first one
     * began, monotonic, not too late; 0: nobody can have made another that may
     * be forgotten by now. Also of a first one that was long on its way
     * (travel_since): then `again` is false, and whoever waits for this attempt
     * has made no other. Both are of this node and not part of the encoding
     * (links_request_again has the age). */
    usec_t since_us;
    bool again;

    /* OP_READ, OP_WRITE */
    enum op_condition condition;
    struct etag etag;
    bool etag_unknown; /* the client's tag was not one of ours: never equal */

    /* OP_WRITE */
    enum op_write_mode mode;
    enum op_resource resource;
    /* The record's JSON object without its closing brace and without system
     * properties: `{"id":"1","pk":"a"`. Empty for OP_DELETE. For
     * OP_RESOURCE_INTERNAL the whole text. */
    struct bytes body;
    /* RID of the parent: container (8 bytes) for documents, database (4) for
     * containers, nothing for databases. */
    uint8_t parent_rid[8];
    /* The record that must exist for this one to be written (a container's
     * database), identified by address and record number; else ERR_NOT_FOUND
     * with op_result.parent_missing. */
    bool has_parent;
    struct op_address parent;
    uint64_t parent_record;
    /* OP_DELETE: also delete every record of this container and partition
     * (a database's containers). */
    bool cascade;
    uint32_t cascade_container;
    uint8_t cascade_pk_hash[OP_HASH_LEN];

    /* OP_SCAN: container `at.container`, or one partition of it. */
    bool one_partition;  /* only `at.pk_hash` */
    struct bytes after;  /* position from the last result; empty: begin */
    uint32_t max_items;  /* rows wanted, 1.. */
    uint32_t max_bytes;  /* of rows, at most OP_PAGE_MAX */
    struct bytes query;  /* SQL text; empty: every record as it is */
    struct bytes params; /* JSON array of {name,value}; may be empty */
    /* For a query whose query_shape is not QUERY_STREAM: the text of
     * query_merge_request. The scan then runs to the end of the shard (or
     * partition) and answers all its shard rows at once as one row list in
     * `body` (not framed row by row); `after`, `max_items` do not apply. */
    struct bytes merge_request;

    /* OP_BARRIER: 0 asks for a linearizable point (everything acknowledged
     * before now is visible here afterwards); otherwise: this LSN is committed.
     * OP_SCAN without a query: only records that were written after this LSN;
     * UINT64_MAX: none, which counts them (op_result.examined). */
    uint64_t min_lsn;
};

/* Whether it is one of the many that a mover does of a container. */
static inline bool op_is_mover(const struct op *op)
{
    return op->kind == OP_WRITE &&
           (op->mode == OP_COPY || op->mode == OP_UNCOPY ||
            op->mode == OP_DROP);
}

struct op_result {
    int err;             /* ERR_OK, or:
                          * NOT_FOUND, EXISTS, PRECONDITION, NOT_MODIFIED  as asked
                          * INVALID       the query failed; `message` says why
                          * LIMIT         the record would be too large
                          * THROTTLED     memory is full, or a region would fall
                          *               too far behind; see retry_after_ms
                          * NO_SPACE      the disk is full; nothing was written
                          * UNAVAILABLE   no leader or quorum; nothing was written
                          * MOVED         the container is not here, or not now
                          *               (mark.h); nothing was written
                          * BEHIND        the session's state is not here, and
                          *               did not come within the time
                          * TIMEOUT       the outcome of a write is unknown
                          * FORGOTTEN     the same, and stays so: see dedupe.h
                          *               (the router says TIMEOUT)
                          * CORRUPT       this replica's data is damaged */
    bool created;        /* OP_WRITE: there was no such record before */
    bool parent_missing; /* with NOT_FOUND: it is the parent that is missing */
    uint64_t lsn;        /* state the answer reflects, or the write's own */
    uint64_t term;       /* of the entry at `lsn`: RAFT_TERM_EPOCH(term) and
                          * `lsn` are the session token */
    uint64_t record;     /* record number (the counter in a document's RID) */
    struct etag etag;    /* of the record read or written */
    struct buf body;     /* OP_READ, OP_WRITE: the stored JSON text.
                          * OP_SCAN: rows, each u32_le length + bytes;
                          * with a gathering query: the shard's row list */
    uint32_t items;      /* OP_SCAN: rows in body */
    bool more;           /* OP_SCAN: go on from `next` */
    uint8_t next[OP_KEY_MAX];
    uint8_t next_len;
    uint32_t examined;       /* OP_SCAN: documents looked at */
    uint32_t retry_after_ms; /* THROTTLED */
    struct err_msg message;  /* may be empty */
};

void op_result_init(struct op_result *r);
void op_result_free(struct op_result *r);
/* Moves `from` into `to` (which must be freed or never used) and leaves `from`
 * empty. */
void op_result_move(struct op_result *to, struct op_result *from);

/* Bounded binary encoding for the peer links; version byte first.
 * Encoders: ERR_LIMIT, ERR_NO_MEMORY. Decoders: ERR_MALFORMED; a decoded op
 * borrows from `in`; a decoded result owns its body. */
#define OP_ENCODED_MAX                                                         \
    (OP_BODY_MAX + OP_QUERY_MAX + OP_PARAMS_MAX + OP_MERGE_REQUEST_MAX + 4096)
int op_encode(const struct op *op, struct buf *out);
int op_decode(struct bytes in, struct op *op_out);
/* The shard of an encoded operation, read without decoding the rest; SHARD_META
 * when it is none, which op_decode then refuses. */
uint16_t op_encoded_shard(struct bytes in);
int op_result_encode(const struct op_result *r, struct buf *out);
int op_result_decode(struct bytes in, struct op_result *result_out);

/* Iterates the rows of a scan result's body; false at the end, and where what
 * is left is no row (the body may come from a peer). */
bool op_result_next_row(const struct op_result *r, size_t *offset,
                        struct bytes *row_out);

#endif
