#include "node/server/steward.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/server/worker.h"

#define STEWARD_TIMEOUT_US (5 * USEC_PER_SEC)

struct steward {
    struct worker *worker;
    bool busy;
    struct op op; /* under way */
    struct buf body;
};

struct steward *steward_new(struct worker *w)
{
    struct steward *s = mem_zalloc(sizeof(*s));
    s->worker = w;
    buf_init(&s->body, OP_BODY_MAX);
    return s;
}

static void created(void *user, struct op_result *result)
{
    struct steward *s = user;
    s->busy = false;
    buf_wipe(&s->body);
    /* ERR_EXISTS: the record is in the log of an earlier start, above what is
     * known to be committed. The catalog learns it with the first commit of
     * this term; asking again before that would give the same answer. */
    if (result->err == ERR_OK)
        steward_check(s);
    else if (result->err != ERR_EXISTS)
        log_warn("the account cannot be set up yet",
                 LOG_STR("error", err_text(result->err)));
}

static void create(struct steward *s, uint32_t container, const char *id)
{
    s->op =
        (struct op){.kind = OP_WRITE,
                    .shard = SHARD_META,
                    .mode = OP_CREATE,
                    .resource = OP_RESOURCE_INTERNAL,
                    .body = bytes_of(buf_bytes(&s->body), buf_len(&s->body))};
    rng_fill(s->op.id, OP_ID_LEN);
    cosmos_address(s->worker->meta_hash, container, bytes_of(NULL, 0),
                   bytes_str(id), &s->op.at);
    s->busy = true;
    backend_submit(&s->worker->router.backend, &s->op, STEWARD_TIMEOUT_US,
                   created, s);
}

static void create_account(struct steward *s)
{
    struct catalog_account a = {.id = ""};
    snprintf(a.id, sizeof(a.id), "%s", s->worker->node->config->cluster);
    CHECK(catalog_account_format(&a, &s->body) == ERR_OK);
    log_info("setting up the account", LOG_STR("account", a.id));
    create(s, CONTAINER_ACCOUNT, "account");
}

static void wrap_new_key(struct worker *w, const struct key_name *name,
                         struct wrapped_key *wrapped_out)
{
    uint8_t key[KEY_LEN];
    key_generate(key);
    CHECK(key_wrap(&w->node->kek, name, key, wrapped_out->bytes) == ERR_OK);
    mem_wipe(key, sizeof(key));
    wrapped_out->len = KEY_WRAPPED_LEN;
}

/* The preferred region acknowledges, by the configured level. */
static void first_decision(const struct config *c, struct catalog_group *g)
{
    const struct config_consistency *level = &c->consistency;
    g->failback = true;
    g->decision = (struct group_decision){
        .epoch = 1,
        .consistency = {.level = (enum consistency_level)level->level,
                        .max_staleness_prefix =
                            (int32_t)level->max_staleness_prefix,
                        .max_staleness_interval =
                            (int32_t)level->max_staleness_interval},
        .at_us = clock_wall_us(),
        .reason = "the group was created"};
    strcpy(g->decision.write_region, g->regions[0]);
    strcpy(g->decision.from_region, g->regions[0]);
}

static void create_group(struct steward *s)
{
    struct worker *w = s->worker;
    const struct config *c = w->node->config;
    struct catalog_group g = {.number = GROUP_DEFAULT,
                              .name = GROUP_DEFAULT_NAME,
                              .first_shard = 1,
                              .shard_count = (uint16_t)c->shards,
                              .key_count = 1,
                              .keys = {{.versions = 1}}};
    struct key_name name = {.cluster = w->node->cluster_keys.cluster_id,
                            .group = g.name,
                            .id = group_key_id(g.number, KEY_PURPOSE_DATA, 0),
                            .purpose = KEY_PURPOSE_DATA};
    wrap_new_key(w, &name, &g.keys[0].data[0]);
    name.id = group_key_id(g.number, KEY_PURPOSE_INDEX, 0);
    name.purpose = KEY_PURPOSE_INDEX;
    wrap_new_key(w, &name, &g.keys[0].index);
    for (size_t i = 0; i < c->region_count; i++)
        if (!config_region_added(&c->regions[i]))
            snprintf(g.regions[g.region_count++], sizeof(g.regions[0]), "%s",
                     c->regions[i].name);
    first_decision(c, &g);
    CHECK(catalog_group_format(&g, &s->body) == ERR_OK);
    log_info("creating placement group", LOG_STR("group", g.name),
             LOG_UINT("shards", g.shard_count));
    create(s, CONTAINER_GROUPS, g.name);
}

void steward_check(struct steward *s)
{
    if (s == NULL || s->busy || s->worker->stopping)
        return;
    struct shard_status status;
    shard_status(worker_replica(s->worker, SHARD_META)->shard, clock_mono_us(),
                 &status);
    if (status.role != RAFT_LEADER)
        return;
    buf_clear(&s->body);
    if (catalog_account(s->worker->catalog) == NULL)
        create_account(s);
    else if (catalog_group_number(s->worker->catalog, GROUP_DEFAULT) == NULL)
        create_group(s);
}

static void check(struct worker *w, void *arg)
{
    (void)arg;
    steward_check(w->steward);
}

void steward_check_soon(struct steward *s)
{
    if (s != NULL)
        worker_run(s->worker, check, NULL);
}
