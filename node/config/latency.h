/* What "world" means among the round trips that a cluster imitates: those that
 * were measured between Azure's regions. Pure.
 *
 * The setting `latency` and the flag --latency take a list with commas; later
 * parts win over earlier ones:
 *
 *     80ms                     for all pairs of regions
 *     eastus:westeurope=80ms   for one pair
 *     world                    what was measured, for those regions of the
 *                              cluster that have the name of a measured one
 *
 * A cluster with other regions, too, says what holds for those:
 * "world,moon:eastus=1300ms,moon:westeurope=1300ms" or "100ms,world". */
#ifndef BASTIDE_CONFIG_LATENCY_H
#define BASTIDE_CONFIG_LATENCY_H

#include <stddef.h>

#include "node/base/err.h"
#include "node/config/config.h"

/* Puts the measured pairs in the place of each "world" of a list that
 * config_parse_latencies made; `regions` are the names of the cluster's.
 * ERR_INVALID: a name that is not among the regions, or a region that was not
 * measured and has no other time although "world" was asked for; the message
 * names them. ERR_LIMIT: more parts than a configuration may have. On failure
 * the list is as it was. */
int latency_expand(struct config_latencies *list, const char *const *regions,
                   size_t count, struct err_msg *msg);

/* The measured round trip in milliseconds, 0 for a name that is not in the
 * table and for a region with itself. */
unsigned latency_measured_ms(const char *a, const char *b);

#endif
