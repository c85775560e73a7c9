/* What a node says of each placement group in its gossip, before the failover
 * controller's message (failover/report.h). Pure.
 *
 *     version u8 (2) | of group default
 *     version u8 (3) | number of groups u8 | for each: its number u16, and
 *
 *     epoch u32 | pause ms u32 | at risk entries u64, ms u32 | the decision of
 *     that epoch: write region u16, flags u8 (1 forced, 2 settled, 4 this
 *     node's replicas follow it), level u8, K u32, T u32, recovered epoch u32
 *
 * Little-endian. Version 3 once there are other groups than default, the only
 * version that an older node understands.
 *
 * A node whose disk hangs cannot follow the meta shard's log, so it learns from
 * the others' gossip that it shall not lead any more. What they know is
 * committed, and an epoch is decided once. */
#ifndef BASTIDE_GOVERN_WORD_H
#define BASTIDE_GOVERN_WORD_H

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/govern/record.h"

struct govern_word {
    struct govern_hint decision; /* epoch 0: no record is known */
    bool followed;               /* by all of the node's replicas */
    uint32_t pause_ms;           /* its longest hand-over in that epoch */
    uint64_t at_risk_entries;
    uint32_t at_risk_ms;
};

/* Bytes of the words of so many groups. */
#define GOVERN_WORD_BYTES 36
#define GOVERN_WORDS_BYTES(groups) (2 + (groups) * (2 + GOVERN_WORD_BYTES))

/* Appends the words of so many groups, of which the first is default; each is
 * put by govern_words_put. `out` has room for them. */
void govern_words_begin(uint32_t groups, struct buf *out);
void govern_words_put(uint32_t groups, uint16_t number,
                      const struct govern_word *word, struct buf *out);

/* Reads them: while govern_words_next says so, there is another one. */
struct govern_words {
    struct cursor cursor;
    uint32_t left;
    bool numbered;
};
/* ERR_UNSUPPORTED: a version that is not known here. */
int govern_words_open(struct govern_words *r, struct bytes gossip);
/* A level is what was sent, also one that does not exist (govern_learn). */
bool govern_words_next(struct govern_words *r, uint16_t *number_out,
                       struct govern_word *word_out);
/* After the last one: what comes behind them. ERR_MALFORMED: they are cut. */
int govern_words_end(struct govern_words *r, struct bytes *rest_out);

#endif
