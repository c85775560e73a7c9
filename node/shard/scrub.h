/* Whose copy of a shard is wrong, by what all its replicas found in their own.
 *
 * Every member that keeps payload digests its records at the same LSN
 * (digest.h) and opens those that are sealed. Then
 *
 *  - a store that cannot be read is damaged, whatever the others say;
 *  - what more than half of those who were asked have, and what is authentic at
 *    one of them at least, is right. Who differs is wrong: damaged if records
 * of it are not authentic, else divergent;
 *  - without such a majority: if all whose records are authentic agree, they
 * are right, and those with damaged ones wrong. If they do not, nobody can
 * tell: all are in doubt, and stay as they are.
 *
 * A record that is authentic nowhere although all have the same is not a matter
 * of one disk: a rebuild would bring the same again. It is told (`unreadable`).
 *
 * A wrong replica is replaced only if the others are enough: a majority of all
 * voters is well without it, one of them with payload, and the leader says so
 * of each by what it answered just now. While voters change it is one of the
 * old and one of the new; where writes are acknowledged by a region, one of
 * that region's voters, too. So at no time more than a minority is away, and
 * whatever the wrong one had acknowledged is elsewhere.
 *
 * Where they are not enough, a damaged one may still have its store renewed: it
 * gets the state of the one that asks beside its own, which goes when that is
 * complete. It keeps its log and everything it promised, so nobody else is
 * needed. What is asked is that nothing is lost with the old store that the new
 * one lacks (scrub_renews). One that only differs is not renewed: without a
 * majority its records may be the right ones.
 *
 * Pure.
 */
#ifndef BASTIDE_SHARD_SCRUB_H
#define BASTIDE_SHARD_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/members.h"
#include "node/shard/digest.h"

enum scrub_verdict {
    SCRUB_UNKNOWN, /* it has not told, or not of that LSN */
    SCRUB_FINE,
    SCRUB_DAMAGED,   /* its store, or records in it, cannot be read */
    SCRUB_DIVERGENT, /* it reads well, and differs from a majority */
    SCRUB_DOUBT,     /* it differs, and nobody can tell who is right */
    SCRUB_WITNESS,   /* it keeps nothing to be compared */
};
const char *scrub_verdict_name(enum scrub_verdict v);

/* One member's answer. */
struct scrub_answer {
    raft_id node;
    bool voter, witness;
    /* ERR_OK: all below is filled. ERR_CORRUPT, ERR_IO: its store cannot be
     * read. Others: it could not tell this time. */
    int err;
    uint64_t records, bytes;
    uint64_t opened, unknown, damaged; /* server/digester.h */
    uint16_t spoilt;
    uint8_t whole[DIGEST_LEN];
    uint8_t buckets[DIGEST_BUCKETS][DIGEST_LEN];
};

struct scrub_judgement {
    enum scrub_verdict of[RAFT_MEMBERS_MAX]; /* in the order of the answers */
    uint16_t buckets; /* that are not the same everywhere */
    bool unreadable;
};

/* `n` is at most RAFT_MEMBERS_MAX. */
void scrub_judge(const struct scrub_answer *answers, uint32_t n,
                 struct scrub_judgement *out);

/* Whether a shard with this configuration does without answers[target], which
 * is SCRUB_DAMAGED or SCRUB_DIVERGENT: well[i] says of each that the leader
 * hears from it, and that it has, or keeps up with, everything the leader has.
 */
bool scrub_spares(const struct raft_config *c,
                  const struct scrub_answer *answers,
                  const struct scrub_judgement *j, const bool *well, uint32_t n,
                  uint32_t target);

/* Whether answers[target], which is SCRUB_DAMAGED, may take the state of
 * answers[from] in place of its own: that one was read whole, and opened, and
 * is right; both are well; and where the target could be read, too, it has as
 * many records, differs nowhere but where records of it are damaged, and
 * has the keys to open what comes. Of a store that cannot be read nothing can
 * be compared: a record that the other has lost unnoticed goes with it. `well`
 * as above. */
bool scrub_renews(const struct scrub_answer *answers,
                  const struct scrub_judgement *j, const bool *well,
                  uint32_t from, uint32_t target);

/* The wire form, little-endian: u8 version (1), i32 err, u64 records, bytes,
 * opened, unknown, damaged, u16 spoilt, whole, buckets. `node`, `voter` and
 * `witness` are the asker's to know. Encode returns the errors of buf_append;
 * decode reads foreign bytes: ERR_MALFORMED. */
int scrub_answer_encode(const struct scrub_answer *a, struct buf *out);
int scrub_answer_decode(struct bytes in, struct scrub_answer *out);

#endif
