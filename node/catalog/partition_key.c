#include "node/catalog/partition_key.h"

#include <string.h>

#include "node/base/check.h"

/* Tags of the canonical form; the protocol's hash input uses the same. */
enum {
    TAG_UNDEFINED = 0,
    TAG_NULL = 1,
    TAG_FALSE = 2,
    TAG_TRUE = 3,
    TAG_NUMBER = 5,
    TAG_STRING = 8,
    END_OF_STRING = 0xff /* no byte of UTF-8 */
};

/* Copies a string's decoded text behind those that are there. */
static int add_string(const struct json *j, json_ref ref,
                      struct partition_key *pk, struct pk_component *part)
{
    uint8_t decoded[PK_HEADER_MAX];
    struct buf scratch = buf_over(decoded, sizeof(decoded));
    struct bytes text;
    /* Six bytes of JSON at most make one of text: what does not fit into the
     * scratch room is too long by itself. */
    int err = json_string(j, ref, &scratch, &text);
    if (err != ERR_OK)
        return err;
    if (text.len > (size_t)(PK_TEXT_MAX_V2 - pk->text_len))
        return ERR_LIMIT;
    part->type = PK_STRING;
    part->at = pk->text_len;
    part->len = (uint16_t)text.len;
    if (text.len > 0)
        memcpy(pk->text + pk->text_len, text.data, text.len);
    pk->text_len = (uint16_t)(pk->text_len + text.len);
    return ERR_OK;
}

/* Adds a JSON value as the next component. Arrays and objects: undefined. */
static int add_value(const struct json *j, json_ref ref,
                     struct partition_key *pk)
{
    CHECK(pk->count < PK_PATHS_MAX);
    struct pk_component part = {.type = PK_UNDEFINED};
    int err = ERR_OK;
    switch (json_type(j, ref)) {
    case JSON_NULL:
        part.type = PK_NULL;
        break;
    case JSON_BOOL:
        part.type = json_bool(j, ref) ? PK_TRUE : PK_FALSE;
        break;
    case JSON_NUMBER:
        part.type = PK_NUMBER;
        part.number = json_number(j, ref);
        break;
    case JSON_STRING:
        err = add_string(j, ref, pk, &part);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    if (err == ERR_OK)
        pk->parts[pk->count++] = part;
    return err;
}

static int too_large(struct err_msg *msg, unsigned max)
{
    return err_set(msg, ERR_LIMIT,
                   "The partition key value is too large: its strings may "
                   "have %u bytes in total.",
                   max);
}

static int parse_components(const struct json *j, struct partition_key *pk,
                            struct err_msg *msg)
{
    static const char expected[] =
        "Partition key header is invalid: expected a JSON array of strings, "
        "numbers, booleans, null and {}.";
    if (json_type(j, 0) != JSON_ARRAY)
        return err_set(msg, ERR_MALFORMED, "%s", expected);
    if (json_count(j, 0) > PK_PATHS_MAX)
        return err_set(msg, ERR_LIMIT,
                       "Partition key header is invalid: more than %d "
                       "components.",
                       PK_PATHS_MAX);
    for (json_ref v = json_first(j, 0); v != JSON_NONE;
         v = json_next(j, 0, v)) {
        enum json_type type = json_type(j, v);
        if (type == JSON_ARRAY || (type == JSON_OBJECT && json_count(j, v) > 0))
            return err_set(msg, ERR_MALFORMED, "%s", expected);
        int err = add_value(j, v, pk);
        if (err == ERR_LIMIT)
            return too_large(msg, PK_TEXT_MAX_V2);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

int pk_parse(struct json *j, struct bytes header, struct partition_key *pk_out,
             struct err_msg *msg)
{
    struct json_error error;
    int err = json_parse(j, header, PK_HEADER_MAX, &error);
    if (err != ERR_OK)
        return err_set(msg, err, "Partition key header is invalid: %s.",
                       error.text);
    struct partition_key pk;
    pk.count = 0;
    pk.text_len = 0;
    err = parse_components(j, &pk, msg);
    if (err == ERR_OK)
        pk_copy(pk_out, &pk);
    return err;
}

static unsigned text_max(const struct pk_def *def)
{
    return def->version == 1 ? PK_TEXT_MAX_V1 : PK_TEXT_MAX_V2;
}

int pk_fit(const struct pk_def *def, enum pk_use use, struct partition_key *pk,
           struct err_msg *msg)
{
    if (pk->count == 0 && def->path_count == 1)
        pk->parts[pk->count++] = (struct pk_component){.type = PK_UNDEFINED};
    if (pk->count > def->path_count)
        return err_set(msg, ERR_INVALID,
                       "The partition key supplied in x-ms-partitionkey "
                       "header has more components than defined in the "
                       "collection.");
    if (pk->count == 0 || (use == PK_POINT && pk->count < def->path_count))
        return err_set(msg, ERR_INVALID,
                       "The partition key supplied in x-ms-partitionkey "
                       "header has fewer components than defined in the the "
                       "collection.");
    if (pk->text_len > text_max(def))
        return too_large(msg, text_max(def));
    return ERR_OK;
}

int pk_extract(const struct pk_def *def, const struct json *j, json_ref object,
               struct partition_key *pk_out, struct err_msg *msg)
{
    CHECK(def->path_count >= 1 && def->path_count <= PK_PATHS_MAX);
    struct partition_key pk;
    pk.count = 0;
    pk.text_len = 0;
    for (size_t i = 0; i < def->path_count; i++) {
        json_ref value = json_path(j, object, def->paths[i]);
        if (value == JSON_NONE) {
            pk.parts[pk.count++] = (struct pk_component){.type = PK_UNDEFINED};
            continue;
        }
        int err = add_value(j, value, &pk);
        if (err == ERR_LIMIT)
            return too_large(msg, text_max(def));
        if (err != ERR_OK)
            return err;
    }
    if (pk.text_len > text_max(def))
        return too_large(msg, text_max(def));
    pk_copy(pk_out, &pk);
    return ERR_OK;
}

void pk_copy(struct partition_key *to, const struct partition_key *from)
{
    memcpy(to, from, offsetof(struct partition_key, text) + from->text_len);
}

static bool part_equal(const struct partition_key *a,
                       const struct partition_key *b, size_t i)
{
    const struct pk_component *x = &a->parts[i];
    const struct pk_component *y = &b->parts[i];
    if (x->type != y->type)
        return false;
    if (x->type == PK_NUMBER)
        return memcmp(&x->number, &y->number, sizeof(x->number)) == 0;
    if (x->type == PK_STRING)
        return bytes_equal(bytes_of(a->text + x->at, x->len),
                           bytes_of(b->text + y->at, y->len));
    return true;
}

bool pk_has_prefix(const struct partition_key *pk,
                   const struct partition_key *prefix)
{
    if (prefix->count > pk->count)
        return false;
    for (size_t i = 0; i < prefix->count; i++)
        if (!part_equal(pk, prefix, i))
            return false;
    return true;
}

bool pk_equal(const struct partition_key *a, const struct partition_key *b)
{
    return a->count == b->count && pk_has_prefix(a, b);
}

static uint8_t simple_tag(enum pk_type type)
{
    switch (type) {
    case PK_NULL:
        return TAG_NULL;
    case PK_FALSE:
        return TAG_FALSE;
    case PK_TRUE:
        return TAG_TRUE;
    default:
        CHECK(type == PK_UNDEFINED);
        return TAG_UNDEFINED;
    }
}

size_t pk_canonical_part(const struct partition_key *pk, size_t index,
                         uint8_t *out)
{
    const struct pk_component *part = &pk->parts[index];
    if (part->type == PK_NUMBER) {
        uint64_t bits;
        memcpy(&bits, &part->number, sizeof(bits));
        out[0] = TAG_NUMBER;
        put_u64_le(out + 1, bits);
        return 9;
    }
    if (part->type == PK_STRING) {
        out[0] = TAG_STRING;
        memcpy(out + 1, pk->text + part->at, part->len);
        out[1 + part->len] = END_OF_STRING;
        return (size_t)part->len + 2;
    }
    out[0] = simple_tag(part->type);
    return 1;
}

size_t pk_canonical(const struct partition_key *pk,
                    uint8_t out[PK_CANONICAL_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < pk->count; i++)
        len += pk_canonical_part(pk, i, out + len);
    CHECK(len <= PK_CANONICAL_MAX);
    return len;
}
