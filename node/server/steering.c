#include "node/server/steering.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/worker.h"

/* ---- the account -----------------------------------------------------------
 */

static void fill_region(const struct config *c, size_t i,
                        struct cosmos_region *out)
{
    *out = (struct cosmos_region){.name = c->regions[i].name,
                                  .endpoint = c->regions[i].endpoint};
}

void steering_first_account(const struct worker *w,
                            struct cosmos_region regions[COSMOS_REGIONS_MAX],
                            struct cosmos_account *account_out)
{
    const struct config *c = w->node->config;
    for (size_t i = 0; i < c->region_count; i++)
        fill_region(c, i, &regions[i]);
    *account_out = (struct cosmos_account){
        .id = c->cluster,
        .regions = regions,
        .region_count = c->region_count,
        .own_region = (size_t)(c->own_region - c->regions),
        .refuse_writes = !c->forward_writes,
        .advertise = (enum cosmos_advertise)c->advertise,
        .unproven = true,
        .consistency = {.level = (enum consistency_level)c->consistency.level}};
}

static bool has_hint(const struct steering *s)
{
    return s->hint.epoch > s->record.epoch;
}

/* The newest decision that this node has heard of. */
static const struct govern_record *newest(const struct steering *s)
{
    return has_hint(s) ? &s->hint : &s->record;
}

/* Regions by the record's priority. */
static void show_account(struct steering *s)
{
    const struct config *c = s->worker->node->config;
    const struct govern_record *r = newest(s);
    struct cosmos_region regions[COSMOS_REGIONS_MAX];
    struct cosmos_account account;
    struct err_msg msg;
    steering_first_account(s->worker, regions, &account);
    if (s->known) {
        raft_region own = decision_region(c, c->region);
        for (uint32_t i = 0; i < r->n_regions; i++) {
            fill_region(c, r->priority[i] - 1u, &regions[i]);
            regions[i].down =
                (r->down & govern_region_bit(r->priority[i])) != 0;
        }
        account.region_count = r->n_regions;
        account.write_region = govern_rank(r, r->write_region);
        account.own_region = govern_rank(r, own);
        account.removed = account.own_region == r->n_regions;
        account.consistency = r->consistency;
    }
    /* A log that cannot be written does not learn who leads: writes cannot be
     * passed on, but clients can be told where they go. */
    account.refuse_writes |= has_hint(s);
    account.isolated = s->news.isolated;
    account.elsewhere = s->news.elsewhere;
    account.unproven = !s->news.proven;
    account.reason = s->news.reason;
    if (cosmos_set_account(s->worker->cosmos, &account, &msg) != ERR_OK)
        log_error("the account cannot be shown", LOG_STR("reason", msg.text));
}

/* ---- the board --------------------------------------------------------------
 */

/* Relaxed: each number stands for itself. */
#define POST(member, value)                                                    \
    __atomic_store_n(&board->member, (value), __ATOMIC_RELAXED)
#define LOOK(member) __atomic_load_n(&board->member, __ATOMIC_RELAXED)

static uint32_t to_ms(usec_t us)
{
    if (us == USEC_NEVER || us / USEC_PER_MS >= UINT32_MAX)
        return UINT32_MAX;
    return (uint32_t)(us / USEC_PER_MS);
}

static void post(const struct steering *s, const struct replica *r, usec_t now)
{
    struct shard_board *board = &s->worker->node->board[r->id];
    struct shard_status status;
    shard_status(r->shard, now, &status);
    if (s->known && steer_settled(&s->record, r->shard))
        POST(settled_epoch, s->record.epoch);
    POST(config_epoch, status.rule_committed.epoch);
    /* 0 stands for none. */
    POST(handover_ms, to_ms(status.handover_us + USEC_PER_MS - 1));
    POST(behind_ms, to_ms(status.fresh_us));
    POST(behind_entries, raft_known_lsn(shard_raft(r->shard)) -
                             raft_visible_lsn(shard_raft(r->shard)));
    POST(at_risk_entries, status.at_risk_entries);
    POST(at_risk_ms, to_ms(status.at_risk_us));
    POST(leads, status.role == RAFT_LEADER);
    POST(no_space, status.no_space);
}

struct shard_board steering_board(const struct worker *w, uint32_t shard)
{
    const struct shard_board *board = &w->node->board[shard];
    return (struct shard_board){.settled_epoch = LOOK(settled_epoch),
                                .config_epoch = LOOK(config_epoch),
                                .handover_ms = LOOK(handover_ms),
                                .behind_ms = LOOK(behind_ms),
                                .behind_entries = LOOK(behind_entries),
                                .at_risk_entries = LOOK(at_risk_entries),
                                .at_risk_ms = LOOK(at_risk_ms),
                                .leads = LOOK(leads),
                                .no_space = LOOK(no_space)};
}

/* ---- steering
 * ----------------------------------------------------------------
 */

void steering_init(struct steering *s, struct worker *w)
{
    *s = (struct steering){.worker = w};
}

void steering_group(struct steering *s, const struct catalog_group *g)
{
    struct govern_record r;
    if (decision_of_group(s->worker->node->config, g, &r) != ERR_OK) {
        log_error("the group names a region that this node's configuration "
                  "does not have: is it of another cluster?",
                  LOG_STR("group", g->name));
        return;
    }
    s->record = r;
    s->known = true;
    if (s->worker->cosmos != NULL)
        show_account(s);
    steering_soon(s);
    if (s->worker->governor != NULL)
        governor_record(s->worker->governor, &r);
}

void steering_take_news(struct steering *s, const struct steering_news *news)
{
    bool shown = news->isolated != s->news.isolated ||
                 news->elsewhere != s->news.elsewhere ||
                 news->proven != s->news.proven ||
                 strcmp(news->reason, s->news.reason) != 0;
    s->news = *news;
    steering_soon(s);
    if (shown)
        show_account(s);
}

void steering_take_hint(struct steering *s, const struct govern_record *hint)
{
    s->hint = *hint;
    show_account(s);
    steering_soon(s);
}

void steering_soon(struct steering *s)
{
    s->next_us = 0;
    worker_wake(s->worker);
}

void steering_turn(struct steering *s, usec_t now)
{
    if (now < s->next_us)
        return;
    s->next_us = now + STEER_EVERY_US;
    struct worker *w = s->worker;
    struct steer_health health = s->news.health;
    const struct govern_record *record = newest(s);
    health.self_ill |= w->draining;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        struct replica *r = &w->replicas[i];
        if (s->known)
            steer_shard(&r->steer, now, record, &health, w->node->config->id,
                        r->shard);
        post(s, r, now);
    }
}

/* ---- before the end
 * ------------------------------------------------------------
 */

static bool is_ill(const struct steering *s, raft_id node)
{
    for (uint32_t i = 0; i < s->news.health.n_ill; i++)
        if (s->news.health.ill[i] == node)
            return true;
    return false;
}

static bool has_heir(const struct steering *s, const struct raft *r)
{
    const struct raft_config *c = raft_config(r);
    for (uint32_t i = 0; i < c->n; i++) {
        struct raft_peer_info info;
        if (c->members[i].voter && !c->members[i].witness &&
            !is_ill(s, c->members[i].id) &&
            raft_peer(r, c->members[i].id, &info) == ERR_OK && info.reachable)
            return true;
    }
    return false;
}

bool steering_can_hand_over(const struct steering *s)
{
    const struct worker *w = s->worker;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        const struct raft *r = shard_raft(w->replicas[i].shard);
        if (raft_role(r) == RAFT_LEADER && has_heir(s, r))
            return true;
    }
    return false;
}
