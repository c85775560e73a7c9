/* The cluster's feature level (node/base/feature.h) at this node: what it tells
 * its peers, and, where it leads the meta shard, raising it.
 *
 *     HELLOs of all nodes -> feature_next -> account record in the meta shard
 *     account record -> catalog feed -> node->features -> links
 *     HELLOs of nodes that know of a level already -> node->features
 *
 * Every worker may ask feature_active(&node->features, ...) at any time. A node
 * that finds the level above what it supports, in its log at the start or from
 * a peer a moment later, ends with an error that says so. */
#ifndef BASTIDE_SERVER_FEATURES_H
#define BASTIDE_SERVER_FEATURES_H

#include <stdint.h>

struct config;
struct worker;

/* Up to which level this node agrees to: what its program supports, or the
 * setting feature_level_max. */
uint32_t features_wanted(const struct config *c);

/* Worker 0, which has the links and the meta shard; main thread, once those are
 * there. */
void features_start(struct worker *w);

#endif
