/* The engine of `bastide bench`: N closed-loop connections on one loop. Each
 * sends a request, waits for its response, sends the next. With a rate,
 * requests are due at equal distances, and a connection without one waits.
 *
 *     SETUP    one connection creates database and container if missing
 *     LOAD     every key is written once (without reads: skipped)
 *     WARM_UP  the mix, not counted
 *     MEASURE  the mix, counted; then the run ends
 *
 * A response with an unexpected status, a lost connection or no answer within
 * BENCH_ANSWER_TIMEOUT_US counts as an error, and that connection pauses for
 * BENCH_BACKOFF_US before it goes on. Latency is from queueing the request to
 * having all of the response; with a rate, from when it was due if no
 * connection was free then: a slow server cannot hide what it held up. */
#ifndef BASTIDE_CLI_BENCH_LOAD_H
#define BASTIDE_CLI_BENCH_LOAD_H

#include "node/base/histogram.h"
#include "node/cli/bench_wire.h"
#include "node/cli/client_conn.h"

#define BENCH_CONNECTIONS_MAX 4096
#define BENCH_ENDPOINTS_MAX 64
#define BENCH_RATE_MAX 1000000
#define BENCH_ANSWER_TIMEOUT_US (10 * USEC_PER_SEC)
#define BENCH_BACKOFF_US (10 * USEC_PER_MS)
/* SETUP and LOAD must be done within this, plus 1 ms a key. */
#define BENCH_SETUP_TIMEOUT_US (60 * USEC_PER_SEC)
/* Refused connections are tried again during SETUP for this long. */
#define BENCH_CONNECT_PATIENCE_US (3 * USEC_PER_SEC)
#define BENCH_SAMPLE_MAX 200
#define BENCH_STATUS_MAX 600

struct bench_options {
    const char *endpoints[BENCH_ENDPOINTS_MAX]; /* "host:port", in turn */
    unsigned endpoint_count;                    /* at least 1 */
    const char *ca;                             /* PEM file */
    unsigned connections;
    unsigned keys;
    unsigned read_percent;
    unsigned
        rate;     /* requests a second, of all connections; 0: as many as can */
    bool no_load; /* the keys exist, although there are reads */
    usec_t warm_up_us;
    usec_t duration_us;
    uint64_t seed;
};

struct bench_result {
    struct histogram writes, reads; /* microseconds, MEASURE only */
    double seconds;                 /* how long MEASURE took */
    double cpu_seconds;             /* of this process meanwhile */
    /* From WARM_UP on. By status from 100; below, by enum bench_failure
     * (client_conn.h). */
    uint64_t errors[BENCH_STATUS_MAX];
    uint64_t error_count;
    int first_error;                   /* its index in `errors` */
    char sample[BENCH_SAMPLE_MAX + 1]; /* what it said */
};

/* Runs all phases; blocks. `wire` has the key set; its date is kept by the
 * run. ERR_UNAVAILABLE, ERR_AUTH, ERR_TIMEOUT, ERR_FORBIDDEN and others with a
 * message when SETUP or LOAD did not succeed. */
int bench_run(const struct bench_options *options, struct bench_wire *wire,
              struct bench_result *result_out, struct err_msg *msg);

#endif
