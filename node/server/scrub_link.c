#include "node/server/scrub_link.h"

#include <string.h>
#include <uthash.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/server/digester.h"
#include "node/server/peers.h"
#include "node/server/quarantine.h"
#include "node/server/scrubber.h"
#include "node/server/worker.h"

#define BODY_VERSION 1
#define BODY_LEN 12
#define ANSWER_MAX 2048
/* A digest takes as long as the digester lets it, and reaching its LSN. */
#define DIGEST_MS                                                              \
    ((uint32_t)((DIGESTER_OPEN_PIN_US + 30 * USEC_PER_SEC) / USEC_PER_MS))
#define OTHER_MS 5000

/* What a request says. */
struct question {
    enum scrub_ask what;
    uint16_t shard;
    uint64_t lsn;
};

static void encode(const struct question *q, uint8_t out[BODY_LEN])
{
    out[0] = BODY_VERSION;
    out[1] = (uint8_t)q->what;
    put_u16_le(out + 2, q->shard);
    put_u64_le(out + 4, q->lsn);
}

static int decode(struct bytes in, struct question *out)
{
    struct cursor c = cursor_of(in.data, in.len);
    uint8_t version = cursor_u8(&c);
    out->what = cursor_u8(&c);
    out->shard = cursor_u16_le(&c);
    out->lsn = cursor_u64_le(&c);
    return cursor_done(&c) && version == BODY_VERSION &&
                   out->shard < NODE_SHARDS_MAX
               ? ERR_OK
               : ERR_MALFORMED;
}

uint64_t scrub_link_shard(struct bytes body)
{
    struct question q;
    return decode(body, &q) == ERR_OK ? q.shard : SHARD_META;
}

/* ---- asking ----------------------------------------------------------------
 */

/* A question on its way: to worker 0, to the peer, and the answer back. */
struct scrub_awaited {
    uint64_t id; /* links_request's */
    struct worker *from;
    raft_id to;
    struct question question;
    uint64_t round;
    struct scrub_answer answer;
    UT_hash_handle hh;
};

static void answer_home(struct worker *w, void *arg)
{
    struct scrub_awaited *a = arg;
    if (a->question.what == SCRUB_ASK_DIGEST)
        scrubber_answered(w, a->round, a->to, &a->answer);
    else if (a->question.what == SCRUB_ASK_RENEW)
        scrubber_may_renew(w, a->question.shard, a->to, a->answer.err);
    mem_free(a);
}

static void end(struct scrub_awaited *a, int err)
{
    if (err != ERR_OK)
        a->answer = (struct scrub_answer){.err = err};
    worker_run(a->from, answer_home, a);
}

static void ask_now(struct worker *w, void *arg)
{
    struct scrub_awaited *a = arg;
    uint8_t body[BODY_LEN];
    int err = ERR_UNAVAILABLE;
    encode(&a->question, body);
    if (w->peers != NULL)
        err = links_request(
            peers_links(w->peers), a->to, SCRUB_LINK_REQUEST, a->question.shard,
            a->question.what == SCRUB_ASK_DIGEST ? DIGEST_MS : OTHER_MS,
            bytes_of(body, sizeof(body)), &a->id);
    if (err == ERR_OK)
        HASH_ADD(hh, w->scrub_awaited, id, sizeof(a->id), a);
    else
        end(a, ERR_UNAVAILABLE);
}

void scrub_link_ask(struct worker *from, raft_id to, enum scrub_ask what,
                    uint16_t shard, uint64_t lsn, uint64_t round)
{
    struct scrub_awaited *a = mem_zalloc(sizeof(*a));
    a->from = from;
    a->to = to;
    a->question = (struct question){.what = what, .shard = shard, .lsn = lsn};
    a->round = round;
    worker_run(&from->node->workers[0], ask_now, a);
}

bool scrub_link_on_response(struct worker *w, uint64_t id, int err,
                            struct bytes body)
{
    struct scrub_awaited *a;
    HASH_FIND(hh, w->scrub_awaited, &id, sizeof(id), a);
    if (a == NULL)
        return false;
    HASH_DEL(w->scrub_awaited, a);
    if (err == ERR_OK && a->question.what == SCRUB_ASK_DIGEST)
        err = scrub_answer_decode(body, &a->answer);
    end(a, err);
    return true;
}

/* ---- being asked -----------------------------------------------------------
 */

struct served {
    struct worker *owner;
    struct links_call call;
    struct question question;
    int err;
    struct scrub_answer answer;
};

static void reply(struct worker *w, void *arg)
{
    struct served *s = arg;
    struct buf body;
    buf_init(&body, ANSWER_MAX);
    if (s->err == ERR_OK && s->question.what == SCRUB_ASK_DIGEST)
        CHECK(scrub_answer_encode(&s->answer, &body) == ERR_OK);
    if (w->peers != NULL)
        (void)links_reply(peers_links(w->peers), s->call, s->err,
                          bytes_of(buf_bytes(&body), buf_len(&body)));
    buf_free(&body);
    mem_free(s);
}

static void served(struct served *s, int err)
{
    s->err = err;
    worker_run(&s->owner->node->workers[0], reply, s);
}

static void told(void *user, const struct scrub_answer *answer)
{
    struct served *s = user;
    s->answer = *answer;
    served(s, ERR_OK);
}

static void serve(struct worker *w, void *arg)
{
    struct served *s = arg;
    struct replica *r = worker_replica(w, s->question.shard);
    if (s->question.what == SCRUB_ASK_ROUND && r != NULL)
        steer_shun(&r->steer, clock_mono_us(), s->call.peer);
    if (s->question.what == SCRUB_ASK_DIGEST)
        scrubber_digest(r, s->question.lsn, told, s);
    else if (r == NULL)
        served(s, ERR_NOT_FOUND);
    else if (s->question.what == SCRUB_ASK_REPLACE)
        served(s, quarantine_begin(r, "its store is not what a majority has, "
                                      "or cannot be read"));
    else if (s->question.what == SCRUB_ASK_RENEW)
        served(s, renewal_begin(r, s->call.peer));
    else
        served(s, scrubber_asked(r));
}

void scrub_link_on_request(struct worker *w, struct links_call call,
                           struct bytes body)
{
    struct question q;
    int err = decode(body, &q);
    if (err == ERR_OK &&
        (q.what < SCRUB_ASK_DIGEST || q.what > SCRUB_ASK_RENEW))
        err = ERR_UNSUPPORTED;
    if (err != ERR_OK) {
        (void)links_reply(peers_links(w->peers), call, err, bytes_of(NULL, 0));
        return;
    }
    struct served *s = mem_zalloc(sizeof(*s));
    s->owner = node_shard_worker(w->node, q.shard);
    s->call = call;
    s->question = q;
    worker_run(s->owner, serve, s);
}
