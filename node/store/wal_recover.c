/* Recovery of the write-ahead log, in three steps: look at every segment and
 * note what is in it; judge all of them together, and cut a torn tail or
 * refuse; replay. A segment at a time is in memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/fault.h"
#include "node/base/file.h"
#include "node/base/hash.h"
#include "node/base/mem.h"
#include "node/store/wal_impl.h"

/* A segment may be larger than WAL_SEGMENT_BYTES_MAX by one batch. */
#define SEGMENT_FILE_MAX (WAL_SEGMENT_BYTES_MAX + 2 * WAL_BATCH_BYTES_MAX)
#define SEGMENTS_MAX 65536

/* What a look at one segment found. */
struct look {
    uint64_t number;
    uint64_t bytes;       /* as its header says */
    uint64_t batches;     /* in an unbroken row from the start */
    uint64_t first, last; /* their sequence numbers */
    uint64_t end;         /* offset after them */
    bool dirty;           /* bytes that are not zero follow, up to... */
    uint64_t dirty_to;
    bool shortened;   /* the file is shorter than `bytes` */
    bool later;       /* a valid, later batch lies beyond the row */
    bool abandoned;   /* the next segment says: void from... */
    uint64_t stop_at; /* ...here */
    /* What its own first batch says about the segment before it; 0: nothing. */
    uint64_t abandons, abandons_from;
};

struct recovery {
    struct wal *w;
    struct err_msg *msg;
    struct look *looks;
    size_t count;
    uint8_t *data; /* the segment at hand, filled up with zeros to its size */
    uint64_t len;
    uint64_t file_len;
};

static int damaged(struct recovery *r, uint64_t number, uint64_t offset,
                   const char *what)
{
    char name[WAL_FILE_NAME_LEN + 1];
    wal_file_name(number, name);
    return err_set(r->msg, ERR_CORRUPT,
                   "the log is damaged: %s/%s, offset %llu: %s", r->w->dir,
                   name, (unsigned long long)offset, what);
}

/* -- the list of segments -- */

static int compare_looks(const void *a, const void *b)
{
    uint64_t x = ((const struct look *)a)->number;
    uint64_t y = ((const struct look *)b)->number;
    return x < y ? -1 : x > y;
}

/* The number in a segment's file name; 0 when it is not one. */
static uint64_t number_of(const char *name)
{
    char expected[WAL_FILE_NAME_LEN + 1];
    char *end;
    uint64_t number = strtoull(name, &end, 16);
    wal_file_name(number, expected);
    return strcmp(name, expected) == 0 ? number : 0;
}

static int take_name(struct recovery *r, const char *name, size_t *cap)
{
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".tmp") == 0) {
        /* A segment that was being made when the process ended. */
        char *path = wal_path(r->w, name);
        unlink(path);
        mem_free(path);
        return ERR_OK;
    }
    uint64_t number = number_of(name);
    if (number == 0)
        return ERR_OK;
    if (r->count == SEGMENTS_MAX)
        return err_set(r->msg, ERR_LIMIT, "%s: too many log segments",
                       r->w->dir);
    if (r->count == *cap) {
        *cap = *cap == 0 ? 16 : 2 * *cap;
        r->looks = mem_realloc(r->looks, *cap * sizeof(*r->looks));
    }
    r->looks[r->count++] = (struct look){.number = number};
    return ERR_OK;
}

static int list_segments(struct recovery *r)
{
    DIR *dir = opendir(r->w->dir);
    if (dir == NULL)
        return err_set(r->msg, err_from_errno(errno), "cannot list %s: %s",
                       r->w->dir, strerror(errno));
    size_t cap = 0;
    int code = ERR_OK;
    struct dirent *found;
    while (code == ERR_OK && (found = readdir(dir)) != NULL)
        code = take_name(r, found->d_name, &cap);
    closedir(dir);
    if (code != ERR_OK || r->count == 0)
        return code;
    qsort(r->looks, r->count, sizeof(*r->looks), compare_looks);
    for (size_t i = 1; i < r->count; i++) {
        uint64_t expected = r->looks[i - 1].number + 1;
        if (r->looks[i].number != expected)
            return damaged(r, expected, 0, "this segment is missing");
    }
    return ERR_OK;
}

/* -- reading a segment -- */

static int check_header(struct recovery *r, uint64_t number)
{
    const uint8_t *h = r->data;
    if (get_u32_le(h) != WAL_SEGMENT_MAGIC ||
        get_u32_le(h + 4) != hash_crc32c(0, h + 8, WAL_SEGMENT_HEADER - 8))
        return damaged(r, number, 0, "bad segment header");
    if (get_u32_le(h + 8) != WAL_FORMAT)
        return err_set(r->msg, ERR_UNSUPPORTED,
                       "%s: log format %u, this program reads format %d",
                       r->w->dir, get_u32_le(h + 8), WAL_FORMAT);
    if (memcmp(h + 32, r->w->cluster_id, WAL_NAME_FIELD) != 0 ||
        memcmp(h + 32 + WAL_NAME_FIELD, r->w->node, WAL_NAME_FIELD) != 0)
        return err_set(r->msg, ERR_IDENTITY,
                       "%s: the log belongs to node %.*s of cluster %.*s, "
                       "this is node %s of cluster %s",
                       r->w->dir, WAL_NAME_MAX,
                       (const char *)h + 32 + WAL_NAME_FIELD, WAL_NAME_MAX,
                       (const char *)h + 32, r->w->node, r->w->cluster_id);
    if (get_u64_le(h + 16) != number)
        return damaged(r, number, 16, "the header has another number");
    uint64_t bytes = get_u64_le(h + 24);
    if (bytes < WAL_SEGMENT_HEADER || bytes > SEGMENT_FILE_MAX ||
        bytes % WAL_ALIGN != 0)
        return damaged(r, number, 24, "bad segment size");
    return ERR_OK;
}

static int read_file(struct recovery *r, int fd, uint64_t number)
{
    struct stat st;
    int code = fault_err(fault_hit("log.read"));
    if (code != ERR_OK)
        return code;
    if (fstat(fd, &st) != 0)
        return ERR_IO;
    if (st.st_size < WAL_SEGMENT_HEADER || st.st_size > (off_t)SEGMENT_FILE_MAX)
        return damaged(r, number, (uint64_t)st.st_size,
                       "the file is too short or too long");
    r->file_len = (uint64_t)st.st_size;
    r->data = malloc(r->file_len);
    if (r->data == NULL)
        return ERR_NO_MEMORY;
    code = file_pread_all(fd, r->data, r->file_len, 0);
    if (code != ERR_OK)
        return code == ERR_EOF ? ERR_IO : code;
    code = check_header(r, number);
    if (code != ERR_OK)
        return code;
    r->len = get_u64_le(r->data + 24);
    if (r->file_len > r->len)
        return damaged(r, number, r->len, "the file is longer than it should");
    if (r->file_len == r->len)
        return ERR_OK;
    uint8_t *whole = realloc(r->data, r->len);
    if (whole == NULL)
        return ERR_NO_MEMORY;
    r->data = whole;
    memset(r->data + r->file_len, 0, r->len - r->file_len);
    return ERR_OK;
}

static void drop_segment(struct recovery *r)
{
    free(r->data);
    r->data = NULL;
    r->len = r->file_len = 0;
}

static int load_segment(struct recovery *r, uint64_t number)
{
    char name[WAL_FILE_NAME_LEN + 1];
    wal_file_name(number, name);
    char *path = wal_path(r->w, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int code = fd >= 0 ? ERR_OK : err_from_errno(errno);
    if (code == ERR_OK) {
        if (r->msg != NULL)
            r->msg->text[0] = '\0';
        code = read_file(r, fd, number);
        close(fd);
        if (code != ERR_OK && (r->msg == NULL || r->msg->text[0] == '\0'))
            err_set(r->msg, code, "cannot read %s: %s", path, err_text(code));
    } else {
        err_set(r->msg, code, "cannot open %s: %s", path, err_text(code));
    }
    mem_free(path);
    if (code != ERR_OK)
        drop_segment(r);
    return code;
}

/* -- batches and records -- */

bool wal_batch_at(struct bytes segment, uint64_t offset,
                  struct wal_batch_view *view_out)
{
    if (segment.len - offset < WAL_BATCH_HEADER)
        return false;
    const uint8_t *p = segment.data + offset;
    uint64_t len = get_u32_le(p + 16);
    if (get_u32_le(p) != WAL_BATCH_MAGIC || len % WAL_ALIGN != 0 ||
        len > segment.len - offset - WAL_BATCH_HEADER)
        return false;
    if (get_u32_le(p + 4) !=
        hash_crc32c(0, p + 8, WAL_BATCH_HEADER - 8 + (size_t)len))
        return false;
    *view_out = (struct wal_batch_view){
        .sequence = get_u64_le(p + 8),
        .count = get_u32_le(p + 20),
        .records = bytes_of(p + WAL_BATCH_HEADER, (size_t)len),
        .bytes = WAL_BATCH_HEADER + len,
    };
    return true;
}

/* In the segment at hand. */
static bool batch_at(const struct recovery *r, uint64_t offset,
                     struct wal_batch_view *view_out)
{
    return wal_batch_at(bytes_of(r->data, r->len), offset, view_out);
}

void wal_read_record(struct cursor *c, struct wal_record *record_out,
                     uint16_t *flags_out)
{
    struct wal_record record = {0};
    record.type = (enum wal_record_type)cursor_u8(c);
    record.entry_type = cursor_u8(c);
    *flags_out = cursor_u16_le(c);
    record.shard = cursor_u32_le(c);
    record.lsn = cursor_u64_le(c);
    record.term = cursor_u64_le(c);
    uint32_t len = cursor_u32_le(c);
    record.number = cursor_u32_le(c);
    record.acknowledged = (*flags_out & WAL_FLAG_ACKNOWLEDGED) != 0;
    if (len > ENTRY_MAX_BYTES || record.type < WAL_ENTRY ||
        record.type > WAL_TYPE_LAST)
        c->failed = true;
    record.payload = bytes_of(cursor_take(c, len), len);
    cursor_take(c, (size_t)(-len) % WAL_ALIGN);
    if (record.type == WAL_HARD_STATE) {
        record.vote = record.lsn;
        record.lsn = 0;
    }
    *record_out = record;
}

/* -- looking -- */

/* What the first batch says about the segment before. */
static void note_abandonment(struct look *look,
                             const struct wal_batch_view *batch)
{
    struct cursor c = cursor_of(batch->records.data, batch->records.len);
    struct wal_record record;
    uint16_t flags;
    wal_read_record(&c, &record, &flags);
    if (cursor_ok(&c) && (int)record.type == WAL_ABANDON) {
        look->abandons = record.lsn;
        look->abandons_from = record.term;
    }
}

/* Follows the unbroken row of batches from the start. */
static void follow_row(const struct recovery *r, struct look *look)
{
    struct wal_batch_view batch;
    look->end = WAL_SEGMENT_HEADER;
    while (!(look->abandoned && look->end >= look->stop_at) &&
           batch_at(r, look->end, &batch)) {
        if (look->batches == 0) {
            look->first = batch.sequence;
            note_abandonment(look, &batch);
        } else if (batch.sequence != look->last + 1) {
            break;
        }
        look->last = batch.sequence;
        look->batches++;
        look->end += batch.bytes;
    }
}

/* Looks behind the row: for anything, and for a later batch. */
static void look_behind(const struct recovery *r, struct look *look)
{
    for (uint64_t at = look->end; at + 8 <= r->len; at += 8) {
        if (get_u64_le(r->data + at) == 0)
            continue;
        look->dirty = true;
        look->dirty_to = at + 8;
        struct wal_batch_view batch;
        if (!look->later && get_u32_le(r->data + at) == WAL_BATCH_MAGIC &&
            batch_at(r, at, &batch) && batch.sequence > look->last)
            look->later = true;
    }
    look->shortened = r->file_len < r->len;
}

static int look_at_all(struct recovery *r)
{
    /* From the last to the first: a segment may say where the one before it
     * ends. */
    for (size_t i = r->count; i > 0; i--) {
        struct look *look = &r->looks[i - 1];
        int code = load_segment(r, look->number);
        if (code != ERR_OK)
            return code;
        look->bytes = r->len;
        follow_row(r, look);
        look_behind(r, look);
        drop_segment(r);
        if (look->abandons == 0)
            continue;
        if (i == 1)
            continue; /* what it abandoned was deleted since */
        if (look->abandons != look[-1].number)
            return damaged(r, look->number, WAL_SEGMENT_HEADER,
                           "it names a segment that is not before it");
        look[-1].abandoned = true;
        look[-1].stop_at = look->abandons_from;
    }
    return ERR_OK;
}

/* -- judging -- */

static int judge_one(struct recovery *r, size_t i, bool any_later)
{
    const struct look *look = &r->looks[i];
    bool last = i + 1 == r->count;
    if (look->batches == 0 && !last)
        return damaged(r, look->number, WAL_SEGMENT_HEADER,
                       "the first batch is damaged or missing");
    if (look->batches == 0 && i == 0 && look->number != 1)
        return damaged(r, look->number, WAL_SEGMENT_HEADER,
                       "the first batch is missing");
    if (look->abandoned) {
        if (look->end != look->stop_at)
            return damaged(r, look->number, look->end, "bad batch");
    } else if ((look->dirty || look->shortened) && (any_later || look->later)) {
        return damaged(r, look->number, look->end,
                       "bad batch, with good ones behind it");
    }
    if (look->batches == 0)
        return ERR_OK;
    uint64_t expected = i > 0               ? r->looks[i - 1].last + 1
                        : look->number == 1 ? 1
                                            : look->first;
    if (look->first == expected)
        return ERR_OK;
    const struct look *before = i > 0 ? look - 1 : NULL;
    if (before != NULL && !before->abandoned &&
        (before->dirty || before->shortened))
        return damaged(r, before->number, before->end,
                       "bad batch, with good ones in the next file");
    return damaged(r, look->number, WAL_SEGMENT_HEADER,
                   "batches before this one are missing");
}

static int judge(struct recovery *r)
{
    bool any_later = false;
    for (size_t i = r->count; i > 0; i--) {
        int code = judge_one(r, i - 1, any_later);
        if (code != ERR_OK)
            return code;
        any_later =
            any_later || r->looks[i - 1].batches > 0 || r->looks[i - 1].later;
    }
    return ERR_OK;
}

/* -- cutting a torn tail -- */

static int overwrite(struct recovery *r, const char *path,
                     const struct look *look)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int code = ERR_OK;
    if (ftruncate(fd, (off_t)look->bytes) != 0)
        code = err_from_errno(errno);
    if (code == ERR_OK && look->dirty) {
        size_t len = look->dirty_to - look->end;
        uint8_t *zeros = mem_zalloc(len);
        code = file_pwrite_all(fd, bytes_of(zeros, len), (off_t)look->end);
        mem_free(zeros);
    }
    if (code == ERR_OK && fsync(fd) != 0)
        code = err_from_errno(errno);
    close(fd);
    if (code != ERR_OK)
        err_set(r->msg, code, "cannot cut the torn tail of %s: %s", path,
                err_text(code));
    return code;
}

static int cut_tails(struct recovery *r, struct wal_report *report)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct look *look = &r->looks[i];
        if (look->abandoned || (!look->dirty && !look->shortened))
            continue;
        char name[WAL_FILE_NAME_LEN + 1];
        wal_file_name(look->number, name);
        char *path = wal_path(r->w, name);
        int code = overwrite(r, path, look);
        mem_free(path);
        if (code != ERR_OK)
            return code;
        if (report->tail_cut)
            continue;
        report->tail_cut = true;
        memcpy(report->tail_file, name, sizeof(name));
        report->tail_offset = look->end;
        report->tail_bytes = look->dirty ? look->dirty_to - look->end : 0;
    }
    return ERR_OK;
}

/* -- replaying -- */

struct replaying {
    struct recovery *r;
    wal_replay_fn replay;
    void *ctx;
    struct wal_report *report;
    struct wal_segment *segment;
    bool first; /* of the segments that are left: carried state is news */
};

/* State that was carried into a later segment must be what the records before
 * it led to. */
static bool carried_matches(struct wal *w, const struct wal_record *record)
{
    struct wal_shard *s;
    HASH_FIND(hh, w->shards, &record->shard, sizeof(record->shard), s);
    if (s == NULL)
        return false;
    switch (record->type) {
    case WAL_HARD_STATE:
        return s->has_hard_state && s->term == record->term &&
               s->vote == record->vote;
    case WAL_COMMIT:
        return s->has_commit && s->commit == record->lsn;
    case WAL_RESET:
        return s->has_reset && s->reset_lsn == record->lsn &&
               s->reset_term == record->term;
    default:
        return false;
    }
}

static void account_record(struct replaying *p, const struct wal_record *record)
{
    struct wal *w = p->r->w;
    struct wal_touch touch = {.truncate_from = UINT64_MAX};
    touch.state.id = record->shard;
    wal_touch_record(&touch, record);
    wal_merge_shard(w, &touch.state);
    if (touch.truncate_from != UINT64_MAX) {
        LIST_EACH(it, &w->segments)
        wal_segment_touch_older(LIST_ENTRY(it, struct wal_segment, node),
                                &touch);
    }
    wal_segment_touch(p->segment, &touch);
}

static int replay_batch(struct replaying *p, const struct wal_batch_view *batch,
                        uint64_t offset)
{
    struct wal *w = p->r->w;
    struct cursor c = cursor_of(batch->records.data, batch->records.len);
    for (uint32_t i = 0; i < batch->count; i++) {
        struct wal_record record;
        uint16_t flags;
        wal_read_record(&c, &record, &flags);
        if (!cursor_ok(&c))
            break;
        if ((int)record.type == WAL_ABANDON)
            continue;
        if ((flags & WAL_FLAG_CARRIED) != 0 && !p->first) {
            if (!carried_matches(w, &record))
                return damaged(p->r, p->segment->number, offset,
                               "carried state does not match");
            continue;
        }
        account_record(p, &record);
        p->report->records++;
        int code = p->replay(p->ctx, &record);
        if (code != ERR_OK)
            return err_set(p->r->msg, code,
                           "cannot replay the log in %s: shard %u, lsn %llu: "
                           "%s",
                           w->dir, record.shard, (unsigned long long)record.lsn,
                           err_text(code));
    }
    if (!cursor_done(&c))
        return damaged(p->r, p->segment->number, offset, "bad record");
    p->report->batches++;
    p->report->bytes += batch->bytes;
    return ERR_OK;
}

static int replay_segment(struct replaying *p, const struct look *look)
{
    struct recovery *r = p->r;
    int code = load_segment(r, look->number);
    if (code != ERR_OK)
        return code;
    uint64_t at = WAL_SEGMENT_HEADER;
    while (at < look->end && code == ERR_OK) {
        struct wal_batch_view batch;
        if (!batch_at(r, at, &batch))
            code = damaged(r, look->number, at, "it changed while being read");
        else
            code = replay_batch(p, &batch, at);
        if (code == ERR_OK)
            at += batch.bytes;
    }
    drop_segment(r);
    return code;
}

static int replay_all(struct replaying *p)
{
    struct recovery *r = p->r;
    struct wal *w = r->w;
    for (size_t i = 0; i < r->count; i++) {
        const struct look *look = &r->looks[i];
        struct wal_segment *s = wal_segment_new(look->number, look->bytes);
        if (look->batches == 0 && i > 0) {
            w->next = s; /* made ahead of time, not yet used */
            break;
        }
        list_push_back(&w->segments, &s->node);
        p->segment = s;
        p->first = i == 0;
        int code = replay_segment(p, look);
        if (code != ERR_OK)
            return code;
        p->report->segments++;
        w->offset = look->end;
        w->sequence = look->last;
    }
    return ERR_OK;
}

int wal_recover(struct wal *w, wal_replay_fn replay, void *ctx,
                struct wal_report *report, struct err_msg *msg)
{
    struct recovery r = {.w = w, .msg = msg};
    int code = list_segments(&r);
    if (code == ERR_OK)
        code = look_at_all(&r);
    if (code == ERR_OK)
        code = judge(&r);
    if (code == ERR_OK)
        code = cut_tails(&r, report);
    if (code == ERR_OK) {
        struct replaying p = {
            .r = &r, .replay = replay, .ctx = ctx, .report = report};
        code = replay_all(&p);
    }
    mem_free(r.looks);
    return code;
}
