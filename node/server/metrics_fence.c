/* What the walls of fences refused. */
#include <stdio.h>

#include "node/server/fence_guard.h"
#include "node/server/metrics_impl.h"
#include "node/server/transit.h"

void metrics_put_fences(const struct worker *w, struct buf *out)
{
    static const char name[] = "bastide_fence_refusals_total";
    char labels[METRICS_LABELS_MAX];
    const char *group;
    const uint64_t *by_wall;
    metrics_head(out, name, "counter",
                 "Messages and requests that a fence refused; group \"\": the "
                 "shard's group was not known yet");
    for (uint32_t i = 0;
         fence_guard_counts(w->fence_guard, i, &group, &by_wall); i++)
        for (unsigned b = 0; b < FENCE_WALLS; b++) {
            snprintf(labels, sizeof(labels), "wall=\"%s\",group=\"%s\"",
                     fence_wall_name((enum fence_wall)(1u << b)), group);
            metrics_sample_u64(out, name, labels, by_wall[b]);
        }
}

void metrics_put_transit(const struct worker *w, struct buf *out)
{
    static const char name[] = "bastide_transit_requests_total";
    char labels[METRICS_LABELS_MAX];
    const char *group;
    uint64_t passed_on, answered;
    metrics_head(out, name, "counter",
                 "Requests of clients that crossed a group's fence by transit: "
                 "passed on by this node outside, answered by this one inside");
    for (uint32_t i = 0;
         transit_counts(w->transit, i, &group, &passed_on, &answered); i++) {
        snprintf(labels, sizeof(labels), "group=\"%s\",part=\"passed_on\"",
                 group);
        metrics_sample_u64(out, name, labels, passed_on);
        snprintf(labels, sizeof(labels), "group=\"%s\",part=\"answered\"",
                 group);
        metrics_sample_u64(out, name, labels, answered);
    }
}
