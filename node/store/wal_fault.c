/* Damage on request: a loss of power between a write and its sync, and a bit
 * that flips.
 *
 *                append: writes...        syncs
 *     LANDED ----------> FLYING ----------------> LANDED, and is acknowledged
 *        |                  |
 *        '---- wal_tear ----+--> LOST: appends stop where they are, for ever
 *
 * Each arrow is one compare-and-swap, so that what was acknowledged and what is
 * torn cannot be the same bytes. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/prng.h"
#include "node/store/wal_impl.h"

/* What a disk keeps or loses as a whole, aligned in the file. */
#define TORN_PAGE 4096

/* -- an append in the middle of a loss of power -- */

_Noreturn static void stand_still(void)
{
    for (;;)
        pause();
}

static void pass(struct wal *w, enum wal_flight from, enum wal_flight to)
{
    if (!atomic_compare_exchange_strong(&w->flight, &from, to))
        stand_still();
}

void wal_take_off(struct wal *w, uint64_t bytes)
{
    w->flying = bytes;
    pass(w, WAL_LANDED, WAL_FLYING);
}

void wal_before_sync(struct wal *w)
{
    if (!atomic_load_explicit(&w->power_fails, memory_order_acquire))
        return;
    atomic_store_explicit(&w->caught, true, memory_order_release);
    stand_still();
}

void wal_land(struct wal *w)
{
    pass(w, WAL_FLYING, WAL_LANDED);
}

/* -- the loss of power -- */

void wal_power_fails(struct wal *w)
{
    CHECK_OBJ(w, WAL_MAGIC);
    atomic_store_explicit(&w->power_fails, true, memory_order_release);
}

bool wal_caught(struct wal *w)
{
    return atomic_load_explicit(&w->caught, memory_order_acquire);
}

/* Half of the pages never arrived, a quarter arrived in part. */
static int tear_piece(int fd, uint64_t at, size_t len, struct prng *prng)
{
    uint8_t piece[TORN_PAGE];
    uint64_t fate = prng_below(prng, 4);
    if (fate == 0)
        return ERR_OK;
    int code = file_pread_all(fd, piece, len, (off_t)at);
    if (code != ERR_OK)
        return code;
    size_t kept = fate == 1 ? prng_below(prng, len) : 0;
    for (size_t i = kept; i < len; i++)
        piece[i] = fate == 1 ? (uint8_t)prng_u64(prng) : 0;
    return file_pwrite_all(fd, bytes_of(piece, len), (off_t)at);
}

static int tear(int fd, uint64_t at, uint64_t end, struct prng *prng)
{
    int code = ERR_OK;
    while (at < end && code == ERR_OK) {
        size_t len = TORN_PAGE - at % TORN_PAGE;
        if (len > end - at)
            len = (size_t)(end - at);
        code = tear_piece(fd, at, len, prng);
        at += len;
    }
    return code == ERR_OK ? ERR_OK : ERR_IO;
}

int wal_tear(struct wal *w, struct prng *prng, uint64_t *bytes_out)
{
    CHECK_OBJ(w, WAL_MAGIC);
    CHECK(atomic_load(&w->power_fails));
    uint64_t bytes = 0;
    int code = ERR_OK;
    if (atomic_exchange(&w->flight, WAL_LOST) == WAL_FLYING) {
        /* `fd` and `offset` do not move any more. An append that was not caught
         * may still write over this: then its bytes survive, which a disk may
         * do, too. */
        bytes = w->flying;
        code = tear(w->fd, w->offset, w->offset + bytes, prng);
    }
    if (code == ERR_OK)
        *bytes_out = bytes;
    return code;
}

/* -- a bit -- */

/* Follows the batches of a segment up to `end`; at the one with this index
 * writes where it is and how long. Returns how many there are. */
static uint64_t walk_batches(int fd, uint64_t end, uint64_t index,
                             uint64_t *at_out, uint64_t *bytes_out)
{
    uint8_t header[WAL_BATCH_HEADER];
    uint64_t count = 0, at = WAL_SEGMENT_HEADER;
    while (at + WAL_BATCH_HEADER <= end &&
           file_pread_all(fd, header, sizeof(header), (off_t)at) == ERR_OK &&
           get_u32_le(header) == WAL_BATCH_MAGIC) {
        uint64_t bytes = WAL_BATCH_HEADER + get_u32_le(header + 16);
        if (bytes > end - at)
            break;
        if (count++ == index) {
            *at_out = at;
            *bytes_out = bytes;
        }
        at += bytes;
    }
    return count;
}

static int flip_in(int fd, uint64_t end, struct wal_flip *flip)
{
    uint64_t at = 0, bytes = 0;
    uint8_t byte;
    uint64_t count = walk_batches(fd, end, UINT64_MAX, &at, &bytes);
    if (count < 2)
        return ERR_NOT_FOUND;
    walk_batches(fd, end, (count - 1) / 2, &at, &bytes);
    flip->offset = at + WAL_BATCH_HEADER + (bytes - WAL_BATCH_HEADER) / 2;
    flip->bit = (unsigned)(flip->offset / WAL_ALIGN % 8);
    int code = file_pread_all(fd, &byte, 1, (off_t)flip->offset);
    byte = (uint8_t)(byte ^ (1u << flip->bit));
    if (code == ERR_OK)
        code = file_pwrite_all(fd, bytes_of(&byte, 1), (off_t)flip->offset);
    return code;
}

static int flip_in_segment(struct wal *w, const struct wal_segment *s,
                           uint64_t end, struct wal_flip *flip)
{
    int fd, code = wal_segment_open(w, s->number, &fd);
    if (code != ERR_OK)
        return code;
    wal_file_name(s->number, flip->file);
    code = flip_in(fd, end, flip);
    close(fd);
    return code;
}

int wal_flip_bit(struct wal *w, struct wal_flip *flip_out)
{
    CHECK_OBJ(w, WAL_MAGIC);
    struct wal_flip flip;
    int code = ERR_NOT_FOUND;
    pthread_mutex_lock(&w->lock);
    struct list *in_use = w->segments.prev;
    for (struct list *it = in_use->prev; it != &w->segments && code != ERR_OK;
         it = it->prev) {
        const struct wal_segment *s = LIST_ENTRY(it, struct wal_segment, node);
        code = flip_in_segment(w, s, s->bytes, &flip);
    }
    if (code != ERR_OK)
        code = flip_in_segment(w, LIST_ENTRY(in_use, struct wal_segment, node),
                               w->offset, &flip);
    pthread_mutex_unlock(&w->lock);
    if (code == ERR_OK)
        *flip_out = flip;
    return code == ERR_OK ? ERR_OK : ERR_NOT_FOUND;
}
