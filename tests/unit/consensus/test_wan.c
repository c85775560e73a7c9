/* Whole shards over links of 80 to 150 ms: takeover after a forced decision,
 * leases, reads and freshness, on one virtual clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "consensus/raft.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"

#define NODES_MAX 9
#define PARCELS_MAX 4096
#define ROUNDS 20
#define MS USEC_PER_MS
#define SYNC_US (2 * MS)
#define NEAR_US (MS / 2)

/* A message on its way, or a sync under way (to == from). */
struct parcel {
    usec_t at_us; /* 0: free */
    uint64_t order;
    raft_id node;
    uint64_t seq; /* of a sync */
    struct raft_msg msg;
    struct raft_entry entries[8];
};

struct member {
    struct raft *raft; /* NULL: dead */
    usec_t deadline_us;
    usec_t read_us; /* a read was asked then, 0: none */
    usec_t read_took_us;
};

struct world {
    usec_t now_us;
    uint32_t n;
    uint32_t per_region;
    usec_t one_way_us; /* between regions */
    struct raft_config config;
    struct member members[NODES_MAX + 1];
    struct parcel *parcels;
    uint64_t order;
    uint32_t elections;
};

static struct parcel *parcel_new(struct world *w, raft_id node, usec_t delay_us)
{
    for (size_t i = 0; i < PARCELS_MAX; i++) {
        struct parcel *p = &w->parcels[i];
        if (p->at_us != 0)
            continue;
        memset(p, 0, sizeof(*p));
        p->at_us = w->now_us + delay_us;
        p->order = ++w->order;
        p->node = node;
        return p;
    }
    fail_msg("too many messages");
    return NULL;
}

static raft_region region_of(const struct world *w, raft_id id)
{
    return (raft_region)(1 + (id - 1) / w->per_region);
}

static void post(struct world *w, raft_id from, const struct raft_msg *m)
{
    usec_t delay =
        region_of(w, from) == region_of(w, m->to) ? NEAR_US : w->one_way_us;
    if (m->after_persist)
        delay += SYNC_US;
    struct parcel *p = parcel_new(w, m->to, delay);
    p->msg = *m;
    if (m->type != RAFT_MSG_APPEND)
        return;
    assert_true(m->append.n <= ARRAY_LEN(p->entries));
    for (uint32_t i = 0; i < m->append.n; i++)
        CHECK(raft_entry_at(w->members[from].raft, m->append.prev_lsn + 1 + i,
                            &p->entries[i]) == ERR_OK);
}

static int step(struct world *w, raft_id id, struct raft_event *ev)
{
    struct member *n = &w->members[id];
    if (n->raft == NULL)
        return ERR_NO_LEADER;
    ev->now_us = w->now_us;
    struct raft_update u;
    int rc = raft_step(n->raft, ev, &u);
    if (u.write)
        parcel_new(w, id, SYNC_US)->seq = u.seq;
    for (size_t i = 0; i < u.n_messages; i++)
        post(w, id, &u.messages[i]);
    if (u.role_changed && u.role == RAFT_LEADER)
        w->elections++;
    for (size_t i = 0; i < u.n_reads; i++) {
        assert_int_equal(u.reads[i].result, ERR_OK);
        n->read_took_us = w->now_us - n->read_us;
    }
    n->deadline_us = u.deadline_us;
    return rc;
}

static void arrive(struct world *w, struct parcel *p)
{
    struct parcel here = *p; /* the step may need the slot */
    p->at_us = 0;
    struct raft_event ev = {.type = RAFT_EV_PERSISTED};
    if (here.seq != 0) {
        ev.persisted.seq = here.seq;
    } else {
        ev.type = RAFT_EV_MESSAGE;
        ev.message = &here.msg;
        if (here.msg.type == RAFT_MSG_APPEND)
            here.msg.append.entries = here.entries;
    }
    step(w, here.node, &ev);
}

static struct parcel *first_parcel(struct world *w)
{
    struct parcel *first = NULL;
    for (size_t i = 0; i < PARCELS_MAX; i++) {
        struct parcel *p = &w->parcels[i];
        if (p->at_us != 0 &&
            (first == NULL || p->at_us < first->at_us ||
             (p->at_us == first->at_us && p->order < first->order)))
            first = p;
    }
    return first;
}

static void run_until(struct world *w, usec_t end_us)
{
    for (;;) {
        struct parcel *p = first_parcel(w);
        raft_id ticks = 0;
        usec_t at = p != NULL && p->at_us < end_us ? p->at_us : end_us;
        for (raft_id i = 1; i <= w->n; i++) {
            struct member *n = &w->members[i];
            if (n->raft != NULL && n->deadline_us < at) {
                at = n->deadline_us;
                ticks = i;
            }
        }
        if (at > w->now_us)
            w->now_us = at;
        struct raft_event tick = {.type = RAFT_EV_TICK};
        if (ticks != 0)
            step(w, ticks, &tick);
        else if (p != NULL && p->at_us <= at && at < end_us)
            arrive(w, p);
        else
            return;
    }
}

static void start(struct world *w, uint32_t regions, uint32_t per_region,
                  usec_t round_trip_us, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->now_us = USEC_PER_SEC;
    w->per_region = per_region;
    w->n = regions * per_region;
    w->one_way_us = round_trip_us / 2;
    w->parcels = mem_zalloc(PARCELS_MAX * sizeof(*w->parcels));
    w->config.ack = RAFT_ACK_REGION;
    w->config.write_region = 1;
    for (raft_id i = 1; i <= w->n; i++) {
        struct raft_member m = {.id = i, .voter = true};
        m.region = region_of(w, i);
        m.priority = (uint8_t)(m.region - 1);
        CHECK(raft_config_add(&w->config, m) == ERR_OK);
    }
    for (raft_id i = 1; i <= w->n; i++) {
        struct raft_options o;
        raft_options_default(&o);
        o.self = i;
        o.seed = seed * 100 + i;
        o.append_entries_max = 8;
        struct raft_restored s = {.base_config = &w->config};
        CHECK(raft_open(&o, &s, w->now_us, &w->members[i].raft) == ERR_OK);
        struct raft_event tick = {.type = RAFT_EV_TICK};
        step(w, i, &tick);
    }
    struct raft_event hint = {.type = RAFT_EV_CAMPAIGN};
    step(w, 1, &hint);
    run_until(w, w->now_us + 2 * USEC_PER_SEC);
    assert_int_equal(raft_role(w->members[1].raft), RAFT_LEADER);
}

static void stop(struct world *w)
{
    for (raft_id i = 1; i <= w->n; i++)
        raft_free(w->members[i].raft);
    mem_free(w->parcels);
}

static void lose_region(struct world *w, raft_region region)
{
    for (raft_id i = 1; i <= w->n; i++) {
        if (region_of(w, i) == region)
            raft_free(TAKE(w->members[i].raft));
    }
}

static void decide(struct world *w, uint32_t epoch, raft_region region)
{
    for (raft_id i = 1; i <= w->n; i++) {
        struct raft_event ev = {.type = RAFT_EV_EPOCH};
        ev.epoch.epoch = epoch;
        ev.epoch.write_region = region;
        ev.epoch.ack = RAFT_ACK_REGION;
        step(w, i, &ev);
    }
    for (raft_id i = 1; i <= w->n; i++) {
        struct raft_event ev = {.type = RAFT_EV_CAMPAIGN};
        if (region_of(w, i) == region)
            step(w, i, &ev);
    }
}

static raft_id leader_of(const struct world *w)
{
    for (raft_id i = 1; i <= w->n; i++) {
        if (w->members[i].raft != NULL &&
            raft_role(w->members[i].raft) == RAFT_LEADER)
            return i;
    }
    return 0;
}

/* How long until somebody leads and acknowledges in the decided epoch. */
static usec_t time_to_lead(struct world *w, raft_id *leader_out)
{
    usec_t from = w->now_us;
    while (w->now_us < from + 10 * USEC_PER_SEC) {
        run_until(w, w->now_us + MS);
        raft_id id = leader_of(w);
        if (id == 0)
            continue;
        const struct raft *r = w->members[id].raft;
        if (raft_config_committed(r)->epoch == 1 &&
            raft_may_ack(r, w->now_us)) {
            *leader_out = id;
            return w->now_us - from;
        }
    }
    fail_msg("nobody leads");
    return 0;
}

static void take_over(uint32_t per_region, usec_t round_trip_us)
{
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct world w;
        start(&w, 3, per_region, round_trip_us, seed);
        lose_region(&w, 1);
        /* The last heartbeat was under way for a while. */
        run_until(&w, w.now_us + 1000 * MS + round_trip_us / 2);
        raft_id leader = 0;
        decide(&w, 1, 2);
        usec_t took = time_to_lead(&w, &leader);
        /* Pre-vote, vote, and the first entry's round trip. */
        assert_true(took <= 3 * round_trip_us + 3 * SYNC_US + 10 * MS);
        assert_int_equal(region_of(&w, leader), 2);
        assert_int_equal(w.elections, 2);
        stop(&w);
    }
}

static void a_decided_region_takes_over_in_two_round_trips(void **state)
{
    (void)state;
    take_over(1, 80 * MS);
    take_over(1, 150 * MS);
}

static void three_voters_told_at_once_do_not_split_the_vote(void **state)
{
    (void)state;
    take_over(3, 80 * MS);
    take_over(3, 150 * MS);
}

/* The decision comes while some still hear the old leader: a hint too early
 * is not a hint lost. */
static void
an_early_decision_takes_effect_when_the_silence_is_over(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct world w;
        start(&w, 3, 3, 80 * MS, seed);
        lose_region(&w, 1);
        usec_t lost = w.now_us;
        run_until(&w, lost + 500 * MS);
        raft_id leader = 0;
        decide(&w, 1, 2);
        time_to_lead(&w, &leader);
        assert_true(w.now_us - lost < 1000 * MS + 600 * MS);
        assert_int_equal(region_of(&w, leader), 2);
        stop(&w);
    }
}

static void leases_reads_and_freshness_stand_slow_links(void **state)
{
    (void)state;
    struct world w;
    usec_t round_trip = 150 * MS;
    start(&w, 3, 3, round_trip, 7);
    usec_t end = w.now_us + 10 * USEC_PER_SEC;
    uint64_t asked = 0;
    while (w.now_us < end) {
        uint32_t size = 100;
        struct raft_event ev = {.type = RAFT_EV_PROPOSE};
        ev.propose.sizes = &size;
        ev.propose.n = 1;
        assert_int_equal(step(&w, 1, &ev), ERR_OK);
        struct raft_event read = {.type = RAFT_EV_READ};
        read.read.id = ++asked;
        w.members[9].read_us = w.now_us;
        assert_int_equal(step(&w, 9, &read), ERR_OK);
        run_until(&w, w.now_us + 200 * MS);
        const struct raft *leader = w.members[1].raft;
        assert_true(raft_may_ack(leader, w.now_us));
        assert_int_equal(raft_visible_lsn(leader), raft_last_lsn(leader));
        assert_true(w.members[9].read_took_us <= round_trip + 2 * MS);
        for (raft_id i = 2; i <= w.n; i++) {
            const struct raft *r = w.members[i].raft;
            usec_t since = raft_fresh_since(r, w.now_us);
            assert_int_equal(raft_visible_lsn(r), raft_last_lsn(leader));
            assert_true(since > 0);
            assert_true(w.now_us - since <= round_trip * 2 + 200 * MS);
        }
    }
    assert_int_equal(w.elections, 1);
    stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decided_region_takes_over_in_two_round_trips),
        cmocka_unit_test(three_voters_told_at_once_do_not_split_the_vote),
        cmocka_unit_test(
            an_early_decision_takes_effect_when_the_silence_is_over),
        cmocka_unit_test(leases_reads_and_freshness_stand_slow_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
