/* What a folder of segments still holds, without opening it as a log. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/mem.h"
#include "node/store/wal_impl.h"

struct inspection {
    uint8_t entry_type;       /* whose payloads count */
    struct wal_found *shards; /* in no order */
    size_t count, cap;
};

static struct wal_found *found_of(struct inspection *in, uint32_t shard)
{
    for (size_t i = 0; i < in->count; i++)
        if (in->shards[i].shard == shard)
            return &in->shards[i];
    if (in->count == in->cap) {
        in->cap = in->cap == 0 ? 16 : 2 * in->cap;
        in->shards = mem_realloc(in->shards, in->cap * sizeof(*in->shards));
    }
    in->shards[in->count] = (struct wal_found){.shard = shard};
    return &in->shards[in->count++];
}

static void take_batch(struct inspection *in,
                       const struct wal_batch_view *batch)
{
    struct cursor c = cursor_of(batch->records.data, batch->records.len);
    for (uint32_t i = 0; i < batch->count; i++) {
        struct wal_record r;
        uint16_t flags;
        wal_read_record(&c, &r, &flags);
        if (!cursor_ok(&c))
            return;
        if (r.type != WAL_ENTRY && r.type != WAL_SALVAGE)
            continue;
        struct wal_found *f = found_of(in, r.shard);
        f->entries++;
        f->payloads += r.entry_type == in->entry_type && r.payload.len > 0;
        if (r.lsn > f->last_lsn)
            f->last_lsn = r.lsn;
    }
}

/* Not only the unbroken row from the start: whatever has a checksum. */
static void take_segment(struct inspection *in, struct bytes segment)
{
    struct wal_batch_view batch;
    for (uint64_t at = WAL_SEGMENT_HEADER; at + WAL_ALIGN <= segment.len;) {
        if (get_u32_le(segment.data + at) == WAL_BATCH_MAGIC &&
            wal_batch_at(segment, at, &batch)) {
            take_batch(in, &batch);
            at += batch.bytes;
        } else {
            at += WAL_ALIGN;
        }
    }
}

static int take_file(struct inspection *in, int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return ERR_IO;
    if (!S_ISREG(st.st_mode) || st.st_size <= WAL_SEGMENT_HEADER)
        return ERR_OK;
    /* Segments never become shorter, so a mapping stays whole. */
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return err_from_errno(errno);
    take_segment(in, bytes_of(data, (size_t)st.st_size));
    munmap(data, (size_t)st.st_size);
    return ERR_OK;
}

static int take_name(struct inspection *in, int folder, const char *name)
{
    size_t len = strlen(name);
    if (len < 4 || strcmp(name + len - 4, ".seg") != 0)
        return ERR_OK;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) /* deleted since it was listed */
        return errno == ENOENT ? ERR_OK : err_from_errno(errno);
    int err = take_file(in, fd);
    close(fd);
    return err;
}

static int by_shard(const void *a, const void *b)
{
    uint32_t x = ((const struct wal_found *)a)->shard;
    uint32_t y = ((const struct wal_found *)b)->shard;
    return x < y ? -1 : x > y;
}

int wal_inspect(const char *dir, uint8_t entry_type,
                void (*each)(void *user, const struct wal_found *found),
                void *user)
{
    struct inspection in = {.entry_type = entry_type};
    struct dirent *entry;
    int err = ERR_OK;
    DIR *folder = opendir(dir);
    if (folder == NULL)
        return err_from_errno(errno);
    while (err == ERR_OK && (entry = readdir(folder)) != NULL)
        err = take_name(&in, dirfd(folder), entry->d_name);
    closedir(folder);
    if (in.count > 0)
        qsort(in.shards, in.count, sizeof(*in.shards), by_shard);
    for (size_t i = 0; i < in.count && err == ERR_OK; i++)
        each(user, &in.shards[i]);
    mem_free(in.shards);
    return err;
}
