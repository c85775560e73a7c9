/* Effective partition keys (protocol reference sections 6.1 to 6.3). */
#include <string.h>

#include "node/base/check.h"
#include "node/base/hash.h"
#include "node/catalog/partition_key.h"

typedef unsigned __int128 u128;

/* Version 2 hashes have 126 bits, version 1 hashes 32. */
#define V2_MAX ((((u128)1) << 126) - 1)
#define V1_MAX UINT32_MAX
/* Version 1 hashes and encodes no more of a string. */
#define V1_STRING_MAX 100
#define SHARDS_MAX 4095u

static void put_hex(struct epk *epk, uint8_t byte)
{
    static const char digits[] = "0123456789ABCDEF";
    CHECK(epk->len + 2 <= EPK_TEXT_MAX);
    epk->text[epk->len++] = digits[byte >> 4];
    epk->text[epk->len++] = digits[byte & 15];
}

static void end_text(struct epk *epk)
{
    epk->text[epk->len] = '\0';
}

/* floor(max * k / n) for max = q*n + r without passing 128 bits. */
static u128 fraction(u128 max, uint32_t k, uint32_t n)
{
    return max / n * k + max % n * k / n;
}

/* The last of `n` equal parts of 0..max whose lower boundary is <= value. */
static uint32_t part_of(u128 value, u128 max, uint32_t n)
{
    u128 width = max / n;
    uint32_t k = width > 0 ? (uint32_t)(value / width) : n - 1;
    if (k > n - 1)
        k = n - 1;
    /* The parts are at most one wider than `width`: at most a step too far
     * for each part before. */
    while (k > 0 && fraction(max, k, n) > value)
        k--;
    CHECK(k == n - 1 || fraction(max, k + 1, n) > value);
    return k;
}

/* -- version 2 and MultiHash -------------------------------------------- */

static u128 hash_v2(const struct partition_key *pk, size_t index)
{
    uint8_t bytes[PK_TEXT_MAX_V2 + 9];
    size_t len = pk_canonical_part(pk, index, bytes);
    uint64_t h[2];
    hash_murmur3_128(bytes, len, 0, h);
    /* The 16 bytes h1,h2 little-endian, reversed, are h2,h1 big-endian. */
    return ((u128)h[1] << 64 | h[0]) & V2_MAX;
}

static void put_v2(struct epk *epk, u128 value)
{
    for (int shift = 120; shift >= 0; shift -= 8)
        put_hex(epk, (uint8_t)(value >> shift));
}

/* -- version 1 ----------------------------------------------------------- */

static size_t v1_string_len(const struct pk_component *part)
{
    return part->len < V1_STRING_MAX ? part->len : V1_STRING_MAX;
}

static uint32_t hash_v1(const struct partition_key *pk)
{
    const struct pk_component *part = &pk->parts[0];
    uint8_t bytes[PK_TEXT_MAX_V2 + 9];
    size_t len = pk_canonical_part(pk, 0, bytes);
    if (part->type == PK_STRING) {
        len = 1 + v1_string_len(part);
        bytes[len++] = 0;
    }
    return hash_murmur3_32(bytes, len, 0);
}

/* A double so that texts sort like numbers: eight bits, then groups of seven
 * with the low bit set in all but the last. */
static void put_number_v1(struct epk *epk, double number)
{
    uint64_t u;
    memcpy(&u, &number, sizeof(u));
    u = u >> 63 == 0 ? u ^ UINT64_C(1) << 63 : ~u + 1;
    put_hex(epk, 0x05);
    put_hex(epk, (uint8_t)(u >> 56));
    u <<= 8;
    do {
        uint8_t group = (uint8_t)(u >> 56) | 1;
        u <<= 7;
        put_hex(epk, u != 0 ? group : group & 0xfe);
    } while (u != 0);
}

static void put_component_v1(struct epk *epk, const struct partition_key *pk)
{
    const struct pk_component *part = &pk->parts[0];
    if (part->type == PK_NUMBER) {
        put_number_v1(epk, part->number);
        return;
    }
    uint8_t bytes[PK_TEXT_MAX_V2 + 9];
    pk_canonical_part(pk, 0, bytes);
    put_hex(epk, bytes[0]);
    if (part->type != PK_STRING)
        return;
    for (size_t i = 0; i < v1_string_len(part); i++)
        put_hex(epk, (uint8_t)(pk->text[part->at + i] + 1));
    put_hex(epk, 0);
}

/* -- public -------------------------------------------------------------- */

static void check_fitted(const struct pk_def *def,
                         const struct partition_key *pk)
{
    CHECK(pk->count >= 1 && pk->count <= def->path_count);
    CHECK_IMPLIES(def->version == 1, def->path_count == 1);
}

void epk_compute(const struct pk_def *def, const struct partition_key *pk,
                 struct epk *epk_out)
{
    check_fitted(def, pk);
    epk_out->len = 0;
    if (def->version == 1) {
        put_number_v1(epk_out, (double)hash_v1(pk));
        put_component_v1(epk_out, pk);
    } else {
        for (size_t i = 0; i < pk->count; i++)
            put_v2(epk_out, hash_v2(pk, i));
    }
    end_text(epk_out);
}

uint32_t epk_shard(const struct pk_def *def, const struct partition_key *pk,
                   uint32_t count)
{
    check_fitted(def, pk);
    CHECK(count >= 1 && count <= SHARDS_MAX);
    if (def->version == 1)
        return part_of(hash_v1(pk), V1_MAX, count);
    return part_of(hash_v2(pk, 0), V2_MAX, count);
}

void epk_boundary(const struct pk_def *def, uint32_t index, uint32_t count,
                  struct epk *epk_out)
{
    CHECK(count >= 1 && count <= SHARDS_MAX && index <= count);
    epk_out->len = 0;
    if (index == count)
        put_hex(epk_out, 0xff);
    else if (index > 0 && def->version == 1)
        put_number_v1(epk_out, (double)fraction(V1_MAX, index, count));
    else if (index > 0)
        put_v2(epk_out, fraction(V2_MAX, index, count));
    end_text(epk_out);
}

int epk_compare(const struct epk *a, const struct epk *b)
{
    return bytes_compare(bytes_of(a->text, a->len), bytes_of(b->text, b->len));
}

static int parse_text(struct bytes text, struct epk *epk_out)
{
    if (text.len % 2 != 0 || text.len > EPK_TEXT_MAX)
        return ERR_MALFORMED;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 'a' && c <= 'f')
            c = (uint8_t)(c - 32);
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F')))
            return ERR_MALFORMED;
        epk_out->text[i] = (char)c;
    }
    epk_out->len = (uint8_t)text.len;
    end_text(epk_out);
    return ERR_OK;
}

int epk_range_of(const struct pk_def *def, struct bytes text, uint32_t count,
                 uint32_t *index_out)
{
    struct epk epk;
    int err = parse_text(text, &epk);
    if (err != ERR_OK)
        return err;
    uint32_t low = 0; /* its boundary is <= epk; that of `high` is not */
    uint32_t high = count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        struct epk boundary;
        epk_boundary(def, middle, count, &boundary);
        if (epk_compare(&boundary, &epk) <= 0)
            low = middle;
        else
            high = middle;
    }
    *index_out = low;
    return ERR_OK;
}
