#include "node/base/feature.h"

#include "node/base/check.h"

/* The build of a release that is still to come, for tests: one level more. */
#ifndef FEATURE_EXTRA
#define FEATURE_EXTRA 0
#endif

const uint32_t feature_supported = FEATURE_END - 1 + FEATURE_EXTRA;

uint32_t feature_level(const struct feature_gate *gate)
{
    uint32_t level = atomic_load_explicit(&gate->level, memory_order_acquire);
    return level > FEATURE_FIRST ? level : FEATURE_FIRST;
}

void feature_raise(struct feature_gate *gate, uint32_t level)
{
    if (level > feature_level(gate))
        atomic_store_explicit(&gate->level, level, memory_order_release);
}

bool feature_active(const struct feature_gate *gate, enum feature feature)
{
    CHECK(feature >= FEATURE_FIRST && feature < FEATURE_END);
    return feature_level(gate) >= (uint32_t)feature;
}

#define FEATURE_WHAT(level, name, what) [level] = what,
static const char *const whats[] = {FEATURE_LIST(FEATURE_WHAT)};

int feature_refuse(const struct feature_gate *gate, enum feature feature,
                   struct err_msg *msg)
{
    if (feature_active(gate, feature))
        return ERR_OK;
    return err_set(msg, ERR_UNAVAILABLE,
                   "%s: this needs feature level %u, the cluster is at %u; it "
                   "rises when all nodes are connected, run a release that "
                   "supports it, and have no feature_level_max below it",
                   whats[feature], (unsigned)feature, feature_level(gate));
}

int feature_check(const struct feature_gate *gate, struct err_msg *msg)
{
    uint32_t level = feature_level(gate);
    if (level <= feature_supported)
        return ERR_OK;
    return err_set(msg, ERR_UNSUPPORTED,
                   "the cluster is at feature level %u, this program supports "
                   "levels up to %u: start the node with the release that the "
                   "other nodes run; a level that was reached is not given up",
                   level, feature_supported);
}

/* The highest level that one node lets the cluster have. */
static uint32_t allowed(const struct feature_report *r)
{
    if (!r->heard)
        return 0;
    return r->wanted != 0 && r->wanted < r->supported ? r->wanted
                                                      : r->supported;
}

uint32_t feature_next(uint32_t active, const struct feature_report *reports,
                      size_t n)
{
    CHECK(n > 0);
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        uint32_t most = allowed(&reports[i]);
        if (most < least)
            least = most;
    }
    return least > active ? least : active;
}
