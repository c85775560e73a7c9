/* Scenarios: what is done to a cluster under load, and what is expected of it.
 * Pure: bytes in, a struct out. docs/scenarios.md says how to write one.
 *
 *     name: lose-write-region
 *     description: The write region is cut off from the others.
 *     needs:
 *       regions: 3
 *       level: session
 *     load:
 *       clients: 6
 *     steps:
 *       - at: 2s
 *         fault: {kind: cut, from: "{write_region}", to: "*", both: true}
 *         writes-succeed-within: 8s
 *       - after: 6s
 *         clear: all
 *       - wait-until: healthy
 *         limit: 20s
 *     expect:
 *       - lost-at-most: 200
 *
 * A subset of YAML: mappings, lists and values as above; what is not known is
 * refused, with "file:line: ..." and what was expected there.
 *
 * Names of regions and nodes may be placeholders in braces; they mean what they
 * meant when the scenario began, so that {write_region} is the same region in
 * all steps. */
#ifndef BASTIDE_SCENARIO_SCENARIO_H
#define BASTIDE_SCENARIO_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/err.h"
#include "node/catalog/catalog.h"
#include "node/inject/inject.h"

#define SCENARIO_FILE_MAX (64 * 1024)
#define SCENARIO_NAME_MAX 63
#define SCENARIO_TEXT_MAX 1023 /* description */
#define SCENARIO_STEPS_MAX 64
#define SCENARIO_EXPECTS_MAX 32
#define SCENARIO_STATUSES_MAX 16
/* A fault with its placeholders, as JSON. */
#define SCENARIO_FAULT_MAX INJECT_BODY_MAX
#define SCENARIO_TIME_MAX_US (3600 * USEC_PER_SEC)
#define SCENARIO_CLIENTS_MAX 64
#define SCENARIO_DOCUMENTS_MAX 10000
#define SCENARIO_RATE_MAX 10000 /* a second, of all clients together */

enum scenario_kind {
    SCENARIO_FAULT,       /* `text`: JSON, with placeholders */
    SCENARIO_CLEAR,       /* `text`: a fault's id, or "all" */
    SCENARIO_SWITCH,      /* `text`: a region; `only_begin` */
    SCENARIO_RESTART,     /* `text`: a region or a node, "*": all, in turn */
    SCENARIO_RENEW,       /* certificates; `text`: likewise */
    SCENARIO_ROTATE,      /* the account key `text`, primary or secondary */
    SCENARIO_WAIT,        /* `wait` */
    SCENARIO_CONSISTENCY, /* `policy` */
};

enum scenario_wait {
    SCENARIO_HEALTHY, /* every region and node is up and in time, settled */
    SCENARIO_SETTLED,
    SCENARIO_WRITE_REGION, /* `text`: writes go there, settled */
};

struct scenario_step {
    unsigned line;
    /* When: so long after the load began (`relative`: after the step before was
     * done). */
    usec_t at_us;
    bool relative;
    enum scenario_kind kind;
    char *text;
    enum scenario_wait wait;
    struct consistency_policy policy; /* bounds of 0: the account's stay */
    bool only_begin; /* asks for the switch and does not wait for it */
    usec_t limit_us; /* WAIT, SWITCH, RESTART, CONSISTENCY: fails after */
    /* Expected of every client, counted from the step; 0: not */
    usec_t writes_within_us, reads_within_us;
};

enum scenario_expect_kind {
    SCENARIO_NOTHING_LOST,    /* no acknowledged write */
    SCENARIO_LOST_AT_MOST,    /* `number` acknowledged writes */
    SCENARIO_WRITE_REGION_IS, /* `text`, in the end */
    SCENARIO_NONE_FAILED,     /* every request was done */
    SCENARIO_ERRORS_ONLY,     /* `statuses`; lost connections do not count */
    SCENARIO_GAP_AT_MOST,     /* `us`: the longest without acknowledged write */
};

struct scenario_expect {
    unsigned line;
    enum scenario_expect_kind kind;
    uint64_t number;
    usec_t us;
    char *text;
    unsigned statuses[SCENARIO_STATUSES_MAX];
    size_t status_count;
};

struct scenario {
    char name[SCENARIO_NAME_MAX + 1];
    char description[SCENARIO_TEXT_MAX + 1];

    unsigned regions, nodes_per_region; /* at least */
    bool has_policy; /* the account's, set before and put back afterwards */
    struct consistency_policy policy; /* bounds of 0: the account's */

    unsigned clients;                             /* spread over the regions */
    unsigned writes_per_second, reads_per_second; /* of all together */
    unsigned documents;
    usec_t duration_us; /* of the load, at least */

    struct scenario_step steps[SCENARIO_STEPS_MAX];
    size_t step_count;
    struct scenario_expect expects[SCENARIO_EXPECTS_MAX];
    size_t expect_count;
};

/* Reads a scenario; `path` is for messages. ERR_MALFORMED: not YAML.
 * ERR_INVALID: not a scenario. ERR_LIMIT: too long. `scenario_out` is then
 * empty; otherwise scenario_free gives it back. */
int scenario_parse(const char *path, struct bytes text,
                   struct scenario *scenario_out, struct err_msg *msg);
void scenario_free(struct scenario *s);

/* ---- placeholders ---------------------------------------------------------
 */

#define SCENARIO_PLACEHOLDER_LIST(X)                                           \
    X(WRITE_REGION, "write_region", "the region that takes the writes")        \
    X(NEXT_REGION, "next_region", "the first of the others, by priority")      \
    X(READ_REGION, "read_region", "the last of the others, by priority")       \
    X(WRITE_NODE, "write_node", "the first node of the write region")          \
    X(READ_NODE, "read_node", "the first node of read_region")                 \
    X(WRITE_LEADER, "write_leader", "the node that leads shard 1")

enum scenario_placeholder {
#define SCENARIO_PLACEHOLDER_ENUM(id, name, what) SCENARIO_P_##id,
    SCENARIO_PLACEHOLDER_LIST(SCENARIO_PLACEHOLDER_ENUM)
#undef SCENARIO_PLACEHOLDER_ENUM
        SCENARIO_PLACEHOLDERS
};

/* What they stand for; "": not known. */
struct scenario_names {
    char name[SCENARIO_PLACEHOLDERS][INJECT_NAME_MAX + 1];
};

/* Appends `text` with its placeholders replaced. ERR_INVALID: one that does not
 * exist; ERR_NOT_FOUND: one that is not known; else errors of the buffer. */
int scenario_resolve(const char *text, const struct scenario_names *names,
                     struct buf *out, struct err_msg *msg);

/* Reads a step's fault as a node would. Errors of scenario_resolve and
 * inject_read. */
int scenario_read_fault(const char *text, const struct scenario_names *names,
                        struct inject_fault *fault_out, struct err_msg *msg);

/* ---- saying ---------------------------------------------------------------
 */

/* "cut eastus -> *, both ways", "wait until healthy, at most 20 s"; a sentence
 * without its end. `names` may be NULL: with placeholders. */
#define SCENARIO_SENTENCE_MAX 320
void scenario_describe_step(const struct scenario_step *step,
                            const struct scenario_names *names,
                            char out[SCENARIO_SENTENCE_MAX]);
void scenario_describe_expect(const struct scenario_expect *e,
                              const struct scenario_names *names,
                              char out[SCENARIO_SENTENCE_MAX]);

#endif
