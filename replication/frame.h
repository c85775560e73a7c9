/* Frames: how messages are cut out of the byte stream of a link. Pure.
 *
 *      0        4      5      6          8          12
 *     +--------+------+------+----------+----------+---------------+
 *     | length | type | zero | zero     | CRC-32C  | payload       |
 *     | u32 le | u8   | u8   | u16 le   | u32 le   | length bytes  |
 *     +--------+------+------+----------+----------+---------------+
 *
 * The checksum (RFC 3720 appendix B.4) covers the first 8 bytes and the
 * payload. TLS already protects the stream from others; the checksum protects
 * it from ourselves: a stray write into a queued buffer is found before it
 * becomes a log entry on three nodes.
 */
#ifndef BASTIDE_REPLICATION_FRAME_H
#define BASTIDE_REPLICATION_FRAME_H

#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"

#define FRAME_HEADER 12
/* Most payload bytes of one frame. */
#define FRAME_MAX (8 * 1024 * 1024)
/* What a buffer must be able to hold so that any frame fits. */
#define FRAME_BUF_MAX (FRAME_HEADER + FRAME_MAX)

/* The numbers are the wire's: never reuse one. */
enum frame_type {
    FRAME_HELLO = 1,
    FRAME_BYE = 2,
    FRAME_PING = 3,
    FRAME_PONG = 4,
    FRAME_RAFT = 5,
    FRAME_REQUEST = 6,
    FRAME_RESPONSE = 7,
    FRAME_SNAPSHOT = 8,
    FRAME_SNAPSHOT_ACK = 9,
    FRAME_RAFT_SHARED = 10, /* relay.h */
    FRAME_RAFT_BARE = 11,
    FRAME_PASSED = 12,     /* entries, on behalf of a leader */
    FRAME_MISSED = 13,     /* entries did not come; no payload */
    FRAME_PASSED_FOR = 14, /* as PASSED, and says of which shard they are */
    FRAME_TYPE_END
};

/* "raft"; "unknown" for a number that is none. */
const char *frame_type_name(int type);

struct frame {
    enum frame_type type;
    struct bytes payload; /* borrowed from the buffer it was read from */
};

/* Reads the frame at the front of `in` without consuming it:
 *   ERR_OK         *frame_out and *size_out (what to buf_consume when done)
 *   ERR_AGAIN      more bytes are needed
 *   ERR_LIMIT      the payload is longer than `payload_max`
 *   ERR_MALFORMED  unknown type, reserved bytes not zero, wrong checksum
 * The length is judged as soon as the header is there, before its payload. */
int frame_read(const struct buf *in, size_t payload_max,
               struct frame *frame_out, size_t *size_out);

/* Writing, in two steps so that the payload is encoded in place:
 *
 *     struct frame_writer w;
 *     err = frame_begin(&w, out, FRAME_RAFT, payload_len, &room);
 *     ... write exactly payload_len bytes to room ...
 *     frame_end(&w);
 *
 * frame_begin answers ERR_LIMIT when the payload or `out` would pass its
 * maximum, ERR_NO_MEMORY; then nothing was appended. Nothing else may touch
 * `out` between the two calls. */
struct frame_writer {
    struct buf *out;
    uint8_t *start;
    size_t payload_len;
};
int frame_begin(struct frame_writer *w, struct buf *out, enum frame_type type,
                size_t payload_len, uint8_t **room_out);
void frame_end(struct frame_writer *w);

/* Both steps for a payload that exists already. */
int frame_append(struct buf *out, enum frame_type type, struct bytes payload);

#endif
