#include <stdio.h>

#include "node/cosmos/charge.h"
#include "node/cosmos/handlers.h"
#include "node/cosmos/reply.h"

/* A range's JSON takes less than this, with boundaries of hash version 1. */
#define PKRANGE_JSON_MAX 1024

/* One for each shard that the container is in (catalog/spread.h): they change
 * with its placement group, and when that is split. The etag says so: RID,
 * first id and number of ranges. */
#define PKRANGES_ETAG_MAX (RID_TEXT_MAX + 32)

/* The range that it was part of before the last split. */
static void write_parents(const struct call *c, uint32_t index,
                          struct json_writer *w)
{
    const struct container_move *move = &c->container->move;
    char id[16];
    json_write_key(w, "parents");
    json_write_array_begin(w);
    if (move->split_count > 0) {
        snprintf(id, sizeof(id), "%u",
                 (unsigned)container_ancestor(
                     move, (uint16_t)spread_ranges(&c->spread), index, 0));
        json_write_str(w, id);
    }
    json_write_array_end(w);
}

static void write_range(const struct call *c, uint32_t index, const char *etag,
                        struct json_writer *w)
{
    const struct container_def *container = c->container;
    const struct pk_def *def = &container->pk;
    char database[RID_TEXT_MAX], parent[RID_TEXT_MAX], rid[RID_TEXT_MAX];
    char text[3 * RID_TEXT_MAX + 32];
    rid_format(&c->database->rid, database);
    rid_format(&container->rid, parent);
    uint32_t id = call_range_id(c, index);
    struct rid range = rid_pkrange(&container->rid, id);
    rid_format(&range, rid);
    struct epk low, high;
    epk_boundary(def, index, spread_ranges(&c->spread), &low);
    epk_boundary(def, index + 1, spread_ranges(&c->spread), &high);
    json_write_object_begin(w);
    json_write_member_str(w, "_rid", rid);
    snprintf(text, sizeof(text), "%u", (unsigned)id);
    json_write_member_str(w, "id", text);
    json_write_member_str(w, "_etag", etag);
    json_write_member_string(w, "minInclusive", bytes_of(low.text, low.len));
    json_write_member_string(w, "maxExclusive", bytes_of(high.text, high.len));
    json_write_member_int64(w, "ridPrefix", id);
    snprintf(text, sizeof(text), "dbs/%s/colls/%s/pkranges/%s/", database,
             parent, rid);
    json_write_member_str(w, "_self", text);
    json_write_key(w, "throughputFraction");
    json_write_number(w, 1.0 / spread_ranges(&c->spread));
    json_write_member_str(w, "status", "online");
    write_parents(c, index, w);
    json_write_member_raw(w, "ownedArchivalPKRangeIds", bytes_str("[]"));
    json_write_member_int64(w, "_ts", container->ts);
    json_write_member_int64(w, "lsn", 0);
    json_write_object_end(w);
}

static int write_ranges(const struct call *c, const char *etag,
                        struct buf *body)
{
    char rid[RID_TEXT_MAX];
    rid_format(&c->container->rid, rid);
    struct json_writer w;
    json_writer_init(&w, body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "_rid", rid);
    json_write_key(&w, "PartitionKeyRanges");
    json_write_array_begin(&w);
    for (uint32_t i = 0; i < spread_ranges(&c->spread); i++)
        write_range(c, i, etag, &w);
    json_write_array_end(&w);
    json_write_member_int64(&w, "_count", spread_ranges(&c->spread));
    json_write_object_end(&w);
    return json_writer_end(&w);
}

/* .NET, Java and Rust read this feed as a change feed and come back with the
 * etag until they are told 304 (protocol section 6.1). */
static void pkranges_found(struct call *c)
{
    char rid[RID_TEXT_MAX], etag[PKRANGES_ETAG_MAX];
    rid_format(&c->container->rid, rid);
    if (c->container->move.ranges == 0)
        snprintf(etag, sizeof(etag), "\"%s-%u\"", rid,
                 (unsigned)spread_ranges(&c->spread));
    else
        snprintf(etag, sizeof(etag), "\"%s-%u-%u\"", rid,
                 (unsigned)c->container->move.ranges,
                 (unsigned)spread_ranges(&c->spread));
    reply_etag_text(c, bytes_str(etag));
    if (bytes_equal(c->headers.if_none_match, bytes_str(etag))) {
        reply_empty(c, 304);
        return;
    }
    struct buf body;
    buf_init(&body, SHARD_MAX * PKRANGE_JSON_MAX);
    int err = write_ranges(c, etag, &body);
    if (err == ERR_OK) {
        http_reply_header_u64(c->http, "x-ms-item-count",
                              spread_ranges(&c->spread));
        reply_json(c, 200, &body);
    } else {
        reply_fail(c, cosmos_failure_local(err));
    }
    buf_free(&body);
}

void handle_pkranges_read(struct call *c)
{
    call_with_container(c, pkranges_found);
}
