/* What a run left behind: the calls of clients with what they were told, on the
 * true clock, and what every replica logged, committed and acknowledged. The
 * checkers (judge.h) know this and nothing of the code.
 *
 * The logs of all replicas of a shard, with all that was ever truncated, form
 * a tree: an entry is (LSN, term), its parent the entry before it. The branch
 * that was committed is the shard's history; the others are what was lost.
 * What an answer reflects is a place in that tree: the LSN and term that it
 * names. The root is LSN 0 of term 0.
 *
 * Pure; grows as it must, freed at once. */
#ifndef BASTIDE_SIM_SITE_HISTORY_H
#define BASTIDE_SIM_SITE_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consensus/raft.h"
#include "node/base/clock.h"
#include "node/catalog/catalog.h"
#include "tests/sim/linear.h"

#define HIST_SHARDS_MAX 4
#define HIST_SESSIONS_MAX 64
#define HIST_NEVER INT64_MAX

struct hist_place {
    uint64_t lsn;
    uint64_t term;
};

struct hist_entry {
    uint16_t shard;
    struct hist_place at;
    uint64_t prev_term;
    bool data;     /* carries records, not just bookkeeping of the log */
    bool delivery; /* carries an entry of the conflict feed */
    uint64_t op;   /* the client's operation it is of; 0: none */
};

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
    int result;
    bool created;
    uint64_t version;     /* of reads: the write that was seen; 0: none */
    struct hist_place at; /* what the answer reflects */
};

/* A replica told a client that its write is done. */
struct hist_ack {
    usec_t us;
    uint16_t shard;
    struct hist_place at;
    uint32_t node;
    uint32_t region; /* on whose word; 0: a majority of all voters has it */
    uint32_t epoch;  /* of the rule by which it was */
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

struct history {
    struct hist_op *ops; /* operation `number` is ops[number - 1] */
    size_t n_ops, cap_ops;
    struct hist_entry *entries;
    size_t n_entries, cap_entries;
    uint32_t *index; /* into `entries`, + 1; open addressing by place */
    size_t cap_index;
    uint64_t *committed[HIST_SHARDS_MAX]; /* term by LSN; 0: not seen */
    size_t cap_committed[HIST_SHARDS_MAX];
    uint64_t top[HIST_SHARDS_MAX]; /* highest LSN committed */
    struct hist_ack *acks;
    size_t n_acks, cap_acks;
    struct hist_conflict *conflicts;
    size_t n_conflicts, cap_conflicts;
    struct hist_promise *promises;
    size_t n_promises, cap_promises;
    struct hist_switch *switches;
    size_t n_switches, cap_switches;
    uint64_t moment;
    /* The first thing that was wrong already when it was recorded. */
    char wrong[200];
};

struct history *history_new(void);
void history_free(struct history *h); /* NULL is allowed */

/* A client calls: returns the operation's number. The first part of `op` is
 * filled by the caller, but for `called`. */
uint64_t history_called(struct history *h, const struct hist_op *op);
/* And hears: the second part of `op` counts, but for `answered`. */
void history_answered(struct history *h, uint64_t number,
                      const struct hist_op *op);

/* A replica logs an entry. The same place must name the same entry and the same
 * parent for all replicas and for ever. */
void history_logged(struct history *h, uint32_t node,
                    const struct hist_entry *e);
/* A replica applies an entry; all must apply the same. */
void history_committed(struct history *h, uint32_t node, uint16_t shard,
                       struct hist_place at);
void history_acked(struct history *h, const struct hist_ack *a);
void history_conflict(struct history *h, const struct hist_conflict *c);
/* By ascending time. `levels` always has `level`, and may be 0 before. */
void history_promise(struct history *h, const struct hist_promise *p);
void history_switch(struct history *h, const struct hist_switch *s);

/* ---- questions ------------------------------------------------------------
 */

/* NULL: nobody ever logged it. */
const struct hist_entry *history_at(const struct history *h, uint16_t shard,
                                    struct hist_place at);
bool history_survived(const struct history *h, uint16_t shard,
                      struct hist_place at);
/* Whether a forced switch may have lost what is at this place. */
bool history_may_be_lost(const struct history *h, struct hist_place at);
/* Whether every log that holds `b` holds `a`: `a` is above it or the same. */
bool history_leads_to(const struct history *h, uint16_t shard,
                      struct hist_place a, struct hist_place b);
/* The newest place on the way to `at` that survived. */
struct hist_place history_branch(const struct history *h, uint16_t shard,
                                 struct hist_place at);
/* The version of a document in the state at a place; 0: none. */
uint64_t history_state(const struct history *h, uint16_t shard, uint32_t key,
                       struct hist_place at);
/* The weakest that was promised at any time from `from` to `to`. */
struct hist_promise history_promised(const struct history *h, usec_t from,
                                     usec_t to);
bool history_is_write(const struct hist_op *op);
/* Whether it is known to have been done. */
bool history_done(const struct hist_op *op);

#endif
