/* Any bytes from a peer: decoders refuse them or yield messages that keep the
 * promises of codec.h; a message of the core that was accepted survives being
 * sent on.
 *
 * The first byte says what the rest is: a frame type's payload, or (any other
 * value) a stream of frames. */
#include "tests/unit/replication/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(struct codec *c, struct bytes payload)
{
    struct raft_msg msg, msg2;
    const struct bytes *payloads, *payloads2;
    uint64_t shard, shard2;
    if (codec_get_raft(c, payload, &shard, &msg, &payloads) != ERR_OK)
        return;
    struct buf out;
    buf_init(&out, FRAME_BUF_MAX);
    CHECK(codec_put_raft(&out, shard, &msg, payloads) == ERR_OK);
    struct frame f;
    size_t used;
    CHECK(frame_read(&out, FRAME_MAX, &f, &used) == ERR_OK);
    CHECK(used == buf_len(&out) && f.type == FRAME_RAFT);
    struct codec *other = codec_new();
    CHECK(codec_get_raft(other, f.payload, &shard2, &msg2, &payloads2) ==
          ERR_OK);
    CHECK(shard == shard2 && msg.type == msg2.type && msg.term == msg2.term);
    CHECK_IMPLIES(msg.type == RAFT_MSG_APPEND,
                  msg.append.n == msg2.append.n &&
                      msg.append.bytes == msg2.append.bytes);
    codec_free(other);
    buf_free(&out);
}

static void decode(struct codec *c, enum frame_type type, struct bytes payload)
{
    int err = sample_decode(c, type, payload);
    CHECK(err == ERR_OK || err == ERR_MALFORMED || err == ERR_LIMIT);
    if (type == FRAME_RAFT)
        check_again(c, payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct codec *c = codec_new();
    if (data[0] >= FRAME_HELLO && data[0] < FRAME_TYPE_END) {
        decode(c, (enum frame_type)data[0], bytes_of(data + 1, size - 1));
        codec_free(c);
        return 0;
    }
    struct buf in;
    buf_init(&in, FRAME_BUF_MAX);
    struct frame f;
    size_t used;
    if (buf_append(&in, data + 1, size - 1) == ERR_OK) {
        while (frame_read(&in, FRAME_MAX, &f, &used) == ERR_OK) {
            decode(c, f.type, f.payload);
            buf_consume(&in, used);
        }
    }
    buf_free(&in);
    codec_free(c);
    return 0;
}
