/* The consensus core's messages (wire/raft.proto). */
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "replication/codec_impl.h"
#include "replication/wire/raft.pb-c.h"

/* -- appends ----------------------------------------------------------------
 */

/* The columns of the entries, in one piece of memory. */
struct columns {
    uint64_t *term;
    uint32_t *type;
    uint32_t *size;
};

static struct columns columns_alloc(size_t n)
{
    uint8_t *p = mem_alloc(n * (sizeof(uint64_t) + 2 * sizeof(uint32_t)));
    struct columns c;
    c.term = (uint64_t *)(void *)p;
    c.type = (uint32_t *)(void *)(c.term + n);
    c.size = c.type + n;
    return c;
}

/* Fills the columns. The sum of the payloads goes to *total_out. */
static int fill_columns(const struct raft_append *a,
                        const struct bytes *payloads, struct columns *cols,
                        size_t *total_out)
{
    size_t total = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct raft_entry *e = &a->entries[i];
        CHECK(e->type >= RAFT_ENTRY_DATA && e->type <= RAFT_ENTRY_CONFIG);
        if (e->type == RAFT_ENTRY_CONFIG)
            CHECK(e->config != NULL &&
                  e->size == raft_config_encoded_size(e->config));
        else
            CHECK(e->size == (payloads != NULL ? payloads[i].len : 0));
        CHECK_IMPLIES(e->type == RAFT_ENTRY_NOOP, e->size == 0);
        if (e->size > FRAME_MAX - total)
            return ERR_LIMIT;
        total += e->size;
        cols->term[i] = e->term;
        cols->type[i] = e->type;
        cols->size[i] = e->size;
    }
    *total_out = total;
    return ERR_OK;
}

/* Writes all payloads; a configuration by way of `config`. */
static int write_payloads(const struct raft_append *a,
                          const struct bytes *payloads, struct buf *config,
                          uint8_t *to)
{
    for (uint32_t i = 0; i < a->n; i++) {
        const struct raft_entry *e = &a->entries[i];
        if (e->size == 0)
            continue;
        const uint8_t *from;
        if (e->type == RAFT_ENTRY_CONFIG) {
            buf_clear(config);
            int err = raft_config_encode(e->config, config);
            if (err != ERR_OK)
                return err;
            CHECK(buf_len(config) == e->size);
            from = buf_bytes(config);
        } else {
            from = payloads[i].data;
        }
        memcpy(to, from, e->size);
        to += e->size;
    }
    return ERR_OK;
}

static int put_append(struct buf *out, Wire__Raft *head,
                      const struct raft_append *a, const struct bytes *payloads)
{
    if (a->n > CODEC_ENTRIES_MAX)
        return ERR_LIMIT;
    CHECK_IMPLIES(a->n > 0, a->entries != NULL);
    struct buf config;
    buf_init(&config, FRAME_MAX);
    struct columns cols = columns_alloc(a->n);
    size_t total = 0;
    int err = fill_columns(a, payloads, &cols, &total);
    Wire__RaftAppend m = WIRE__RAFT_APPEND__INIT;
    m.prev_lsn = a->prev_lsn;
    m.prev_term = a->prev_term;
    m.commit_lsn = a->commit_lsn;
    m.sent_us = a->sent_us;
    m.ack_lsn = a->ack_lsn;
    m.echo_us = a->echo_us;
    m.echo_life = a->echo_life;
    m.bytes = a->bytes;
    m.n_entry_term = m.n_entry_type = m.n_entry_size = a->n;
    m.entry_term = cols.term;
    m.entry_type = cols.type;
    m.entry_size = cols.size;
    head->body_case = WIRE__RAFT__BODY_APPEND;
    head->append = &m;
    struct frame_writer w;
    uint8_t *room;
    if (err == ERR_OK)
        err = codec_begin(&w, out, FRAME_RAFT, &head->base, total, &room);
    if (err == ERR_OK)
        err = write_payloads(a, payloads, &config, room);
    if (err == ERR_OK)
        frame_end(&w);
    mem_free(cols.term);
    buf_free(&config);
    return err;
}

/* One entry: its head from the columns, its payload from the attachment. */
static int get_entry(struct codec *c, const Wire__RaftAppend *m, size_t i,
                     struct cursor *attachment, struct raft_entry *entry_out,
                     struct bytes *payload_out)
{
    uint32_t type = m->entry_type[i];
    uint32_t size = m->entry_size[i];
    const uint8_t *data = cursor_take(attachment, size);
    if (data == NULL)
        return ERR_MALFORMED;
    if (type < RAFT_ENTRY_DATA || type > RAFT_ENTRY_CONFIG ||
        (type == RAFT_ENTRY_NOOP && size != 0))
        return ERR_MALFORMED;
    struct raft_config *config = NULL;
    if (type == RAFT_ENTRY_CONFIG) {
        config = codec_alloc(c, sizeof(*config));
        if (config == NULL)
            return ERR_LIMIT;
        if (raft_config_decode(bytes_of(data, size), config) != ERR_OK)
            return ERR_MALFORMED;
    }
    *entry_out = (struct raft_entry){
        .term = m->entry_term[i],
        .size = size,
        .type = (uint8_t)type,
        .config = config,
    };
    *payload_out = bytes_of(data, size);
    return ERR_OK;
}

static int get_append(struct codec *c, const Wire__RaftAppend *m,
                      struct bytes attachment, struct raft_append *append_out,
                      const struct bytes **payloads_out)
{
    size_t n = m->n_entry_term;
    if (m->n_entry_type != n || m->n_entry_size != n)
        return ERR_MALFORMED;
    if (n > CODEC_ENTRIES_MAX)
        return ERR_LIMIT;
    struct raft_entry *entries = codec_alloc(c, n * sizeof(*entries));
    struct bytes *payloads = codec_alloc(c, n * sizeof(*payloads));
    if (entries == NULL || payloads == NULL)
        return ERR_LIMIT;
    struct cursor at = cursor_of(attachment.data, attachment.len);
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        int err = get_entry(c, m, i, &at, &entries[i], &payloads[i]);
        if (err != ERR_OK)
            return err;
        sum += entries[i].size;
    }
    if (!cursor_done(&at) || sum != m->bytes)
        return ERR_MALFORMED;
    *append_out = (struct raft_append){
        .prev_lsn = m->prev_lsn,
        .prev_term = m->prev_term,
        .commit_lsn = m->commit_lsn,
        .sent_us = m->sent_us,
        .ack_lsn = m->ack_lsn,
        .echo_us = m->echo_us,
        .echo_life = m->echo_life,
        .n = (uint32_t)n,
        .bytes = m->bytes,
        .entries = n > 0 ? entries : NULL,
    };
    *payloads_out = n > 0 ? payloads : NULL;
    return ERR_OK;
}

/* -- the others: copied field by field --------------------------------------
 */

/* Points `head` at the wire form of the message, in `w`. */
union small {
    Wire__RaftAppendReply append_reply;
    Wire__RaftVote vote;
    Wire__RaftVoteReply vote_reply;
    Wire__RaftReadIndex read_index;
    Wire__RaftReadIndexReply read_index_reply;
    Wire__RaftTimeoutNow timeout_now;
    Wire__RaftSnapOffer snap_offer;
    Wire__RaftSnapStatus snap_status;
    Wire__RaftAsk ask;
    struct {
        Wire__RaftTell head;
        uint32_t voters[RAFT_TELL_VOTERS_MAX];
    } tell;
};

static void small_tell(union small *w, Wire__Raft *head,
                       const struct raft_tell *from)
{
    CHECK(from->n_voters <= RAFT_TELL_VOTERS_MAX);
    wire__raft_tell__init(&w->tell.head);
    w->tell.head.life = from->life;
    w->tell.head.last_lsn = from->last_lsn;
    w->tell.head.last_term = from->last_term;
    w->tell.head.sole = from->sole;
    memcpy(w->tell.voters, from->voters,
           from->n_voters * sizeof(from->voters[0]));
    w->tell.head.voters = w->tell.voters;
    w->tell.head.n_voters = from->n_voters;
    head->body_case = WIRE__RAFT__BODY_TELL;
    head->tell = &w->tell.head;
}

static void small_append_reply(union small *w, Wire__Raft *head,
                               const struct raft_append_reply *from)
{
    wire__raft_append_reply__init(&w->append_reply);
    w->append_reply.accepted = from->accepted;
    w->append_reply.lsn = from->lsn;
    w->append_reply.hint_lsn = from->hint_lsn;
    w->append_reply.hint_term = from->hint_term;
    w->append_reply.sent_us = from->sent_us;
    w->append_reply.own_us = from->own_us;
    w->append_reply.life = from->life;
    w->append_reply.seen_lsn = from->seen_lsn;
    head->body_case = WIRE__RAFT__BODY_APPEND_REPLY;
    head->append_reply = &w->append_reply;
}

static void small_vote(union small *w, Wire__Raft *head,
                       const struct raft_vote *from)
{
    wire__raft_vote__init(&w->vote);
    w->vote.pre = from->pre;
    w->vote.transfer = from->transfer;
    w->vote.last_lsn = from->last_lsn;
    w->vote.last_term = from->last_term;
    head->body_case = WIRE__RAFT__BODY_VOTE;
    head->vote = &w->vote;
}

static void small_vote_reply(union small *w, Wire__Raft *head,
                             const struct raft_vote_reply *from)
{
    wire__raft_vote_reply__init(&w->vote_reply);
    w->vote_reply.pre = from->pre;
    w->vote_reply.granted = from->granted;
    w->vote_reply.last_lsn = from->last_lsn;
    w->vote_reply.last_term = from->last_term;
    head->body_case = WIRE__RAFT__BODY_VOTE_REPLY;
    head->vote_reply = &w->vote_reply;
}

static void small_read(union small *w, Wire__Raft *head,
                       const struct raft_msg *msg)
{
    if (msg->type == RAFT_MSG_READ_INDEX) {
        wire__raft_read_index__init(&w->read_index);
        w->read_index.life = msg->read_index.life;
        w->read_index.seq = msg->read_index.seq;
        head->body_case = WIRE__RAFT__BODY_READ_INDEX;
        head->read_index = &w->read_index;
    } else {
        wire__raft_read_index_reply__init(&w->read_index_reply);
        w->read_index_reply.life = msg->read_index_reply.life;
        w->read_index_reply.seq = msg->read_index_reply.seq;
        w->read_index_reply.lsn = msg->read_index_reply.lsn;
        head->body_case = WIRE__RAFT__BODY_READ_INDEX_REPLY;
        head->read_index_reply = &w->read_index_reply;
    }
}

static void small_timeout_now(union small *w, Wire__Raft *head,
                              const struct raft_timeout_now *from)
{
    wire__raft_timeout_now__init(&w->timeout_now);
    w->timeout_now.lsn = from->lsn;
    head->body_case = WIRE__RAFT__BODY_TIMEOUT_NOW;
    head->timeout_now = &w->timeout_now;
}

static void small_snap(union small *w, Wire__Raft *head,
                       const struct raft_msg *msg)
{
    if (msg->type == RAFT_MSG_SNAP_OFFER) {
        wire__raft_snap_offer__init(&w->snap_offer);
        w->snap_offer.lsn = msg->snap_offer.lsn;
        w->snap_offer.lsn_term = msg->snap_offer.lsn_term;
        head->body_case = WIRE__RAFT__BODY_SNAP_OFFER;
        head->snap_offer = &w->snap_offer;
    } else {
        wire__raft_snap_status__init(&w->snap_status);
        w->snap_status.wanted = msg->snap_status.wanted;
        w->snap_status.lsn = msg->snap_status.lsn;
        head->body_case = WIRE__RAFT__BODY_SNAP_STATUS;
        head->snap_status = &w->snap_status;
    }
}

static void small_amnesia(union small *w, Wire__Raft *head,
                          const struct raft_msg *msg)
{
    if (msg->type == RAFT_MSG_ASK) {
        wire__raft_ask__init(&w->ask);
        w->ask.life = msg->ask.life;
        w->ask.last_lsn = msg->ask.last_lsn;
        head->body_case = WIRE__RAFT__BODY_ASK;
        head->ask = &w->ask;
    } else {
        small_tell(w, head, &msg->tell);
    }
}

static void small_fill(union small *w, Wire__Raft *head,
                       const struct raft_msg *msg)
{
    switch (msg->type) {
    case RAFT_MSG_APPEND_REPLY:
        small_append_reply(w, head, &msg->append_reply);
        return;
    case RAFT_MSG_VOTE:
        small_vote(w, head, &msg->vote);
        return;
    case RAFT_MSG_VOTE_REPLY:
        small_vote_reply(w, head, &msg->vote_reply);
        return;
    case RAFT_MSG_READ_INDEX:
    case RAFT_MSG_READ_INDEX_REPLY:
        small_read(w, head, msg);
        return;
    case RAFT_MSG_TIMEOUT_NOW:
        small_timeout_now(w, head, &msg->timeout_now);
        return;
    case RAFT_MSG_SNAP_OFFER:
    case RAFT_MSG_SNAP_STATUS:
        small_snap(w, head, msg);
        return;
    case RAFT_MSG_ASK:
    case RAFT_MSG_TELL:
        small_amnesia(w, head, msg);
        return;
    case RAFT_MSG_APPEND:
    case RAFT_MSG_TYPES:
        break;
    }
    CHECK_UNREACHABLE();
}

int codec_put_raft(struct buf *out, uint64_t shard, const struct raft_msg *msg,
                   const struct bytes *payloads)
{
    Wire__Raft head = WIRE__RAFT__INIT;
    head.shard = shard;
    head.from = msg->from;
    head.to = msg->to;
    head.term = msg->term;
    if (msg->type == RAFT_MSG_APPEND)
        return put_append(out, &head, &msg->append, payloads);
    union small w;
    small_fill(&w, &head, msg);
    return codec_put(out, FRAME_RAFT, &head.base, bytes_of(NULL, 0));
}

/* Reads a message that has no attachment into `msg`. */
static int get_tell(const Wire__RaftTell *m, struct raft_tell *out)
{
    if (m->n_voters > RAFT_TELL_VOTERS_MAX)
        return ERR_MALFORMED;
    *out = (struct raft_tell){.life = m->life,
                              .last_lsn = m->last_lsn,
                              .last_term = m->last_term,
                              .sole = m->sole,
                              .n_voters = (uint32_t)m->n_voters};
    memcpy(out->voters, m->voters, m->n_voters * sizeof(out->voters[0]));
    return ERR_OK;
}

static struct raft_append_reply get_append_reply(const Wire__RaftAppendReply *m)
{
    return (struct raft_append_reply){
        .accepted = m->accepted != 0,
        .lsn = m->lsn,
        .hint_lsn = m->hint_lsn,
        .hint_term = m->hint_term,
        .sent_us = m->sent_us,
        .own_us = m->own_us,
        .life = m->life,
        .seen_lsn = m->seen_lsn,
    };
}

static struct raft_vote get_vote(const Wire__RaftVote *m)
{
    return (struct raft_vote){
        .pre = m->pre != 0,
        .transfer = m->transfer != 0,
        .last_lsn = m->last_lsn,
        .last_term = m->last_term,
    };
}

static struct raft_vote_reply get_vote_reply(const Wire__RaftVoteReply *m)
{
    return (struct raft_vote_reply){
        .pre = m->pre != 0,
        .granted = m->granted != 0,
        .last_lsn = m->last_lsn,
        .last_term = m->last_term,
    };
}

static int get_small(const Wire__Raft *m, struct raft_msg *msg)
{
    switch (m->body_case) {
    case WIRE__RAFT__BODY_APPEND_REPLY:
        msg->type = RAFT_MSG_APPEND_REPLY;
        msg->append_reply = get_append_reply(m->append_reply);
        return ERR_OK;
    case WIRE__RAFT__BODY_VOTE:
        msg->type = RAFT_MSG_VOTE;
        msg->vote = get_vote(m->vote);
        return ERR_OK;
    case WIRE__RAFT__BODY_VOTE_REPLY:
        msg->type = RAFT_MSG_VOTE_REPLY;
        msg->vote_reply = get_vote_reply(m->vote_reply);
        return ERR_OK;
    case WIRE__RAFT__BODY_READ_INDEX:
        msg->type = RAFT_MSG_READ_INDEX;
        msg->read_index = (struct raft_read_index){
            .life = m->read_index->life,
            .seq = m->read_index->seq,
        };
        return ERR_OK;
    case WIRE__RAFT__BODY_READ_INDEX_REPLY:
        msg->type = RAFT_MSG_READ_INDEX_REPLY;
        msg->read_index_reply = (struct raft_read_index_reply){
            .life = m->read_index_reply->life,
            .seq = m->read_index_reply->seq,
            .lsn = m->read_index_reply->lsn,
        };
        return ERR_OK;
    case WIRE__RAFT__BODY_TIMEOUT_NOW:
        msg->type = RAFT_MSG_TIMEOUT_NOW;
        msg->timeout_now.lsn = m->timeout_now->lsn;
        return ERR_OK;
    case WIRE__RAFT__BODY_SNAP_OFFER:
        msg->type = RAFT_MSG_SNAP_OFFER;
        msg->snap_offer = (struct raft_snap_offer){
            .lsn = m->snap_offer->lsn,
            .lsn_term = m->snap_offer->lsn_term,
        };
        return ERR_OK;
    case WIRE__RAFT__BODY_SNAP_STATUS:
        msg->type = RAFT_MSG_SNAP_STATUS;
        msg->snap_status = (struct raft_snap_status){
            .wanted = m->snap_status->wanted != 0,
            .lsn = m->snap_status->lsn,
        };
        return ERR_OK;
    case WIRE__RAFT__BODY_ASK:
        msg->type = RAFT_MSG_ASK;
        msg->ask = (struct raft_ask){
            .life = m->ask->life,
            .last_lsn = m->ask->last_lsn,
        };
        return ERR_OK;
    case WIRE__RAFT__BODY_TELL:
        msg->type = RAFT_MSG_TELL;
        return get_tell(m->tell, &msg->tell);
    default:
        return ERR_MALFORMED; /* none, or one that we do not know */
    }
}

int codec_get_raft(struct codec *c, struct bytes payload, uint64_t *shard_out,
                   struct raft_msg *msg_out, const struct bytes **payloads_out)
{
    const ProtobufCMessage *head;
    struct bytes attachment;
    int err =
        codec_get(c, payload, &wire__raft__descriptor, &head, &attachment);
    if (err != ERR_OK)
        return err;
    const Wire__Raft *m = (const void *)head;
    struct raft_msg msg = {.from = m->from, .to = m->to, .term = m->term};
    const struct bytes *payloads = NULL;
    if (m->body_case == WIRE__RAFT__BODY_APPEND) {
        msg.type = RAFT_MSG_APPEND;
        err = get_append(c, m->append, attachment, &msg.append, &payloads);
    } else {
        err = attachment.len == 0 ? get_small(m, &msg) : ERR_MALFORMED;
    }
    if (err != ERR_OK)
        return err;
    *shard_out = m->shard;
    *msg_out = msg;
    *payloads_out = payloads;
    return ERR_OK;
}
