/* The load of a scenario: clients of several regions that read and write a few
 * documents the way SDKs do, on a thread of its own, and remember everything
 * they were told (node/history/observed.h).
 *
 * A client has one connection for writes, to the region that the account
 * document names, and one for reads, to its own region or, if that does not
 * answer, to the next one of the document. Whoever is refused (403, 503, 408)
 * or not answered reads the account document again, through the account
 * endpoint, before it goes on. Nothing is repeated: the next request is another
 * one.
 *
 *     idle --due--> connecting --> asked --answer--> idle
 *       '--refused before--> account --answer--> idle
 *
 * Times are microseconds since the load began. */
#ifndef BASTIDE_CLI_FAULT_LOAD_H
#define BASTIDE_CLI_FAULT_LOAD_H

#include <limits.h>

#include "node/cli/bench_wire.h"
#include "node/cli/client_conn.h"
#include "node/cli/layout.h"
#include "node/history/observed.h"

#define FAULT_RANGES_MAX                                                       \
    256 /* shards of a container that sessions remember                        \
         */
#define FAULT_CONNECT_TIMEOUT_US (1 * USEC_PER_SEC)
/* An SDK waits longer; here nobody is to wait for one that will not come. */
#define FAULT_ANSWER_TIMEOUT_US (3 * USEC_PER_SEC)
#define FAULT_BACKOFF_US (100 * USEC_PER_MS)
/* A region that did not answer a read is left alone for so long. */
#define FAULT_SUSPECT_US (2 * USEC_PER_SEC)
#define FAULT_ADDRESS_MAX (CONFIG_HOST_MAX + 8)
#define FAULT_SAID_MAX 120

/* Where clients go. */
struct fault_cluster {
    char ca[PATH_MAX];
    char account[FAULT_ADDRESS_MAX]; /* "host:port" */
    struct {
        char name[CONFIG_NAME_MAX + 1];
        char address[FAULT_ADDRESS_MAX];
    } regions[LAYOUT_REGIONS_MAX];
    unsigned region_count;
};

struct fault_load_options {
    const struct fault_cluster *cluster;
    const struct bench_wire *wire; /* database and container exist */
    unsigned clients, documents;
    unsigned writes_per_second, reads_per_second; /* of all together, not 0 */
    enum consistency_level level;
    uint64_t seed;
};

/* A request that was not done, or could not even be made. */
struct fault_failure {
    usec_t us;
    unsigned client;
    bool write;
    int status; /* or an enum bench_failure, below 100 */
    unsigned substatus;
    char said[FAULT_SAID_MAX];
};

struct fault_load;

/* Starts the thread; all of `options` must live until fault_load_stop. Errors
 * of tls_ctx_client. */
int fault_load_start(const struct fault_load_options *options,
                     struct fault_load **load_out, struct err_msg *msg);
/* The account's level changes: at session, clients send their tokens. Returns
 * when no request without is under way, so after FAULT_ANSWER_TIMEOUT_US at
 * most. */
void fault_load_level(struct fault_load *l, enum consistency_level level);
/* Requests are signed with this key from now on. Returns when none that has the
 * key before is under way, so after FAULT_ANSWER_TIMEOUT_US at most. */
void fault_load_key(struct fault_load *l, const struct auth_key *key);
usec_t fault_load_now(const struct fault_load *l);

/* Lets the requests under way end, and the thread. */
void fault_load_stop(struct fault_load *l);
/* After the stop, as long as the load lives. */
struct observed *fault_load_history(struct fault_load *l);
const struct fault_failure *fault_load_failures(const struct fault_load *l,
                                                size_t *count_out);
/* What all sessions together have seen, as a header's value. */
void fault_load_tokens(const struct fault_load *l, struct buf *out);
void fault_load_free(struct fault_load *l); /* NULL is allowed */

/* What an answer means (struct hist_op, result). ERR_TIMEOUT: the outcome is
 * not known, as of all answers that a client fault made. */
int fault_result_of(const struct bench_response *a);
/* The number of the write that a document holds; 0: none. */
uint64_t fault_version_of(struct bytes document);

#endif
