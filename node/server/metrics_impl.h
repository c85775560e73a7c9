/* Private to metrics*.c: the text format, and the parts of the answer. */
#ifndef BASTIDE_SERVER_METRICS_IMPL_H
#define BASTIDE_SERVER_METRICS_IMPL_H

#include "node/base/buf.h"
#include "node/base/meter.h"
#include "node/server/metrics.h"

/* Longest `label="value",...` of one sample. */
#define METRICS_LABELS_MAX 256

/* A metric's HELP and TYPE lines; its samples follow. */
void metrics_head(struct buf *out, const char *name, const char *type,
                  const char *help);
/* One sample. `labels` is `a="b",c="d"`, or "" for none; names and values are
 * the program's and the configuration's, which need no escapes. */
void metrics_sample(struct buf *out, const char *name, const char *labels,
                    double value);
void metrics_sample_u64(struct buf *out, const char *name, const char *labels,
                        uint64_t value);
/* Head and the one sample of a metric without labels. */
void metrics_gauge(struct buf *out, const char *name, const char *help,
                   double value);
void metrics_counter(struct buf *out, const char *name, const char *help,
                     uint64_t value);
/* The samples of one histogram, in seconds. */
void metrics_histogram(struct buf *out, const char *name, const char *labels,
                       const struct meter *m);

/* `all`: the workers' counts added up. */
void metrics_put_requests(const struct metrics_worker *all, struct buf *out);
void metrics_put_shards(const struct metrics *m, struct buf *out);
void metrics_put_regions(const struct worker *w, struct buf *out);
void metrics_put_fences(const struct worker *w, struct buf *out);
void metrics_put_transit(const struct worker *w, struct buf *out);
void metrics_put_links(const struct worker *w, struct buf *out);
void metrics_put_disk(const struct worker *w, const struct metrics *m,
                      const struct metrics_worker *all, struct buf *out);
void metrics_put_snapshots(const struct node *n,
                           const struct metrics_worker *all, struct buf *out);
void metrics_put_process(const struct worker *w, struct buf *out);

#endif
