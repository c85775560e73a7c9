/* The step function's contract: what it refuses, and that no message, however
 * senseless, can break it. Protocol behaviour is in test_scenarios.c and in
 * the simulator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "consensus/raft.h"
#include "node/base/err.h"
#include "node/base/prng.h"

static struct raft_config members(raft_id n)
{
    struct raft_config c = {0};
    for (raft_id id = 1; id <= n; id++) {
        struct raft_member m = {.id = id, .region = 1, .voter = true};
        assert_int_equal(raft_config_add(&c, m), ERR_OK);
    }
    return c;
}

static struct raft *open_new(const struct raft_config *c,
                             const struct raft_options *options)
{
    struct raft_options o;
    if (options == NULL) {
        raft_options_default(&o);
        options = &o;
    }
    o = *options;
    o.self = 1;
    o.seed = 7;
    struct raft_restored s = {.base_config = c};
    struct raft *r = NULL;
    assert_int_equal(raft_open(&o, &s, 0, &r), ERR_OK);
    return r;
}

static struct raft_update step(struct raft *r, struct raft_event ev, int expect)
{
    struct raft_update u;
    assert_int_equal(raft_step(r, &ev, &u), expect);
    return u;
}

static struct raft_update persist(struct raft *r, usec_t now_us, uint64_t seq)
{
    struct raft_event ev = {.type = RAFT_EV_PERSISTED, .now_us = now_us};
    ev.persisted.seq = seq;
    return step(r, ev, ERR_OK);
}

/* A cluster of one that leads and has committed its first entry. */
static struct raft *open_leader(const struct raft_options *options)
{
    struct raft_config c = members(1);
    struct raft *r = open_new(&c, options);
    struct raft_event ev = {.type = RAFT_EV_CAMPAIGN};
    struct raft_update u = step(r, ev, ERR_OK);
    assert_int_equal(u.role, RAFT_CANDIDATE);
    u = persist(r, 0, u.seq);
    assert_int_equal(u.role, RAFT_LEADER);
    u = persist(r, 0, u.seq);
    assert_int_equal(u.commit_lsn, 1);
    return r;
}

static struct raft_update propose(struct raft *r, uint32_t n, uint32_t size,
                                  int expect)
{
    uint32_t sizes[64];
    assert_true(n <= 64);
    for (uint32_t i = 0; i < n; i++)
        sizes[i] = size;
    struct raft_event ev = {.type = RAFT_EV_PROPOSE};
    ev.propose.sizes = sizes;
    ev.propose.n = n;
    return step(r, ev, expect);
}

static void contradictory_options_are_refused(void **state)
{
    (void)state;
    struct raft_config c = members(1);
    struct raft_restored s = {.base_config = &c};
    struct raft *r = NULL;
    struct raft_options o;
    raft_options_default(&o);
    assert_int_equal(raft_open(&o, &s, 0, &r), ERR_INVALID); /* no self */
    o.self = 1;
    o.lease_us = o.election_min_us; /* no room for drift */
    assert_int_equal(raft_open(&o, &s, 0, &r), ERR_INVALID);
    assert_null(r);
}

/* Two with payload, in regions 1 and 2, and witness 3. */
static struct raft_config with_witness(void)
{
    struct raft_config c = members(3);
    for (raft_id id = 1; id <= 3; id++)
        c.members[id - 1].region = (raft_region)id;
    c.members[2].witness = true;
    return c;
}

static struct raft *open_witness(const struct raft_config *c, bool witness,
                                 int expect)
{
    struct raft_restored s = {.base_config = c};
    struct raft_options o;
    raft_options_default(&o);
    o.self = 3;
    o.witness = witness;
    struct raft *r = NULL;
    assert_int_equal(raft_open(&o, &s, 0, &r), expect);
    return r;
}

static void a_witness_is_one_by_its_options_and_by_its_members(void **state)
{
    (void)state;
    struct raft_config c = with_witness();
    assert_null(open_witness(&c, false, ERR_INVALID));
    struct raft *r = open_witness(&c, true, ERR_OK);
    assert_true(raft_is_witness(r));
    assert_false(raft_awaits(r, 1)); /* the leader does */
    raft_free(r);
    c.members[2].witness = false;
    assert_null(open_witness(&c, true, ERR_INVALID));
    c.n = 2; /* waits to be added */
    r = open_witness(&c, true, ERR_OK);
    assert_true(raft_is_witness(r));
    raft_free(r);
}

static int append_to_witness(struct raft *r, uint32_t size)
{
    struct raft_entry e = {.term = 1, .size = size, .type = RAFT_ENTRY_DATA};
    struct raft_msg m = {
        .type = RAFT_MSG_APPEND, .from = 1, .to = 3, .term = 1};
    m.append.n = 1;
    m.append.entries = &e;
    struct raft_event ev = {.type = RAFT_EV_MESSAGE, .message = &m};
    struct raft_update u;
    return raft_step(r, &ev, &u);
}

static void a_witness_takes_heads_and_no_payload(void **state)
{
    (void)state;
    struct raft_config c = with_witness();
    struct raft *r = open_witness(&c, true, ERR_OK);
    assert_int_equal(append_to_witness(r, 1), ERR_PROTOCOL);
    assert_int_equal(raft_last_lsn(r), 0);
    assert_int_equal(append_to_witness(r, 0), ERR_OK);
    assert_int_equal(raft_last_lsn(r), 1);
    raft_free(r);
}

/* Node 3, a witness or not since epoch 5, is sent a configuration that says
 * what it is. */
static int tell_role(bool is, bool says, uint32_t epoch)
{
    struct raft_config c = with_witness(), first = members(2);
    struct raft_restored s = {.base_config = &first};
    struct raft_options o;
    struct raft *r = NULL;
    raft_options_default(&o);
    o.self = 3;
    o.witness = is;
    o.role_epoch = 5;
    c.members[2].witness = says;
    c.epoch = epoch;
    assert_int_equal(raft_open(&o, &s, 0, &r), ERR_OK);
    struct raft_entry e = {.term = 1, .type = RAFT_ENTRY_CONFIG, .config = &c};
    struct raft_msg m = {
        .type = RAFT_MSG_APPEND, .from = 1, .to = 3, .term = 1};
    m.append.n = 1;
    m.append.entries = &e;
    struct raft_event ev = {.type = RAFT_EV_MESSAGE, .message = &m};
    struct raft_update u;
    int err = raft_step(r, &ev, &u);
    assert_int_equal(raft_last_lsn(r), err == ERR_OK);
    assert_int_equal(raft_role_fits(r, &c), err == ERR_OK);
    raft_free(r);
    return err;
}

/* What is left of one kind must not be taken for the other: a leader counts on
 * what it has, or has not. What the node was before is history. */
static void a_replica_refuses_to_be_of_the_other_kind(void **state)
{
    (void)state;
    for (int is = 0; is <= 1; is++) {
        assert_int_equal(tell_role(is, is, 7), ERR_OK);
        assert_int_equal(tell_role(is, !is, 7), ERR_PROTOCOL);
        assert_int_equal(tell_role(is, !is, 5), ERR_PROTOCOL);
        assert_int_equal(tell_role(is, !is, 4), ERR_OK);
    }
}

static void an_answer_to_an_amnesiac_names_no_node_0(void **state)
{
    (void)state;
    struct raft_config c = members(3);
    struct raft_options o;
    raft_options_default(&o);
    o.self = 1;
    struct raft_restored s = {.base_config = &c, .amnesia = true};
    struct raft *r;
    assert_int_equal(raft_open(&o, &s, 0, &r), ERR_OK);
    struct raft_event ev = {.type = RAFT_EV_TICK, .now_us = USEC_PER_SEC};
    struct raft_update u = step(r, ev, ERR_OK);
    assert_true(u.n_messages > 0);
    struct raft_msg m = {.type = RAFT_MSG_TELL, .from = 2, .to = 1, .term = 1};
    m.tell = (struct raft_tell){
        .life = u.messages[0].ask.life, .n_voters = 2, .voters = {0, 3}};
    ev = (struct raft_event){
        .type = RAFT_EV_MESSAGE, .now_us = USEC_PER_SEC, .message = &m};
    step(r, ev, ERR_PROTOCOL);
    assert_int_equal(raft_amnesiac(r), RAFT_AMNESIA_ASKING);
    m.tell.voters[0] = 2;
    step(r, ev, ERR_OK);
    assert_int_equal(raft_amnesiac(r), RAFT_AMNESIA_ASKING);
    m.from = 3;
    u = step(r, ev, ERR_OK);
    assert_int_equal(raft_amnesiac(r), RAFT_AMNESIA_ASKING);
    assert_true(u.n_messages > 0); /* the second round */
    step(r, ev, ERR_OK);           /* an answer of the first, once more */
    m.tell.life = u.messages[0].ask.life;
    step(r, ev, ERR_OK);
    assert_int_equal(raft_amnesiac(r), RAFT_AMNESIA_ASKING);
    m.from = 2;
    step(r, ev, ERR_OK);
    assert_int_equal(raft_amnesiac(r), RAFT_AMNESIA_LEARNING);
    raft_free(r);
}

static void damaged_state_is_refused(void **state)
{
    (void)state;
    struct raft_config c = members(1);
    struct raft_options o;
    raft_options_default(&o);
    o.self = 1;
    struct raft *r = NULL;
    struct raft_entry log[2] = {{.term = 2, .type = RAFT_ENTRY_DATA},
                                {.term = 1, .type = RAFT_ENTRY_DATA}};
    struct raft_restored s = {
        .term = 5, .base_config = &c, .entries = log, .n_entries = 2};
    assert_int_equal(raft_open(&o, &s, 0, &r), ERR_CORRUPT); /* term falls */
    log[1].term = 6;
    assert_int_equal(raft_open(&o, &s, 0, &r), ERR_CORRUPT); /* above term */
    log[1].term = 5;
    s.commit_lsn = 3;
    assert_int_equal(raft_open(&o, &s, 0, &r), ERR_CORRUPT); /* no such lsn */
    s.commit_lsn = 2;
    log[1].type = RAFT_ENTRY_CONFIG; /* without one */
    assert_int_equal(raft_open(&o, &s, 0, &r), ERR_CORRUPT);
    assert_null(r);
}

static void only_a_leader_takes_orders(void **state)
{
    (void)state;
    struct raft_config c = members(3);
    struct raft *r = open_new(&c, NULL);
    propose(r, 1, 10, ERR_NOT_LEADER);
    struct raft_event ev = {.type = RAFT_EV_CHANGE};
    ev.change.target = &c;
    step(r, ev, ERR_NOT_LEADER);
    ev = (struct raft_event){.type = RAFT_EV_TRANSFER};
    ev.transfer.to = 2;
    step(r, ev, ERR_NOT_LEADER);
    ev = (struct raft_event){.type = RAFT_EV_READ};
    step(r, ev, ERR_NO_LEADER);
    raft_free(r);
}

static void entries_commit_when_they_are_durable(void **state)
{
    (void)state;
    struct raft *r = open_leader(NULL);
    struct raft_update u = propose(r, 3, 100, ERR_OK);
    assert_int_equal(u.first_lsn, 2);
    assert_int_equal(u.n_entries, 3);
    assert_int_equal(u.payload, RAFT_PAYLOAD_EVENT);
    assert_int_equal(u.commit_lsn, 1);
    uint64_t first = u.seq;
    u = propose(r, 1, 100, ERR_OK);
    uint64_t second = u.seq;
    u = persist(r, 5, first);
    assert_int_equal(u.commit_lsn, 4);
    assert_int_equal(u.ack_lsn, 4);
    u = persist(r, 6, second);
    assert_int_equal(u.commit_lsn, 5);
    raft_free(r);
}

static void the_uncommitted_tail_has_a_cap(void **state)
{
    (void)state;
    struct raft_options o;
    raft_options_default(&o);
    o.uncommitted_entries_max = 4;
    o.uncommitted_bytes_max = 1000;
    struct raft *r = open_leader(&o);
    propose(r, 0, 0, ERR_LIMIT);
    propose(r, 5, 1, ERR_LIMIT);
    propose(r, 1, 1001, ERR_LIMIT);
    struct raft_update u = propose(r, 2, 400, ERR_OK);
    propose(r, 1, 201, ERR_THROTTLED); /* bytes */
    propose(r, 2, 1, ERR_OK);
    propose(r, 1, 1, ERR_THROTTLED); /* entries */
    persist(r, 0, u.seq);
    propose(r, 1, 201, ERR_OK); /* room again */
    raft_free(r);
}

/* A leader, and member 2, which lacks all of 64 entries of 64 KiB and has just
 * said so. */
#define BEHIND_ENTRIES 64u
#define BEHIND_SIZE (64u << 10)
#define MESSAGE_BYTES (256u << 10) /* append_bytes_max */

/* Member 2 has everything up to there. */
static struct raft_update answer(struct raft *r, usec_t now_us, uint64_t lsn)
{
    struct raft_msg m = {
        .type = RAFT_MSG_APPEND_REPLY, .from = 2, .to = 1, .term = 1};
    m.append_reply = (struct raft_append_reply){.accepted = true, .lsn = lsn};
    struct raft_event ev = {.type = RAFT_EV_MESSAGE, .now_us = now_us};
    ev.message = &m;
    return step(r, ev, ERR_OK);
}

static uint64_t bytes_sent(const struct raft_update *u)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < u->n_messages; i++) {
        if (u->messages[i].type == RAFT_MSG_APPEND)
            bytes += u->messages[i].append.bytes;
    }
    return bytes;
}

static struct raft *lead_one_behind(uint64_t bytes_per_s, bool voter)
{
    struct raft_options o;
    raft_options_default(&o);
    o.learner_bytes_per_s = bytes_per_s;
    struct raft_config c = members(2);
    c.members[1].voter = false;
    struct raft *r = open_new(&c, &o);
    struct raft_event ev = {.type = RAFT_EV_CAMPAIGN};
    struct raft_update u = step(r, ev, ERR_OK);
    u = persist(r, 0, u.seq);
    (void)persist(r, 0, u.seq);
    u = propose(r, BEHIND_ENTRIES, BEHIND_SIZE, ERR_OK);
    (void)persist(r, 0, u.seq);
    if (voter) {
        c.members[1].voter = true;
        ev = (struct raft_event){.type = RAFT_EV_CHANGE};
        ev.change.target = &c;
        (void)step(r, ev, ERR_OK);
    }
    u = answer(r, 0, 0);
    assert_int_equal(bytes_sent(&u), MESSAGE_BYTES);
    return r;
}

/* The window: what a follower lacks does not leave all at once. */
static void what_is_under_way_grows_by_what_is_answered(void **state)
{
    (void)state;
    struct raft *r = lead_one_behind(0, false);
    struct raft_update u = answer(r, 1, 2);
    assert_true(bytes_sent(&u) <= 2 * BEHIND_SIZE); /* grows by one entry */
    u = answer(r, 2, 5);
    assert_true(bytes_sent(&u) > 3 * BEHIND_SIZE);
    assert_true(bytes_sent(&u) <= 2 * MESSAGE_BYTES);
    u = answer(r, 3, 13);
    assert_true(bytes_sent(&u) > MESSAGE_BYTES);
    raft_free(r);
}

static void a_learner_is_brought_on_at_a_measured_pace(void **state)
{
    (void)state;
    struct raft *r = lead_one_behind(1u << 20, false);
    struct raft_update u = answer(r, 1, 5);
    assert_int_equal(bytes_sent(&u), 0);
    assert_true(u.deadline_us > 1); /* asks to be ticked when more may leave */
    u = answer(r, USEC_PER_SEC / 4, 5);
    assert_int_equal(bytes_sent(&u), MESSAGE_BYTES);
    u = answer(r, USEC_PER_SEC / 4 + 1, 9);
    assert_int_equal(bytes_sent(&u), 0);
    raft_pace_learners(r, 0);
    u = answer(r, USEC_PER_SEC / 4 + 2, 9);
    assert_true(bytes_sent(&u) >= MESSAGE_BYTES);
    raft_free(r);
}

/* Or it would never catch up under load. */
static void what_is_new_leaves_for_a_learner_at_any_pace(void **state)
{
    (void)state;
    struct raft *r = lead_one_behind(1u << 20, false);
    usec_t now = 0;
    uint64_t lsn = 5, sent = 0;
    for (uint32_t i = 0; i < 64; i++) {
        struct raft_update u = propose(r, 4, BEHIND_SIZE, ERR_OK);
        sent += bytes_sent(&u);
        (void)persist(r, now, u.seq);
        u = answer(r, now, lsn);
        sent += bytes_sent(&u);
        lsn = 5 + sent / BEHIND_SIZE;
    }
    assert_true(sent > 32 * MESSAGE_BYTES); /* and no time has passed */
    raft_free(r);
}

static void a_voter_is_not_kept_waiting(void **state)
{
    (void)state;
    struct raft *r = lead_one_behind(1u << 20, true);
    struct raft_update u = answer(r, 1, 5);
    assert_true(bytes_sent(&u) >= MESSAGE_BYTES);
    raft_free(r);
}

static void waiting_reads_have_a_cap(void **state)
{
    (void)state;
    struct raft_config c = members(3);
    struct raft *r = open_new(&c, NULL);
    struct raft_msg m = {
        .type = RAFT_MSG_APPEND, .from = 2, .to = 1, .term = 1};
    struct raft_event ev = {.type = RAFT_EV_MESSAGE, .message = &m};
    step(r, ev, ERR_OK);
    ev = (struct raft_event){.type = RAFT_EV_READ};
    for (ev.read.id = 1; ev.read.id <= RAFT_READS_MAX; ev.read.id++)
        step(r, ev, ERR_OK);
    step(r, ev, ERR_FULL);
    /* All of them end: nobody answers. */
    struct raft_event tick = {.type = RAFT_EV_TICK,
                              .now_us = 10 * USEC_PER_SEC};
    struct raft_update u = step(r, tick, ERR_OK);
    assert_int_equal(u.n_reads, RAFT_READS_MAX);
    assert_int_equal(u.reads[0].result, ERR_TIMEOUT);
    raft_free(r);
}

static void the_lease_ends(void **state)
{
    (void)state;
    struct raft_config c = members(3);
    struct raft *r = open_new(&c, NULL);
    assert_false(raft_may_ack(r, 0));
    raft_free(r);
    /* Alone, a leader is its own quorum. */
    r = open_leader(NULL);
    assert_true(raft_may_ack(r, 3600 * USEC_PER_SEC));
    raft_free(r);
}

static void compaction_stops_at_what_is_committed(void **state)
{
    (void)state;
    struct raft *r = open_leader(NULL);
    struct raft_update u = propose(r, 4, 10, ERR_OK);
    struct raft_event ev = {.type = RAFT_EV_COMPACT};
    ev.compact.lsn = 3;
    step(r, ev, ERR_INVALID);
    persist(r, 0, u.seq);
    step(r, ev, ERR_OK);
    assert_int_equal(raft_base_lsn(r), 3);
    struct raft_entry e;
    assert_int_equal(raft_entry_at(r, 3, &e), ERR_NOT_FOUND);
    assert_int_equal(raft_entry_at(r, 4, &e), ERR_OK);
    assert_int_equal(e.size, 10);
    raft_free(r);
}

/* -- senseless messages ------------------------------------------------------
 */

/* Small numbers meet each other and the state more often. */
static uint64_t some(struct prng *p)
{
    switch (prng_below(p, 8)) {
    case 0:
        return 0;
    case 1:
        return prng_u64(p);
    case 2:
        return UINT64_MAX - prng_below(p, 3);
    default:
        return prng_below(p, 12);
    }
}

#define GARBAGE_ENTRIES 6

static void garbage(struct prng *p, struct raft_msg *m,
                    struct raft_entry *entries, const struct raft_config *c)
{
    memset(m, 0, sizeof(*m));
    m->type = (enum raft_msg_type)prng_below(p, RAFT_MSG_TYPES);
    m->from = (raft_id)prng_below(p, 5);
    m->to = 1;
    /* Terms that rise slowly, or nothing would be left to go wrong. */
    m->term = prng_below(p, 40);
    for (int i = 0; i < GARBAGE_ENTRIES; i++) {
        bool config = prng_one_in(p, 6);
        entries[i] = (struct raft_entry){
            .term = prng_below(p, 40),
            .size = (uint32_t)some(p),
            .type = (uint8_t)(config ? RAFT_ENTRY_CONFIG : prng_below(p, 5)),
            .config = config ? c : NULL,
        };
    }
    switch (m->type) {
    case RAFT_MSG_APPEND:
        m->append.prev_lsn = some(p);
        m->append.prev_term = prng_below(p, 40);
        m->append.commit_lsn = some(p);
        m->append.sent_us = (int64_t)some(p);
        m->append.ack_lsn = some(p);
        m->append.echo_us = (int64_t)some(p);
        m->append.echo_life = some(p);
        m->append.n = (uint32_t)prng_below(p, GARBAGE_ENTRIES + 1);
        m->append.entries = prng_one_in(p, 20) ? NULL : entries;
        break;
    case RAFT_MSG_APPEND_REPLY:
        m->append_reply = (struct raft_append_reply){
            .accepted = prng_one_in(p, 2),
            .lsn = some(p),
            .hint_lsn = some(p),
            .hint_term = some(p),
            .sent_us = (int64_t)some(p),
            .own_us = (int64_t)some(p),
            .life = some(p),
            .seen_lsn = some(p),
        };
        break;
    case RAFT_MSG_VOTE:
        m->vote = (struct raft_vote){prng_one_in(p, 2), prng_one_in(p, 2),
                                     some(p), some(p)};
        break;
    case RAFT_MSG_VOTE_REPLY:
        m->vote_reply = (struct raft_vote_reply){
            prng_one_in(p, 2), prng_one_in(p, 2), some(p), some(p)};
        break;
    case RAFT_MSG_READ_INDEX:
        m->read_index = (struct raft_read_index){some(p), some(p)};
        break;
    case RAFT_MSG_READ_INDEX_REPLY:
        m->read_index_reply =
            (struct raft_read_index_reply){some(p), some(p), some(p)};
        break;
    case RAFT_MSG_TIMEOUT_NOW:
        m->timeout_now.lsn = some(p);
        break;
    case RAFT_MSG_SNAP_OFFER:
        m->snap_offer = (struct raft_snap_offer){some(p), some(p)};
        break;
    case RAFT_MSG_SNAP_STATUS:
        m->snap_status = (struct raft_snap_status){prng_one_in(p, 2), some(p)};
        break;
    default:
        break; /* a body of zeros */
    }
}

static void no_message_breaks_the_core(void **state)
{
    (void)state;
    struct prng p;
    prng_seed(&p, 11);
    struct raft_config c = members(3);
    for (int round = 0; round < 300; round++) {
        struct raft *r = open_new(&c, NULL);
        usec_t now = 0;
        uint64_t seq = 0;
        for (int i = 0; i < 400; i++) {
            struct raft_msg m;
            struct raft_entry entries[GARBAGE_ENTRIES];
            garbage(&p, &m, entries, &c);
            now += (usec_t)prng_below(&p, 200000);
            struct raft_event ev = {.now_us = now};
            uint64_t what = prng_below(&p, 10);
            if (what == 0) {
                ev.type = RAFT_EV_TICK;
            } else if (what == 1 && seq > 0) {
                ev.type = RAFT_EV_PERSISTED;
                ev.persisted.seq = seq;
            } else if (what == 2) {
                ev.type = RAFT_EV_READ;
                ev.read.id = (uint64_t)i;
            } else {
                ev.type = RAFT_EV_MESSAGE;
                ev.message = &m;
            }
            struct raft_update u;
            (void)raft_step(r, &ev, &u);
            seq = u.seq;
            assert_true(u.commit_lsn <= raft_last_lsn(r));
        }
        raft_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contradictory_options_are_refused),
        cmocka_unit_test(a_witness_is_one_by_its_options_and_by_its_members),
        cmocka_unit_test(a_witness_takes_heads_and_no_payload),
        cmocka_unit_test(a_replica_refuses_to_be_of_the_other_kind),
        cmocka_unit_test(an_answer_to_an_amnesiac_names_no_node_0),
        cmocka_unit_test(damaged_state_is_refused),
        cmocka_unit_test(only_a_leader_takes_orders),
        cmocka_unit_test(entries_commit_when_they_are_durable),
        cmocka_unit_test(the_uncommitted_tail_has_a_cap),
        cmocka_unit_test(what_is_under_way_grows_by_what_is_answered),
        cmocka_unit_test(a_learner_is_brought_on_at_a_measured_pace),
        cmocka_unit_test(what_is_new_leaves_for_a_learner_at_any_pace),
        cmocka_unit_test(a_voter_is_not_kept_waiting),
        cmocka_unit_test(waiting_reads_have_a_cap),
        cmocka_unit_test(the_lease_ends),
        cmocka_unit_test(compaction_stops_at_what_is_committed),
        cmocka_unit_test(no_message_breaks_the_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
