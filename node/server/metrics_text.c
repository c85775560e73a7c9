/* Prometheus' text format. */
#include <inttypes.h>
#include <stdio.h>

#include "node/server/metrics_impl.h"

void metrics_head(struct buf *out, const char *name, const char *type,
                  const char *help)
{
    (void)buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                     type);
}

static void put_name(struct buf *out, const char *name, const char *labels)
{
    if (labels[0] != '\0')
        (void)buf_printf(out, "%s{%s} ", name, labels);
    else
        (void)buf_printf(out, "%s ", name);
}

void metrics_sample(struct buf *out, const char *name, const char *labels,
                    double value)
{
    put_name(out, name, labels);
    (void)buf_printf(out, "%.15g\n", value);
}

void metrics_sample_u64(struct buf *out, const char *name, const char *labels,
                        uint64_t value)
{
    put_name(out, name, labels);
    (void)buf_printf(out, "%" PRIu64 "\n", value);
}

void metrics_gauge(struct buf *out, const char *name, const char *help,
                   double value)
{
    metrics_head(out, name, "gauge", help);
    metrics_sample(out, name, "", value);
}

void metrics_counter(struct buf *out, const char *name, const char *help,
                     uint64_t value)
{
    metrics_head(out, name, "counter", help);
    metrics_sample_u64(out, name, "", value);
}

void metrics_histogram(struct buf *out, const char *name, const char *labels,
                       const struct meter *m)
{
    const char *comma = labels[0] != '\0' ? "," : "";
    char full[METRICS_LABELS_MAX];
    uint64_t below = 0;
    for (unsigned i = 0; i < METER_BOUNDS; i++) {
        below += m->buckets[i];
        (void)buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name,
                         labels, comma,
                         (double)meter_bounds_us[i] / USEC_PER_SEC, below);
    }
    (void)buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name,
                     labels, comma, meter_count(m));
    snprintf(full, sizeof(full), "%s_sum", name);
    metrics_sample(out, full, labels, (double)m->sum_us / USEC_PER_SEC);
    snprintf(full, sizeof(full), "%s_count", name);
    metrics_sample_u64(out, full, labels, meter_count(m));
}
