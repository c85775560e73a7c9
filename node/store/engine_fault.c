/* Damage on request: a bit of a stored record that flips. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/store/engine_impl.h"

#define DATA_FILE "data.mdb"

/* A value that is large enough, as it lies in the map. ERR_NOT_FOUND. */
static int find_value(struct engine *e, MDB_val *value_out)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = lmdb_err(mdb_cursor_open(e->reader, e->db.records, &cursor));
    if (code != ERR_OK)
        return code;
    for (int i = 0; i < ENGINE_FLIP_LOOK; i++) {
        code = lmdb_err(mdb_cursor_get(cursor, &key, &value, MDB_NEXT));
        if (code != ERR_OK || value.mv_size >= ENGINE_FLIP_VALUE_MIN)
            break;
    }
    mdb_cursor_close(cursor);
    if (code == ERR_OK && value.mv_size < ENGINE_FLIP_VALUE_MIN)
        code = ERR_NOT_FOUND;
    if (code == ERR_OK)
        *value_out = value;
    return code;
}

/* Where in the file a value lies: every page begins with its number, and so
 * does the first of the pages that a large value fills. */
static int offset_in_file(struct engine *e, const MDB_val *value,
                          uint64_t *offset_out)
{
    MDB_stat stat;
    int code = lmdb_err(mdb_stat(e->reader, e->db.records, &stat));
    if (code != ERR_OK)
        return code;
    uintptr_t at = (uintptr_t)value->mv_data;
    uintptr_t page = at - at % stat.ms_psize;
    *offset_out = (uint64_t) * (const size_t *)page * stat.ms_psize +
                  (at - page) + value->mv_size / 2;
    return ERR_OK;
}

static int flip_at(const char *path, uint64_t offset, unsigned bit)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    int code = file_pread_all(fd, &byte, 1, (off_t)offset);
    byte = (uint8_t)(byte ^ (1u << bit));
    if (code == ERR_OK)
        code = file_pwrite_all(fd, bytes_of(&byte, 1), (off_t)offset);
    close(fd);
    return code == ERR_OK ? ERR_OK : ERR_IO;
}

int engine_flip_bit(struct engine *e, struct engine_flip *flip_out)
{
    CHECK_OBJ(e, ENGINE_MAGIC);
    struct kv kv = engine_kv(e);
    struct engine_flip flip = {0};
    MDB_val value;
    int code = kv_begin(kv);
    if (code != ERR_OK)
        return code;
    code = find_value(e, &value);
    if (code == ERR_OK)
        code = offset_in_file(e, &value, &flip.offset);
    if (code == ERR_OK) {
        /* While the read is open nobody writes to this page. */
        char *path = engine_join(e->path, DATA_FILE);
        flip.bit = (unsigned)(flip.offset % 8);
        code = flip_at(path, flip.offset, flip.bit);
        mem_free(path);
    }
    kv_end(kv);
    if (code == ERR_OK)
        *flip_out = flip;
    return code;
}
