/* Clients: what they ask for and how they are answered. */
#include <stdio.h>

#include "node/server/metrics_impl.h"

static void put_answers(const struct cosmos_meters *api, struct buf *out)
{
    static const char name[] = "bastide_requests_total";
    char labels[METRICS_LABELS_MAX];
    metrics_head(out, name, "counter",
                 "Requests answered, by operation and class of status");
    for (unsigned op = 0; op < COSMOS_OP_COUNT; op++)
        for (unsigned c = 0; c < COSMOS_CLASSES; c++) {
            snprintf(labels, sizeof(labels), "operation=\"%s\",class=\"%uxx\"",
                     cosmos_operation_word((enum cosmos_operation)op), c + 2);
            metrics_sample_u64(out, name, labels, api->answers[op][c]);
        }
}

static void put_refusals(const struct cosmos_meters *api, struct buf *out)
{
    static const char name[] = "bastide_request_refusals_total";
    char labels[METRICS_LABELS_MAX];
    metrics_head(out, name, "counter",
                 "Requests answered with this status; 429: a queue or the "
                 "memory is full, or a bound of staleness would be broken");
    for (unsigned i = 0; i < COSMOS_REFUSALS; i++) {
        snprintf(labels, sizeof(labels), "status=\"%d\"", cosmos_refusals[i]);
        metrics_sample_u64(out, name, labels, api->refusals[i]);
    }
}

/* Combinations that never came up are left out: most never do. */
static void put_latencies(const struct cosmos_meters *api, struct buf *out)
{
    static const char name[] = "bastide_request_duration_seconds";
    char labels[METRICS_LABELS_MAX];
    metrics_head(out, name, "histogram",
                 "From a complete request to its answer, by operation and "
                 "consistency level");
    for (unsigned op = 0; op < COSMOS_OP_COUNT; op++)
        for (unsigned level = 0; level < CONSISTENCY_COUNT; level++) {
            const struct meter *m = &api->latency[op][level];
            if (meter_count(m) == 0)
                continue;
            snprintf(labels, sizeof(labels), "operation=\"%s\",level=\"%s\"",
                     cosmos_operation_word((enum cosmos_operation)op),
                     consistency_name((enum consistency_level)level));
            metrics_histogram(out, name, labels, m);
        }
}

static void put_rejects(const struct http_counters *h, struct buf *out)
{
    static const char name[] = "bastide_http_rejects_total";
    static const char *const reasons[] = {
        [HTTP_REJECT_SYNTAX] = "syntax",
        [HTTP_REJECT_SMUGGLING] = "ambiguous",
        [HTTP_REJECT_HOST] = "host",
        [HTTP_REJECT_TIMEOUT] = "timeout",
        [HTTP_REJECT_BODY_SIZE] = "body_size",
        [HTTP_REJECT_TARGET_SIZE] = "target_size",
        [HTTP_REJECT_EXPECTATION] = "expectation",
        [HTTP_REJECT_HEAD_SIZE] = "head_size",
        [HTTP_REJECT_METHOD] = "method",
        [HTTP_REJECT_CODING] = "coding",
        [HTTP_REJECT_MEMORY] = "memory",
        [HTTP_REJECT_VERSION] = "version"};
    char labels[METRICS_LABELS_MAX];
    metrics_head(out, name, "counter",
                 "Requests refused before they were understood");
    for (unsigned i = 0; i < HTTP_REJECT_COUNT; i++) {
        snprintf(labels, sizeof(labels), "reason=\"%s\"", reasons[i]);
        metrics_sample_u64(out, name, labels, h->rejects[i]);
    }
}

static void put_connections(const struct http_counters *h, struct buf *out)
{
    metrics_gauge(out, "bastide_http_connections", "Open client connections",
                  (double)h->connections_open);
    metrics_counter(out, "bastide_http_connections_accepted_total",
                    "Client connections accepted", h->connections_accepted);
    metrics_counter(out, "bastide_http_connections_refused_total",
                    "Client connections refused because there were "
                    "limits.connections already",
                    h->connections_refused);
    metrics_counter(out, "bastide_http_handshake_failures_total",
                    "TLS handshakes of clients that failed",
                    h->handshakes_failed);
    metrics_counter(out, "bastide_http_received_bytes_total",
                    "Bytes received from clients, without TLS", h->bytes_in);
    metrics_counter(out, "bastide_http_sent_bytes_total",
                    "Bytes sent to clients, without TLS", h->bytes_out);
    metrics_gauge(out, "bastide_http_body_bytes",
                  "Memory that request bodies take",
                  (double)h->body_bytes_held);
    metrics_counter(out, "bastide_http_idle_timeouts_total",
                    "Connections closed because they were idle",
                    h->timeouts_idle);
    metrics_counter(out, "bastide_http_write_timeouts_total",
                    "Connections closed because the client did not read",
                    h->timeouts_write);
    metrics_counter(out, "bastide_http_answers_dropped_total",
                    "Answers whose client had gone", h->responses_dropped);
}

void metrics_put_requests(const struct metrics_worker *all, struct buf *out)
{
    put_answers(&all->api, out);
    put_refusals(&all->api, out);
    put_latencies(&all->api, out);
    metrics_gauge(out, "bastide_requests_running",
                  "Requests taken and not yet answered",
                  (double)all->http.requests_running);
    metrics_counter(out, "bastide_reads_local_total",
                    "Operations that read and were answered by this node's "
                    "replica",
                    all->reads_local);
    metrics_counter(out, "bastide_reads_forwarded_total",
                    "Operations that read and were sent to the shard's leader",
                    all->reads_forwarded);
    metrics_counter(out, "bastide_operations_forwarded_total",
                    "Operations on shards sent to another node",
                    all->forwarded);
    metrics_counter(out, "bastide_operations_retried_total",
                    "Operations on shards tried again: no leader, or a lost "
                    "answer",
                    all->retried);
    put_connections(&all->http, out);
    put_rejects(&all->http, out);
}
