#include "node/shard/record.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/catalog/rid.h"

static void key_begin(struct record_key *k, uint8_t table, uint32_t container)
{
    k->bytes[0] = table;
    put_u32_be(k->bytes + 1, container);
    k->len = RECORD_PREFIX_LEN;
}

static void key_add(struct record_key *k, const void *data, size_t len)
{
    CHECK(k->len + len <= OP_KEY_MAX);
    memcpy(k->bytes + k->len, data, len);
    k->len = (uint8_t)(k->len + len);
}

/* The smallest key above all that begin with `k`. */
static void key_after_prefix(struct record_key *k)
{
    while (k->len > 0 && k->bytes[k->len - 1] == 0xff)
        k->len--;
    CHECK(k->len > 0); /* the table number is never 0xff */
    k->bytes[k->len - 1]++;
}

void record_text_key(const struct op_address *at, uint64_t record,
                     struct record_key *key_out)
{
    uint8_t number[8];
    put_u64_be(number, record);
    key_begin(key_out, RECORD_TABLE_TEXT, at->container);
    key_add(key_out, at->pk_hash, OP_HASH_LEN);
    key_add(key_out, number, sizeof(number));
    CHECK(key_out->len == RECORD_TEXT_KEY_LEN);
}

void record_id_key(const struct op_address *at, struct record_key *key_out)
{
    key_begin(key_out, RECORD_TABLE_ID, at->container);
    key_add(key_out, at->pk_hash, OP_HASH_LEN);
    key_add(key_out, at->id_hash, OP_HASH_LEN);
    CHECK(key_out->len == RECORD_ID_KEY_LEN);
}

void record_mark_key(uint32_t container, struct record_key *key_out)
{
    key_begin(key_out, RECORD_TABLE_MARK, container);
}

void record_key_retable(struct record_key *key, uint8_t table)
{
    CHECK(key->len > 0);
    key->bytes[0] = table;
}

void record_text_key_parts(struct bytes key, uint32_t *container_out,
                           uint64_t *record_out)
{
    CHECK(key.len == RECORD_TEXT_KEY_LEN &&
          (key.data[0] == RECORD_TABLE_TEXT ||
           key.data[0] == RECORD_TABLE_GRAVE));
    *container_out = get_u32_be(key.data + 1);
    *record_out = get_u64_be(key.data + RECORD_TEXT_KEY_LEN - 8);
}

void record_container_range(uint32_t container, struct record_key *from,
                            struct record_key *to)
{
    key_begin(from, RECORD_TABLE_TEXT, container);
    *to = *from;
    key_after_prefix(to);
}

void record_partition_range(uint32_t container, const uint8_t *pk_hash,
                            struct record_key *from, struct record_key *to)
{
    key_begin(from, RECORD_TABLE_TEXT, container);
    key_add(from, pk_hash, OP_HASH_LEN);
    *to = *from;
    key_after_prefix(to);
}

void record_prefix(uint8_t table, uint32_t container,
                   uint8_t out[RECORD_PREFIX_LEN])
{
    out[0] = table;
    put_u32_be(out + 1, container);
}

/* The record's own RID and its path, by the kind of resource. ERR_LIMIT when
 * the record's counter is beyond the numbers of databases and containers. */
static int record_links(const struct op *op, uint64_t record,
                        char rid_text[RID_TEXT_MAX], char *self,
                        size_t self_max)
{
    struct rid rid;
    struct rid parent = {.len = 0};
    char parent_text[RID_TEXT_MAX];
    char database_text[RID_TEXT_MAX];
    uint32_t number;
    int len = 0;
    switch (op->resource) {
    case OP_RESOURCE_DOCUMENT:
    case OP_RESOURCE_CONFLICT:
        parent.len = 8;
        memcpy(parent.bytes, op->parent_rid, 8);
        rid = op->resource == OP_RESOURCE_DOCUMENT
                  ? rid_document(&parent, record)
                  : rid_conflict(&parent, record);
        rid_format(&rid, rid_text);
        rid_format(&parent, parent_text);
        parent = rid_parent(&parent);
        rid_format(&parent, database_text);
        len = snprintf(self, self_max, "dbs/%s/colls/%s/%s/%s/", database_text,
                       parent_text,
                       op->resource == OP_RESOURCE_DOCUMENT ? "docs"
                                                            : "conflicts",
                       rid_text);
        break;
    case OP_RESOURCE_DATABASE:
        if (rid_number(record, &number) != ERR_OK)
            return ERR_LIMIT;
        rid = rid_database(number);
        rid_format(&rid, rid_text);
        len = snprintf(self, self_max, "dbs/%s/", rid_text);
        break;
    case OP_RESOURCE_CONTAINER:
        if (rid_number(record, &number) != ERR_OK)
            return ERR_LIMIT;
        parent.len = 4;
        memcpy(parent.bytes, op->parent_rid, 4);
        rid = rid_container(rid_database_number(&parent), number);
        rid_format(&rid, rid_text);
        rid_format(&parent, database_text);
        len = snprintf(self, self_max, "dbs/%s/colls/%s/", database_text,
                       rid_text);
        break;
    default:
        CHECK_UNREACHABLE();
    }
    CHECK(len > 0 && (size_t)len < self_max);
    return ERR_OK;
}

static const char *record_children(enum op_resource resource)
{
    switch (resource) {
    case OP_RESOURCE_DOCUMENT:
        return "\"_attachments\":\"attachments/\",";
    case OP_RESOURCE_DATABASE:
        return "\"_colls\":\"colls/\",\"_users\":\"users/\",";
    case OP_RESOURCE_CONTAINER:
        return "\"_docs\":\"docs/\",\"_sprocs\":\"sprocs/\","
               "\"_triggers\":\"triggers/\",\"_udfs\":\"udfs/\","
               "\"_conflicts\":\"conflicts/\",";
    case OP_RESOURCE_CONFLICT:
        return "";
    default:
        CHECK_UNREACHABLE();
    }
}

int record_text(const struct op *op, uint64_t record, const struct etag *etag,
                int64_t ts, struct buf *out)
{
    CHECK(op->kind == OP_WRITE && op->mode != OP_DELETE);
    if (op->resource == OP_RESOURCE_INTERNAL)
        return buf_append(out, op->body.data, op->body.len);
    size_t start = buf_len(out);
    char rid_text[RID_TEXT_MAX];
    char self[160];
    char tag[ETAG_TEXT_LEN + 1];
    int err = record_links(op, record, rid_text, self, sizeof(self));
    if (err == ERR_OK)
        err = buf_append(out, op->body.data, op->body.len);
    if (err != ERR_OK)
        return err;
    etag_format(etag, tag);
    bool empty = op->body.len == 0 || op->body.data[op->body.len - 1] == '{';
    /* The tag brings its own quotes; as JSON text they are escaped. */
    err = buf_printf(out,
                     "%s\"_rid\":\"%s\",\"_self\":\"%s\",\"_etag\":\"\\\"%.*s"
                     "\\\"\",%s\"_ts\":%lld}",
                     empty ? "" : ",", rid_text, self, ETAG_TEXT_LEN - 2,
                     tag + 1, record_children(op->resource), (long long)ts);
    if (err != ERR_OK)
        buf_truncate(out, start);
    return err;
}
