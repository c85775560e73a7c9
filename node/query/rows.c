#include "node/query/rows.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/query/query.h"

/* -- row lists
 * ----------------------------------------------------------------- */

/* Behind the string whose opening quote is at `at`. */
static size_t skip_string(struct bytes rows, size_t at)
{
    for (at++; at < rows.len && rows.data[at] != '"'; at++)
        at += rows.data[at] == '\\';
    return at + 1;
}

bool query_rows_next(struct bytes *rows, struct bytes *row_out)
{
    size_t depth = 0, at = 0;
    if (rows->len == 0)
        return false;
    while (at < rows->len && (depth > 0 || rows->data[at] != ',')) {
        uint8_t c = rows->data[at];
        if (c == '"') {
            at = skip_string(*rows, at);
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && depth > 0)
            depth--;
        at++;
    }
    at = at < rows->len ? at : rows->len;
    *row_out = bytes_of(rows->data, at);
    at += at < rows->len; /* the comma */
    *rows = bytes_of(rows->data + at, rows->len - at);
    return true;
}

int query_rows_append(struct buf *rows, struct bytes row)
{
    size_t before = buf_len(rows);
    int result = before > 0 ? buf_append(rows, ",", 1) : ERR_OK;
    if (result == ERR_OK)
        result = buf_append(rows, row.data, row.len);
    if (result != ERR_OK)
        buf_truncate(rows, before);
    return result;
}

/* -- row sets
 * -------------------------------------------------------------------- */

/* Rows held before the first settling; later, twice what survived. */
#define SETTLE_MIN 1024

void rowset_init(struct rowset *s, struct rowset_limits limits, bool distinct,
                 size_t max)
{
    *s = (struct rowset){.limits = limits,
                         .distinct = distinct,
                         .settled = true,
                         .settle = SETTLE_MIN,
                         .max = max};
}

void rowset_free(struct rowset *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        free(s->rows[i].data);
    free(s->rows);
    s->rows = NULL;
    s->count = s->cap = 0;
    s->held = 0;
}

bool rowset_wants(const struct rowset *s, struct bytes key)
{
    if (s->limits.keep == 0)
        return false;
    if (!s->settled || !s->full)
        return true;
    return bytes_compare(key, row_key(&s->rows[s->count - 1])) < 0;
}

static int by_key(const void *a, const void *b)
{
    return bytes_compare(row_key(a), row_key(b));
}

static void drop(struct rowset *s, struct row *r)
{
    s->held -= sizeof(*r) + r->key_len + r->identity_len + r->text_len;
    free(r->data);
    r->data = NULL;
}

/* An identity that was met. */
struct seen {
    UT_hash_handle hh;
};

/* Drops every row whose identity a row before it has. */
static int drop_duplicates(struct rowset *s)
{
    struct seen *table = NULL, *entry;
    struct seen *entries = mem_try_zalloc((s->count + 1) * sizeof(*entries));
    if (entries == NULL)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < s->count; i++) {
        struct bytes identity = row_identity(&s->rows[i]);
        HASH_FIND(hh, table, identity.data, identity.len, entry);
        if (entry != NULL) {
            drop(s, &s->rows[i]);
            continue;
        }
        entry = &entries[i];
        HASH_ADD_KEYPTR(hh, table, identity.data, identity.len, entry);
    }
    HASH_CLEAR(hh, table);
    free(entries);
    return ERR_OK;
}

/* Drops what is beyond the limits and closes the gaps. Two rows behind `skip`
 * stay whatever their size: one to deliver, one to say that there are more. */
static void cut(struct rowset *s)
{
    const struct rowset_limits *l = &s->limits;
    uint32_t kept = 0;
    uint64_t bytes = 0;
    s->full = false;
    for (uint32_t i = 0; i < s->count; i++) {
        struct row *r = &s->rows[i];
        if (r->data == NULL)
            continue;
        s->full |= kept >= l->keep || (bytes > l->bytes && kept - l->skip >= 2);
        if (s->full) {
            drop(s, r);
            continue;
        }
        if (kept >= l->skip)
            bytes += r->text_len;
        s->rows[kept++] = *r;
    }
    s->count = kept;
    s->full |= kept >= l->keep;
}

int rowset_settle(struct rowset *s)
{
    if (s->settled)
        return ERR_OK;
    qsort(s->rows, s->count, sizeof(*s->rows), by_key);
    if (s->distinct) {
        int result = drop_duplicates(s);
        if (result != ERR_OK)
            return result;
    }
    cut(s);
    s->settled = true;
    s->settle = s->count > SETTLE_MIN / 2 ? 2 * s->count : SETTLE_MIN;
    return ERR_OK;
}

static int make_room(struct rowset *s)
{
    if (s->count < s->cap)
        return ERR_OK;
    uint32_t cap = s->cap > 0 ? 2 * s->cap : 64;
    struct row *rows = mem_try_realloc(s->rows, cap * sizeof(*rows));
    if (rows == NULL)
        return ERR_NO_MEMORY;
    s->rows = rows;
    s->cap = cap;
    return ERR_OK;
}

int rowset_add(struct rowset *s, struct bytes key, struct bytes identity,
               struct bytes text)
{
    struct row r = {NULL, (uint32_t)key.len, (uint32_t)identity.len,
                    (uint32_t)text.len};
    size_t size = key.len + identity.len + text.len;
    int result = ERR_OK;
    if (!rowset_wants(s, key))
        return ERR_OK;
    if (s->count >= s->settle || s->held + sizeof(r) + size > s->max)
        result = rowset_settle(s);
    if (result == ERR_OK && s->held + sizeof(r) + size > s->max)
        result = ERR_LIMIT;
    if (result == ERR_OK)
        result = make_room(s);
    if (result != ERR_OK)
        return result;
    r.data = mem_try_alloc(size + 1);
    if (r.data == NULL)
        return ERR_NO_MEMORY;
    uint8_t *to = r.data;
    if (key.len > 0)
        to = mempcpy(to, key.data, key.len);
    if (identity.len > 0)
        to = mempcpy(to, identity.data, identity.len);
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    s->rows[s->count++] = r;
    s->held += sizeof(r) + size;
    s->settled = false;
    s->full = false;
    return ERR_OK;
}
