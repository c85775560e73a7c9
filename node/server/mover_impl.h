/* What mover.c and mover_copy.c share (private to the mover): one attempt to
 * move a container. mover.c takes it from step to step; mover_copy.c copies the
 * rows, pass by pass. */
#ifndef BASTIDE_SERVER_MOVER_IMPL_H
#define BASTIDE_SERVER_MOVER_IMPL_H

#include "node/catalog/placement_map.h"
#include "node/json/json.h"
#include "node/server/mover.h"
#include "node/server/worker.h"

#define MOVER_OP_TIMEOUT_US (10 * USEC_PER_SEC)
/* Documents that are copied at a time. */
#define MOVER_BATCH 64
#define MOVER_BATCH_BYTES (1u << 20)

typedef void move_step(struct move *m);

/* What is done at each shard of an end, one after the other. */
enum act {
    ACT_MARK,
    ACT_COMMIT, /* waits until what the attempt wrote is committed */
    ACT_DROP,
    ACT_DROP_GRAVES,
    ACT_COUNT
};

/* One end of a move. */
struct end {
    struct catalog_group group;
    uint16_t layout;
    struct catalog_span shards;
};

/* One document on its way. */
struct copy {
    struct move *move;
    struct op op;
    bool again; /* it was throttled */
};

/* A pass over the old group's shards, documents and then graves of each. */
struct pass {
    bool graves, first_page;
    bool burying; /* the rows are graves */
    uint64_t since[NODE_SHARDS_MAX], next_since[NODE_SHARDS_MAX]; /* by index */
    uint64_t changed; /* rows in it */
    struct json json;
    struct buf scratch;
    struct copy copies[MOVER_BATCH];
    uint32_t copy_count, under_way;
    int copy_err;
};

struct move {
    struct worker *worker;
    struct container_def *def;
    struct end own, other;        /* as the record has them */
    struct container_move record; /* as it is now */
    struct container_place place; /* likewise */
    struct placement_map map;     /* likewise, of a container that has one */
    struct buf map_text;          /* its text, which the place borrows */
    struct etag etag;             /* of it */
    uint64_t number;              /* of this attempt */
    bool overtaken;               /* the record was changed by somebody else */
    bool paused;                  /* throttled; goes on at the next check */

    struct op op;
    struct buf text; /* the definition that is being written */
    struct op_result result;
    move_step *next; /* when `result` is there */

    enum act act;
    enum op_mark mark;
    const struct catalog_span *at;
    uint32_t index; /* of the shard in it */
    uint8_t after[OP_KEY_MAX];
    uint8_t after_len;
    move_step *then;
    uint64_t wrote_lsn[NODE_SHARDS_MAX]; /* newest of the attempt */
    uint32_t epoch[NODE_SHARDS_MAX];     /* 0: not known */

    bool sealed; /* writes are held, since */
    usec_t sealed_us;
    struct pass pass;
    usec_t started_us;
    struct move_progress progress;
};

/* The shard whose turn it is. */
static inline uint16_t mover_shard(const struct move *m)
{
    return (uint16_t)(m->at->first + m->index);
}

/* -- of mover.c ------------------------------------------------------------ */

/* Ends the attempt; the next check begins anew, from what the record says then.
 * `m` is gone. */
void mover_fail(struct move *m, int err, const char *what);
/* Submits m->op; `next` follows with its m->result, in a turn of its own, and
 * after a pause if that is ERR_THROTTLED. */
void mover_ask(struct move *m, move_step *next);
/* `next` follows in a turn of its own. */
void mover_resume(struct move *m, move_step *next);
/* Whether a shard is still in the epoch in which the attempt met it. What is
 * only deleted may be deleted in any. */
bool mover_same_epoch(struct move *m, uint16_t shard, uint64_t term);
/* A write of this attempt was acknowledged, perhaps by the write region alone.
 */
void mover_wrote(struct move *m, uint16_t shard, uint64_t lsn);
/* All rows of a pass were copied: another one, or what comes after. */
void mover_passed(struct move *m);
/* A last pass takes too long: lets the writes go on, then begins another. */
void mover_release(struct move *m);

/* -- of mover_copy.c ------------------------------------------------------- */

void mover_copy_open(struct move *m);
void mover_copy_close(struct move *m);
/* Copies what was written since the last pass of this attempt, the first time
 * everything; then mover_passed. */
void mover_pass(struct move *m);
/* Sends copies that are marked `again`; after them the pass goes on. */
void mover_copies_again(struct move *m);

#endif
