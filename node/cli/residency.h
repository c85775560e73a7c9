/* Residency statements: what `bastide placement verify` writes and `bastide
 * placement check` reads again, without the cluster (docs/residency.md).
 *
 *     {"format": "bastide residency statement 1",
 *      "made_at": "2026-11-29T08:00:00.000000Z", "made_at_us": ...,
 *      "group": "eu" or null,      which groups' replicas were compared
 *      "nonce": "...",             what the nodes were given to repeat
 *      "ca": PEM, "ca_sha256": fingerprint of its first certificate
 *      "missing": [{"node", "region", "reason"}],   who did not report
 *      "reports": [{"report", "signature", "certificate"}...],  verbatim
 *      "sha256": of every byte before `,"sha256"`}
 *
 * The reports are what proves anything: each is signed by its node, and says
 * itself who made it, when, and for which nonce (server/holdings.h). What is
 * around them is the word of who ran the command. The last member is against
 * damage: a single changed byte anywhere is found.
 *
 * From the reports follows all that is judged. The definitions of the groups
 * are those of the report with the newest catalog; the others must agree.
 * Several reports of one node are of several rounds: replicas are compared by
 * the last digests, everything else must be right in each.
 *
 * Reads no clock, file or socket.
 */
#ifndef BASTIDE_CLI_RESIDENCY_H
#define BASTIDE_CLI_RESIDENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/err.h"

#define RESIDENCY_FORMAT "bastide residency statement 1"
#define RESIDENCY_BYTES_MAX (15u << 20)
#define RESIDENCY_REPORTS_MAX 1024
/* Reports are from at most this long before the statement... */
#define RESIDENCY_SPAN_US (15 * 60 * USEC_PER_SEC)
/* ...and at most this long after it: clocks differ. */
#define RESIDENCY_SKEW_US (60 * USEC_PER_SEC)

/* ---- making one ------------------------------------------------------------
 */

struct residency_missing {
    const char *node, *region, *reason;
};

struct residency_draft {
    const char *group; /* NULL: all */
    const char *nonce;
    usec_t made_us; /* wall clock */
    struct bytes ca_pem;
    const struct residency_missing *missing;
    size_t missing_count;
    const struct bytes *reports; /* answers of nodes, JSON objects */
    size_t report_count;
};

/* Appends the statement. ERR_INVALID: no certificate in `ca_pem`; ERR_LIMIT:
 * longer than RESIDENCY_BYTES_MAX. */
int residency_format(const struct residency_draft *d, struct buf *out);

/* ---- judging one -----------------------------------------------------------
 */

struct residency;

/* Reads a statement and judges it: signatures and identities, then what the
 * nodes say. `ca_pem` is the CA that the reader trusts; empty: the statement's
 * own, which proves no more than that one CA is behind all of it.
 * ERR_MALFORMED: not a statement, or a changed one; ERR_LIMIT: too long;
 * ERR_INVALID: no certificate in `ca_pem`. `text` is copied. */
int residency_open(struct bytes text, struct bytes ca_pem,
                   struct residency **out, struct err_msg *msg);
void residency_free(struct residency *r); /* NULL is allowed */

/* What is wrong, as sentences; 0: nothing is, the statement proves it. */
size_t residency_problem_count(const struct residency *r);
const char *residency_problem(const struct residency *r, size_t i);

/* Shards whose replicas all reported but could not be compared, or differ: it
 * may be that one had flushed beyond the LSN just then. Calls `each` for them.
 */
void residency_each_open(const struct residency *r,
                         void (*each)(void *user, uint32_t shard), void *user);

/* The summary and the problems. */
void residency_print(FILE *out, const struct residency *r);
void residency_print_json(FILE *out, const struct residency *r);

#endif
