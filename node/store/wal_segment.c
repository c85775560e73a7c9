/* Segment files, and what a segment holds of each shard. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/fault.h"
#include "node/base/file.h"
#include "node/base/hash.h"
#include "node/base/mem.h"
#include "node/store/wal_impl.h"

/* Zeros are written in pieces with a sync after each, so that making a segment
 * does not delay the appends that go on beside it by more than one piece. */
#define ZERO_PIECE ((size_t)1 << 20)

void wal_file_name(uint64_t number, char out[WAL_FILE_NAME_LEN + 1])
{
    snprintf(out, WAL_FILE_NAME_LEN + 1, "%016llx.seg",
             (unsigned long long)number);
}

char *wal_path(const struct wal *w, const char *name)
{
    size_t dir_len = strlen(w->dir), name_len = strlen(name);
    char *path = mem_alloc(dir_len + 1 + name_len + 1);
    memcpy(path, w->dir, dir_len);
    path[dir_len] = '/';
    memcpy(path + dir_len + 1, name, name_len + 1);
    return path;
}

uint64_t wal_segment_size(const struct wal *w, uint64_t number, uint64_t need)
{
    uint64_t bytes = WAL_SEGMENT_BYTES_FIRST;
    for (uint64_t i = 1; i < number && bytes < w->segment_bytes; i++)
        bytes *= 2;
    if (bytes > w->segment_bytes)
        bytes = w->segment_bytes;
    if (bytes < WAL_SEGMENT_HEADER + need) {
        bytes = WAL_SEGMENT_HEADER + need;
        bytes += -bytes % 4096;
    }
    return bytes;
}

static void wal_encode_segment_header(const struct wal *w, uint64_t number,
                                      uint64_t bytes,
                                      uint8_t out[WAL_SEGMENT_HEADER])
{
    memset(out, 0, WAL_SEGMENT_HEADER);
    put_u32_le(out, WAL_SEGMENT_MAGIC);
    put_u32_le(out + 8, WAL_FORMAT);
    put_u64_le(out + 16, number);
    put_u64_le(out + 24, bytes);
    memcpy(out + 32, w->cluster_id, WAL_NAME_FIELD);
    memcpy(out + 32 + WAL_NAME_FIELD, w->node, WAL_NAME_FIELD);
    put_u32_le(out + 4, hash_crc32c(0, out + 8, WAL_SEGMENT_HEADER - 8));
}

static int write_zeros(int fd, uint64_t bytes)
{
    uint8_t *zeros = mem_zalloc(ZERO_PIECE);
    int code = ERR_OK;
    for (uint64_t at = 0; at < bytes && code == ERR_OK; at += ZERO_PIECE) {
        size_t len = bytes - at < ZERO_PIECE ? bytes - at : ZERO_PIECE;
        code = file_pwrite_all(fd, bytes_of(zeros, len), (off_t)at);
        if (code == ERR_OK && fdatasync(fd) != 0)
            code = err_from_errno(errno);
    }
    mem_free(zeros);
    return code;
}

static int fill(int fd, uint64_t bytes, bool zeros)
{
    /* The blocks first, so that the pieces change no metadata. What is
     * allocated but not written reads as zeros. */
    int refused = posix_fallocate(fd, 0, (off_t)bytes);
    if (refused != 0)
        return err_from_errno(refused);
    return zeros ? write_zeros(fd, bytes) : ERR_OK;
}

/* What a caller is told must be one of the documented errors. */
static int disk_error(int code)
{
    return code == ERR_OK || code == ERR_NO_SPACE ? code : ERR_IO;
}

int wal_segment_prepare(const struct wal *w, const char *temporary,
                        uint64_t bytes, bool zeros)
{
    int code = fault_err(fault_hit("log.segment.before"));
    if (code != ERR_OK)
        return code;
    char *path = wal_path(w, temporary);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    code = fd >= 0 ? fill(fd, bytes, zeros) : err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    if (code != ERR_OK)
        unlink(path);
    mem_free(path);
    return disk_error(code);
}

static int write_header(const struct wal *w, const char *path, uint64_t number,
                        uint64_t bytes)
{
    uint8_t header[WAL_SEGMENT_HEADER];
    wal_encode_segment_header(w, number, bytes, header);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int code = file_pwrite_all(fd, bytes_of(header, sizeof(header)), 0);
    if (code == ERR_OK && fsync(fd) != 0)
        code = err_from_errno(errno);
    close(fd);
    return code;
}

int wal_segment_name(const struct wal *w, const char *temporary,
                     uint64_t number, uint64_t bytes)
{
    char name[WAL_FILE_NAME_LEN + 1];
    wal_file_name(number, name);
    char *from = wal_path(w, temporary), *to = wal_path(w, name);
    int code = write_header(w, from, number, bytes);
    if (code == ERR_OK && rename(from, to) != 0)
        code = err_from_errno(errno);
    if (code != ERR_OK)
        unlink(from);
    if (code == ERR_OK)
        code = file_sync_folder(w->dir);
    if (code == ERR_OK)
        code = fault_err(fault_hit("log.segment.after"));
    mem_free(from);
    mem_free(to);
    return disk_error(code);
}

int wal_segment_make(const struct wal *w, const char *temporary,
                     uint64_t number, uint64_t bytes, bool zeros)
{
    int code = wal_segment_prepare(w, temporary, bytes, zeros);
    return code == ERR_OK ? wal_segment_name(w, temporary, number, bytes)
                          : code;
}

int wal_segment_open(const struct wal *w, uint64_t number, int *fd_out)
{
    char name[WAL_FILE_NAME_LEN + 1];
    wal_file_name(number, name);
    char *path = wal_path(w, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int code = fd >= 0 ? ERR_OK : ERR_IO;
    mem_free(path);
    if (code == ERR_OK)
        *fd_out = fd;
    return code;
}

/* -- what it holds -- */

struct wal_segment *wal_segment_new(uint64_t number, uint64_t bytes)
{
    struct wal_segment *s = mem_zalloc(sizeof(*s));
    list_init(&s->node);
    s->number = number;
    s->bytes = bytes;
    return s;
}

void wal_segment_free(struct wal_segment *s)
{
    if (s == NULL)
        return;
    list_remove(&s->node);
    mem_free(s->highs);
    mem_free(s);
}

static struct wal_high *find_high(struct wal_segment *s, uint32_t shard)
{
    for (size_t i = 0; i < s->high_count; i++) {
        if (s->highs[i].shard == shard)
            return &s->highs[i];
    }
    return NULL;
}

void wal_segment_touch_older(struct wal_segment *s,
                             const struct wal_touch *touch)
{
    struct wal_high *high = find_high(s, touch->state.id);
    if (high != NULL && high->lsn >= touch->truncate_from)
        high->lsn = touch->truncate_from - 1;
}

void wal_segment_touch(struct wal_segment *s, const struct wal_touch *touch)
{
    wal_segment_touch_older(s, touch);
    if (touch->max_lsn == 0 && touch->max_salvage == 0)
        return;
    struct wal_high *high = find_high(s, touch->state.id);
    if (high == NULL) {
        if (s->high_count == s->high_cap) {
            s->high_cap = s->high_cap == 0 ? 8 : 2 * s->high_cap;
            s->highs = mem_realloc(s->highs, s->high_cap * sizeof(*s->highs));
        }
        high = &s->highs[s->high_count++];
        *high = (struct wal_high){.shard = touch->state.id};
    }
    if (touch->max_lsn > high->lsn)
        high->lsn = touch->max_lsn;
    if (touch->max_salvage > high->salvage)
        high->salvage = touch->max_salvage;
}
