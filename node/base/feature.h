/* Feature levels: how nodes of different releases share a cluster.
 *
 * Each release supports every level up to FEATURE_SUPPORTED. The cluster is at
 * one level, its active one: a committed value in the meta shard's account
 * record, which only rises. The leader of the meta shard raises it once every
 * configured node is connected, supports the next level and agrees to it
 * (setting feature_level_max). From then on a node that supports less is kept
 * out: it refuses to start, and its peers refuse its links.
 *
 * ## Adding something new to the wire or to the disk
 *
 * What an older release cannot read must not be sent or stored while a node of
 * one may still be there, or may come back after a roll-back:
 *
 *  1. Add a line at the end of FEATURE_LIST, with the next number. Several
 *     features of one release may have a level each, or share one.
 *  2. Read the new form from now on, whatever the level is.
 *  3. Write it only where feature_active says so, and the old form otherwise:
 *
 *         if (feature_active(&node->features, FEATURE_X))
 *             put_new_form(...);
 *         else
 *             put_old_form(...);
 *
 *     Pure cores are given the answer as an argument or an option.
 *  4. Ask anew each time: the level rises while the node runs. Whatever needs
 *     the feature on request (a command, a header) is refused meanwhile with
 *     feature_refuse, which says what is missing.
 *  5. When no release before it may be upgraded from any more, the old form and
 *     the question go; the number stays taken.
 *
 * What concerns two nodes alone, and leaves nothing behind, need not wait for
 * the cluster: it may go by what the peer said in its HELLO
 * (replication/peer.h), as FEATURE_RELAY does. New members of a protobuf
 * message or of a JSON record that older releases ignore without harm need no
 * level at all.
 */
#ifndef BASTIDE_BASE_FEATURE_H
#define BASTIDE_BASE_FEATURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

/* The level, its name, what it is. The numbers are the wire's: never reuse one.
 */
#define FEATURE_LIST(X)                                                        \
    X(1, RELAY, "entries cross to another region once")                        \
    X(2, KEPT_OUT, "nodes that support less than the cluster are kept out")    \
    X(3, GROUPS, "placement groups other than default")                        \
    X(4, MOVES, "containers move between placement groups")                    \
    X(5, PARTS, "groups get more shards, other keys; rows by partition key")   \
    X(6, PART_MOVES, "rows placed by partition key move, or get more shards")  \
    X(7, REGION_PROOF, "peers show that they hold their region's key")         \
    X(8, WITNESS_CHANGE, "a group's witness comes, goes and moves")

#define FEATURE_ENUM(level, name, what) FEATURE_##name = level,
enum feature { FEATURE_LIST(FEATURE_ENUM) FEATURE_END };
#undef FEATURE_ENUM

/* The level of a cluster that has not recorded one yet. */
#define FEATURE_FIRST FEATURE_RELAY

/* The highest level that this program supports. */
extern const uint32_t feature_supported;

/* -- the active level ------------------------------------------------------ */

/* What a process knows of it: written by one thread, read by all. Starts as
 * {0}, which is FEATURE_FIRST. */
struct feature_gate {
    _Atomic uint32_t level;
};

uint32_t feature_level(const struct feature_gate *gate);
/* Learns a level; a lower one than is known changes nothing. */
void feature_raise(struct feature_gate *gate, uint32_t level);
/* Whether `feature` may be used: the one question to ask. */
bool feature_active(const struct feature_gate *gate, enum feature feature);
/* ERR_OK where it may be; else ERR_UNAVAILABLE with a message for whoever asked
 * for it: which level it needs, at which the cluster is. */
int feature_refuse(const struct feature_gate *gate, enum feature feature,
                   struct err_msg *msg);
/* Whether this program may be part of the cluster: ERR_UNSUPPORTED with a
 * message that names the way out when the cluster's level is above what is
 * supported. */
int feature_check(const struct feature_gate *gate, struct err_msg *msg);

/* -- raising it ------------------------------------------------------------ */

/* What one configured node says. */
struct feature_report {
    bool heard;         /* its link is up, or it is this node */
    uint32_t supported; /* 0: a release of before there were levels */
    uint32_t wanted;    /* it agrees to levels up to this; 0: to all it
                         * supports */
};

/* The level that a cluster at `active` can have, as all its nodes say: `active`
 * when it has to stay. Pure. `n` is 1 or more. */
uint32_t feature_next(uint32_t active, const struct feature_report *reports,
                      size_t n);

#endif
