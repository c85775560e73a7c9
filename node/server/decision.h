/* The group's record as the catalog holds it (names) and as decisions use it
 * (numbers). A region's number is its place in the node's configuration, from
 * 1; that of its nodes in every shard's configuration. */
#ifndef BASTIDE_SERVER_DECISION_H
#define BASTIDE_SERVER_DECISION_H

#include "node/catalog/catalog.h"
#include "node/config/config.h"
#include "node/govern/record.h"

/* The number of a region; 0 when the configuration has none of that name. */
raft_region decision_region(const struct config *c, const char *name);
const char *decision_region_name(const struct config *c, raft_region region);

/* ERR_NOT_FOUND: the group names a region or a node that this node does not
 * know, as `msg` (may be NULL) says. */
int decision_of_group(const struct config *c, const struct catalog_group *g,
                      struct govern_record *record_out, struct err_msg *msg);
/* Puts a decision into a group; the rest of the group stays. */
void decision_to_group(const struct config *c, const struct govern_record *r,
                       struct catalog_group *g);

#endif
