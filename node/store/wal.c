#include "node/store/wal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/file.h"
#include "node/base/hash.h"
#include "node/base/mem.h"
#include "node/store/wal_impl.h"

static struct wal_segment *current(struct wal *w)
{
    CHECK(!list_empty(&w->segments));
    return LIST_ENTRY(w->segments.prev, struct wal_segment, node);
}

/* Whether the segment in use holds a durable batch. */
static bool has_batches(const struct wal *w)
{
    return w->offset > WAL_SEGMENT_HEADER;
}

static void note_room(struct wal *w, const struct wal_segment *in_use)
{
    atomic_store_explicit(&w->wants_next,
                          w->next == NULL && w->offset > in_use->bytes / 2,
                          memory_order_relaxed);
}

bool wal_wants_maintenance(struct wal *w)
{
    return atomic_load_explicit(&w->wants_next, memory_order_relaxed);
}

/* -- opening -- */

static bool name_fits(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= WAL_NAME_MAX;
}

static struct wal *wal_alloc(const struct wal_options *options)
{
    CHECK(name_fits(options->cluster_id) && name_fits(options->node));
    size_t bytes = options->segment_bytes != 0 ? options->segment_bytes
                                               : WAL_SEGMENT_BYTES_DEFAULT;
    CHECK(bytes >= WAL_SEGMENT_BYTES_MIN && bytes <= WAL_SEGMENT_BYTES_MAX);
    struct wal *w = mem_zalloc(sizeof(*w));
    w->magic = WAL_MAGIC;
    w->dir = mem_strdup(options->dir);
    strcpy(w->cluster_id, options->cluster_id);
    strcpy(w->node, options->node);
    w->segment_bytes = bytes;
    w->fd = -1;
    w->offset = WAL_SEGMENT_HEADER;
    buf_init(&w->carry, WAL_BATCH_BYTES_MAX);
    list_init(&w->segments);
    CHECK(pthread_mutex_init(&w->lock, NULL) == 0);
    return w;
}

/* Makes the first segment of a new log. */
static int begin_log(struct wal *w)
{
    uint64_t bytes = wal_segment_size(w, 1, 0);
    int code = wal_segment_make(w, WAL_TEMPORARY_AHEAD, 1, bytes, true);
    if (code != ERR_OK)
        return code;
    list_push_back(&w->segments, &wal_segment_new(1, bytes)->node);
    return ERR_OK;
}

int wal_open(const struct wal_options *options, wal_replay_fn replay, void *ctx,
             struct wal_report *report_out, struct err_msg *msg,
             struct wal **wal_out)
{
    struct wal *w = wal_alloc(options);
    struct wal_report report = {0};
    int code = wal_recover(w, replay, ctx, &report, msg);
    if (code == ERR_OK && list_empty(&w->segments)) {
        code = begin_log(w);
        if (code != ERR_OK)
            err_set(msg, code, "cannot make a log segment in %s: %s", w->dir,
                    err_text(code));
    }
    if (code == ERR_OK) {
        code = wal_segment_open(w, current(w)->number, &w->fd);
        if (code != ERR_OK)
            err_set(msg, code, "cannot open the log in %s: %s", w->dir,
                    strerror(errno));
    }
    if (code != ERR_OK) {
        wal_close(w);
        return code;
    }
    note_room(w, current(w));
    *report_out = report;
    *wal_out = w;
    return ERR_OK;
}

void wal_close(struct wal *w)
{
    if (w == NULL)
        return;
    CHECK_OBJ(w, WAL_MAGIC);
    CHECK(!w->making);
    LIST_EACH_SAFE(it, &w->segments)
    wal_segment_free(LIST_ENTRY(it, struct wal_segment, node));
    wal_segment_free(w->next);
    struct wal_shard *shard, *next;
    HASH_ITER(hh, w->shards, shard, next)
    {
        HASH_DEL(w->shards, shard);
        mem_free(shard);
    }
    if (w->fd >= 0)
        close(w->fd);
    buf_free(&w->carry);
    pthread_mutex_destroy(&w->lock);
    mem_free(w->dir);
    w->magic = 0;
    mem_free(w);
}

/* -- shards -- */

void wal_merge_shard(struct wal *w, const struct wal_shard *state)
{
    if (!state->has_hard_state && !state->has_commit && !state->has_reset)
        return;
    struct wal_shard *s;
    HASH_FIND(hh, w->shards, &state->id, sizeof(state->id), s);
    if (s == NULL) {
        CHECK(HASH_COUNT(w->shards) < WAL_SHARDS_MAX);
        s = mem_zalloc(sizeof(*s));
        s->id = state->id;
        HASH_ADD(hh, w->shards, id, sizeof(s->id), s);
    }
    if (state->has_hard_state) {
        s->has_hard_state = true;
        s->term = state->term;
        s->vote = state->vote;
    }
    if (state->has_commit) {
        s->has_commit = true;
        s->commit = state->commit;
    }
    if (state->has_reset) {
        s->has_reset = true;
        s->reset_lsn = state->reset_lsn;
        s->reset_term = state->reset_term;
    }
}

/* -- a new segment -- */

static int carry_record(struct wal *w, struct wal_record record,
                        uint32_t *count)
{
    ++*count;
    return wal_put_record(&w->carry, &record, WAL_FLAG_CARRIED);
}

static int carry_shard(struct wal *w, const struct wal_shard *s,
                       uint32_t *count)
{
    int code = ERR_OK;
    if (s->has_reset)
        code = carry_record(w,
                            (struct wal_record){.type = WAL_RESET,
                                                .shard = s->id,
                                                .lsn = s->reset_lsn,
                                                .term = s->reset_term},
                            count);
    if (code == ERR_OK && s->has_hard_state)
        code = carry_record(w,
                            (struct wal_record){.type = WAL_HARD_STATE,
                                                .shard = s->id,
                                                .term = s->term,
                                                .vote = s->vote},
                            count);
    if (code == ERR_OK && s->has_commit)
        code = carry_record(w,
                            (struct wal_record){.type = WAL_COMMIT,
                                                .shard = s->id,
                                                .lsn = s->commit},
                            count);
    return code;
}

/* Fills w->carry with what the first batch of a segment begins with. */
static int carry_state(struct wal *w, uint32_t *count_out)
{
    uint32_t count = 0;
    int code = ERR_OK;
    buf_clear(&w->carry);
    if (w->abandoned != 0)
        code = carry_record(
            w,
            (struct wal_record){.type = (enum wal_record_type)WAL_ABANDON,
                                .lsn = w->abandoned,
                                .term = w->abandoned_from},
            &count);
    for (struct wal_shard *s = w->shards; s != NULL && code == ERR_OK;
         s = s->hh.next)
        code = carry_shard(w, s, &count);
    *count_out = count;
    return code;
}

/* Makes sure that w->next is segment `number` with room for `need` bytes. Holds
 * the lock all the time: nothing can be appended before it is done. */
static int ensure_next(struct wal *w, uint64_t number, uint64_t need)
{
    if (w->next != NULL && w->next->number == number &&
        w->next->bytes >= WAL_SEGMENT_HEADER + need)
        return ERR_OK;
    uint64_t bytes = wal_segment_size(w, number, need);
    int code = wal_segment_make(w, WAL_TEMPORARY_NOW, number, bytes, false);
    if (code != ERR_OK)
        return code;
    wal_segment_free(w->next);
    w->next = wal_segment_new(number, bytes);
    return ERR_OK;
}

/* Goes on in a new segment. One in which nothing is durable is made anew
 * instead, whatever a failed append may have left in it. */
static int switch_segment(struct wal *w, uint64_t need)
{
    struct wal_segment *old = current(w);
    bool replace = !has_batches(w);
    uint64_t number = replace ? old->number : old->number + 1;
    int fd, code = ensure_next(w, number, need);
    if (code == ERR_OK)
        code = wal_segment_open(w, number, &fd);
    if (code != ERR_OK)
        return code;
    if (w->fd >= 0)
        close(w->fd);
    w->fd = fd;
    w->offset = WAL_SEGMENT_HEADER;
    if (replace)
        wal_segment_free(old);
    struct wal_segment *next = TAKE(w->next);
    list_push_back(&w->segments, &next->node);
    return ERR_OK;
}

/* -- appending -- */

static void encode_batch_header(uint8_t out[WAL_BATCH_HEADER],
                                uint64_t sequence, uint32_t count,
                                struct bytes carry, struct bytes records)
{
    put_u32_le(out, WAL_BATCH_MAGIC);
    put_u64_le(out + 8, sequence);
    put_u32_le(out + 16, (uint32_t)(carry.len + records.len));
    put_u32_le(out + 20, count);
    uint32_t crc = hash_crc32c(0, out + 8, WAL_BATCH_HEADER - 8);
    crc = hash_crc32c(crc, carry.data, carry.len);
    crc = hash_crc32c(crc, records.data, records.len);
    put_u32_le(out + 4, crc);
}

static int write_parts(int fd, const struct bytes *parts, unsigned count,
                       uint64_t offset)
{
    struct iovec iov[3];
    size_t len = 0;
    CHECK(count <= ARRAY_LEN(iov));
    for (unsigned i = 0; i < count; i++) {
        iov[i] = (struct iovec){(void *)parts[i].data, parts[i].len};
        len += parts[i].len;
    }
    ssize_t put = pwritev(fd, iov, (int)count, (off_t)offset);
    if (put >= 0 && (size_t)put == len)
        return ERR_OK;
    if (put < 0 && errno != EINTR)
        return err_from_errno(errno);
    /* Interrupted or cut short: do it part by part. */
    for (unsigned i = 0; i < count; i++) {
        int code = file_pwrite_all(fd, parts[i], (off_t)offset);
        if (code != ERR_OK)
            return code;
        offset += parts[i].len;
    }
    return ERR_OK;
}

/* A torn write: half of the records, then the end. */
static void tear(int fd, const struct bytes *parts, uint64_t offset)
{
    struct bytes torn[3] = {parts[0], parts[1],
                            bytes_of(parts[2].data, parts[2].len / 2)};
    write_parts(fd, torn, 3, offset);
    raise(SIGKILL);
}

static int write_and_sync(struct wal *w, const struct bytes parts[3])
{
    enum fault_action fault = fault_hit("log.append.before");
    if (fault == FAULT_SHORT)
        tear(w->fd, parts, w->offset);
    int code = fault_err(fault);
    wal_take_off(w, parts[0].len + parts[1].len + parts[2].len);
    if (code == ERR_OK)
        code = write_parts(w->fd, parts, 3, w->offset);
    wal_before_sync(w);
    if (code == ERR_OK)
        code = fault_err(fault_hit("log.append.after"));
    if (code == ERR_OK)
        code = fault_err(fault_hit("log.sync.before"));
    if (code == ERR_OK && fdatasync(w->fd) != 0)
        code = err_from_errno(errno);
    if (code == ERR_OK)
        code = fault_err(fault_hit("log.sync.after"));
    wal_land(w);
    return code == ERR_OK || code == ERR_NO_SPACE ? code : ERR_IO;
}

/* The batch is durable: take what it says into the books. */
static void account(struct wal *w, const struct wal_batch *b, uint64_t bytes)
{
    for (size_t i = 0; i < b->touch_count; i++)
        wal_merge_shard(w, &b->touches[i].state);
    pthread_mutex_lock(&w->lock);
    struct wal_segment *in_use = current(w);
    for (size_t i = 0; i < b->touch_count; i++) {
        const struct wal_touch *touch = &b->touches[i];
        if (touch->truncate_from != UINT64_MAX) {
            LIST_EACH(it, &w->segments)
            wal_segment_touch_older(LIST_ENTRY(it, struct wal_segment, node),
                                    touch);
        }
        wal_segment_touch(in_use, touch);
    }
    w->offset += bytes;
    w->sequence++;
    w->failed = false;
    w->abandoned = 0;
    w->stats.failed = false;
    w->stats.appends++;
    w->stats.bytes += bytes;
    note_room(w, in_use);
    pthread_mutex_unlock(&w->lock);
}

static void account_failure(struct wal *w)
{
    pthread_mutex_lock(&w->lock);
    w->stats.failed = true;
    w->stats.failed_appends++;
    pthread_mutex_unlock(&w->lock);
}

/* Finds the place for a batch of `bytes`: w->fd at w->offset. A new segment's
 * first batch also carries state, in w->carry (`*carried_out` records). */
static int find_place(struct wal *w, uint64_t bytes, uint32_t *carried_out)
{
    buf_clear(&w->carry);
    *carried_out = 0;
    pthread_mutex_lock(&w->lock);
    int code = ERR_OK;
    bool roll = w->roll && has_batches(w);
    w->roll = false;
    if (w->failed || roll || w->offset + bytes > current(w)->bytes) {
        code = carry_state(w, carried_out);
        if (code == ERR_OK)
            code = switch_segment(w, bytes + buf_len(&w->carry));
    }
    pthread_mutex_unlock(&w->lock);
    return code == ERR_OK || code == ERR_NO_SPACE ? code : ERR_IO;
}

/* Nothing that was written from w->offset on may count, whatever the disk made
 * of it. */
static void abandon(struct wal *w)
{
    w->failed = true;
    if (!has_batches(w))
        return; /* the segment will be made anew */
    pthread_mutex_lock(&w->lock);
    w->abandoned = current(w)->number;
    w->abandoned_from = w->offset;
    pthread_mutex_unlock(&w->lock);
}

int wal_append(struct wal *w, const struct wal_batch *b)
{
    CHECK_OBJ(w, WAL_MAGIC);
    CHECK_OBJ(b, WAL_BATCH_OBJ_MAGIC);
    CHECK(b->count > 0);
    struct bytes records = bytes_of(buf_bytes(&b->buf), buf_len(&b->buf));
    uint32_t carried;
    int code = find_place(w, WAL_BATCH_HEADER + records.len, &carried);
    if (code != ERR_OK) {
        account_failure(w);
        return code;
    }
    struct bytes carry = bytes_of(buf_bytes(&w->carry), buf_len(&w->carry));
    uint8_t header[WAL_BATCH_HEADER];
    encode_batch_header(header, w->sequence + 1, carried + b->count, carry,
                        records);
    struct bytes parts[3] = {bytes_of(header, sizeof(header)), carry, records};
    code = write_and_sync(w, parts);
    if (code != ERR_OK) {
        abandon(w);
        account_failure(w);
        return code;
    }
    account(w, b, sizeof(header) + carry.len + records.len);
    return ERR_OK;
}

void wal_roll(struct wal *w)
{
    CHECK_OBJ(w, WAL_MAGIC);
    pthread_mutex_lock(&w->lock);
    w->roll = true;
    pthread_mutex_unlock(&w->lock);
}

static bool segment_holds(const struct wal_segment *s, uint32_t shard)
{
    for (size_t i = 0; i < s->high_count; i++)
        if (s->highs[i].shard == shard &&
            (s->highs[i].lsn > 0 || s->highs[i].salvage > 0))
            return true;
    return false;
}

bool wal_holds(struct wal *w, uint32_t shard)
{
    CHECK_OBJ(w, WAL_MAGIC);
    bool holds = false;
    pthread_mutex_lock(&w->lock);
    LIST_EACH(it, &w->segments)
    holds |= segment_holds(LIST_ENTRY(it, struct wal_segment, node), shard);
    pthread_mutex_unlock(&w->lock);
    return holds;
}

void wal_span(struct wal *w, uint64_t *oldest_out, uint64_t *newest_out)
{
    CHECK_OBJ(w, WAL_MAGIC);
    pthread_mutex_lock(&w->lock);
    *newest_out = current(w)->number;
    *oldest_out = *newest_out;
    LIST_EACH(it, &w->segments)
    {
        uint64_t number = LIST_ENTRY(it, struct wal_segment, node)->number;
        if (number < *oldest_out)
            *oldest_out = number;
    }
    pthread_mutex_unlock(&w->lock);
}

/* -- maintenance -- */

/* The number is only known at the end: an append that needs a segment meanwhile
 * makes one itself and does not wait. Called with the lock. */
static int name_next(struct wal *w)
{
    /* Only a segment in use that holds something may have one after it. */
    if (w->prepared == 0 || w->next != NULL || !has_batches(w))
        return ERR_OK;
    uint64_t number = current(w)->number + 1, bytes = w->prepared;
    w->prepared = 0;
    int code = wal_segment_name(w, WAL_TEMPORARY_AHEAD, number, bytes);
    if (code == ERR_OK)
        w->next = wal_segment_new(number, bytes);
    return code;
}

static int make_next(struct wal *w)
{
    pthread_mutex_lock(&w->lock);
    struct wal_segment *in_use = current(w);
    bool due = w->next == NULL && w->offset > in_use->bytes / 2;
    bool prepare = due && w->prepared == 0;
    uint64_t bytes = wal_segment_size(w, in_use->number + 1, 0);
    w->making = prepare;
    pthread_mutex_unlock(&w->lock);
    int code = ERR_OK;
    if (prepare)
        code = wal_segment_prepare(w, WAL_TEMPORARY_AHEAD, bytes, true);
    pthread_mutex_lock(&w->lock);
    w->making = false;
    if (prepare && code == ERR_OK)
        w->prepared = bytes;
    if (code == ERR_OK)
        code = name_next(w);
    note_room(w, current(w));
    pthread_mutex_unlock(&w->lock);
    return code;
}

/* What a shard needs; one that is not named needs everything. */
static struct wal_keep keep_of(const struct wal_keep *keep, size_t count,
                               uint32_t shard)
{
    for (size_t i = 0; i < count; i++) {
        if (keep[i].shard == shard)
            return keep[i];
    }
    return (struct wal_keep){.shard = shard};
}

/* The shard whose entries or SALVAGE records keep a segment from being deleted;
 * NULL: none. */
static const struct wal_high *pin_of(const struct wal_segment *s,
                                     const struct wal_keep *keep, size_t count)
{
    for (size_t i = 0; i < s->high_count; i++) {
        const struct wal_high *high = &s->highs[i];
        struct wal_keep needs = keep_of(keep, count, high->shard);
        if ((high->lsn > 0 && high->lsn >= needs.keep_from) ||
            (high->salvage > 0 && high->salvage >= needs.salvage_from))
            return high;
    }
    return NULL;
}

/* The oldest segment if it is not the one in use and nothing pins it. Notes in
 * the statistics what pins it otherwise. */
static struct wal_segment *
oldest_unneeded(struct wal *w, const struct wal_keep *keep, size_t count)
{
    struct wal_segment *oldest =
        LIST_ENTRY(w->segments.next, struct wal_segment, node);
    const struct wal_high *pin = pin_of(oldest, keep, count);
    w->stats.oldest_pinned = pin != NULL;
    w->stats.oldest_pinned_shard = pin != NULL ? pin->shard : 0;
    w->stats.oldest_pinned_lsn = pin != NULL ? pin->lsn : 0;
    return pin == NULL && oldest != current(w) && has_batches(w) ? oldest
                                                                 : NULL;
}

static int delete_file(struct wal *w, uint64_t number)
{
    int code = fault_err(fault_hit("log.delete.before"));
    if (code != ERR_OK)
        return code;
    char name[WAL_FILE_NAME_LEN + 1];
    wal_file_name(number, name);
    char *path = wal_path(w, name);
    if (unlink(path) != 0 && errno != ENOENT)
        code = ERR_IO;
    mem_free(path);
    /* One at a time, so that a crash cannot leave a gap in the numbers. */
    return code == ERR_OK ? file_sync_folder(w->dir) : code;
}

static int delete_unneeded(struct wal *w, const struct wal_keep *keep,
                           size_t count)
{
    int code = ERR_OK;
    while (code == ERR_OK) {
        pthread_mutex_lock(&w->lock);
        struct wal_segment *old = oldest_unneeded(w, keep, count);
        uint64_t number = old != NULL ? old->number : 0;
        pthread_mutex_unlock(&w->lock);
        if (old == NULL)
            break;
        code = delete_file(w, number);
        if (code != ERR_OK)
            break;
        pthread_mutex_lock(&w->lock);
        wal_segment_free(old);
        pthread_mutex_unlock(&w->lock);
    }
    return code;
}

int wal_maintain(struct wal *w, const struct wal_keep *keep, size_t count)
{
    CHECK_OBJ(w, WAL_MAGIC);
    /* First what gives space back: on a full disk nothing else can. */
    int deleted = delete_unneeded(w, keep, count);
    int code = make_next(w);
    if (code == ERR_OK)
        code = deleted;
    return code == ERR_OK || code == ERR_NO_SPACE ? code : ERR_IO;
}

void wal_stats(struct wal *w, struct wal_stats *stats_out)
{
    CHECK_OBJ(w, WAL_MAGIC);
    pthread_mutex_lock(&w->lock);
    struct wal_stats stats = w->stats;
    LIST_EACH(it, &w->segments)
    {
        stats.segments++;
        stats.disk_bytes += LIST_ENTRY(it, struct wal_segment, node)->bytes;
    }
    if (w->next != NULL)
        stats.disk_bytes += w->next->bytes;
    pthread_mutex_unlock(&w->lock);
    *stats_out = stats;
}
