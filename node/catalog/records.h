/* Private to node/catalog: reading the records of the meta shard. */
#ifndef BASTIDE_CATALOG_RECORDS_H
#define BASTIDE_CATALOG_RECORDS_H

#include "node/catalog/catalog.h"

#define CATALOG_DATABASE_MAGIC MAGIC('d', 'a', 't', 'a')

/* Makes a database of its stored text (copied) with one reference. ERR_CORRUPT
 * with a message. `record` is not set. */
int catalog_database_parse(struct bytes json, struct catalog_database **db_out,
                           struct err_msg *msg);

#endif
