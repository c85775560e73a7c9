/* Random messages of every kind, for round trips and as seeds of fuzzing. */
#ifndef BASTIDE_TESTS_UNIT_REPLICATION_SAMPLES_H
#define BASTIDE_TESTS_UNIT_REPLICATION_SAMPLES_H

#include <stdio.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/prng.h"
#include "replication/codec.h"
#include "replication/relay.h"

#define SAMPLE_ENTRIES 40
#define SAMPLE_BYTES 600

struct sample_raft {
    struct raft_msg msg;
    uint64_t shard;
    struct raft_entry entries[SAMPLE_ENTRIES];
    struct bytes payloads[SAMPLE_ENTRIES];
    struct raft_config configs[SAMPLE_ENTRIES];
    uint8_t bytes[SAMPLE_ENTRIES][SAMPLE_BYTES];
};

/* Small, large and extreme numbers alike. */
static inline uint64_t sample_u64(struct prng *p)
{
    switch (prng_below(p, 4)) {
    case 0:
        return prng_below(p, 4);
    case 1:
        return UINT64_MAX - prng_below(p, 4);
    default:
        return prng_u64(p) >> prng_below(p, 64);
    }
}

static inline void sample_config(struct prng *p, struct raft_config *c)
{
    *c = (struct raft_config){.epoch = (uint32_t)prng_u64(p)};
    uint32_t n = (uint32_t)prng_range(p, 1, RAFT_MEMBERS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        struct raft_member m = {.id = 1 + i * 3,
                                .region = (raft_region)prng_range(p, 1, 5),
                                .priority = (uint8_t)prng_below(p, 256),
                                .voter = i == 0 || prng_one_in(p, 2)};
        CHECK(raft_config_add(c, m) == ERR_OK);
    }
    CHECK(raft_config_check(c) == ERR_OK);
}

static inline void sample_append(struct prng *p, struct sample_raft *s)
{
    struct raft_append *a = &s->msg.append;
    *a = (struct raft_append){.prev_lsn = sample_u64(p),
                              .prev_term = sample_u64(p),
                              .commit_lsn = sample_u64(p),
                              .sent_us = (int64_t)sample_u64(p),
                              .ack_lsn = sample_u64(p),
                              .echo_us = (int64_t)sample_u64(p),
                              .echo_life = sample_u64(p)};
    a->n = (uint32_t)prng_below(p, SAMPLE_ENTRIES + 1);
    a->entries = a->n > 0 ? s->entries : NULL;
    for (uint32_t i = 0; i < a->n; i++) {
        struct raft_entry *e = &s->entries[i];
        *e = (struct raft_entry){.term = sample_u64(p)};
        e->type = (uint8_t)prng_range(p, RAFT_ENTRY_DATA, RAFT_ENTRY_CONFIG);
        if (e->type == RAFT_ENTRY_DATA)
            e->size = (uint32_t)prng_below(p, SAMPLE_BYTES + 1);
        if (e->type == RAFT_ENTRY_CONFIG) {
            sample_config(p, &s->configs[i]);
            e->config = &s->configs[i];
            e->size = raft_config_encoded_size(e->config);
        }
        for (size_t k = 0; k < SAMPLE_BYTES; k++)
            s->bytes[i][k] = (uint8_t)prng_u64(p);
        s->payloads[i] = bytes_of(s->bytes[i], e->size);
        a->bytes += e->size;
    }
}

static inline void sample_raft(struct prng *p, enum raft_msg_type type,
                               struct sample_raft *s)
{
    struct raft_msg *m = &s->msg;
    *m = (struct raft_msg){.type = type,
                           .from = (raft_id)sample_u64(p),
                           .to = (raft_id)sample_u64(p),
                           .term = sample_u64(p)};
    s->shard = sample_u64(p);
    bool yes = prng_one_in(p, 2), also = prng_one_in(p, 2);
    uint64_t a = sample_u64(p), b = sample_u64(p), c = sample_u64(p);
    switch (type) {
    case RAFT_MSG_APPEND:
        sample_append(p, s);
        return;
    case RAFT_MSG_APPEND_REPLY:
        m->append_reply = (struct raft_append_reply){
            .accepted = yes,
            .lsn = a,
            .hint_lsn = b,
            .hint_term = c,
            .sent_us = (int64_t)sample_u64(p),
            .own_us = (int64_t)sample_u64(p),
            .life = sample_u64(p),
            .seen_lsn = sample_u64(p),
        };
        return;
    case RAFT_MSG_VOTE:
        m->vote = (struct raft_vote){yes, also, a, b};
        return;
    case RAFT_MSG_VOTE_REPLY:
        m->vote_reply = (struct raft_vote_reply){yes, also, a, b};
        return;
    case RAFT_MSG_READ_INDEX:
        m->read_index = (struct raft_read_index){.life = a, .seq = b};
        return;
    case RAFT_MSG_READ_INDEX_REPLY:
        m->read_index_reply =
            (struct raft_read_index_reply){.life = a, .seq = b, .lsn = c};
        return;
    case RAFT_MSG_TIMEOUT_NOW:
        m->timeout_now.lsn = a;
        return;
    case RAFT_MSG_SNAP_OFFER:
        m->snap_offer = (struct raft_snap_offer){a, b};
        return;
    case RAFT_MSG_SNAP_STATUS:
        m->snap_status = (struct raft_snap_status){yes, a};
        return;
    case RAFT_MSG_ASK:
        m->ask = (struct raft_ask){a, b};
        return;
    case RAFT_MSG_TELL:
        m->tell = (struct raft_tell){a, b, c, yes, 2, {1, 200}};
        return;
    case RAFT_MSG_TYPES:
        break;
    }
    CHECK_UNREACHABLE();
}

/* An append as relay.h sends it to a relay or past it. */
static inline void sample_relayed(struct prng *p, enum frame_type type,
                                  struct sample_raft *s, struct buf *out)
{
    static const uint32_t neighbours[] = {2, 3, 7};
    uint8_t digest[RELAY_DIGEST_LEN];
    struct buf plain;
    buf_init(&plain, FRAME_BUF_MAX);
    sample_raft(p, RAFT_MSG_APPEND, s);
    CHECK(codec_put_raft(&plain, s->shard, &s->msg, s->payloads) == ERR_OK);
    struct bytes raft = bytes_of(buf_bytes(&plain) + FRAME_HEADER,
                                 buf_len(&plain) - FRAME_HEADER);
    relay_digest(relay_entries(raft), digest);
    CHECK((type == FRAME_RAFT_BARE
               ? relay_put_bare(out, digest, raft)
               : relay_put_shared(out, neighbours, 1 + prng_below(p, 3),
                                  raft)) == ERR_OK);
    buf_free(&plain);
}

/* Appends a random frame of that type to `out`. */
static inline void sample_frame(struct prng *p, enum frame_type type,
                                struct sample_raft *s, struct buf *out)
{
    for (size_t k = 0; k < SAMPLE_BYTES; k++)
        s->bytes[0][k] = (uint8_t)prng_u64(p);
    struct bytes some = bytes_of(s->bytes[0], prng_below(p, SAMPLE_BYTES));
    struct peer_hello hello = {.version_min = 1,
                               .version_max = (uint32_t)sample_u64(p),
                               .incarnation = sample_u64(p)};
    CHECK(peer_identity_set(&hello.id, "c", "region-1", "node.1") == ERR_OK);
    int err = ERR_OK;
    switch (type) {
    case FRAME_HELLO:
        err = codec_put_hello(out, &hello);
        break;
    case FRAME_BYE:
        err = codec_put_bye(out, &(struct bye){ERR_AUTH, "go away"});
        break;
    case FRAME_PING:
    case FRAME_PONG:
        err = codec_put_ping(
            out, type, &(struct ping){sample_u64(p), some, sample_u64(p)});
        break;
    case FRAME_RAFT:
        sample_raft(p, (enum raft_msg_type)prng_below(p, RAFT_MSG_TYPES), s);
        err = codec_put_raft(out, s->shard, &s->msg, s->payloads);
        break;
    case FRAME_REQUEST:
        err = codec_put_request(out, &(struct request){sample_u64(p), 7, 8,
                                                       some, 9, sample_u64(p)});
        break;
    case FRAME_RESPONSE:
        err = codec_put_response(
            out, &(struct response){sample_u64(p), ERR_STALE, some});
        break;
    case FRAME_SNAPSHOT:
        err = codec_put_snapshot(
            out, &(struct snapshot_chunk){
                     sample_u64(p), sample_u64(p), sample_u64(p), sample_u64(p),
                     sample_u64(p), prng_one_in(p, 2), some, some,
                     prng_one_in(p, 2), sample_u64(p), bytes_str("sum")});
        break;
    case FRAME_SNAPSHOT_ACK:
        err = codec_put_snapshot_ack(
            out,
            &(struct snapshot_ack){sample_u64(p), sample_u64(p), sample_u64(p),
                                   ERR_IO, 4, bytes_str("place")});
        break;
    case FRAME_RAFT_SHARED:
    case FRAME_RAFT_BARE:
        sample_relayed(p, type, s, out);
        break;
    case FRAME_PASSED_FOR:
        err = relay_put_passed_for(out, sample_u64(p), some);
        break;
    case FRAME_PASSED:
    case FRAME_MISSED:
        err = frame_append(out, type, some);
        break;
    case FRAME_TYPE_END:
        CHECK_UNREACHABLE();
    }
    CHECK(err == ERR_OK);
}

/* Gives the payload to the decoder of its type and touches all it yields, so
 * that a sanitizer sees every byte that is claimed to be there. */
static inline int sample_decode(struct codec *c, enum frame_type type,
                                struct bytes payload)
{
    union {
        struct peer_hello hello;
        struct bye bye;
        struct ping ping;
        struct request request;
        struct response response;
        struct snapshot_chunk chunk;
        struct snapshot_ack ack;
    } u;
    struct bytes got = {NULL, 0}, more = {NULL, 0};
    volatile uint32_t sum = 0;
    int err = ERR_OK;
    switch (type) {
    case FRAME_HELLO:
        err = codec_get_hello(c, payload, &u.hello);
        break;
    case FRAME_BYE:
        err = codec_get_bye(c, payload, &u.bye);
        if (err == ERR_OK)
            got = bytes_str(u.bye.reason);
        break;
    case FRAME_PING:
    case FRAME_PONG:
        err = codec_get_ping(c, payload, &u.ping);
        if (err == ERR_OK)
            got = u.ping.gossip;
        break;
    case FRAME_REQUEST:
        err = codec_get_request(c, payload, &u.request);
        if (err == ERR_OK)
            got = u.request.body;
        break;
    case FRAME_RESPONSE:
        err = codec_get_response(c, payload, &u.response);
        if (err == ERR_OK)
            got = u.response.body;
        break;
    case FRAME_SNAPSHOT:
        err = codec_get_snapshot(c, payload, &u.chunk);
        if (err == ERR_OK) {
            got = u.chunk.data;
            more = u.chunk.config;
        }
        break;
    case FRAME_SNAPSHOT_ACK:
        err = codec_get_snapshot_ack(c, payload, &u.ack);
        break;
    case FRAME_RAFT: {
        struct raft_msg msg;
        const struct bytes *payloads = NULL;
        uint64_t shard;
        err = codec_get_raft(c, payload, &shard, &msg, &payloads);
        if (err != ERR_OK || msg.type != RAFT_MSG_APPEND)
            break;
        CHECK((msg.append.n > 0) == (payloads != NULL));
        for (uint32_t i = 0; i < msg.append.n; i++) {
            const struct raft_entry *e = &msg.append.entries[i];
            CHECK(payloads[i].len == e->size);
            CHECK((e->type == RAFT_ENTRY_CONFIG) == (e->config != NULL));
            for (size_t k = 0; k < payloads[i].len; k++)
                sum += payloads[i].data[k];
            if (e->config != NULL)
                sum += e->config->n;
        }
        break;
    }
    case FRAME_RAFT_SHARED: {
        struct relay_shared shared;
        err = relay_get_shared(payload, &shared);
        if (err == ERR_OK) {
            got = relay_entries(shared.raft);
            err = sample_decode(c, FRAME_RAFT, shared.raft);
        }
        break;
    }
    case FRAME_RAFT_BARE: {
        struct relay_bare bare;
        err = relay_get_bare(payload, &bare);
        if (err == ERR_OK) {
            got = bytes_of(bare.digest, RELAY_DIGEST_LEN);
            more = bare.head;
        }
        break;
    }
    case FRAME_PASSED:
        got = payload;
        break;
    case FRAME_PASSED_FOR: {
        uint64_t shard;
        err = relay_get_passed_for(payload, &shard, &got);
        break;
    }
    case FRAME_MISSED:
        break;
    case FRAME_TYPE_END:
        CHECK_UNREACHABLE();
    }
    for (size_t k = 0; k < got.len; k++)
        sum += got.data[k];
    for (size_t k = 0; k < more.len; k++)
        sum += more.data[k];
    (void)sum;
    return err;
}

#endif
