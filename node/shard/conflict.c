#include "node/shard/conflict.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "consensus/raft.h"
#include "node/base/check.h"
#include "node/base/text.h"
#include "node/catalog/rid.h"
#include "node/json/json.h"

/* What the shard adds to a conflict's text, and its other properties. */
#define BODY_OVERHEAD 2048

/* ---- names ----------------------------------------------------------------
 */

static void check_ranges(const struct conflict_id *id)
{
    CHECK(id->shard < SHARD_MAX && id->position <= CONFLICT_POSITION_MAX);
    CHECK(id->lsn <= RID_LSN_MAX);
}

size_t conflict_id_format(const struct conflict_id *id,
                          char out[CONFLICT_ID_MAX])
{
    check_ranges(id);
    int len = snprintf(out, CONFLICT_ID_MAX, "%u-%u.%u-%" PRIu64 "-%u",
                       id->shard, RAFT_TERM_EPOCH(id->term),
                       RAFT_TERM_COUNTER(id->term), id->lsn, id->position);
    CHECK(len > 0 && len < CONFLICT_ID_MAX);
    return (size_t)len;
}

/* The number before the next `end` (0: all that is left). */
static bool take_number(struct bytes *rest, char end, uint64_t max,
                        uint64_t *out)
{
    const uint8_t *at =
        end != 0 && rest->len > 0 ? memchr(rest->data, end, rest->len) : NULL;
    if (end != 0 && at == NULL)
        return false;
    size_t len = at != NULL ? (size_t)(at - rest->data) : rest->len;
    if (text_parse_u64(bytes_of(rest->data, len), max, out) != ERR_OK)
        return false;
    size_t used = len + (at != NULL);
    *rest = bytes_of(rest->data + used, rest->len - used);
    return true;
}

int conflict_id_parse(struct bytes text, struct conflict_id *id_out)
{
    uint64_t shard, epoch, counter, lsn, position;
    struct bytes rest = text;
    if (text.len >= CONFLICT_ID_MAX ||
        !take_number(&rest, '-', SHARD_MAX - 1, &shard) ||
        !take_number(&rest, '.', UINT32_MAX, &epoch) ||
        !take_number(&rest, '-', UINT32_MAX, &counter) ||
        !take_number(&rest, '-', RID_LSN_MAX, &lsn) ||
        !take_number(&rest, 0, CONFLICT_POSITION_MAX, &position))
        return ERR_MALFORMED;
    struct conflict_id id = {.shard = (uint16_t)shard,
                             .term = RAFT_TERM(epoch, counter),
                             .lsn = lsn,
                             .position = (uint16_t)position};
    char again[CONFLICT_ID_MAX];
    if (!bytes_equal(text, bytes_of(again, conflict_id_format(&id, again))))
        return ERR_MALFORMED;
    *id_out = id;
    return ERR_OK;
}

void conflict_address(const struct conflict_id *id, uint32_t container,
                      struct op_address *address_out)
{
    check_ranges(id);
    CHECK(container >= CONTAINER_FIRST_USER && container < CONTAINER_CONFLICTS);
    uint8_t lsn[8];
    uint8_t *at = address_out->id_hash;
    address_out->container = container | CONTAINER_CONFLICTS;
    memset(address_out->pk_hash, 0, OP_HASH_LEN);
    /* 12 bits each of shard and position, 64 of term, 40 of LSN. */
    put_u32_be(at, (uint32_t)id->shard << 20 | (uint32_t)id->position << 8);
    put_u64_be(at + 3, id->term);
    put_u64_be(lsn, id->lsn);
    memcpy(at + 11, lsn + 3, 5);
}

/* ---- text -----------------------------------------------------------------
 */

static const char *kind_name(enum conflict_kind kind)
{
    switch (kind) {
    case CONFLICT_CREATE:
        return "create";
    case CONFLICT_REPLACE:
        return "replace";
    case CONFLICT_DELETE:
        return "delete";
    }
    CHECK_UNREACHABLE();
}

static void write_content(struct json_writer *w, struct bytes content,
                          bool as_string)
{
    json_write_key(w, "content");
    if (as_string)
        json_write_string(w, content);
    else
        json_write_raw(w, content);
}

static int write_body(const struct conflict *c, bool as_string, struct buf *out)
{
    char id[CONFLICT_ID_MAX];
    char document[RID_TEXT_MAX];
    struct rid container = {.len = 8};
    memcpy(container.bytes, c->container_rid, 8);
    struct rid rid = rid_document(&container, c->record);
    rid_format(&rid, document);
    conflict_id_format(&c->id, id);
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_str(&w, "id", id);
    json_write_member_str(&w, "operationType", kind_name(c->kind));
    json_write_member_str(&w, "resourceType", "document");
    json_write_member_str(&w, "resourceId", document);
    json_write_key(&w, "_acknowledged");
    if (c->acknowledged)
        json_write_bool(&w, true);
    else
        json_write_null(&w);
    json_write_member_int64(&w, "_lsn", (int64_t)c->id.lsn);
    json_write_member_int64(&w, "_epoch", RAFT_TERM_EPOCH(c->id.term));
    write_content(&w, c->content, as_string);
    return w.result; /* the object stays open */
}

int conflict_body(const struct conflict *c, struct buf *out)
{
    size_t start = buf_len(out);
    int err = write_body(c, true, out);
    if (err == ERR_OK && buf_len(out) - start <= OP_BODY_MAX - BODY_OVERHEAD)
        return ERR_OK;
    buf_truncate(out, start);
    if ((err != ERR_OK && err != ERR_LIMIT) || c->content.len == 0)
        return err;
    err = write_body(c, false, out);
    if (err != ERR_OK)
        buf_truncate(out, start);
    return err;
}
