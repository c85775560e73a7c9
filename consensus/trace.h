/* Structured records of the core's decisions, for traces, scripted scenarios
 * and logs. Records carry numbers only; the words are chosen when one is
 * printed, so rewording breaks no expected trace by accident. */
#ifndef BASTIDE_CONSENSUS_TRACE_H
#define BASTIDE_CONSENSUS_TRACE_H

#include <stddef.h>

#include "consensus/raft.h"

/* name, label of `lsn`, label of `value`; "" hides the field */
#define RAFT_TRACE_LIST(X)                                                     \
    X(BECOME_FOLLOWER, "", "leader")                                           \
    X(BECOME_PRE_CANDIDATE, "last", "aims")                                    \
    X(BECOME_CANDIDATE, "last", "")                                            \
    X(BECOME_LEADER, "first", "")                                              \
    X(NEW_TERM, "", "from")                                                    \
    X(GRANT, "last", "pre")                                                    \
    X(DENY_STALE_TERM, "last", "pre")                                          \
    X(DENY_VOTED, "last", "pre")                                               \
    X(DENY_OLD_LOG, "last", "pre")                                             \
    X(DENY_EPOCH, "last", "pre")                                               \
    X(IGNORE_VOTE_HEARS_LEADER, "last", "pre")                                 \
    X(YIELD_TO_LONGER_LOG, "last", "")                                         \
    X(NO_CAMPAIGN, "", "reason")                                               \
    X(STEP_DOWN_NO_QUORUM, "", "")                                             \
    X(STEP_DOWN_REMOVED, "config", "")                                         \
    X(APPEND, "first", "n")                                                    \
    X(TRUNCATE, "from", "")                                                    \
    X(REJECT_APPEND, "prev", "hint")                                           \
    X(STALE_APPEND, "prev", "term")                                            \
    X(BACK_OFF, "next", "match")                                               \
    X(PEER_PROBE, "next", "")                                                  \
    X(PEER_REPLICATE, "next", "")                                              \
    X(PEER_SNAPSHOT, "base", "")                                               \
    X(COMMIT, "lsn", "")                                                       \
    X(REGION, "lsn", "")                                                       \
    X(ACK, "lsn", "")                                                          \
    X(VISIBLE, "lsn", "")                                                      \
    X(CONFIG, "lsn", "joint")                                                  \
    X(INSTALLED, "lsn", "reset")                                               \
    X(SNAPSHOT_DECLINED, "lsn", "")                                            \
    X(COMPACT, "lsn", "")                                                      \
    X(TRANSFER_START, "last", "")                                              \
    X(TRANSFER_TIMEOUT_NOW, "last", "")                                        \
    X(TRANSFER_ABORT, "", "")                                                  \
    X(READ_LEASE, "lsn", "id")                                                 \
    X(READ_QUORUM, "lsn", "id")                                                \
    X(READ_REMOTE, "lsn", "seq")                                               \
    X(READ_FAILED, "", "id")                                                   \
    X(EPOCH, "", "epoch")                                                      \
    X(RECOVER, "", "epoch")                                                    \
    X(FENCED, "", "epoch")                                                     \
    X(THROTTLED, "last", "")                                                   \
    X(IGNORE_AMNESIAC, "", "message")                                          \
    X(AMNESIA_TOLD, "last", "term")                                            \
    X(AMNESIA_OVER, "lsn", "")                                                 \
    X(PEER_FORGOT, "next", "")                                                 \
    X(PEER_LOST_LOG, "lsn", "match")                                           \
    X(OVERRULED, "lsn", "commit")

enum raft_trace_type {
#define RAFT_TRACE_ENUM(name, lsn, value) RAFT_TRACE_##name,
    RAFT_TRACE_LIST(RAFT_TRACE_ENUM)
#undef RAFT_TRACE_ENUM
        RAFT_TRACE_TYPES
};

/* Values of NO_CAMPAIGN. */
enum raft_no_campaign {
    RAFT_NO_CAMPAIGN_NOT_VOTER = 1,
    RAFT_NO_CAMPAIGN_EPOCH_UNKNOWN = 2, /* the term's epoch was decided, but
                                           this node does not know how */
    RAFT_NO_CAMPAIGN_TERMS_USED_UP = 4, /* 2^32 elections in one epoch */
    RAFT_NO_CAMPAIGN_NO_REGION = 3,     /* the decided region has no voter */
    RAFT_NO_CAMPAIGN_AMNESIAC = 5,      /* may have forgotten what it must
                                           not */
    RAFT_NO_CAMPAIGN_RECOVERED = 6,     /* the log's voters were given up for
                                           lost; others count now */
    RAFT_NO_CAMPAIGN_WITNESS = 7,       /* has no payload */
};

struct raft_trace {
    enum raft_trace_type type;
    raft_id self;
    raft_id peer; /* 0: none */
    uint64_t term;
    uint64_t lsn;
    uint64_t value;
};

/* "n1 t0.3 COMMIT lsn=7": node, epoch.counter, name, fields. Terms in `value`
 * are printed as numbers. Returns the length without the NUL; cut to size. */
#define RAFT_TRACE_TEXT_MAX 128
size_t raft_trace_format(const struct raft_trace *t,
                         char out[RAFT_TRACE_TEXT_MAX]);

#endif
