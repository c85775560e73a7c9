/* A history as clients see it: what they asked for and were told, on one clock,
 * and what was found in the end. Nothing of the cluster's inside, so the same
 * checkers judge a simulated cluster and a real one.
 *
 * An answer names the state that it reflects: (term, LSN) of the entry it was
 * served at or that it made. Of the term only the epoch, its high half, counts
 * here: clients know it from their session tokens (node/cosmos/session.h). An
 * (epoch, LSN) names an acknowledged entry of a shard uniquely, and within one
 * epoch there is one log. Only a forced switch of the write region may begin an
 * epoch before the end of the one before it; what is behind is then lost.
 *
 * A version of a document is named by the number of the operation that wrote
 * it, which the document holds; 0 is none. The order of calls and answers is
 * `called` and `answered`, also within one microsecond.
 *
 * Pure; grows as it must, freed at once. */
#ifndef BASTIDE_HISTORY_OBSERVED_H
#define BASTIDE_HISTORY_OBSERVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/clock.h"
#include "node/catalog/catalog.h"
#include "node/history/linear.h"
#include "node/history/verdict.h"

#define HIST_NEVER INT64_MAX

struct hist_place {
    uint64_t lsn;
    uint64_t term;
};
static inline uint32_t hist_epoch(struct hist_place at)
{
    return (uint32_t)(at.term >> 32);
}

struct hist_op {
    enum linear_kind kind;
    uint32_t session;
    uint32_t region; /* of the client */
    uint16_t shard;
    uint32_t key;
    /* What the client asked for, the account's level or weaker. */
    enum consistency_level level;
    bool conditional;
    uint64_t expected;
    usec_t called_us;
    uint64_t called; /* orders calls and answers, also in one microsecond */

    usec_t answered_us; /* HIST_NEVER: the outcome is not known */
    uint64_t answered;
    uint32_t node;
    /* ERR_OK: done. ERR_EXISTS, ERR_NOT_FOUND, ERR_PRECONDITION: what the
     * document's state answers. Anything else: refused, nothing was done. */
    int result;
    bool created;
    uint64_t version;     /* of reads: the write that was seen; 0: none */
    struct hist_place at; /* what the answer reflects; lsn 0: not known */
};

/* An entry of a conflict feed, as it is read in the end. */
struct hist_conflict {
    uint16_t shard;
    struct hist_place at; /* of the entry that was lost */
    uint64_t version;     /* the write whose text it holds; 0: a delete */
};

/* What the account promises from `from_us` on: the weakest of what was in force
 * and what was ordered, until that is said to be done. */
struct hist_promise {
    usec_t from_us;
    enum consistency_level level;
    /* All that may be in force, as bits: bounded staleness is stronger than
     * session, and yet keeps no session. */
    uint32_t levels;
    uint64_t max_entries; /* bounded staleness */
    usec_t max_us;
};

struct hist_switch {
    usec_t us;
    uint32_t epoch;
    uint32_t region;
    bool forced;
};

/* A document as it was found in the end, after everything had healed, and the
 * state of its shard in which it was. */
struct hist_end {
    uint16_t shard;
    uint32_t key;
    uint64_t version; /* 0: missing */
    struct hist_place at;
};

struct observed {
    struct hist_op *ops; /* operation `number` is ops[number - 1] */
    size_t n_ops, cap_ops;
    struct hist_promise *promises;
    size_t n_promises, cap_promises;
    struct hist_switch *switches;
    size_t n_switches, cap_switches;
    struct hist_conflict *conflicts;
    size_t n_conflicts, cap_conflicts;
    struct hist_end *ends;
    size_t n_ends, cap_ends;
    uint64_t moment;
};

/* A zeroed struct is an empty history. */
void observed_free(struct observed *o);

/* A client calls: returns the operation's number. The first part of `op` is
 * filled by the caller, but for `called`. */
uint64_t observed_called(struct observed *o, const struct hist_op *op);
/* And hears: the second part of `op` counts, but for `answered`. */
void observed_answered(struct observed *o, uint64_t number,
                       const struct hist_op *op);
void observed_conflict(struct observed *o, const struct hist_conflict *c);
/* By ascending time. `levels` always has `level`, and may be 0 before. */
void observed_promise(struct observed *o, const struct hist_promise *p);
/* An epoch that is known already is not recorded again. */
void observed_switch(struct observed *o, const struct hist_switch *s);
void observed_end(struct observed *o, const struct hist_end *end);

/* ---- questions ------------------------------------------------------------
 */

bool hist_is_write(const struct hist_op *op);
/* Whether it is known to have been done. */
bool hist_done(const struct hist_op *op);
/* A read with an answer of the document's. */
bool hist_is_read(const struct hist_op *op);
/* Nothing was done, the client was told. */
bool hist_refused(const struct hist_op *op);
uint64_t observed_number(const struct observed *o, const struct hist_op *op);
/* The weakest that was promised at any time from `from` to `to`. */
struct hist_promise observed_promised(const struct observed *o, usec_t from,
                                      usec_t to);
/* How many writes a bounded read may lack if `write` is one of them: a bound
 * that begins, or becomes tighter, speaks of what is accepted from then on
 * (replication/staleness.h), and of another account, where one may ask for it,
 * too, there is none (UINT64_MAX). */
uint64_t observed_may_lack(const struct observed *o,
                           const struct hist_op *write,
                           const struct hist_op *read);
/* The level at which an operation was done: the weakest that was in force while
 * it was under way, or what the client asked for if that is weaker still. */
enum consistency_level observed_level(const struct observed *o,
                                      const struct hist_op *op);
/* Writes know no level of their own: the account's counts. */
enum consistency_level observed_write_level(const struct observed *o,
                                            const struct hist_op *op);
/* Whether the read was done by strong or session rules, whichever of the
 * levels that may have been in force was: a bounded one need not have what its
 * session saw. */
bool observed_keeps_session(const struct observed *o, const struct hist_op *op);
/* Whether a forced switch may have lost what is at this place. */
bool observed_may_be_lost(const struct observed *o, struct hist_place at);

/* ---- checkers -------------------------------------------------------------
 *
 * Each says "bad" only of what no correct cluster can show, whatever happened
 * that clients cannot see; so they find less than a checker with the cluster's
 * logs would (tests/sim/site/judge.h), and are never wrong.
 *
 *   survival    an acknowledged write is there in the end, or a later one is.
 *               At a weaker level than strong a forced switch may have lost
 *               it; it is then in the conflict feed, which holds nothing that
 *               was not lost. A write that was refused is not there
 *   linear      operations at level strong on one document are linearizable;
 *               of documents that are too much to decide it says "good", with
 *               their number in `why`
 *   prefix      an answer is the state at the place that it names: not older
 *               than any acknowledged write up to there, not newer
 *   sessions    at level session a client reads its own writes, its reads never
 *               go back, and its writes are in the order it made them
 *   staleness   a bounded read lacks at most K entries, and none that was
 *               acknowledged T before it was asked for
 */

/* What forced switches have lost of what was acknowledged. */
struct observed_loss {
    size_t entries;
    size_t in_feed;           /* of these */
    usec_t first_us, last_us; /* answers to the first and the last of these */
};

/* `loss_out` may be NULL. */
bool observed_survival(const struct observed *o, struct observed_loss *loss_out,
                       char why[VERDICT_TEXT_MAX]);
bool observed_linear(const struct observed *o, char why[VERDICT_TEXT_MAX]);
bool observed_prefix(const struct observed *o, char why[VERDICT_TEXT_MAX]);
bool observed_sessions(const struct observed *o, char why[VERDICT_TEXT_MAX]);
bool observed_staleness(const struct observed *o, char why[VERDICT_TEXT_MAX]);
/* All of them. */
bool observed_judge(const struct observed *o, char why[VERDICT_TEXT_MAX]);

/* A bounded read is never held to less than this: the least T there is. */
#define OBSERVED_LEAST_BOUND_US USEC_PER_SEC
/* For qsort of pointers to operations: by when they were answered. */
int observed_by_answer(const void *a, const void *b);

#endif
