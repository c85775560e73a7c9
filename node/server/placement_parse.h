/* What requests say about placement groups and containers. */
#ifndef BASTIDE_SERVER_PLACEMENT_PARSE_H
#define BASTIDE_SERVER_PLACEMENT_PARSE_H

#include <stdint.h>

#include "node/catalog/catalog.h"
#include "node/config/config.h"
#include "node/json/json.h"

struct worker;

/* A string of at most CATALOG_NAME_MAX bytes. ERR_NOT_FOUND: no `value`;
 * ERR_INVALID. */
int placement_get_name(const struct json *j, json_ref value,
                       char out[CATALOG_NAME_MAX + 1]);
/* Member `key`, a string that is not empty; the text is in `scratch`, or the
 * body. ERR_INVALID with a message. */
int placement_get_text(const struct json *j, const char *key,
                       struct buf *scratch, struct bytes *out,
                       struct err_msg *msg);
/* What members `database` and `container` name in the catalog, a reference to
 * each. ERR_NOT_FOUND, ERR_INVALID with a message. */
int placement_get_container(const struct worker *w, const struct json *j,
                            struct catalog_database **db_out,
                            struct container_def **def_out,
                            struct err_msg *msg);
/* The member `dry_run`, if it is given. ERR_INVALID with a message. */
int placement_get_dry_run(const struct json *j, bool *out, struct err_msg *msg);
/* The regions of member `key`, each one of the cluster's and once, into
 * `g->regions`. ERR_INVALID with a message. */
int placement_get_regions(const struct worker *w, const struct json *j,
                          const char *key, struct catalog_group *g,
                          struct err_msg *msg);
/* The members `transit` and `leaders`, where they are given, into `g`; `g`'s
 * number says whether it is fenced. ERR_INVALID with a message;
 * ERR_UNAVAILABLE: the cluster's feature level is too low. */
int placement_get_settings(const struct worker *w, const struct json *j,
                           struct catalog_group *g, struct err_msg *msg);
/* Adds the first `copies` nodes of each of the group's regions to its members;
 * all nodes, if 0. ERR_INVALID with a message: a region has not so many, or
 * they are too many. */
int placement_choose_members(const struct config *c, uint32_t copies,
                             struct catalog_group *g, struct err_msg *msg);
/* Puts members in order, and makes them those with which the logs begin, the
 * witness, too. */
void placement_finish_members(struct catalog_group *g);
/* How many members there are in each of the group's regions; 0: all nodes. */
uint32_t placement_copies_of(const struct config *c,
                             const struct catalog_group *g);

#endif
