/* A replica whose store is damaged, or differs from that of the others, is put
 * away while the node runs and gets everything anew from its leader.
 *
 *   quarantine_begin   deaf: it hears no message, has no time, answers nobody
 *   quarantine_turn    nothing of it is on its way any more: its promise is
 *                      written down, the store put away, the log told to forget
 *                      its entries; an empty replica is opened in its place
 *   quarantine_check   it has everything again: the mark goes
 *
 * The log is sound (each batch has its checksum), so nothing that Raft counts
 * on is lost but the entries: term, vote and the end of the log are in the
 * mark, and the replica votes by them as if it still had the entries, so that
 * nobody is elected who lacks one that it may have acknowledged
 * (docs/rebuild.md, consensus/amnesia.c). It leads nothing and answers no reads
 * until it is cured. The mark is there before the store goes: a start that
 * finds it goes on with the same promise.
 *
 * A store that cannot be put away, because the disk fails, is tried again; the
 * replica stays deaf until then, since the mark may be there and must hold.
 *
 * A replica that its group does without is put away likewise before it is
 * deleted (quarantine_leave, replicas.h), but nothing is opened in its place
 * until the node is a member again.
 *
 * What was put away is deleted at once: it cannot be trusted, and the others
 * have it. So a repair needs no more disk than the replica did.
 *
 * Whether a replica may go is the leader's decision (shard/scrub.h); one that
 * cannot be spared is mended otherwise (renewal.h). Here is refused what is
 * wrong whoever wants it: see quarantine_begin.
 */
#ifndef BASTIDE_SERVER_QUARANTINE_H
#define BASTIDE_SERVER_QUARANTINE_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/members.h"
#include "node/base/err.h"

struct replica;
struct worker;
struct shard;

/* What a replica had promised, as written down. */
struct quarantine_mark {
    uint64_t lsn, term;        /* of the last entry of its log */
    struct raft_config config; /* the newest one known to be committed */
    uint64_t hard_term; /* of one that left (quarantine_leave); else 0: */
    raft_id vote;       /* the log has it */
    bool asks; /* it had not learned itself what it had promised (raft.h) */
};

/* Of the data directory. ERR_NOT_FOUND: the replica is not being rebuilt;
 * ERR_CORRUPT, ERR_IO with a message. */
int quarantine_find(const struct replica *r, struct quarantine_mark *out,
                    struct err_msg *msg);

/* On the replica's worker; `why` is for log and audit. ERR_OK: begun, or under
 * way already. ERR_AGAIN, nothing was done: it leads, or is being rebuilt, or
 * has conflicts of its own that are not delivered yet. ERR_INVALID: the
 * configuration has no other voter. */
int quarantine_begin(struct replica *r, const char *why);
/* A replica of a shard that goes on elsewhere is to be deleted. Writes down
 * what it promised, with term and vote, since its log goes, too, and puts its
 * store away (datadir_drop_discarded deletes it). The next replica of the shard
 * here begins with that: somebody who was not told yet that this node left may
 * ask for its vote. Then the replica may be closed. ERR_IO, ERR_NO_SPACE with a
 * message: it must promise nothing from now on, and be tried again. */
int quarantine_leave(const struct replica *r, struct err_msg *msg);
/* Once a turn. */
void quarantine_turn(struct worker *w);
/* Now and then. */
void quarantine_check(struct worker *w);

/* Whether what the meta shard commits must wait until its replica is cured:
 * what it goes through until then is the past (then it is all read anew). */
bool quarantine_holds_catalog(const struct replica *r);

/* What happened on this node, for the audit: who is "node NAME". From any
 * worker. */
void quarantine_audit(struct worker *w, const char *what, const char *reason);

#endif
