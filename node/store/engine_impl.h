/* Inside the engine; not for its users (engine.h). */
#ifndef BASTIDE_STORE_ENGINE_IMPL_H
#define BASTIDE_STORE_ENGINE_IMPL_H

#include <lmdb.h>

#include "node/store/engine.h"

#define ENGINE_FORMAT 1
#define ENGINE_INCOMING "incoming"
/* The info blob that says whose state this is: u32 format, u32 0, u64 lsn,
 * u64 term. */
#define ENGINE_STATE "_state"
#define ENGINE_STATE_LEN 24

/* An open environment with its two tables. */
struct lmdb {
    MDB_env *env;
    MDB_dbi records;
    MDB_dbi info;
};

struct engine_state {
    uint64_t lsn, term;
};

struct engine {
    uint32_t magic;
    char *path;
    size_t map_bytes, map_bytes_max;
    struct lmdb db;
    struct engine_state state;
    MDB_txn *reader; /* kept between reads, reset */
    unsigned pins;   /* kv_begin minus kv_end */
    unsigned snapshots;
};
#define ENGINE_MAGIC 0x656e6769u

/* The project's code for an LMDB result. */
int lmdb_err(int result);
/* Opens or creates `path` with `flags` (of mdb_env_open). On failure nothing is
 * left open. */
int lmdb_open(const char *path, size_t map_bytes, unsigned flags,
              struct lmdb *db_out);
void lmdb_close(struct lmdb *db);

/* ERR_NOT_FOUND when the environment holds no state yet. */
int lmdb_get_state(MDB_txn *txn, MDB_dbi info, struct engine_state *state_out);
int lmdb_put_state(MDB_txn *txn, MDB_dbi info, struct engine_state state);

static inline MDB_val lmdb_val(struct bytes b)
{
    return (MDB_val){b.len, (void *)b.data};
}
static inline struct bytes lmdb_bytes(MDB_val v)
{
    return bytes_of(v.mv_data, v.mv_size);
}

/* "<a>/<b>"; the caller frees it. */
char *engine_join(const char *a, const char *b);

/* (Re)opens the environment of `e` and reads its state. */
int engine_attach(struct engine *e, struct err_msg *msg);
void engine_detach(struct engine *e);

#endif
