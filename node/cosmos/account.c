/* The account: its document (GET /), and what it may be. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/cosmos/advertise.h"
#include "node/cosmos/handlers.h"
#include "node/cosmos/reply.h"
#include "node/json/json.h"

/* Longest account document. */
#define ACCOUNT_JSON_MAX (64u * 1024)

/* What .NET's query planner reads: the limits of the query language, as JSON
 * inside a string. */
static const char query_engine[] =
    "{\"maxSqlQueryInputLength\":262144,\"maxJoinsPerSqlQuery\":5,"
    "\"maxLogicalAndPerSqlQuery\":500,\"maxLogicalOrPerSqlQuery\":500,"
    "\"maxUdfRefPerSqlQuery\":10,\"maxInExpressionItemsCount\":16000,"
    "\"queryMaxInMemorySortDocumentCount\":500,"
    "\"maxQueryRequestTimeoutFraction\":0.9,"
    "\"sqlAllowNonFiniteNumbers\":false,\"sqlAllowAggregateFunctions\":true,"
    "\"sqlAllowSubQuery\":true,\"sqlAllowScalarSubQuery\":true,"
    "\"allowNewKeywords\":true,\"sqlAllowLike\":true,"
    "\"sqlAllowGroupByClause\":true,\"maxSpatialQueryCells\":12,"
    "\"spatialMaxGeometryPointCount\":256,\"sqlDisableOptimizationFlags\":0,"
    "\"sqlAllowTop\":true,\"enableSpatialIndexing\":true}";

/* ---- checking ------------------------------------------------------------ */

/* SDKs compare endpoints byte by byte and join paths to them. */
static bool endpoint_valid(const char *endpoint)
{
    static const char scheme[] = "https://";
    size_t len = strlen(endpoint);
    return len > sizeof(scheme) && len <= COSMOS_NAME_MAX &&
           strncmp(endpoint, scheme, sizeof(scheme) - 1) == 0 &&
           endpoint[len - 1] == '/';
}

static int region_check(const struct cosmos_region *region, struct err_msg *msg)
{
    size_t len = strlen(region->name);
    if (len == 0 || len > COSMOS_NAME_MAX)
        return err_set(msg, ERR_INVALID,
                       "a region has no name, or one of more "
                       "than %d bytes",
                       COSMOS_NAME_MAX);
    if (!endpoint_valid(region->endpoint))
        return err_set(msg, ERR_INVALID,
                       "endpoint \"%s\" of region %s is not an absolute https "
                       "URL that ends in '/'",
                       region->endpoint, region->name);
    return ERR_OK;
}

/* ERR_INVALID with a message, see cosmos_set_account. */
static int account_check(const struct cosmos_account *account,
                         struct err_msg *msg)
{
    size_t len = strlen(account->id);
    /* The JavaScript SDK takes an account called "localhost" for an emulator
     * and re-reads the account before every request. */
    if (len == 0 || len > COSMOS_NAME_MAX ||
        text_equal_nocase(bytes_str(account->id), "localhost"))
        return err_set(msg, ERR_INVALID,
                       "\"%s\" cannot be an account id: it must have 1 to %d "
                       "bytes and not be localhost",
                       account->id, COSMOS_NAME_MAX);
    if (account->region_count == 0 ||
        account->region_count > COSMOS_REGIONS_MAX)
        return err_set(msg, ERR_INVALID, "an account has 1 to %d regions",
                       COSMOS_REGIONS_MAX);
    if (account->write_region >= account->region_count)
        return err_set(msg, ERR_INVALID,
                       "the write region is none of the account's regions");
    if (!account->removed && account->own_region >= account->region_count)
        return err_set(msg, ERR_INVALID,
                       "the node's region is none of the account's regions");
    for (size_t i = 0; i < account->region_count; i++) {
        int err = region_check(&account->regions[i], msg);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* ---- the document -------------------------------------------------------- */

static void write_location(struct json_writer *w,
                           const struct cosmos_region *region)
{
    json_write_object_begin(w);
    json_write_member_str(w, "name", region->name);
    json_write_member_str(w, "databaseAccountEndpoint", region->endpoint);
    json_write_object_end(w);
}

/* The region that is named as writable: cosmos.h says why it need not be the
 * write region. */
static size_t first_region(const struct cosmos_account *account)
{
    if (!account->regions[account->write_region].down)
        return account->write_region;
    for (size_t i = 0; i < account->region_count; i++) {
        if (!account->regions[i].down)
            return i;
    }
    return account->write_region;
}

static void write_locations(struct json_writer *w,
                            const struct cosmos_account *account)
{
    size_t first = first_region(account);
    json_write_key(w, "writableLocations");
    json_write_array_begin(w);
    write_location(w, &account->regions[first]);
    json_write_array_end(w);
    json_write_key(w, "readableLocations");
    json_write_array_begin(w);
    write_location(w, &account->regions[first]);
    for (size_t i = 0; i < account->region_count; i++) {
        if (i != first && !account->regions[i].down)
            write_location(w, &account->regions[i]);
    }
    json_write_array_end(w);
}

static void write_consistency(struct json_writer *w,
                              const struct consistency_policy *policy)
{
    json_write_key(w, "userConsistencyPolicy");
    json_write_object_begin(w);
    json_write_member_str(w, "defaultConsistencyLevel",
                          consistency_name(policy->level));
    if (policy->level == CONSISTENCY_BOUNDED) {
        json_write_member_int64(w, "maxStalenessPrefix",
                                policy->max_staleness_prefix);
        json_write_member_int64(w, "maxIntervalInSeconds",
                                policy->max_staleness_interval);
    }
    json_write_object_end(w);
}

/* maxReplicasetSize is spelt like this. */
static void write_replication(struct json_writer *w, const char *key, bool user)
{
    json_write_key(w, key);
    json_write_object_begin(w);
    if (user)
        json_write_member_bool(w, "asyncReplication", false);
    json_write_member_int64(w, "minReplicaSetSize", 3);
    json_write_member_int64(w, "maxReplicasetSize", 4);
    json_write_object_end(w);
}

static void write_policies(struct json_writer *w,
                           const struct cosmos_account *account)
{
    json_write_member_bool(w, "enableMultipleWriteLocations", false);
    json_write_member_bool(w, "continuousBackupEnabled", false);
    json_write_member_bool(w, "enableNRegionSynchronousCommit", false);
    json_write_member_bool(w, "enablePerPartitionFailoverBehavior", false);
    json_write_member_bool(w, "disableCrossRegionalHedging", false);
    write_replication(w, "userReplicationPolicy", true);
    write_consistency(w, &account->consistency);
    write_replication(w, "systemReplicationPolicy", false);
    json_write_key(w, "readPolicy");
    json_write_object_begin(w);
    json_write_member_int64(w, "primaryReadCoefficient", 1);
    json_write_member_int64(w, "secondaryReadCoefficient", 1);
    json_write_object_end(w);
    json_write_member_str(w, "queryEngineConfiguration", query_engine);
}

/* Appends the document of a checked account. Errors of buf. */
static int account_format(const struct cosmos_account *account, struct buf *out)
{
    char rid[COSMOS_NAME_MAX + 32];
    snprintf(rid, sizeof(rid), "%s.sql.cosmos.azure.com", account->id);
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_str(&w, "_self", "");
    json_write_member_str(&w, "id", account->id);
    json_write_member_str(&w, "_rid", rid);
    json_write_member_str(&w, "media", "//media/");
    json_write_member_str(&w, "addresses", "//addresses/");
    json_write_member_str(&w, "_dbs", "//dbs/");
    write_locations(&w, account);
    write_policies(&w, account);
    json_write_object_end(&w);
    return json_writer_end(&w);
}

/* The same for one client: with the addresses by which it finds the regions if
 * it has sent `host` (advertise.h). */
static int account_format_for(const struct cosmos_account *account,
                              struct bytes host, struct buf *out)
{
    struct cosmos_account told = *account;
    struct cosmos_region regions[COSMOS_REGIONS_MAX];
    char urls[COSMOS_REGIONS_MAX][COSMOS_NAME_MAX + 1];
    told.regions = regions;
    for (size_t i = 0; i < account->region_count; i++) {
        regions[i] = account->regions[i];
        advertise_url(account->advertise, host, account->regions[i].endpoint,
                      urls[i]);
        regions[i].endpoint = urls[i];
    }
    return account_format(&told, out);
}

/* One piece of memory: the account, its regions, their texts. */
struct copied_account {
    struct cosmos_account account; /* first: it is what is freed */
    struct cosmos_region regions[COSMOS_REGIONS_MAX];
    char id[COSMOS_NAME_MAX + 1];
    char names[COSMOS_REGIONS_MAX][COSMOS_NAME_MAX + 1];
    char endpoints[COSMOS_REGIONS_MAX][COSMOS_NAME_MAX + 1];
};

/* A copy of a checked account that borrows nothing; `reason` is NULL in it.
 * mem_free frees it. */
static struct cosmos_account *account_copy(const struct cosmos_account *account)
{
    struct copied_account *c = mem_zalloc(sizeof(*c));
    c->account = *account;
    c->account.reason = NULL;
    c->account.regions = c->regions;
    strcpy(c->id, account->id); /* account_check bounds all of these */
    c->account.id = c->id;
    for (size_t i = 0; i < account->region_count; i++) {
        c->regions[i] = account->regions[i];
        strcpy(c->names[i], account->regions[i].name);
        strcpy(c->endpoints[i], account->regions[i].endpoint);
        c->regions[i].name = c->names[i];
        c->regions[i].endpoint = c->endpoints[i];
    }
    return &c->account;
}

static void set_place(struct cosmos_place *p,
                      const struct cosmos_account *account)
{
    bool here =
        !account->removed && account->own_region == account->write_region;
    *p = (struct cosmos_place){
        .level = account->consistency.level,
        .removed = account->removed,
        .writes_here = here,
        .refuse_writes = account->refuse_writes && !here,
        .isolated = account->isolated,
        .elsewhere = account->isolated && account->elsewhere && here,
        .unproven = account->unproven,
    };
    snprintf(p->id, sizeof(p->id), "%s", account->id);
    snprintf(p->write_region, sizeof(p->write_region), "%s",
             account->regions[account->write_region].name);
    if (account->reason != NULL)
        snprintf(p->reason, sizeof(p->reason), "%s", account->reason);
}

int cosmos_set_account(struct cosmos *c, const struct cosmos_account *account,
                       struct err_msg *msg)
{
    CHECK_OBJ(c, COSMOS_MAGIC);
    int err = account_check(account, msg);
    if (err != ERR_OK)
        return err;
    struct buf json;
    buf_init(&json, ACCOUNT_JSON_MAX);
    err = account_format(account, &json);
    if (err != ERR_OK) {
        buf_free(&json);
        return err_set(msg, ERR_INVALID, "the account document is too long");
    }
    mem_free(c->account_json);
    c->account_json =
        mem_strndup((const char *)buf_bytes(&json), buf_len(&json));
    buf_free(&json);
    mem_free(c->account);
    c->account = account_copy(account);
    set_place(&c->place, account);
    return ERR_OK;
}

void handle_account_read(struct call *c)
{
    const struct cosmos *cosmos = c->cosmos;
    http_reply_header_str(c->http, "x-ms-max-media-storage-usage-mb", "2048");
    http_reply_header_str(c->http, "x-ms-media-storage-usage-mb", "0");
    struct buf body;
    buf_init(&body, ACCOUNT_JSON_MAX);
    int err = cosmos->account->advertise == COSMOS_ADVERTISE_LISTED
                  ? buf_append_str(&body, cosmos->account_json)
                  : account_format_for(cosmos->account, c->headers.host, &body);
    if (err != ERR_OK)
        reply_fail(c, cosmos_failure_local(err));
    else
        reply_json(c, 200, &body);
    buf_free(&body);
}
