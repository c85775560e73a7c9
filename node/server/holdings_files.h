/* What lies in a data directory, by shard: folders of stores and the log's
 * files, whether the node uses them or not. Part of holdings.h. Blocks. */
#ifndef BASTIDE_SERVER_HOLDINGS_FILES_H
#define BASTIDE_SERVER_HOLDINGS_FILES_H

#include "node/base/buf.h"

/* Appends two JSON arrays:
 *   folders  [{"path": "shards/5", "shard": 5, "bytes": 40960}, ...]
 *   log      [{"path": "wal/0", "shard": 5, "entries": 12, "payloads": 11,
 *              "last_lsn": 90}, ...]
 * Paths are within the directory; `payloads` are entries that bring data, the
 * others are the log's own. Appends to `trouble`, as a sentence, what could not
 * be looked at. ERR_LIMIT: more than the buffers hold. */
int holdings_files(const char *dir, struct buf *folders, struct buf *log,
                   struct buf *trouble);

#endif
