/* Feeds and queries of databases and containers, out of the catalog. */
#ifndef BASTIDE_COSMOS_LISTING_H
#define BASTIDE_COSMOS_LISTING_H

#include "node/cosmos/call.h"

/* Bytes of a listing's page. */
#define LISTING_BYTES_MAX (4u * 1024 * 1024)
/* Definitions one metadata query looks at, in bytes. */
#define LISTING_QUERY_MAX (15u * 1024 * 1024)

/* All four answer; the catalog must be up to date, and for containers
 * c->database be found. */
void listing_databases(struct call *c);
void listing_containers(struct call *c);
void listing_query_databases(struct call *c);
void listing_query_containers(struct call *c);

/* An empty feed under that property, with the RID of the parent. */
void listing_empty(struct call *c, const char *property, const struct rid *rid);

#endif
