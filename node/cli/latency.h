/* Round trips that a cluster on one machine imitates: the text of --latency
 * becomes the list of a node's configuration. Pure.
 *
 * The text is a list with commas; later parts win over earlier ones:
 *
 *     80ms                     for all pairs of regions
 *     eastus:westeurope=80ms   for one pair
 *     world                    what was measured between Azure's regions, for
 *                              those regions of the cluster that have the name
 *                              of one
 *
 * A cluster with other regions, too, says what holds for those:
 * "world,moon:eastus=1300ms,moon:westeurope=1300ms" or "100ms,world". */
#ifndef BASTIDE_CLI_LATENCY_H
#define BASTIDE_CLI_LATENCY_H

#include <stddef.h>

#include "node/base/err.h"
#include "node/config/config.h"

#define LATENCY_WORLD "world"

/* Appends what the text says to `list`, which the caller frees with
 * config_latencies_free, also after an error; `regions` are the names of the
 * cluster's. ERR_INVALID: a part that is none, a name that is not among the
 * regions, or a pair of regions without a time although "world" was asked for;
 * the message names the regions that it does not know. ERR_LIMIT: more parts
 * than a configuration may have. */
int latency_parse(const char *text, const char *const *regions, size_t count,
                  struct config_latencies *list, struct err_msg *msg);

/* Whether latency_parse could take it, whatever the regions are. */
bool latency_text_ok(const char *text);

/* The measured round trip in milliseconds, 0 for a name that is not in the
 * table and for a region with itself. */
unsigned latency_measured_ms(const char *a, const char *b);

#endif
