/* Session tokens: which state of which range a client has seen.
 *
 * A token is a list of elements, one per range, joined by commas:
 *
 *     <range>:<version>#<lsn>{#<region>=<local lsn>}
 *
 * We issue `r:e#l#e=l`: range index, epoch, LSN, and the LSN once more under a
 * region that is named like the epoch. The last part is there because of how
 * SDKs merge two tokens of a range: they take the larger version and the larger
 * LSN, each for itself, even when these belong to different versions. After a
 * forced failover that made epoch 2 begin at LSN 90, "1#100" and "2#95" would
 * become "2#100": a state that does not exist yet and that a client must not be
 * made to wait for. The part behind it is merged per region and taken from the
 * higher version only, so "2#95#2=95" and "1#100#1=100" become "2#100#2=95",
 * and the truth, 95, is in it. Within one version the region is always the
 * same, which is what SDKs insist on. (tests/sdk/test_sessions.mjs does this
 * with the SDK's own code; @azure/cosmos 4.10.1, session/VectorSessionToken.)
 *
 * Requests are read leniently: ranges that are not concerned, more regions than
 * we name, the forms of other services without a version (`r:lsn`,
 * `r:-1#lsn`), which say nothing about states of ours. Where an element names
 * its own version as a region, that LSN counts, otherwise the one behind the
 * version.
 *
 * A state (epoch, lsn) satisfies a token whose (epoch, lsn) is not larger, the
 * epoch first (protocol section 8.3): a token of a lost epoch never waits.
 */
#ifndef BASTIDE_COSMOS_SESSION_H
#define BASTIDE_COSMOS_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

/* A state of a shard. {0, 0}: before everything. */
struct session_point {
    uint32_t epoch;
    uint64_t lsn;
};

static inline struct session_point session_point(uint64_t term, uint64_t lsn)
{
    return (struct session_point){(uint32_t)(term >> 32), lsn};
}
/* -1, 0 or 1, the epoch first. */
int session_compare(struct session_point a, struct session_point b);

/* Longest element that session_format writes. */
#define SESSION_ELEMENT_MAX 80

/* Writes one element; returns its length; no NUL. */
size_t session_format(char out[SESSION_ELEMENT_MAX], uint32_t range,
                      struct session_point point);

/* What `token` (a header's value) says about `range`; {0, 0} when it says
 * nothing. Of several elements for it the furthest counts. ERR_MALFORMED: the
 * token, in any of its elements, is none of the forms above. */
int session_find(struct bytes token, uint32_t range,
                 struct session_point *point_out);
/* The highest id of a range that `token` names, as far as it is well-formed;
 * -1: none. */
int64_t session_highest(struct bytes token);

/* -- ranges of several shards -------------------------------------------------
 *
 * A container with a placement map has one range, which all its shards are of
 * (catalog/spread.h). Its element names every one of them, as a region:
 *
 *     <range>:<version>#<highest lsn>{#<shard>=<state>}
 *
 * A state is the epoch and the LSN in one number, the epoch above the LSN's 40
 * bits, so that the larger number is the later state; 0: nothing was seen. SDKs
 * merge two tokens region by region and take the larger number, which is right
 * for each shard; and they insist that tokens of one version name the same
 * regions, which they do: other shards come with a higher version (struct
 * spread), whose regions SDKs then take. At first it is their number. */

/* Bits of an LSN, as in RIDs, and of an epoch. SDKs read 63 bits. */
#define SESSION_LSN_BITS 40
#define SESSION_EPOCH_BITS 23

struct session_part {
    uint16_t shard;
    struct session_point point;
};
/* Longest element of so many shards. */
#define SESSION_PARTS_MAX(count) (SESSION_ELEMENT_MAX + 26u * (count))

/* Writes such an element; returns its length; no NUL. */
size_t session_format_parts(char *out, uint32_t range, uint32_t version,
                            const struct session_part *parts, size_t count);
/* What `token` says about a shard of `range`; otherwise as session_find. */
int session_find_part(struct bytes token, uint32_t range, uint16_t shard,
                      struct session_point *point_out);
/* The version of the element for `range`, as far as `token` is well-formed; 0:
 * there is none. */
uint32_t session_version(struct bytes token, uint32_t range);
/* Whether the element of that version names the shard. */
bool session_names(struct bytes token, uint32_t range, uint16_t shard);

/* -- clients without tokens --------------------------------------------------
 *
 * SDKs in their default settings send no token at all, even to an account whose
 * level is session (protocol section 8.2). They still read their own writes on
 * the node they wrote through: it remembers, per shard, the furthest state that
 * it told anybody of, and has session reads without a token wait for that.
 * Writes that are forwarded to another region's leader need it: their entries
 * come back by replication a moment after their answer. In the write region
 * itself such reads go to the leader (level.c), so that there it does not even
 * matter which node was written through.
 *
 * One for the whole node, used by all its workers: plain maxima, atomic, of
 * which nothing else depends. Lost when the process ends, as its connections
 * are. */
struct session_floor;

struct session_floor *session_floor_new(size_t shards);
void session_floor_free(struct session_floor *f); /* NULL is allowed */
/* Shards beyond the number it was made for are not remembered. */
void session_floor_raise(struct session_floor *f, uint16_t shard,
                         struct session_point point);
struct session_point session_floor_get(const struct session_floor *f,
                                       uint16_t shard);

#endif
