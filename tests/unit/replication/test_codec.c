/* Messages: what is put is what is got, and foreign bytes do no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/mem.h"
#include "tests/unit/replication/samples.h"

#define ROUNDS 400

static struct codec *codec;
static struct buf out;
static struct sample_raft *sample;

static struct bytes encoded(enum frame_type type)
{
    struct frame f;
    size_t size;
    assert_int_equal(frame_read(&out, FRAME_MAX, &f, &size), ERR_OK);
    assert_int_equal(f.type, type);
    assert_int_equal(size, buf_len(&out));
    return f.payload;
}

static void control_messages_survive(void **state)
{
    (void)state;
    struct peer_hello hello = {.version_min = 1,
                               .version_max = 3,
                               .incarnation = UINT64_MAX,
                               .feature_level = 9,
                               .feature_active = 7,
                               .feature_wanted = 8,
                               .proves_region = true,
                               .region_proof =
                                   "0123456789abcdef0123456789abcde"},
                      hello2;
    assert_int_equal(peer_identity_set(&hello.id, "c", "r", "n"), ERR_OK);
    buf_clear(&out);
    assert_int_equal(codec_put_hello(&out, &hello), ERR_OK);
    assert_int_equal(codec_get_hello(codec, encoded(FRAME_HELLO), &hello2),
                     ERR_OK);
    assert_memory_equal(&hello, &hello2, sizeof(hello));

    struct bye bye = {ERR_IDENTITY, "who?"}, bye2;
    buf_clear(&out);
    assert_int_equal(codec_put_bye(&out, &bye), ERR_OK);
    assert_int_equal(codec_get_bye(codec, encoded(FRAME_BYE), &bye2), ERR_OK);
    assert_int_equal(bye2.err, ERR_IDENTITY);
    assert_string_equal(bye2.reason, "who?");

    struct ping ping = {12345, bytes_str("gossip"), 678}, ping2;
    buf_clear(&out);
    assert_int_equal(codec_put_ping(&out, FRAME_PONG, &ping), ERR_OK);
    assert_int_equal(codec_get_ping(codec, encoded(FRAME_PONG), &ping2),
                     ERR_OK);
    assert_int_equal(ping2.sent_us, 12345);
    assert_int_equal(ping2.clock_us, 678);
    assert_true(bytes_equal(ping.gossip, ping2.gossip));
}

/* What another release says differently. */
static void hellos_of_other_releases_are_understood(void **state)
{
    (void)state;
    struct peer_hello hello = {.version_min = 0}, got;
    assert_int_equal(peer_identity_set(&hello.id, "c", "r", "n"), ERR_OK);
    buf_clear(&out);
    assert_int_equal(codec_put_hello(&out, &hello), ERR_OK);
    struct bytes payload = encoded(FRAME_HELLO);
    assert_int_equal(codec_get_hello(codec, payload, &got), ERR_OK);
    assert_int_equal(got.version_min, 1);
    assert_int_equal(got.version_max, 1);
    assert_int_equal(got.feature_level, 0);

    /* Field 15, a number, at the end of the head: not known yet. */
    uint8_t longer[512];
    assert_true(payload.len + 2 <= sizeof(longer));
    memcpy(longer, payload.data, payload.len);
    longer[payload.len] = 15 << 3;
    longer[payload.len + 1] = 1;
    put_u32_le(longer, (uint32_t)payload.len - 4 + 2);
    assert_int_equal(
        codec_get_hello(codec, bytes_of(longer, payload.len + 2), &got),
        ERR_OK);
    assert_string_equal(got.id.node, "n");
}

static void requests_and_snapshots_survive(void **state)
{
    (void)state;
    struct request rq = {77, 1500, 3, bytes_str("body"), 250, 9}, rq2;
    buf_clear(&out);
    assert_int_equal(codec_put_request(&out, &rq), ERR_OK);
    assert_int_equal(codec_get_request(codec, encoded(FRAME_REQUEST), &rq2),
                     ERR_OK);
    assert_true(rq2.id == 77 && rq2.deadline_ms == 1500 && rq2.kind == 3 &&
                rq2.age_ms == 250 && rq2.sent_us == 9);
    assert_true(bytes_equal(rq.body, rq2.body));

    struct response rs = {78, ERR_NOT_LEADER, bytes_str("")}, rs2;
    buf_clear(&out);
    assert_int_equal(codec_put_response(&out, &rs), ERR_OK);
    assert_int_equal(codec_get_response(codec, encoded(FRAME_RESPONSE), &rs2),
                     ERR_OK);
    assert_true(rs2.id == 78 && rs2.err == ERR_NOT_LEADER && rs2.body.len == 0);

    struct snapshot_chunk ch = {1,
                                2,
                                3,
                                4,
                                5,
                                true,
                                bytes_str("data"),
                                bytes_str("config"),
                                true,
                                6,
                                bytes_str("sum")},
                          ch2;
    buf_clear(&out);
    assert_int_equal(codec_put_snapshot(&out, &ch), ERR_OK);
    assert_int_equal(codec_get_snapshot(codec, encoded(FRAME_SNAPSHOT), &ch2),
                     ERR_OK);
    assert_true(ch2.shard == 1 && ch2.transfer == 2 && ch2.lsn == 3 &&
                ch2.term == 4 && ch2.seq == 5 && ch2.done);
    assert_true(bytes_equal(ch.data, ch2.data));
    assert_true(bytes_equal(ch.config, ch2.config));
    assert_true(ch2.resumable && ch2.about == 6);
    assert_true(bytes_equal(ch.sum, ch2.sum));

    struct snapshot_ack ack = {1, 2, 3, ERR_NO_SPACE, 4, bytes_str("place")},
                        ack2;
    buf_clear(&out);
    assert_int_equal(codec_put_snapshot_ack(&out, &ack), ERR_OK);
    assert_int_equal(
        codec_get_snapshot_ack(codec, encoded(FRAME_SNAPSHOT_ACK), &ack2),
        ERR_OK);
    assert_true(ack2.shard == 1 && ack2.transfer == 2 && ack2.seq == 3 &&
                ack2.err == ERR_NO_SPACE && ack2.window == 4);
    assert_true(bytes_equal(ack.place, ack2.place));
}

static void assert_append_equal(const struct sample_raft *s,
                                const struct raft_msg *got,
                                const struct bytes *payloads)
{
    const struct raft_append *a = &s->msg.append, *b = &got->append;
    assert_true(a->prev_lsn == b->prev_lsn && a->prev_term == b->prev_term);
    assert_true(a->commit_lsn == b->commit_lsn && a->sent_us == b->sent_us);
    assert_true(a->ack_lsn == b->ack_lsn && a->echo_us == b->echo_us &&
                a->echo_life == b->echo_life);
    assert_true(a->n == b->n && a->bytes == b->bytes);
    for (uint32_t i = 0; i < a->n; i++) {
        const struct raft_entry *x = &a->entries[i], *y = &b->entries[i];
        assert_true(x->term == y->term && x->size == y->size);
        assert_int_equal(x->type, y->type);
        if (x->type == RAFT_ENTRY_CONFIG)
            assert_true(raft_config_equal(x->config, y->config));
        else
            assert_true(bytes_equal(s->payloads[i], payloads[i]));
    }
}

static void raft_messages_survive(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed(&prng, 11);
    for (int i = 0; i < ROUNDS; i++) {
        enum raft_msg_type type = (enum raft_msg_type)(i % RAFT_MSG_TYPES);
        sample_raft(&prng, type, sample);
        buf_clear(&out);
        assert_int_equal(
            codec_put_raft(&out, sample->shard, &sample->msg, sample->payloads),
            ERR_OK);
        struct raft_msg got;
        const struct bytes *payloads;
        uint64_t shard;
        assert_int_equal(
            codec_get_raft(codec, encoded(FRAME_RAFT), &shard, &got, &payloads),
            ERR_OK);
        assert_true(shard == sample->shard);
        if (type == RAFT_MSG_APPEND)
            assert_append_equal(sample, &got, payloads);
        else
            assert_memory_equal(&got, &sample->msg, sizeof(got));
    }
}

static void a_full_append_is_compact(void **state)
{
    (void)state;
    struct raft_entry *entries =
        mem_zalloc((CODEC_ENTRIES_MAX + 1) * sizeof(*entries));
    struct bytes *payloads =
        mem_zalloc((CODEC_ENTRIES_MAX + 1) * sizeof(*payloads));
    for (size_t i = 0; i <= CODEC_ENTRIES_MAX; i++) {
        entries[i] = (struct raft_entry){
            .term = RAFT_TERM(3, 7), .type = RAFT_ENTRY_DATA, .size = 100};
        payloads[i] = bytes_of(sample->bytes, 100);
    }
    struct raft_msg m = {.type = RAFT_MSG_APPEND};
    m.append.n = CODEC_ENTRIES_MAX;
    m.append.bytes = CODEC_ENTRIES_MAX * 100;
    m.append.entries = entries;
    buf_clear(&out);
    assert_int_equal(codec_put_raft(&out, 1, &m, payloads), ERR_OK);
    assert_true(buf_len(&out) < CODEC_ENTRIES_MAX * (100 + 8) + 100);
    assert_int_equal(sample_decode(codec, FRAME_RAFT, encoded(FRAME_RAFT)),
                     ERR_OK);
    m.append.n++;
    buf_clear(&out);
    assert_int_equal(codec_put_raft(&out, 1, &m, payloads), ERR_LIMIT);
    assert_int_equal(buf_len(&out), 0);
    mem_free(entries);
    mem_free(payloads);
}

static void bounds_hold_when_encoding(void **state)
{
    (void)state;
    uint8_t *big = mem_zalloc(FRAME_MAX + 1);
    buf_clear(&out);
    assert_int_equal(
        codec_put_ping(&out, FRAME_PING,
                       &(struct ping){.gossip = bytes_of(big, GOSSIP_MAX + 1)}),
        ERR_LIMIT);
    assert_int_equal(
        codec_put_request(
            &out, &(struct request){.body = bytes_of(big, CODEC_BODY_MAX + 1)}),
        ERR_LIMIT);
    assert_int_equal(
        codec_put_response(
            &out,
            &(struct response){.body = bytes_of(big, CODEC_BODY_MAX + 1)}),
        ERR_LIMIT);
    assert_int_equal(
        codec_put_snapshot(&out,
                           &(struct snapshot_chunk){
                               .data = bytes_of(big, SNAPSHOT_CHUNK_MAX + 1)}),
        ERR_LIMIT);
    assert_int_equal(buf_len(&out), 0);
    assert_int_equal(
        codec_put_request(&out,
                          &(struct request){UINT64_MAX, UINT32_MAX, UINT32_MAX,
                                            bytes_of(big, CODEC_BODY_MAX),
                                            UINT32_MAX, UINT64_MAX}),
        ERR_OK);
    assert_int_equal(
        sample_decode(codec, FRAME_REQUEST, encoded(FRAME_REQUEST)), ERR_OK);
    mem_free(big);
}

static void garbage_is_malformed(void **state)
{
    (void)state;
    for (int t = FRAME_HELLO; t <= FRAME_SNAPSHOT_ACK; t++) {
        struct bytes none = {NULL, 0};
        assert_int_equal(sample_decode(codec, (enum frame_type)t, none),
                         ERR_MALFORMED);
        /* A head longer than the payload; a head that is no protobuf. */
        assert_int_equal(sample_decode(codec, (enum frame_type)t,
                                       bytes_of("\xff\xff\x00\x00", 4)),
                         ERR_MALFORMED);
        assert_int_equal(sample_decode(codec, (enum frame_type)t,
                                       bytes_of("\x01\x00\x00\x00\x0f", 5)),
                         ERR_MALFORMED);
    }
    /* An empty head is a message of zeros; where that makes no sense: */
    struct bytes empty = bytes_of("\0\0\0\0", 4);
    assert_int_equal(sample_decode(codec, FRAME_HELLO, empty), ERR_MALFORMED);
    assert_int_equal(sample_decode(codec, FRAME_RAFT, empty), ERR_MALFORMED);
    assert_int_equal(sample_decode(codec, FRAME_REQUEST, empty), ERR_OK);
    /* Reasons go to the log: no control characters. */
    struct bye bye = {ERR_IO, "two\nlines"};
    buf_clear(&out);
    assert_int_equal(codec_put_bye(&out, &bye), ERR_OK);
    assert_int_equal(sample_decode(codec, FRAME_BYE, encoded(FRAME_BYE)),
                     ERR_MALFORMED);
}

/* The arena's bound holds whatever a small head claims: a packed field of one
 * byte per element becomes eight in memory. */
static void memory_is_bounded(void **state)
{
    (void)state;
    struct buf p;
    buf_init(&p, FRAME_MAX);
    /* Raft.append (16) { entry_term (6), packed, n ones } */
    uint32_t n = CODEC_HEAD_MAX - 32;
    uint8_t *ones = mem_alloc(n);
    memset(ones, 1, n);
    uint8_t field[5] = {(uint8_t)(n | 0x80), (uint8_t)(n >> 7 | 0x80),
                        (uint8_t)(n >> 14)};
    uint32_t m = n + 4;
    uint8_t outer[3] = {(uint8_t)(m | 0x80), (uint8_t)(m >> 7 | 0x80),
                        (uint8_t)(m >> 14)};
    assert_int_equal(buf_append_u32_le(&p, n + 4 + 5), ERR_OK);
    assert_int_equal(buf_append(&p, "\x82\x01", 2), ERR_OK);
    assert_int_equal(buf_append(&p, outer, 3), ERR_OK);
    assert_int_equal(buf_append(&p, "\x32", 1), ERR_OK);
    assert_int_equal(buf_append(&p, field, 3), ERR_OK);
    assert_int_equal(buf_append(&p, ones, n), ERR_OK);
    int err =
        sample_decode(codec, FRAME_RAFT, bytes_of(buf_bytes(&p), buf_len(&p)));
    assert_true(err == ERR_LIMIT || err == ERR_MALFORMED);
    mem_free(ones);
    buf_free(&p);
}

/* What a fence is asked about is what is decoded afterwards, or the frame is
 * none. */
static void the_shard_is_seen_before_decoding(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed(&prng, 7);
    uint64_t shard;
    for (int round = 0; round < ROUNDS; round++) {
        buf_clear(&out);
        sample_frame(&prng, FRAME_RAFT, sample, &out);
        struct bytes payload = encoded(FRAME_RAFT);
        assert_int_equal(codec_peek_shard(payload, &shard), ERR_OK);
        assert_int_equal(shard, sample->shard);
        bool entries =
            sample->msg.type == RAFT_MSG_APPEND && sample->msg.append.bytes > 0;
        assert_int_equal(codec_has_attachment(payload), entries);
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        struct snapshot_chunk chunk = {.shard = (uint64_t)1 << bit,
                                       .data = bytes_str("x")};
        buf_clear(&out);
        assert_int_equal(codec_put_snapshot(&out, &chunk), ERR_OK);
        struct bytes payload = encoded(FRAME_SNAPSHOT);
        assert_int_equal(codec_peek_shard(payload, &shard), ERR_OK);
        assert_int_equal(shard, chunk.shard);
        assert_true(codec_has_attachment(payload));
    }
    static const struct {
        const char *bytes;
        size_t len;
        int err;
        uint64_t shard;
    } cases[] = {
        {"\x00\x00\x00", 3, ERR_MALFORMED, 0},
        {"\x00\x00\x00\x00", 4, ERR_OK, 0},
        {"\x03\x00\x00\x00\x08\x05", 6, ERR_MALFORMED, 0}, /* too short */
        {"\x01\x00\x00\x00\x08", 5, ERR_MALFORMED, 0},     /* no number */
        {"\x02\x00\x00\x00\x08\x85", 6, ERR_MALFORMED, 0}, /* cut */
        {"\x0c\x00\x00\x00\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 16,
         ERR_MALFORMED, 0}, /* longer than any number */
        /* Another field first: it is the shard 0, whatever follows. */
        {"\x04\x00\x00\x00\x10\x01\x08\x05", 8, ERR_OK, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        shard = 99;
        assert_int_equal(
            codec_peek_shard(bytes_of(cases[i].bytes, cases[i].len), &shard),
            cases[i].err);
        assert_int_equal(shard, cases[i].err == ERR_OK ? cases[i].shard : 99);
    }
}

/* Every kind of frame, mutated in every way, decoded: no crash, and errors of
 * the documented kind only. The fuzzer of tests/fuzz goes further. */
static void mutated_frames_do_no_harm(void **state)
{
    (void)state;
    struct prng prng;
    prng_seed(&prng, 2026);
    unsigned accepted = 0, refused = 0;
    for (int round = 0; round < ROUNDS * 20; round++) {
        enum frame_type type =
            (enum frame_type)prng_range(&prng, FRAME_HELLO, FRAME_TYPE_END - 1);
        buf_clear(&out);
        sample_frame(&prng, type, sample, &out);
        struct bytes payload = encoded(type);
        size_t len = payload.len;
        /* In memory of exactly its size, so that an overrun is seen. */
        uint8_t *copy = mem_dup(payload.data, len);
        for (uint64_t k = prng_below(&prng, 4); k > 0; k--) {
            if (len > 0 && prng_one_in(&prng, 5))
                len = prng_below(&prng, len);
            else if (len > 0)
                copy[prng_below(&prng,
                                len < 64 || prng_one_in(&prng, 2) ? len : 64)] =
                    (uint8_t)prng_u64(&prng);
        }
        uint8_t *tight = mem_dup(copy, len);
        int err = sample_decode(codec, type, bytes_of(tight, len));
        assert_true(err == ERR_OK || err == ERR_MALFORMED || err == ERR_LIMIT);
        if (err == ERR_OK)
            accepted++;
        else
            refused++;
        mem_free(copy);
        mem_free(tight);
    }
    /* A canary: a decoder that refuses or accepts everything is broken. */
    assert_true(accepted > ROUNDS && refused > ROUNDS);
}

static int setup(void **state)
{
    (void)state;
    codec = codec_new();
    buf_init(&out, FRAME_BUF_MAX);
    sample = mem_zalloc(sizeof(*sample));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    codec_free(codec);
    buf_free(&out);
    mem_free(sample);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_messages_survive),
        cmocka_unit_test(hellos_of_other_releases_are_understood),
        cmocka_unit_test(requests_and_snapshots_survive),
        cmocka_unit_test(raft_messages_survive),
        cmocka_unit_test(a_full_append_is_compact),
        cmocka_unit_test(bounds_hold_when_encoding),
        cmocka_unit_test(garbage_is_malformed),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(the_shard_is_seen_before_decoding),
        cmocka_unit_test(mutated_frames_do_no_harm),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
