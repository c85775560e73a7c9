#include "node/server/scrubber.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/server/digester.h"
#include "node/server/group_edit.h"
#include "node/server/quarantine.h"
#include "node/server/scrub_link.h"
#include "node/server/worker.h"

/* By then a replica that follows at all has what the leader had. */
#define REACH_US (8 * USEC_PER_SEC)
/* A flush may come between the choice of an LSN and its arrival. */
#define TRIES_MAX 5
/* Between two questions to the leader; to the next round after a bad one. */
#define ASK_AGAIN_US (2 * USEC_PER_SEC)
#define LOOK_AGAIN_US (5 * USEC_PER_SEC)
/* Between rounds that a member asks for, at the most. */
#define PAUSE_MAX_US (900 * USEC_PER_SEC)

/* One round, at the leader. */
struct scrub_round {
    uint16_t shard;
    uint64_t number; /* of this process's rounds */
    uint32_t missing;
    unsigned tries;
    struct scrub_report report;
};

static raft_id self_of(const struct worker *w)
{
    return w->node->config->id;
}

static bool leads(const struct replica *r)
{
    return raft_role(shard_raft(r->shard)) == RAFT_LEADER;
}

static const char *name_of(const struct worker *w, raft_id node)
{
    const struct config_node *n = config_find_node(w->node->config, node, NULL);
    return n != NULL ? n->name : "?";
}

/* ---- trust -----------------------------------------------------------------
 */

void scrubber_doubt(struct replica *r, const char *why)
{
    if (r->scrub.doubt_us != 0)
        return;
    log_error("a replica's store is damaged: it answers no reads, and is to be "
              "compared with the others",
              LOG_UINT("shard", r->id), LOG_STR("reason", why));
    r->scrub.doubt_us = clock_mono_us();
    r->scrub.asked_us = 0;
    r->scrub.due = true;
    shard_distrust(r->shard, true);
}

static void trust(struct replica *r)
{
    if (r->scrub.doubt_us == 0 || r->scrub.broken || r->deaf)
        return;
    log_info("a replica's store was read through and is well",
             LOG_UINT("shard", r->id));
    r->scrub.doubt_us = 0;
    shard_distrust(r->shard, false);
}

void scrubber_broken(struct replica *r)
{
    r->scrub.broken = true;
    scrubber_doubt(r, "a flush found it");
}

void scrubber_renewed(struct replica *r)
{
    r->scrub.broken = false;
    r->scrub.asked_us = 0;
    r->scrub.renewals++;
}

void scrubber_forget(struct replica *r)
{
    mem_free(r->scrub.last);
    r->scrub = (struct scrub_state){.last = NULL};
}

/* ---- a replica is digested -------------------------------------------------
 */

struct digesting {
    scrubber_told *told;
    void *user;
};

static void next_round_in(struct replica *r, usec_t after)
{
    r->scrub.next_us = clock_mono_us() + after;
}

/* So that not all shards of a cluster have theirs at once. */
static usec_t interval(const struct worker *w)
{
    usec_t us = (usec_t)w->node->config->scrub.interval_s * USEC_PER_SEC;
    return us / 2 + (usec_t)(rng_u64() % (uint64_t)(us + 1));
}

static void fill(struct scrub_answer *a, const struct digester_result *result)
{
    const struct digest_result *d = &result->digest;
    a->records = d->records;
    a->bytes = d->bytes;
    a->opened = result->opened;
    a->unknown = result->unknown;
    a->damaged = result->damaged;
    a->spoilt = result->spoilt;
    memcpy(a->whole, d->whole, sizeof(a->whole));
    memcpy(a->buckets, d->buckets, sizeof(a->buckets));
}

static void digested(void *user, struct replica *r, int err,
                     const struct digester_result *result)
{
    struct digesting *d = user;
    struct scrub_answer a = {.err = r->scrub.broken ? ERR_CORRUPT : err};
    if (result != NULL) {
        fill(&a, result);
        r->scrub.bytes += a.bytes;
    }
    next_round_in(r, interval(r->worker));
    if (a.err == ERR_CORRUPT || a.err == ERR_IO || a.damaged > 0)
        scrubber_doubt(r, "it was read through");
    else if (a.err == ERR_OK)
        trust(r);
    d->told(d->user, &a);
    mem_free(d);
}

void scrubber_digest(struct replica *r, uint64_t lsn, scrubber_told *told,
                     void *user)
{
    struct scrub_answer none = {.err = ERR_NOT_FOUND};
    if (r != NULL && (r->deaf || r->mending || r->renewal.on || r->closing))
        none.err = ERR_UNAVAILABLE;
    if (r == NULL || none.err == ERR_UNAVAILABLE) {
        told(user, &none);
        return;
    }
    struct digesting *d = mem_zalloc(sizeof(*d));
    d->told = told;
    d->user = user;
    const struct digester_order order = {
        .lsn = lsn,
        .give_up_us = clock_mono_us() + REACH_US,
        .open = true,
        .rate = r->worker->node->config->scrub.rate_bytes,
        .done = digested,
        .user = d};
    int err = digester_begin(r, &order);
    if (err != ERR_OK)
        digested(d, r, err, NULL);
}

/* ---- the end of a round ----------------------------------------------------
 */

static void note_wrong(struct worker *w, struct replica *r,
                       const struct scrub_report *p, uint32_t i)
{
    char buckets[8];
    snprintf(buckets, sizeof(buckets), "%04x", p->judged.buckets);
    r->scrub.mismatches++;
    log_error("a replica is not what the others are", LOG_UINT("shard", r->id),
              LOG_STR("node", name_of(w, p->answers[i].node)),
              LOG_STR("verdict", scrub_verdict_name(p->judged.of[i])),
              LOG_UINT("lsn", p->lsn),
              LOG_UINT("damaged_records", p->answers[i].damaged),
              LOG_STR("buckets", buckets),
              LOG_STR("error", err_text(p->answers[i].err)));
}

/* Of each member: the leader hears from it, and it keeps up. */
static void look_who_is_well(struct replica *r, const struct scrub_report *p,
                             bool well[RAFT_MEMBERS_MAX])
{
    const struct raft *raft = shard_raft(r->shard);
    for (uint32_t i = 0; i < p->n; i++) {
        struct raft_peer_info info;
        raft_id id = p->answers[i].node;
        well[i] = id == self_of(r->worker) ||
                  (raft_peer(raft, id, &info) == ERR_OK && info.reachable &&
                   !info.forgot && info.match_lsn >= p->lsn);
    }
}

static void audit_round(struct worker *w, uint16_t shard, const char *what,
                        const char *reason)
{
    char text[GROUP_EDIT_WHAT_MAX];
    snprintf(text, sizeof(text), "scrub of shard %u: %.90s", shard, what);
    quarantine_audit(w, text, reason);
}

/* By the configuration whose voters decide, and by the one whose rule
 * acknowledges, if that is not the same yet. */
static bool is_spared(struct replica *r, const struct scrub_report *p,
                      uint32_t i)
{
    const struct raft *raft = shard_raft(r->shard);
    bool well[RAFT_MEMBERS_MAX];
    look_who_is_well(r, p, well);
    return scrub_spares(raft_config(raft), p->answers, &p->judged, well, p->n,
                        i) &&
           scrub_spares(raft_config_committed(raft), p->answers, &p->judged,
                        well, p->n, i);
}

/* Whether somebody's state may take the place of its store: the leader's, who
 * could send it at once, or, of the leader itself, that of who leads next. */
static bool is_renewable(struct replica *r, const struct scrub_report *p,
                         uint32_t i)
{
    raft_id self = self_of(r->worker);
    bool well[RAFT_MEMBERS_MAX];
    look_who_is_well(r, p, well);
    for (uint32_t from = 0; from < p->n; from++) {
        bool leads_then =
            p->answers[i].node == self || p->answers[from].node == self;
        if (from != i && leads_then && p->answers[from].voter &&
            scrub_renews(p->answers, &p->judged, well, from, i))
            return true;
    }
    return false;
}

/* Answers what becomes of it, for the audit. */
static const char *mend(struct worker *w, struct replica *r,
                        struct scrub_report *p, uint32_t i)
{
    raft_id id = p->answers[i].node;
    bool spared = is_spared(r, p, i);
    if (!spared && !is_renewable(r, p, i)) {
        p->kept = id;
        log_error("a wrong replica stays: without it no majority of voters "
                  "would be known to be well, and no store could take the "
                  "place of its own",
                  LOG_UINT("shard", r->id), LOG_STR("node", name_of(w, id)));
        return "it stays: no majority would be left";
    }
    if (id == self_of(w)) {
        scrubber_doubt(
            r, "the others have something else"); /* steering hands over */
        return "it hands over the leadership";
    }
    if (spared) {
        p->replaced = id;
        scrub_link_ask(w, id, SCRUB_ASK_REPLACE, r->id, p->lsn, 0);
        return "it is made anew from the others";
    }
    p->renewed = id;
    scrub_link_ask(w, id, SCRUB_ASK_RENEW, r->id, p->lsn, 0);
    return "it gets a new store, and keeps the old one until then";
}

static void replace(struct worker *w, struct replica *r, struct scrub_report *p,
                    uint32_t i)
{
    char what[GROUP_EDIT_WHAT_MAX];
    const char *outcome = mend(w, r, p, i);
    snprintf(what, sizeof(what), "the replica of node %s is %s",
             name_of(w, p->answers[i].node),
             scrub_verdict_name(p->judged.of[i]));
    audit_round(w, r->id, what, outcome);
}

/* One is replaced at a time, the first that can be; the next round, soon, sees
 * to the next. */
static void act(struct worker *w, struct replica *r, struct scrub_report *p)
{
    bool doubtful = false, wrong = false, mended = false;
    for (uint32_t i = 0; i < p->n; i++) {
        enum scrub_verdict v = p->judged.of[i];
        if (v == SCRUB_DOUBT || v == SCRUB_DAMAGED || v == SCRUB_DIVERGENT)
            note_wrong(w, r, p, i);
        doubtful |= v == SCRUB_DOUBT;
        if ((v == SCRUB_DAMAGED || v == SCRUB_DIVERGENT) && !mended) {
            replace(w, r, p, i);
            wrong = true;
            mended = p->kept != p->answers[i].node;
        }
    }
    if (doubtful)
        audit_round(w, r->id, "replicas differ, or cannot be read",
                    "nobody can tell which is right: all stay as they are");
    if (p->judged.unreadable)
        log_error("records of a shard are not authentic although all replicas "
                  "have the same: a rebuild would not help",
                  LOG_UINT("shard", r->id));
    /* Who gets a new store asks when it has it, unless it is killed meanwhile,
     * and does not know of the damage any more. */
    if (wrong)
        next_round_in(r, !mended           ? interval(w)
                         : p->renewed != 0 ? PAUSE_MAX_US
                                           : LOOK_AGAIN_US);
}

static bool is_all_well(const struct scrub_report *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->judged.of[i] != SCRUB_FINE && p->judged.of[i] != SCRUB_WITNESS)
            return false;
    return true;
}

static void round_end(struct worker *w)
{
    struct scrub_round *round = TAKE(w->scrub_round);
    struct replica *r = worker_replica(w, round->shard);
    struct scrub_report *p = &round->report;
    if (r != NULL && leads(r)) {
        scrub_judge(p->answers, p->n, &p->judged);
        act(w, r, p);
        if (is_all_well(p))
            r->scrub.pause_us = 0;
        r->scrub.ended_us = clock_mono_us();
        p->ended_us = clock_wall_us();
        r->scrub.rounds++;
        log_info("replicas were compared", LOG_UINT("shard", r->id),
                 LOG_UINT("lsn", p->lsn), LOG_UINT("members", p->n));
        if (r->scrub.last == NULL)
            r->scrub.last = mem_alloc(sizeof(*p));
        *r->scrub.last = *p;
    }
    mem_free(round);
}

/* ---- a round ---------------------------------------------------------------
 */

static void round_ask(struct worker *w, struct replica *r,
                      struct scrub_round *round);

static bool is_late(const struct scrub_report *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->answers[i].err == ERR_STALE)
            return true;
    return false;
}

void scrubber_may_renew(struct worker *w, uint16_t shard, raft_id node, int err)
{
    struct replica *r = worker_replica(w, shard);
    if (err != ERR_OK)
        log_warn(
            "a damaged store is not renewed now; the next round sees to it",
            LOG_UINT("shard", shard), LOG_STR("node", name_of(w, node)),
            LOG_STR("reason", err_text(err)));
    else if (r != NULL && leads(r) && !r->closing && r->scrub.doubt_us == 0)
        transfers_renew(&w->transfers, r, node);
}

void scrubber_answered(struct worker *w, uint64_t number, raft_id node,
                       const struct scrub_answer *answer)
{
    struct scrub_round *round = w->scrub_round;
    if (round == NULL || round->number != number)
        return;
    struct scrub_report *p = &round->report;
    for (uint32_t i = 0; i < p->n; i++) {
        struct scrub_answer *a = &p->answers[i];
        if (a->node != node)
            continue;
        bool voter = a->voter;
        *a = *answer;
        a->node = node;
        a->voter = voter;
        a->witness = false;
    }
    if (--round->missing > 0)
        return;
    struct replica *r = worker_replica(w, round->shard);
    if (is_late(p) && r != NULL && leads(r) && ++round->tries < TRIES_MAX)
        round_ask(w, r, round);
    else
        round_end(w);
}

/* The answer of the leader's own replica. */
struct own_answer {
    struct worker *worker;
    uint64_t round;
};

static void own_told(void *user, const struct scrub_answer *answer)
{
    struct own_answer *o = user;
    scrubber_answered(o->worker, o->round, self_of(o->worker), answer);
    mem_free(o);
}

static void ask_self(struct worker *w, struct replica *r,
                     const struct scrub_round *round)
{
    struct own_answer *o = mem_zalloc(sizeof(*o));
    o->worker = w;
    o->round = round->number;
    scrubber_digest(r, round->report.lsn, own_told, o);
}

static void list_members(const struct replica *r, struct scrub_report *p)
{
    const struct raft_config *c = raft_config(shard_raft(r->shard));
    p->n = c->n;
    for (uint32_t i = 0; i < c->n; i++)
        p->answers[i] = (struct scrub_answer){
            .node = c->members[i].id,
            .voter = raft_config_is_voter(c, c->members[i].id),
            .witness = c->members[i].witness,
            .err = ERR_UNAVAILABLE};
}

/* The others first: their answers come later than this returns. */
static void round_ask(struct worker *w, struct replica *r,
                      struct scrub_round *round)
{
    struct scrub_report *p = &round->report;
    list_members(r, p);
    p->lsn = shard_commit_lsn(r->shard);
    round->missing = 1;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct scrub_answer *a = &p->answers[i];
        if (a->witness || a->node == self_of(w))
            continue;
        round->missing++;
        scrub_link_ask(w, a->node, SCRUB_ASK_DIGEST, r->id, p->lsn,
                       round->number);
    }
    ask_self(w, r, round);
}

static void longer_pause(struct replica *r)
{
    usec_t most =
        (usec_t)r->worker->node->config->scrub.interval_s * USEC_PER_SEC;
    if (most == 0 || most > PAUSE_MAX_US)
        most = PAUSE_MAX_US;
    usec_t pause = r->scrub.pause_us > 0 ? 2 * r->scrub.pause_us : ASK_AGAIN_US;
    r->scrub.pause_us = pause < most ? pause : most;
}

static void round_begin(struct worker *w, struct replica *r)
{
    struct scrub_round *round = mem_zalloc(sizeof(*round));
    if (r->scrub.wanted)
        longer_pause(r);
    r->scrub.due = r->scrub.wanted = false;
    next_round_in(r, interval(w));
    round->shard = r->id;
    round->number = ++w->scrub_rounds;
    w->scrub_round = round;
    round_ask(w, r, round);
}

/* ---- now and then ----------------------------------------------------------
 */

/* A client's read, or something else here, has met damage. */
static void look_for_damage(struct worker *w, struct replica *r)
{
    struct shard_status s;
    shard_status(r->shard, clock_mono_us(), &s);
    if (s.damaged > r->scrub.met && w->node->config->scrub.interval_s > 0)
        scrubber_doubt(r, "a request met it");
    r->scrub.met = s.damaged;
}

static void ask_leader(struct worker *w, struct replica *r, usec_t now)
{
    raft_id leader = shard_leader(r->shard);
    if (r->scrub.doubt_us == 0 || r->deaf || r->renewal.on || leader == 0 ||
        leader == self_of(w) ||
        (r->scrub.asked_us != 0 && now - r->scrub.asked_us < ASK_AGAIN_US))
        return;
    r->scrub.asked_us = now;
    scrub_link_ask(w, leader, SCRUB_ASK_ROUND, r->id, 0, 0);
}

static bool is_due(const struct worker *w, const struct replica *r, usec_t now)
{
    bool timely = w->node->config->scrub.interval_s > 0 &&
                  r->scrub.next_us != 0 && now >= r->scrub.next_us;
    bool wanted =
        r->scrub.wanted && now >= r->scrub.ended_us + r->scrub.pause_us;
    return leads(r) && (r->scrub.due || wanted || timely) &&
           r->digester == NULL && !r->closing && !shard_installing(r->shard);
}

void scrubber_check(struct worker *w)
{
    usec_t now = clock_mono_us();
    if (w->draining || !feature_active(&w->node->features, FEATURE_PARTS))
        return;
    uint32_t from = w->scrub_turn;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        uint32_t at = (from + i) % w->replica_count;
        struct replica *r = w->replicas[at];
        if (r->scrub.next_us == 0)
            next_round_in(r, interval(w));
        look_for_damage(w, r);
        ask_leader(w, r, now);
        if (w->scrub_round != NULL || !is_due(w, r, now))
            continue;
        w->scrub_turn = at + 1;
        round_begin(w, r);
    }
}

int scrubber_want(struct replica *r)
{
    if (!leads(r))
        return ERR_NOT_LEADER;
    r->scrub.due = true;
    r->scrub.pause_us = 0;
    return ERR_OK;
}

int scrubber_asked(struct replica *r)
{
    if (!leads(r))
        return ERR_NOT_LEADER;
    r->scrub.wanted = true;
    return ERR_OK;
}
