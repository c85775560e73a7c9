#include "replication/frame.h"

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/hash.h"

#define CRC_AT 8

const char *frame_type_name(int type)
{
    switch (type) {
    case FRAME_HELLO:
        return "hello";
    case FRAME_BYE:
        return "bye";
    case FRAME_PING:
        return "ping";
    case FRAME_PONG:
        return "pong";
    case FRAME_RAFT:
        return "raft";
    case FRAME_REQUEST:
        return "request";
    case FRAME_RESPONSE:
        return "response";
    case FRAME_SNAPSHOT:
        return "snapshot";
    case FRAME_SNAPSHOT_ACK:
        return "snapshot ack";
    case FRAME_RAFT_SHARED:
        return "shared raft";
    case FRAME_RAFT_BARE:
        return "bare raft";
    case FRAME_PASSED:
        return "passed entries";
    case FRAME_MISSED:
        return "missed entries";
    case FRAME_PASSED_FOR:
        return "passed entries of a shard";
    default:
        return "unknown";
    }
}

static uint32_t frame_crc(const uint8_t *frame, size_t payload_len)
{
    uint32_t crc = hash_crc32c(0, frame, CRC_AT);
    return hash_crc32c(crc, frame + FRAME_HEADER, payload_len);
}

int frame_read(const struct buf *in, size_t payload_max,
               struct frame *frame_out, size_t *size_out)
{
    CHECK(payload_max <= FRAME_MAX);
    if (buf_len(in) < FRAME_HEADER)
        return ERR_AGAIN;
    const uint8_t *frame = buf_bytes(in);
    size_t len = get_u32_le(frame);
    int type = frame[4];
    if (type < FRAME_HELLO || type >= FRAME_TYPE_END || frame[5] != 0 ||
        get_u16_le(frame + 6) != 0)
        return ERR_MALFORMED;
    if (len > payload_max)
        return ERR_LIMIT;
    if (buf_len(in) - FRAME_HEADER < len)
        return ERR_AGAIN;
    if (get_u32_le(frame + CRC_AT) != frame_crc(frame, len))
        return ERR_MALFORMED;
    frame_out->type = (enum frame_type)type;
    frame_out->payload = bytes_of(frame + FRAME_HEADER, len);
    *size_out = FRAME_HEADER + len;
    return ERR_OK;
}

int frame_begin(struct frame_writer *w, struct buf *out, enum frame_type type,
                size_t payload_len, uint8_t **room_out)
{
    CHECK(type >= FRAME_HELLO && type < FRAME_TYPE_END);
    if (payload_len > FRAME_MAX)
        return ERR_LIMIT;
    uint8_t *start;
    int err = buf_reserve(out, FRAME_HEADER + payload_len, &start);
    if (err != ERR_OK)
        return err;
    put_u32_le(start, (uint32_t)payload_len);
    start[4] = (uint8_t)type;
    start[5] = 0;
    put_u16_le(start + 6, 0);
    *w = (struct frame_writer){out, start, payload_len};
    *room_out = start + FRAME_HEADER;
    return ERR_OK;
}

void frame_end(struct frame_writer *w)
{
    CHECK(w->start == w->out->data + w->out->tail);
    put_u32_le(w->start + CRC_AT, frame_crc(w->start, w->payload_len));
    buf_commit(w->out, FRAME_HEADER + w->payload_len);
}

int frame_append(struct buf *out, enum frame_type type, struct bytes payload)
{
    struct frame_writer w;
    uint8_t *room;
    int err = frame_begin(&w, out, type, payload.len, &room);
    if (err != ERR_OK)
        return err;
    if (payload.len > 0)
        memcpy(room, payload.data, payload.len);
    frame_end(&w);
    return ERR_OK;
}
