#include "node/store/kv_mem.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/store/effects.h"

#define KV_MEM_MAGIC 0x6b766d65u

struct pair {
    struct bytes key;
    struct bytes value; /* both owned, one allocation each */
};

struct kv_mem {
    uint32_t magic;
    unsigned pins; /* kv_begin minus kv_end */
    uint64_t lsn, term;
    struct pair *pairs;
    size_t count;
    struct flush_info *info;
    size_t info_count;
};

struct mem_iter {
    struct kv_iter base;
    const struct kv_mem *k;
    size_t at;
    size_t end;
};

static struct kv_mem *of(void *ctx)
{
    struct kv_mem *k = ctx;
    CHECK_OBJ(k, KV_MEM_MAGIC);
    return k;
}

static struct pair pair_copy(struct bytes key, struct bytes value)
{
    return (struct pair){
        bytes_of(mem_dup(key.data, key.len), key.len),
        bytes_of(mem_dup(value.data, value.len), value.len),
    };
}

static void pair_free(struct pair *p)
{
    mem_free((void *)p->key.data);
    mem_free((void *)p->value.data);
}

/* Index of the first key >= `key`. */
static size_t lower_bound(const struct kv_mem *k, struct bytes key)
{
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (bytes_compare(k->pairs[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* -- kv.h -- */

static int mem_begin(void *ctx)
{
    of(ctx)->pins++;
    return ERR_OK;
}

static void mem_end(void *ctx)
{
    struct kv_mem *k = of(ctx);
    CHECK(k->pins > 0);
    k->pins--;
}

static int mem_get(void *ctx, struct bytes key, struct bytes *value_out)
{
    struct kv_mem *k = of(ctx);
    CHECK(k->pins > 0);
    size_t at = lower_bound(k, key);
    if (at == k->count || !bytes_equal(k->pairs[at].key, key))
        return ERR_NOT_FOUND;
    *value_out = k->pairs[at].value;
    return ERR_OK;
}

static const struct kv_ops mem_ops;

static int mem_iter_open(void *ctx, struct bytes from, struct bytes to,
                         struct kv_iter **iter_out)
{
    struct kv_mem *k = of(ctx);
    CHECK(k->pins > 0);
    if (from.len > EFFECTS_KEY_MAX || to.len > EFFECTS_KEY_MAX)
        return ERR_LIMIT;
    struct mem_iter *it = mem_alloc(sizeof(*it));
    it->base.ops = &mem_ops;
    it->k = k;
    it->at = lower_bound(k, from);
    it->end = to.len > 0 ? lower_bound(k, to) : k->count;
    *iter_out = &it->base;
    return ERR_OK;
}

static int mem_iter_next(struct kv_iter *iter, struct bytes *key_out,
                         struct bytes *value_out)
{
    struct mem_iter *it = (struct mem_iter *)iter;
    if (it->at >= it->end)
        return ERR_EOF;
    *key_out = it->k->pairs[it->at].key;
    *value_out = it->k->pairs[it->at].value;
    it->at++;
    return ERR_OK;
}

static void mem_iter_close(struct kv_iter *iter)
{
    mem_free(iter);
}

static uint64_t mem_flushed_lsn(void *ctx)
{
    return of(ctx)->lsn;
}

static const struct kv_ops mem_ops = {
    .begin = mem_begin,
    .end = mem_end,
    .get = mem_get,
    .iter_open = mem_iter_open,
    .iter_next = mem_iter_next,
    .iter_close = mem_iter_close,
    .flushed_lsn = mem_flushed_lsn,
};

/* -- the twin -- */

size_t kv_mem_count(const struct kv_mem *k)
{
    CHECK_OBJ(k, KV_MEM_MAGIC);
    return k->count;
}

struct kv_mem *kv_mem_new(void)
{
    struct kv_mem *k = mem_zalloc(sizeof(*k));
    k->magic = KV_MEM_MAGIC;
    return k;
}

static void clear(struct kv_mem *k)
{
    for (size_t i = 0; i < k->count; i++)
        pair_free(&k->pairs[i]);
    for (size_t i = 0; i < k->info_count; i++)
        mem_free(k->info[i].data);
    mem_free(k->pairs);
    mem_free(k->info);
    k->pairs = NULL;
    k->info = NULL;
    k->count = k->info_count = 0;
    k->lsn = k->term = 0;
}

void kv_mem_free(struct kv_mem *k)
{
    if (k == NULL)
        return;
    CHECK_OBJ(k, KV_MEM_MAGIC);
    clear(k);
    k->magic = 0;
    mem_free(k);
}

struct kv kv_mem_kv(struct kv_mem *k)
{
    return (struct kv){&mem_ops, of(k)};
}

static void set_info(struct kv_mem *k, const struct flush_info *from)
{
    struct flush_info *to = NULL;
    for (size_t i = 0; i < k->info_count && to == NULL; i++) {
        if (strcmp(k->info[i].name, from->name) == 0)
            to = &k->info[i];
    }
    if (to == NULL) {
        k->info = mem_realloc(k->info, (k->info_count + 1) * sizeof(*k->info));
        to = &k->info[k->info_count++];
        to->data = NULL;
    }
    mem_free(to->data);
    *to = *from;
    to->data = mem_dup(from->data, from->len);
}

/* Merges the sorted operations into the sorted pairs. */
static void merge(struct kv_mem *k, const struct flush *f)
{
    struct pair *merged =
        mem_alloc((k->count + f->count + 1) * sizeof(*merged));
    size_t count = 0, at = 0;
    for (size_t i = 0; i < f->count; i++) {
        const struct flush_op *op = &f->ops[i];
        while (at < k->count && bytes_compare(k->pairs[at].key, op->key) < 0)
            merged[count++] = k->pairs[at++];
        if (at < k->count && bytes_equal(k->pairs[at].key, op->key))
            pair_free(&k->pairs[at++]);
        if (!op->deleted)
            merged[count++] = pair_copy(op->key, op->value);
    }
    while (at < k->count)
        merged[count++] = k->pairs[at++];
    mem_free(k->pairs);
    k->pairs = merged;
    k->count = count;
}

void kv_mem_flush(struct kv_mem *k, const struct flush *f)
{
    CHECK_OBJ(k, KV_MEM_MAGIC);
    CHECK_OBJ(f, FLUSH_MAGIC);
    CHECK(k->pins == 0 && f->complete);
    CHECK(f->base_lsn <= k->lsn && f->lsn >= k->lsn);
    merge(k, f);
    for (unsigned i = 0; i < f->info_count; i++)
        set_info(k, &f->info[i]);
    k->lsn = f->lsn;
    k->term = f->term;
}

uint64_t kv_mem_flushed_term(const struct kv_mem *k)
{
    return k->term;
}

int kv_mem_info(const struct kv_mem *k, const char *name,
                struct bytes *blob_out)
{
    for (size_t i = 0; i < k->info_count; i++) {
        if (strcmp(k->info[i].name, name) != 0)
            continue;
        *blob_out = bytes_of(k->info[i].data, k->info[i].len);
        return ERR_OK;
    }
    return ERR_NOT_FOUND;
}

void kv_mem_copy(struct kv_mem *to, const struct kv_mem *from)
{
    CHECK_OBJ(to, KV_MEM_MAGIC);
    CHECK(to->pins == 0 && to != from);
    clear(to);
    to->lsn = from->lsn;
    to->term = from->term;
    to->pairs = mem_alloc((from->count + 1) * sizeof(*to->pairs));
    for (size_t i = 0; i < from->count; i++)
        to->pairs[i] = pair_copy(from->pairs[i].key, from->pairs[i].value);
    to->count = from->count;
    for (size_t i = 0; i < from->info_count; i++)
        set_info(to, &from->info[i]);
}

void kv_mem_drop_prefix(struct kv_mem *k, struct bytes prefix)
{
    CHECK_OBJ(k, KV_MEM_MAGIC);
    CHECK(k->pins == 0);
    size_t kept = 0;
    for (size_t i = 0; i < k->count; i++) {
        struct bytes key = k->pairs[i].key;
        if (key.len >= prefix.len &&
            bytes_equal(bytes_of(key.data, prefix.len), prefix))
            pair_free(&k->pairs[i]);
        else
            k->pairs[kept++] = k->pairs[i];
    }
    k->count = kept;
}
