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
#include "node/history/observed.h"

#define HIST_SHARDS_MAX 4
#define HIST_SESSIONS_MAX 64

struct hist_entry {
    uint16_t shard;
    struct hist_place at;
    uint64_t prev_term;
    bool data;      /* carries records, not just bookkeeping of the log */
    bool delivery;  /* carries an entry of the conflict feed */
    uint64_t op;    /* the client's operation it is of; 0: none */
    uint32_t nodes; /* who ever logged it: bit `node`; kept by history_logged */
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

struct history {
    struct observed seen; /* the clients' part, judged like a real cluster's */
    struct hist_entry *entries;
    size_t n_entries, cap_entries;
    uint32_t *index; /* into `entries`, + 1; open addressing by place */
    size_t cap_index;
    uint64_t *committed[HIST_SHARDS_MAX]; /* term by LSN; 0: not seen */
    size_t cap_committed[HIST_SHARDS_MAX];
    uint64_t top[HIST_SHARDS_MAX]; /* highest LSN committed */
    struct hist_ack *acks;
    size_t n_acks, cap_acks;
    uint32_t left; /* who is no member in the end: bit `node` */
    /* The first thing that was wrong already when it was recorded. */
    char wrong[200];
};

struct history *history_new(void);
void history_free(struct history *h); /* NULL is allowed */

/* A replica logs an entry. The same place must name the same entry and the same
 * parent for all replicas and for ever. */
void history_logged(struct history *h, uint32_t node,
                    const struct hist_entry *e);
/* A replica applies an entry; all must apply the same. */
void history_committed(struct history *h, uint32_t node, uint16_t shard,
                       struct hist_place at);
void history_acked(struct history *h, const struct hist_ack *a);
/* ---- questions ------------------------------------------------------------
 */

/* NULL: nobody ever logged it. */
const struct hist_entry *history_at(const struct history *h, uint16_t shard,
                                    struct hist_place at);
bool history_survived(const struct history *h, uint16_t shard,
                      struct hist_place at);
/* Whether every log that holds `b` holds `a`: `a` is above it or the same. */
bool history_leads_to(const struct history *h, uint16_t shard,
                      struct hist_place a, struct hist_place b);
/* The newest place on the way to `at` that survived. */
struct hist_place history_branch(const struct history *h, uint16_t shard,
                                 struct hist_place at);
/* The version of a document in the state at a place; 0: none. */
uint64_t history_state(const struct history *h, uint16_t shard, uint32_t key,
                       struct hist_place at);
#endif
