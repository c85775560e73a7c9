#include "node/catalog/rid.h"

#include <string.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/text.h"

#define CONTAINER_BIT 0x80u
#define TYPE_SHIFT 60
#define TYPE_CONFLICT 4
#define TYPE_PKRANGE 5

static char swap(char c, char from, char to)
{
    return c == from ? to : c;
}

static bool is_rid_len(size_t len)
{
    return len == 3 || len == 4 || len == 6 || len == 7 || len == 8 ||
           len == 16 || len == 20;
}

int rid_parse(struct bytes text, struct rid *rid_out)
{
    char base64[RID_TEXT_MAX];
    if (text.len == 0 || text.len >= sizeof(base64))
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++)
        base64[i] = swap((char)text.data[i], '-', '/');
    struct rid rid = {0};
    struct buf out = buf_over(rid.bytes, sizeof(rid.bytes));
    if (text_base64_decode(bytes_of(base64, text.len), &out) != ERR_OK ||
        !is_rid_len(buf_len(&out)))
        return ERR_MALFORMED;
    rid.len = (uint8_t)buf_len(&out);
    /* Only the canonical text: one resource has one RID ('/' for '-' and
     * stray bits in the last character would make others). */
    char again[RID_TEXT_MAX];
    if (rid_format(&rid, again) != text.len ||
        memcmp(again, text.data, text.len) != 0)
        return ERR_MALFORMED;
    *rid_out = rid;
    return ERR_OK;
}

size_t rid_format(const struct rid *rid, char out[RID_TEXT_MAX])
{
    CHECK(is_rid_len(rid->len));
    struct buf text = buf_over(out, RID_TEXT_MAX - 1);
    int err = text_base64_encode(bytes_of(rid->bytes, rid->len), &text);
    CHECK(err == ERR_OK);
    size_t len = buf_len(&text);
    for (size_t i = 0; i < len; i++)
        out[i] = swap(out[i], '/', '-');
    out[len] = '\0';
    return len;
}

/* 16 bytes: who the child belongs to decides, then the nibble. */
static enum rid_kind child_kind(const struct rid *rid)
{
    static const uint8_t zeros[4];
    if (memcmp(rid->bytes + 4, zeros, 4) == 0)
        return RID_TYPE_OR_KEY;
    if ((rid->bytes[4] & CONTAINER_BIT) == 0)
        return RID_PERMISSION;
    switch (rid->bytes[15] >> 4) {
    case 0:
        return RID_DOCUMENT;
    case 3:
        return RID_SYSTEM_DOCUMENT;
    case TYPE_CONFLICT:
        return RID_CONFLICT;
    case TYPE_PKRANGE:
        return RID_PKRANGE;
    case 6:
        return RID_UDF;
    case 7:
        return RID_TRIGGER;
    case 8:
        return RID_SPROC;
    case 9:
        return RID_SCHEMA;
    default:
        return RID_UNKNOWN;
    }
}

enum rid_kind rid_kind(const struct rid *rid)
{
    switch (rid->len) {
    case 3:
        return RID_OFFER;
    case 4:
        return RID_DATABASE;
    case 6:
        return RID_ROLE;
    case 7:
        return RID_SNAPSHOT;
    case 8:
        return rid->bytes[4] & CONTAINER_BIT ? RID_CONTAINER : RID_USER;
    case 16:
        return child_kind(rid);
    default:
        CHECK(rid->len == 20);
        return RID_ATTACHMENT;
    }
}

bool rid_equal(const struct rid *a, const struct rid *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

uint64_t rid_counter(uint64_t lsn, uint32_t position, uint32_t shard)
{
    CHECK(lsn <= RID_LSN_MAX);
    CHECK(position <= RID_POSITION_MAX);
    CHECK(shard <= RID_SHARD_MAX);
    return lsn << 20 | (uint64_t)position << 12 | shard;
}

uint64_t rid_counter_lsn(uint64_t counter)
{
    return counter >> 20 & RID_LSN_MAX;
}

uint32_t rid_counter_position(uint64_t counter)
{
    return (uint32_t)(counter >> 12) & RID_POSITION_MAX;
}

uint32_t rid_counter_shard(uint64_t counter)
{
    return (uint32_t)counter & RID_SHARD_MAX;
}

int rid_number(uint64_t counter, uint32_t *number_out)
{
    uint64_t lsn = rid_counter_lsn(counter);
    if (rid_counter_position(counter) != 0 || rid_counter_shard(counter) != 0 ||
        counter >> TYPE_SHIFT != 0 || lsn > RID_NUMBER_MAX - RID_NUMBER_FIRST)
        return ERR_LIMIT;
    *number_out = (uint32_t)lsn + RID_NUMBER_FIRST;
    return ERR_OK;
}

struct rid rid_database(uint32_t number)
{
    CHECK(number <= RID_NUMBER_MAX);
    struct rid rid = {.len = 4};
    put_u32_be(rid.bytes, number);
    return rid;
}

struct rid rid_container(uint32_t database, uint32_t number)
{
    CHECK(number <= RID_NUMBER_MAX);
    struct rid rid = rid_database(database);
    put_u32_be(rid.bytes + 4, number | CONTAINER_BIT << 24);
    rid.len = 8;
    return rid;
}

static struct rid container_child(const struct rid *container, uint64_t value)
{
    CHECK(rid_kind(container) == RID_CONTAINER);
    struct rid rid = *container;
    put_u64_le(rid.bytes + 8, value);
    rid.len = 16;
    return rid;
}

struct rid rid_document(const struct rid *container, uint64_t counter)
{
    CHECK(counter >> TYPE_SHIFT == 0);
    return container_child(container, counter);
}

struct rid rid_conflict(const struct rid *container, uint64_t counter)
{
    CHECK(counter >> TYPE_SHIFT == 0);
    return container_child(container,
                           counter | (uint64_t)TYPE_CONFLICT << TYPE_SHIFT);
}

struct rid rid_pkrange(const struct rid *container, uint32_t index)
{
    return container_child(container,
                           index | (uint64_t)TYPE_PKRANGE << TYPE_SHIFT);
}

uint32_t rid_database_number(const struct rid *rid)
{
    CHECK(rid->len == 4 || rid->len == 8 || rid->len == 16 || rid->len == 20);
    return get_u32_be(rid->bytes);
}

uint32_t rid_container_number(const struct rid *rid)
{
    CHECK(rid->len >= 8 && (rid->bytes[4] & CONTAINER_BIT) != 0);
    return get_u32_be(rid->bytes + 4) & RID_NUMBER_MAX;
}

uint64_t rid_child_counter(const struct rid *rid)
{
    CHECK(rid->len == 16 && (rid->bytes[4] & CONTAINER_BIT) != 0);
    return get_u64_le(rid->bytes + 8) & ((UINT64_C(1) << TYPE_SHIFT) - 1);
}

struct rid rid_parent(const struct rid *rid)
{
    CHECK(rid->len == 8 || (rid->len == 16 && (rid->bytes[4] & CONTAINER_BIT)));
    struct rid parent = {.len = (uint8_t)(rid->len / 2)};
    memcpy(parent.bytes, rid->bytes, parent.len);
    return parent;
}
