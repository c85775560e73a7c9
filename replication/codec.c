#include "replication/codec.h"

#include <stdio.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "replication/codec_impl.h"
#include "replication/wire/link.pb-c.h"

#define CODEC_MAGIC MAGIC('c', 'o', 'd', 'c')
#define HEAD_LEN_SIZE 4
/* Blocks double from the first, which is kept from message to message. */
#define ARENA_FIRST (16 * 1024)
#define ARENA_BLOCKS 16
#define ARENA_ALIGN 16

struct block {
    uint8_t *data;
    size_t size;
};

struct codec {
    uint32_t magic;
    ProtobufCAllocator allocator;
    struct block blocks[ARENA_BLOCKS];
    size_t n_blocks;
    size_t used;  /* of the last block */
    size_t total; /* of all blocks */
    bool limit;   /* the arena refused something since the last decode */
};

/* -- the arena ------------------------------------------------------------- */

static void arena_reset(struct codec *c)
{
    while (c->n_blocks > 1)
        mem_free(c->blocks[--c->n_blocks].data);
    c->total = c->n_blocks > 0 ? c->blocks[0].size : 0;
    c->used = 0;
    c->limit = false;
}

static bool arena_grow(struct codec *c, size_t size)
{
    size_t want =
        c->n_blocks == 0 ? ARENA_FIRST : 2 * c->blocks[c->n_blocks - 1].size;
    if (want < size)
        want = size;
    if (want > CODEC_ARENA_MAX - c->total)
        want = size;
    if (want > CODEC_ARENA_MAX - c->total || c->n_blocks == ARENA_BLOCKS)
        return false;
    c->blocks[c->n_blocks++] = (struct block){mem_alloc(want), want};
    c->total += want;
    c->used = 0;
    return true;
}

void *codec_alloc(struct codec *c, size_t size)
{
    if (size > CODEC_ARENA_MAX) {
        c->limit = true;
        return NULL;
    }
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    bool fits =
        c->n_blocks > 0 && size <= c->blocks[c->n_blocks - 1].size - c->used;
    if (!fits && !arena_grow(c, size)) {
        c->limit = true;
        return NULL;
    }
    void *p = c->blocks[c->n_blocks - 1].data + c->used;
    c->used += size;
    return p;
}

static void *allocator_alloc(void *user, size_t size)
{
    return codec_alloc(user, size);
}

static void allocator_free(void *user, void *ptr)
{
    (void)user; /* the next decode frees everything */
    (void)ptr;
}

struct codec *codec_new(void)
{
    struct codec *c = mem_zalloc(sizeof(*c));
    c->magic = CODEC_MAGIC;
    c->allocator = (ProtobufCAllocator){allocator_alloc, allocator_free, c};
    return c;
}

void codec_free(struct codec *c)
{
    if (c == NULL)
        return;
    CHECK_OBJ(c, CODEC_MAGIC);
    while (c->n_blocks > 0)
        mem_free(c->blocks[--c->n_blocks].data);
    c->magic = 0;
    mem_free(c);
}

/* -- heads and attachments --------------------------------------------------
 */

int codec_begin(struct frame_writer *w, struct buf *out, enum frame_type type,
                const ProtobufCMessage *head, size_t attachment_len,
                uint8_t **attachment_out)
{
    size_t head_len = protobuf_c_message_get_packed_size(head);
    if (head_len > CODEC_HEAD_MAX || attachment_len > FRAME_MAX)
        return ERR_LIMIT;
    uint8_t *room;
    int err = frame_begin(w, out, type,
                          HEAD_LEN_SIZE + head_len + attachment_len, &room);
    if (err != ERR_OK)
        return err;
    put_u32_le(room, (uint32_t)head_len);
    size_t packed = protobuf_c_message_pack(head, room + HEAD_LEN_SIZE);
    CHECK(packed == head_len);
    *attachment_out = room + HEAD_LEN_SIZE + head_len;
    return ERR_OK;
}

int codec_put(struct buf *out, enum frame_type type,
              const ProtobufCMessage *head, struct bytes attachment)
{
    struct frame_writer w;
    uint8_t *room;
    int err = codec_begin(&w, out, type, head, attachment.len, &room);
    if (err != ERR_OK)
        return err;
    if (attachment.len > 0)
        memcpy(room, attachment.data, attachment.len);
    frame_end(&w);
    return ERR_OK;
}

int codec_get(struct codec *c, struct bytes payload,
              const ProtobufCMessageDescriptor *type,
              const ProtobufCMessage **head_out, struct bytes *attachment_out)
{
    CHECK_OBJ(c, CODEC_MAGIC);
    arena_reset(c);
    struct cursor at = cursor_of(payload.data, payload.len);
    struct bytes head = cursor_blob(&at, CODEC_HEAD_MAX);
    if (!cursor_ok(&at))
        return ERR_MALFORMED;
    static const uint8_t nothing;
    const ProtobufCMessage *m = protobuf_c_message_unpack(
        type, &c->allocator, head.len, head.len > 0 ? head.data : &nothing);
    if (m == NULL)
        return c->limit ? ERR_LIMIT : ERR_MALFORMED;
    *head_out = m;
    *attachment_out = bytes_of(at.at, cursor_left(&at));
    return ERR_OK;
}

/* The same for messages that have no attachment. */
static int get_bare(struct codec *c, struct bytes payload,
                    const ProtobufCMessageDescriptor *type,
                    const ProtobufCMessage **head_out)
{
    const ProtobufCMessage *m;
    struct bytes attachment;
    int err = codec_get(c, payload, type, &m, &attachment);
    if (err != ERR_OK)
        return err;
    if (attachment.len != 0)
        return ERR_MALFORMED;
    *head_out = m;
    return ERR_OK;
}

static const struct bytes no_attachment = {NULL, 0};

static struct bytes bytes_of_wire(ProtobufCBinaryData b)
{
    return bytes_of(b.data, b.len);
}

static ProtobufCBinaryData wire_of_bytes(struct bytes b)
{
    /* protobuf-c's field is not const, but encoding only reads. */
    return (ProtobufCBinaryData){b.len, (uint8_t *)(uintptr_t)b.data};
}

/* Codes of a newer version that we do not know are errors all the same. */
static int err_of_wire(uint32_t code)
{
    return code < ERR_COUNT ? (int)code : ERR_IO;
}

/* -- looking at a head without decoding it -------------------------------- */

/* Field 1 as a varint: `shard` of Raft and SnapshotChunk. */
#define TAG_SHARD 0x08
#define VARINT_MAX 10

static bool split(struct bytes payload, struct bytes *head_out)
{
    if (payload.len < HEAD_LEN_SIZE)
        return false;
    uint32_t len = get_u32_le(payload.data);
    if (len > payload.len - HEAD_LEN_SIZE)
        return false;
    *head_out = bytes_of(payload.data + HEAD_LEN_SIZE, len);
    return true;
}

int codec_peek_shard(struct bytes payload, uint64_t *shard_out)
{
    struct bytes head;
    uint64_t shard = 0;
    if (!split(payload, &head))
        return ERR_MALFORMED;
    if (head.len == 0 || head.data[0] != TAG_SHARD) {
        *shard_out = 0; /* a zero is not written */
        return ERR_OK;
    }
    for (size_t i = 1; i < head.len && i <= VARINT_MAX; i++) {
        shard |= (uint64_t)(head.data[i] & 0x7f) << (7 * (i - 1));
        if ((head.data[i] & 0x80) == 0) {
            *shard_out = shard;
            return ERR_OK;
        }
    }
    return ERR_MALFORMED;
}

bool codec_has_attachment(struct bytes payload)
{
    struct bytes head;
    return split(payload, &head) && HEAD_LEN_SIZE + head.len < payload.len;
}

/* -- link control ---------------------------------------------------------- */

int codec_put_hello(struct buf *out, const struct peer_hello *hello)
{
    Wire__Hello m = WIRE__HELLO__INIT;
    m.version_min = hello->version_min;
    m.version_max = hello->version_max;
    m.cluster = (char *)(uintptr_t)hello->id.cluster;
    m.region = (char *)(uintptr_t)hello->id.region;
    m.node = (char *)(uintptr_t)hello->id.node;
    m.incarnation = hello->incarnation;
    m.feature_level = hello->feature_level;
    m.feature_active = hello->feature_active;
    m.feature_wanted = hello->feature_wanted;
    if (hello->proves_region) {
        m.region_proof.data = (uint8_t *)(uintptr_t)hello->region_proof;
        m.region_proof.len = PEER_PROOF_LEN;
    }
    return codec_put(out, FRAME_HELLO, &m.base, no_attachment);
}

int codec_get_hello(struct codec *c, struct bytes payload,
                    struct peer_hello *hello_out)
{
    const ProtobufCMessage *head;
    int err = get_bare(c, payload, &wire__hello__descriptor, &head);
    if (err != ERR_OK)
        return err;
    const Wire__Hello *m = (const void *)head;
    struct peer_hello hello = {
        .version_min = m->version_min != 0 ? m->version_min : 1,
        .version_max = m->version_max != 0 ? m->version_max : 1,
        .incarnation = m->incarnation,
        .feature_level = m->feature_level,
        .feature_active = m->feature_active,
        .feature_wanted = m->feature_wanted,
    };
    if (peer_identity_set(&hello.id, m->cluster, m->region, m->node) != ERR_OK)
        return ERR_MALFORMED;
    if (m->region_proof.len != 0 && m->region_proof.len != PEER_PROOF_LEN)
        return ERR_MALFORMED;
    hello.proves_region = m->region_proof.len == PEER_PROOF_LEN;
    if (hello.proves_region)
        memcpy(hello.region_proof, m->region_proof.data, PEER_PROOF_LEN);
    *hello_out = hello;
    return ERR_OK;
}

int codec_put_bye(struct buf *out, const struct bye *bye)
{
    char reason[CODEC_TEXT_MAX + 1];
    snprintf(reason, sizeof(reason), "%s", bye->reason);
    Wire__Bye m = WIRE__BYE__INIT;
    m.error = (uint32_t)bye->err;
    m.reason = reason;
    return codec_put(out, FRAME_BYE, &m.base, no_attachment);
}

/* A reason goes into our log: printable ASCII only. */
static bool text_is_plain(const char *text)
{
    size_t len = 0;
    for (; text[len] != '\0'; len++) {
        if (len == CODEC_TEXT_MAX || text[len] < 0x20 || text[len] > 0x7e)
            return false;
    }
    return true;
}

int codec_get_bye(struct codec *c, struct bytes payload, struct bye *bye_out)
{
    const ProtobufCMessage *head;
    int err = get_bare(c, payload, &wire__bye__descriptor, &head);
    if (err != ERR_OK)
        return err;
    const Wire__Bye *m = (const void *)head;
    if (!text_is_plain(m->reason))
        return ERR_MALFORMED;
    *bye_out = (struct bye){err_of_wire(m->error), m->reason};
    return ERR_OK;
}

int codec_put_ping(struct buf *out, enum frame_type ping_or_pong,
                   const struct ping *ping)
{
    CHECK(ping_or_pong == FRAME_PING || ping_or_pong == FRAME_PONG);
    if (ping->gossip.len > GOSSIP_MAX)
        return ERR_LIMIT;
    Wire__Ping m = WIRE__PING__INIT;
    m.sent_us = ping->sent_us;
    m.gossip = wire_of_bytes(ping->gossip);
    m.clock_us = ping->clock_us;
    return codec_put(out, ping_or_pong, &m.base, no_attachment);
}

int codec_get_ping(struct codec *c, struct bytes payload, struct ping *ping_out)
{
    const ProtobufCMessage *head;
    int err = get_bare(c, payload, &wire__ping__descriptor, &head);
    if (err != ERR_OK)
        return err;
    const Wire__Ping *m = (const void *)head;
    if (m->gossip.len > GOSSIP_MAX)
        return ERR_LIMIT;
    *ping_out =
        (struct ping){m->sent_us, bytes_of_wire(m->gossip), m->clock_us};
    return ERR_OK;
}

/* -- requests -------------------------------------------------------------- */

int codec_put_request(struct buf *out, const struct request *request)
{
    if (request->body.len > CODEC_BODY_MAX)
        return ERR_LIMIT;
    Wire__Request m = WIRE__REQUEST__INIT;
    m.id = request->id;
    m.deadline_ms = request->deadline_ms;
    m.kind = request->kind;
    m.age_ms = request->age_ms;
    m.sent_us = request->sent_us;
    return codec_put(out, FRAME_REQUEST, &m.base, request->body);
}

int codec_get_request(struct codec *c, struct bytes payload,
                      struct request *request_out)
{
    const ProtobufCMessage *head;
    struct bytes body;
    int err = codec_get(c, payload, &wire__request__descriptor, &head, &body);
    if (err != ERR_OK)
        return err;
    if (body.len > CODEC_BODY_MAX)
        return ERR_LIMIT;
    const Wire__Request *m = (const void *)head;
    *request_out = (struct request){m->id, m->deadline_ms, m->kind,
                                    body,  m->age_ms,      m->sent_us};
    return ERR_OK;
}

int codec_put_response(struct buf *out, const struct response *response)
{
    CHECK(response->err >= 0 && response->err < ERR_COUNT);
    if (response->body.len > CODEC_BODY_MAX)
        return ERR_LIMIT;
    Wire__Response m = WIRE__RESPONSE__INIT;
    m.id = response->id;
    m.error = (uint32_t)response->err;
    return codec_put(out, FRAME_RESPONSE, &m.base, response->body);
}

int codec_get_response(struct codec *c, struct bytes payload,
                       struct response *response_out)
{
    const ProtobufCMessage *head;
    struct bytes body;
    int err = codec_get(c, payload, &wire__response__descriptor, &head, &body);
    if (err != ERR_OK)
        return err;
    if (body.len > CODEC_BODY_MAX)
        return ERR_LIMIT;
    const Wire__Response *m = (const void *)head;
    *response_out = (struct response){m->id, err_of_wire(m->error), body};
    return ERR_OK;
}

/* -- snapshots ------------------------------------------------------------- */

int codec_put_snapshot(struct buf *out, const struct snapshot_chunk *chunk)
{
    if (chunk->data.len > SNAPSHOT_CHUNK_MAX ||
        chunk->config.len > SNAPSHOT_CHUNK_MAX ||
        chunk->sum.len > SNAPSHOT_SUM_MAX)
        return ERR_LIMIT;
    Wire__SnapshotChunk m = WIRE__SNAPSHOT_CHUNK__INIT;
    m.shard = chunk->shard;
    m.transfer = chunk->transfer;
    m.lsn = chunk->lsn;
    m.term = chunk->term;
    m.seq = chunk->seq;
    m.done = chunk->done;
    m.config = wire_of_bytes(chunk->config);
    m.resumable = chunk->resumable;
    m.about = chunk->about;
    m.sum = wire_of_bytes(chunk->sum);
    return codec_put(out, FRAME_SNAPSHOT, &m.base, chunk->data);
}

int codec_get_snapshot(struct codec *c, struct bytes payload,
                       struct snapshot_chunk *chunk_out)
{
    const ProtobufCMessage *head;
    struct bytes data;
    int err =
        codec_get(c, payload, &wire__snapshot_chunk__descriptor, &head, &data);
    if (err != ERR_OK)
        return err;
    const Wire__SnapshotChunk *m = (const void *)head;
    if (data.len > SNAPSHOT_CHUNK_MAX || m->config.len > SNAPSHOT_CHUNK_MAX ||
        m->sum.len > SNAPSHOT_SUM_MAX)
        return ERR_LIMIT;
    *chunk_out = (struct snapshot_chunk){
        .shard = m->shard,
        .transfer = m->transfer,
        .lsn = m->lsn,
        .term = m->term,
        .seq = m->seq,
        .done = m->done,
        .data = data,
        .config = bytes_of_wire(m->config),
        .resumable = m->resumable,
        .about = m->about,
        .sum = bytes_of_wire(m->sum),
    };
    return ERR_OK;
}

int codec_put_snapshot_ack(struct buf *out, const struct snapshot_ack *ack)
{
    CHECK(ack->err >= 0 && ack->err < ERR_COUNT);
    if (ack->place.len > SNAPSHOT_PLACE_MAX)
        return ERR_LIMIT;
    Wire__SnapshotAck m = WIRE__SNAPSHOT_ACK__INIT;
    m.shard = ack->shard;
    m.transfer = ack->transfer;
    m.seq = ack->seq;
    m.error = (uint32_t)ack->err;
    m.window = ack->window;
    m.place = wire_of_bytes(ack->place);
    return codec_put(out, FRAME_SNAPSHOT_ACK, &m.base, no_attachment);
}

int codec_get_snapshot_ack(struct codec *c, struct bytes payload,
                           struct snapshot_ack *ack_out)
{
    const ProtobufCMessage *head;
    int err = get_bare(c, payload, &wire__snapshot_ack__descriptor, &head);
    if (err != ERR_OK)
        return err;
    const Wire__SnapshotAck *m = (const void *)head;
    if (m->place.len > SNAPSHOT_PLACE_MAX)
        return ERR_LIMIT;
    *ack_out = (struct snapshot_ack){.shard = m->shard,
                                     .transfer = m->transfer,
                                     .seq = m->seq,
                                     .err = err_of_wire(m->error),
                                     .window = m->window,
                                     .place = bytes_of_wire(m->place)};
    return ERR_OK;
}
