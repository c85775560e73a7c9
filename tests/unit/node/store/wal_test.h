/* What the tests of the write-ahead log share: records as comparable values,
 * and recovery into a list of them. */
#ifndef BASTIDE_TESTS_WAL_TEST_H
#define BASTIDE_TESTS_WAL_TEST_H

#include "store_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/err.h"
#include "node/base/fault.h"
#include "node/base/hash.h"
#include "node/base/mem.h"
#include "node/store/wal.h"

struct flat {
    enum wal_record_type type;
    uint32_t shard;
    uint64_t lsn, term, vote;
    uint8_t entry_type;
    size_t len;
    uint32_t crc; /* of the payload */
    uint32_t number;
    bool acknowledged;
};

struct flats {
    struct flat *all;
    size_t count, cap;
};

static inline void flats_add(struct flats *f, struct flat flat)
{
    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 64 : 2 * f->cap;
        f->all = mem_realloc(f->all, f->cap * sizeof(*f->all));
    }
    f->all[f->count++] = flat;
}

static inline void flats_free(struct flats *f)
{
    mem_free(f->all);
    *f = (struct flats){0};
}

static inline bool flat_equal(const struct flat *a, const struct flat *b)
{
    return a->type == b->type && a->shard == b->shard && a->lsn == b->lsn &&
           a->term == b->term && a->vote == b->vote &&
           a->entry_type == b->entry_type && a->len == b->len &&
           a->crc == b->crc && a->number == b->number &&
           a->acknowledged == b->acknowledged;
}

static inline int flats_replay(void *ctx, const struct wal_record *r)
{
    flats_add(ctx,
              (struct flat){r->type, r->shard, r->lsn, r->term, r->vote,
                            r->entry_type, r->payload.len,
                            hash_crc32c(0, r->payload.data, r->payload.len),
                            r->number, r->acknowledged});
    return ERR_OK;
}

static inline int open_log(const char *dir, size_t segment_bytes,
                           struct flats *found, struct wal_report *report,
                           struct err_msg *msg, struct wal **wal_out)
{
    struct wal_options options = {dir, "cluster-1", "eu-1", segment_bytes};
    return wal_open(&options, flats_replay, found, report, msg, wal_out);
}

/* Adds a record to the batch and to the list of what was written. */
static inline void add_entry(struct wal_batch *b, struct flats *written,
                             uint32_t shard, uint64_t lsn, uint64_t term,
                             size_t len)
{
    struct entry *e;
    assert_int_equal(entry_new(lsn, term, 3, len, &e), 0);
    for (size_t i = 0; i < len; i++)
        e->data[i] = (uint8_t)(shard + lsn * 7 + term * 13 + i);
    assert_int_equal(wal_batch_entry(b, shard, e), ERR_OK);
    if (written != NULL)
        flats_add(written,
                  (struct flat){WAL_ENTRY, shard, lsn, term, 0, 3, len,
                                hash_crc32c(0, e->data, len), 0, false});
    entry_unref(e);
}

/* What an entry of add_entry with the same LSN and term was, salvaged. */
static inline void add_salvage(struct wal_batch *b, struct flats *written,
                               uint32_t shard, uint32_t number, uint64_t lsn,
                               uint64_t term, size_t len)
{
    struct entry *e;
    bool acknowledged = number % 2 == 0;
    assert_int_equal(entry_new(lsn, term, 3, len, &e), 0);
    for (size_t i = 0; i < len; i++)
        e->data[i] = (uint8_t)(shard + lsn * 7 + term * 13 + i);
    assert_int_equal(wal_batch_salvage(b, shard, number, acknowledged, e),
                     ERR_OK);
    if (written != NULL)
        flats_add(written, (struct flat){WAL_SALVAGE, shard, lsn, term, 0, 3,
                                         len, hash_crc32c(0, e->data, len),
                                         number, acknowledged});
    entry_unref(e);
}

static inline void add_salvaged(struct wal_batch *b, struct flats *written,
                                uint32_t shard, uint32_t number)
{
    assert_int_equal(wal_batch_salvaged(b, shard, number), ERR_OK);
    if (written != NULL)
        flats_add(written, (struct flat){.type = WAL_SALVAGED,
                                         .shard = shard,
                                         .number = number});
}

static inline void add_hard_state(struct wal_batch *b, struct flats *written,
                                  uint32_t shard, uint64_t term, uint64_t vote)
{
    assert_int_equal(wal_batch_hard_state(b, shard, term, vote), ERR_OK);
    if (written != NULL)
        flats_add(written, (struct flat){.type = WAL_HARD_STATE,
                                         .shard = shard,
                                         .term = term,
                                         .vote = vote});
}

static inline void add_commit(struct wal_batch *b, struct flats *written,
                              uint32_t shard, uint64_t lsn)
{
    assert_int_equal(wal_batch_commit(b, shard, lsn), ERR_OK);
    if (written != NULL)
        flats_add(written, (struct flat){
                               .type = WAL_COMMIT, .shard = shard, .lsn = lsn});
}

static inline int count_segments(const char *dir)
{
    DIR *d = opendir(dir);
    int count = 0;
    for (struct dirent *f; (f = readdir(d)) != NULL;)
        count += strstr(f->d_name, ".seg") != NULL;
    closedir(d);
    return count;
}

static inline void segment_path(const char *dir, unsigned number, char out[128])
{
    snprintf(out, 128, "%s/%016x.seg", dir, number);
}

#endif
