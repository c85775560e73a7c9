#include "node/cosmos/cosmos.h"

#include <string.h>

#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/base/text.h"
#include "node/cosmos/call.h"
#include "node/cosmos/fault.h"
#include "node/cosmos/level.h"
#include "node/cosmos/reply.h"

/* Short texts of one request: ids, names. */
#define COSMOS_SCRATCH_MAX (64u * 1024)

/* ---- life ---------------------------------------------------------------- */

int cosmos_new(const struct cosmos_config *config, struct cosmos **cosmos_out,
               struct err_msg *msg)
{
    CHECK(config->backend != NULL && config->catalog != NULL);
    CHECK(config->keys != NULL && config->token_hash != NULL);
    CHECK(config->index_hash != NULL);
    CHECK(config->mono_us != NULL && config->wall_us != NULL);
    struct cosmos *c = mem_zalloc(sizeof(*c));
    c->magic = COSMOS_MAGIC;
    c->config = *config;
    if (c->config.op_timeout_us == 0)
        c->config.op_timeout_us = COSMOS_OP_TIMEOUT_US;
    memset(&c->config.account, 0, sizeof(c->config.account));
    json_init(&c->json);
    buf_init(&c->scratch, COSMOS_SCRATCH_MAX);
    c->owns_floor = config->floor == NULL;
    c->floor = c->owns_floor ? session_floor_new(SHARD_MAX) : config->floor;
    prng_seed(&c->prng, rng_u64());
    int err = cosmos_set_account(c, &config->account, msg);
    if (err != ERR_OK) {
        cosmos_free(c);
        return err;
    }
    *cosmos_out = c;
    return ERR_OK;
}

void cosmos_free(struct cosmos *c)
{
    if (c == NULL)
        return;
    CHECK_OBJ(c, COSMOS_MAGIC);
    CHECK(c->running == 0);
    while (c->kept != NULL) {
        struct call *call = c->kept;
        c->kept = call->next_kept;
        call_free(call);
    }
    json_free(&c->json);
    buf_free(&c->scratch);
    mem_free(c->account_json);
    mem_free(c->account);
    if (c->owns_floor)
        session_floor_free(c->floor);
    c->magic = 0;
    mem_free(c);
}

const struct cosmos_meters *cosmos_meters(const struct cosmos *c)
{
    CHECK_OBJ(c, COSMOS_MAGIC);
    return &c->meters;
}

size_t cosmos_running(const struct cosmos *c)
{
    CHECK_OBJ(c, COSMOS_MAGIC);
    return c->running;
}

void cosmos_address(const struct keyed_hash *hash, uint32_t container,
                    struct bytes pk_canonical, struct bytes id,
                    struct op_address *address_out)
{
    address_out->container = container;
    keyed_hash16(hash, pk_canonical, address_out->pk_hash);
    keyed_hash16(hash, id, address_out->id_hash);
}

/* ---- authorization ------------------------------------------------------- */

/* Whether a request changes something: all but reading, queries and query
 * plans. */
static bool writes(const struct call *c)
{
    if (c->http->method == HTTP_METHOD_GET ||
        c->http->method == HTTP_METHOD_HEAD)
        return false;
    return c->http->method != HTTP_METHOD_POST ||
           !(cosmos_headers_query(&c->headers) ||
             cosmos_header_true(c->headers.is_query_plan));
}

/* What a read-only key may not do: changing something, and reading
 * permissions, which hold tokens that may write. */
static bool needs_write(const struct call *c)
{
    static const char permissions[] = "permissions";
    if (c->path.count >= 5 &&
        bytes_equal(c->path.segments[4], bytes_str(permissions)))
        return true;
    return writes(c);
}

static enum cosmos_failure auth_failure(enum auth_result result)
{
    switch (result) {
    case AUTH_MISSING:
        return FAIL_AUTH_MISSING;
    case AUTH_DATE_SKEW:
    case AUTH_BAD_DATE:
        return FAIL_AUTH_DATE;
    case AUTH_KEY_READ_ONLY:
        return FAIL_AUTH_READ_ONLY;
    default:
        return FAIL_AUTH_INVALID;
    }
}

static void reply_unauthorized(struct call *c,
                               const struct auth_verdict *verdict,
                               int64_t now_s)
{
    enum cosmos_failure failure = auth_failure(verdict->result);
    struct buf message;
    buf_init(&message, 2 * AUTH_PAYLOAD_MAX);
    const char *text = NULL;
    if (auth_message(verdict, now_s, &message) == ERR_OK)
        text = buf_cstr(&message);
    if (text != NULL)
        reply_fail_text(c, failure, text);
    else
        reply_fail(c, failure);
    buf_free(&message);
}

/* False after answering. */
static bool authorized(struct call *c, unsigned *key_out)
{
    const struct cosmos_config *config = &c->cosmos->config;
    struct auth_target target;
    if (auth_target_parse(c->http->target, &target) != ERR_OK) {
        reply_fail(c, FAIL_ROUTE);
        return false;
    }
    struct auth_request request = {
        .method = c->http->method_raw,
        .target = &target,
        .authorization = c->headers.authorization,
        .ms_date = c->headers.ms_date,
        .date = c->headers.date,
        .needs_write = needs_write(c),
    };
    int64_t now_s = config->wall_us(config->user) / USEC_PER_SEC;
    struct auth_verdict verdict;
    auth_verify(config->keys, &request, now_s, &verdict);
    *key_out = verdict.key;
    c->read_only = verdict.rights == AUTH_READ_ONLY;
    if (verdict.result == AUTH_OK)
        return true;
    reply_unauthorized(c, &verdict, now_s);
    return false;
}

/* ---- requests ------------------------------------------------------------ */

static void dispatch(struct call *c)
{
    const struct route *route = route_find(&c->path);
    if (route == NULL) {
        reply_fail(c, FAIL_ROUTE);
        return;
    }
    enum route_method method = route_method_of(c->http->method);
    route_handler *handler =
        method < ROUTE_METHOD_COUNT ? route->handlers[method] : NULL;
    if (handler == NULL)
        reply_fail(c, FAIL_METHOD);
    else
        handler(c);
}

/* What its path and headers say. Errors of route_path_parse. */
static int begin(struct call *c)
{
    int err = route_path_parse(c->http->target, &c->path);
    if (err == ERR_OK)
        c->operation = cosmos_operation_of(c);
    c->writes = writes(c);
    return err;
}

/* Carries out what was verified; `path` is begin's result. */
static void serve(struct call *c, int path)
{
    if (!level_take(c) || !level_admit(c))
        return;
    if (path != ERR_OK)
        reply_fail(c, FAIL_ROUTE);
    else
        dispatch(c);
}

static void handle_passage(struct cosmos *cosmos, struct http_request *http,
                           const struct passage *p, usec_t since_us, bool again)
{
    struct call *c = call_begin(cosmos, http);
    if (c == NULL) {
        reply_overload(cosmos, http);
        return;
    }
    c->passed = true;
    c->passed_shard = p->shard;
    c->passed_since_us = since_us;
    c->passed_again = again;
    c->read_only = p->read_only;
    memcpy(c->passed_id, p->id, sizeof(c->passed_id));
    int err = begin(c);
    if (err == ERR_OK && !call_wants_documents(c))
        reply_fail(c, FAIL_ROUTE); /* nothing else is passed on */
    else if (err == ERR_OK && p->read_only && needs_write(c))
        reply_fail(c, FAIL_AUTH_READ_ONLY);
    else
        serve(c, err);
}

void cosmos_on_passage(struct cosmos *c, struct http_request *r,
                       const struct passage *passage, usec_t since_us,
                       bool again)
{
    bool before = mem_may_fail(true);
    handle_passage(c, r, passage, since_us, again);
    mem_may_fail(before);
}

static void handle(struct cosmos *cosmos, struct http_request *http)
{
    struct call *c = call_begin(cosmos, http);
    if (c == NULL) {
        reply_overload(cosmos, http);
        return;
    }
    unsigned key;
    int err = begin(c);
    if (err == ERR_MALFORMED || err == ERR_LIMIT)
        reply_fail_text(c, FAIL_BAD_REQUEST,
                        "The request path is malformed or too long");
    else if (authorized(c, &key) && fault_admit(c, key))
        serve(c, err);
}

static void on_request(struct http_request *http, void *user)
{
    bool before = mem_may_fail(true);
    handle(user, http);
    mem_may_fail(before);
}

const struct http_handler cosmos_http_handler = {
    .on_request = on_request,
    .format_error = reply_format_error,
};
