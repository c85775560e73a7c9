#include "node/cosmos/session.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"

int session_compare(struct session_point a, struct session_point b)
{
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    return a.lsn < b.lsn ? -1 : a.lsn > b.lsn;
}

/* ---- writing ------------------------------------------------------------- */

size_t session_format(char out[SESSION_ELEMENT_MAX], uint32_t range,
                      struct session_point point)
{
    size_t len = text_put_u64(range, out);
    out[len++] = ':';
    len += text_put_u64(point.epoch, out + len);
    out[len++] = '#';
    len += text_put_u64(point.lsn, out + len);
    out[len++] = '#';
    len += text_put_u64(point.epoch, out + len);
    out[len++] = '=';
    return len + text_put_u64(point.lsn, out + len);
}

size_t session_format_parts(char *out, uint32_t range, uint32_t version,
                            const struct session_part *parts, size_t count)
{
    uint64_t highest = 0;
    for (size_t i = 0; i < count; i++)
        if (parts[i].point.lsn > highest)
            highest = parts[i].point.lsn;
    size_t len = text_put_u64(range, out);
    out[len++] = ':';
    len += text_put_u64(version, out + len);
    out[len++] = '#';
    len += text_put_u64(highest, out + len);
    for (size_t i = 0; i < count; i++) {
        struct session_point p = parts[i].point;
        bool fits = p.lsn >> SESSION_LSN_BITS == 0 &&
                    p.epoch >> SESSION_EPOCH_BITS == 0;
        out[len++] = '#';
        len += text_put_u64(parts[i].shard, out + len);
        out[len++] = '=';
        len += text_put_u64(fits ? (uint64_t)p.epoch << SESSION_LSN_BITS | p.lsn
                                 : 0,
                            out + len);
    }
    return len;
}

/* ---- reading ------------------------------------------------------------- */

static bool take_byte(struct bytes *in, uint8_t wanted)
{
    if (in->len == 0 || in->data[0] != wanted)
        return false;
    *in = bytes_of(in->data + 1, in->len - 1);
    return true;
}

static bool take_number(struct bytes *in, uint64_t *value_out)
{
    uint64_t value = 0;
    size_t used = 0;
    for (; used < in->len; used++) {
        uint8_t b = in->data[used];
        if (b < '0' || b > '9')
            break;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, b - '0', &value))
            return false;
    }
    *in = bytes_of(in->data + used, in->len - used);
    *value_out = value;
    return used > 0;
}

/* A progress below zero stands for none. */
static bool take_progress(struct bytes *in, uint64_t *value_out)
{
    bool negative = take_byte(in, '-');
    if (!take_number(in, value_out))
        return false;
    if (negative)
        *value_out = 0;
    return true;
}

/* What an element says about its range. */
struct state {
    uint32_t version;
    uint64_t lsn;
    bool known;
    bool local_known; /* the region that was asked for is named */
    uint64_t local;
};

/* The region that is named like the version. */
#define OWN_REGION UINT64_MAX

/* What stands behind the colon, with what `wanted`, a region, has in it. */
static int state_parse(struct bytes in, uint64_t wanted, struct state *out)
{
    uint64_t version;
    *out = (struct state){.known = in.len == 0 || in.data[0] != '-'};
    if (!take_progress(&in, &version) || version > UINT32_MAX)
        return ERR_MALFORMED;
    out->version = (uint32_t)version;
    if (in.len == 0) { /* `r:lsn` */
        out->known = false;
        return ERR_OK;
    }
    if (!take_byte(&in, '#') || !take_progress(&in, &out->lsn))
        return ERR_MALFORMED;
    if (wanted == OWN_REGION)
        wanted = version;
    while (in.len > 0) {
        uint64_t region, local;
        if (!take_byte(&in, '#') || !take_number(&in, &region) ||
            !take_byte(&in, '=') || !take_progress(&in, &local))
            return ERR_MALFORMED;
        if (region == wanted) {
            out->local_known = true;
            out->local = local;
        }
    }
    return ERR_OK;
}

static int element_parse(struct bytes in, uint64_t wanted, uint64_t *range_out,
                         struct state *out)
{
    while (take_byte(&in, ' '))
        ;
    if (!take_number(&in, range_out) || !take_byte(&in, ':'))
        return ERR_MALFORMED;
    return state_parse(in, wanted, out);
}

/* Takes the next element, up to the comma; false: there is none. */
static bool take_element(struct bytes *token, struct bytes *element_out)
{
    if (token->data == NULL)
        return false;
    const uint8_t *comma =
        token->len > 0 ? memchr(token->data, ',', token->len) : NULL;
    size_t len = comma != NULL ? (size_t)(comma - token->data) : token->len;
    *element_out = bytes_of(token->data, len);
    *token = comma != NULL ? bytes_of(comma + 1, token->len - len - 1)
                           : bytes_of(NULL, 0);
    return true;
}

static struct session_point point_of(const struct state *s, bool part)
{
    if (!s->known)
        return (struct session_point){0, 0};
    if (!part)
        return (struct session_point){s->version,
                                      s->local_known ? s->local : s->lsn};
    return (struct session_point){(uint32_t)(s->local >> SESSION_LSN_BITS),
                                  s->local &
                                      ((UINT64_C(1) << SESSION_LSN_BITS) - 1)};
}

static int find(struct bytes token, uint32_t range, uint64_t wanted,
                struct session_point *point_out)
{
    struct session_point found = {0, 0};
    struct bytes element;
    if (token.len == 0)
        token.data = NULL;
    while (take_element(&token, &element)) {
        struct state state;
        uint64_t named;
        int err = element_parse(element, wanted, &named, &state);
        if (err != ERR_OK)
            return err;
        struct session_point point = point_of(&state, wanted != OWN_REGION);
        if (named == range && session_compare(point, found) > 0)
            found = point;
    }
    *point_out = found;
    return ERR_OK;
}

int session_find(struct bytes token, uint32_t range,
                 struct session_point *point_out)
{
    return find(token, range, OWN_REGION, point_out);
}

int session_find_part(struct bytes token, uint32_t range, uint16_t shard,
                      struct session_point *point_out)
{
    return find(token, range, shard, point_out);
}

/* The element of the highest version for `range`, as far as `token` is
 * well-formed, with what `wanted` has in it; all zero: there is none. */
static struct state newest(struct bytes token, uint32_t range, uint64_t wanted)
{
    struct state found = {.version = 0}, state;
    struct bytes element;
    uint64_t named;
    while (take_element(&token, &element))
        if (element_parse(element, wanted, &named, &state) == ERR_OK &&
            named == range && state.version > found.version)
            found = state;
    return found;
}

uint32_t session_version(struct bytes token, uint32_t range)
{
    return newest(token, range, OWN_REGION).version;
}

bool session_names(struct bytes token, uint32_t range, uint16_t shard)
{
    return newest(token, range, shard).local_known;
}

int64_t session_highest(struct bytes token)
{
    int64_t highest = -1;
    struct bytes element;
    struct state state;
    uint64_t named;
    while (take_element(&token, &element))
        if (element_parse(element, OWN_REGION, &named, &state) == ERR_OK &&
            named <= INT32_MAX && (int64_t)named > highest)
            highest = (int64_t)named;
    return highest;
}

/* ---- clients without tokens ---------------------------------------------- */

#define FLOOR_MAGIC MAGIC('f', 'l', 'o', 'r')
/* A point in one word, so that one instruction raises it: what LSNs leave is
 * the epoch's. */
#define FLOOR_LSN_BITS SESSION_LSN_BITS

struct session_floor {
    uint32_t magic;
    size_t count;
    _Atomic uint64_t points[];
};

struct session_floor *session_floor_new(size_t shards)
{
    struct session_floor *f =
        mem_zalloc(sizeof(*f) + shards * sizeof(f->points[0]));
    f->magic = FLOOR_MAGIC;
    f->count = shards;
    return f;
}

void session_floor_free(struct session_floor *f)
{
    if (f == NULL)
        return;
    CHECK_OBJ(f, FLOOR_MAGIC);
    f->magic = 0;
    mem_free(f);
}

void session_floor_raise(struct session_floor *f, uint16_t shard,
                         struct session_point point)
{
    CHECK_OBJ(f, FLOOR_MAGIC);
    if (shard >= f->count || point.lsn >> FLOOR_LSN_BITS != 0 ||
        point.epoch >> (64 - FLOOR_LSN_BITS) != 0)
        return;
    uint64_t value = (uint64_t)point.epoch << FLOOR_LSN_BITS | point.lsn;
    uint64_t now =
        atomic_load_explicit(&f->points[shard], memory_order_relaxed);
    while (now < value && !atomic_compare_exchange_weak_explicit(
                              &f->points[shard], &now, value,
                              memory_order_relaxed, memory_order_relaxed))
        ;
}

struct session_point session_floor_get(const struct session_floor *f,
                                       uint16_t shard)
{
    CHECK_OBJ(f, FLOOR_MAGIC);
    if (shard >= f->count)
        return (struct session_point){0, 0};
    uint64_t value =
        atomic_load_explicit(&f->points[shard], memory_order_relaxed);
    return (struct session_point){(uint32_t)(value >> FLOOR_LSN_BITS),
                                  value &
                                      ((UINT64_C(1) << FLOOR_LSN_BITS) - 1)};
}
