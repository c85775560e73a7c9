#include "node/cosmos/transit.h"

#include <string.h>

#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/cosmos/level.h"
#include "node/cosmos/reply.h"

/* ---- who may --------------------------------------------------------------
 */

bool transit_may(const struct call *c, const struct catalog_group *group)
{
    return group->transit && !c->passed && c->cosmos->config.pass_on != NULL;
}

bool transit_fits(const struct call *c, const struct catalog_group *group)
{
    return group->transit &&
           (catalog_group_has_shard(group, c->passed_shard) ||
            catalog_group_retired(group, c->passed_shard)) &&
           catalog_group_region(group, c->cosmos->config.region) <
               group->region_count;
}

void transit_refuse(struct call *c)
{
    http_reply_header_str(c->http, PASSAGE_ELSEWHERE, "true");
    reply_fail(c, FAIL_UNAVAILABLE);
}

/* ---- the request ----------------------------------------------------------
 */

/* What concerns the connection, or was verified here. */
static bool stays_here(struct bytes name)
{
    static const char *const names[] = {
        "authorization",     "x-ms-date",      "date",
        "x-ms-activity-id",  "host",           "connection",
        "transfer-encoding", "content-length", "expect"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (text_equal_nocase(name, names[i]))
            return true;
    return false;
}

static bool begins(struct bytes name, const char *with)
{
    size_t len = strlen(with);
    return name.len > len && text_equal_nocase(bytes_of(name.data, len), with);
}

/* What the API may look at: all of the service's and of ours, and those of HTTP
 * that say what a request means. */
static bool travels(struct bytes name)
{
    static const char *const names[] = {"accept",   "content-type",
                                        "if-match", "if-none-match",
                                        "a-im",     "prefer"};
    if (begins(name, "x-ms-") || begins(name, "x-bastide-"))
        return !stays_here(name);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (text_equal_nocase(name, names[i]))
            return true;
    return false;
}

static int put_header(struct buf *out, struct bytes name, struct bytes value)
{
    int err = buf_append(out, name.data, name.len);
    if (err == ERR_OK)
        err = buf_append_str(out, ": ");
    if (err == ERR_OK)
        err = buf_append(out, value.data, value.len);
    return err == ERR_OK ? buf_append_str(out, "\r\n") : err;
}

/* As a client would send it to the other node, but for who asks. */
static int put_head(const struct call *c, struct buf *out)
{
    const struct http_request *r = c->http;
    int err = buf_append(out, r->method_raw.data, r->method_raw.len);
    if (err == ERR_OK)
        err = buf_append_str(out, " ");
    if (err == ERR_OK)
        err = buf_append(out, r->target.data, r->target.len);
    if (err == ERR_OK)
        err = buf_append_str(out, " HTTP/1.1\r\nhost: transit\r\n");
    for (size_t i = 0; i < r->header_count && err == ERR_OK; i++)
        if (travels(r->headers[i].name))
            err = put_header(out, r->headers[i].name, r->headers[i].value);
    if (err == ERR_OK)
        err = put_header(out, bytes_str("x-ms-activity-id"),
                         bytes_str(c->activity));
    if (err == ERR_OK && r->body.len > 0)
        err = buf_printf(out, "content-length: %zu\r\n", r->body.len);
    return err == ERR_OK ? buf_append_str(out, "\r\n") : err;
}

/* ---- the answer -----------------------------------------------------------
 */

static void fail(struct call *c, int err)
{
    switch (err) {
    case ERR_FORBIDDEN:
        call_refuse_outside(c);
        return;
    case ERR_TIMEOUT:
        reply_fail(c, FAIL_TIMEOUT);
        return;
    case ERR_LIMIT:
        reply_fail_text(c, FAIL_TOO_LARGE,
                        "The request or its answer is too large to be passed "
                        "on to a region of the container's placement group: "
                        "ask for fewer items, or send it to one of these "
                        "regions");
        return;
    case ERR_THROTTLED:
        http_reply_header_u64(c->http, "x-ms-retry-after-ms",
                              REPLY_RETRY_AFTER_MS);
        reply_fail(c, FAIL_THROTTLED);
        return;
    default:
        reply_fail(c, FAIL_UNAVAILABLE);
    }
}

static void answered(struct call *c, const struct cosmos_passed *passed)
{
    struct passage_answer a;
    if (passed->err != ERR_OK)
        fail(c, passed->err);
    else if (passage_answer_decode(passed->answer, &a) != ERR_OK)
        /* Whatever it did, nobody can tell. */
        fail(c, c->writes ? ERR_TIMEOUT : ERR_UNAVAILABLE);
    else if (passage_answer_elsewhere(&a))
        call_moved(c);
    else
        reply_passed(c, &a);
}

static void on_passed(void *user, const struct cosmos_passed *passed)
{
    struct call *c = user;
    CHECK_OBJ(c, CALL_MAGIC);
    bool before = mem_may_fail(true);
    answered(c, passed);
    mem_may_fail(before);
}

void transit_begin(struct call *c, const struct catalog_group *group)
{
    const struct cosmos_config *config = &c->cosmos->config;
    struct buf head, encoded;
    buf_init(&head, HTTP_HEAD_MAX);
    buf_init(&encoded, PASSAGE_ENCODED_MAX);
    /* Of a group that is split, the shard that also those know who have not
     * heard of it. */
    struct passage p = {.shard = group->emptied.count > 0 ? group->emptied.first
                                                          : group->first_shard,
                        .read_only = c->read_only,
                        .body = c->http->body};
    uint64_t id[2] = {prng_u64(&c->cosmos->prng), prng_u64(&c->cosmos->prng)};
    memcpy(p.id, id, sizeof(p.id));
    int err = put_head(c, &head);
    p.head = bytes_of(buf_bytes(&head), buf_len(&head));
    if (err == ERR_OK)
        err = passage_encode(&p, &encoded);
    buf_free(&head);
    if (err != ERR_OK) {
        buf_free(&encoded);
        fail(c, err);
        return;
    }
    const struct cosmos_pass pass = {.group = group,
                                     .writes = c->writes,
                                     .timeout_us = level_timeout(c),
                                     .passage = &encoded};
    bool before = mem_may_fail(false);
    config->pass_on(config->user, &pass, on_passed, c);
    mem_may_fail(before);
}
