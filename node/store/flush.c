#include "node/store/flush.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/store/effects.h"

struct flush *flush_new(uint64_t base_lsn, uint64_t lsn, uint64_t term)
{
    CHECK(base_lsn <= lsn);
    struct flush *f = mem_zalloc(sizeof(*f));
    f->magic = FLUSH_MAGIC;
    f->base_lsn = base_lsn;
    f->lsn = lsn;
    f->term = term;
    return f;
}

static void add_op(struct flush *f, const struct memtable_version *v)
{
    if (f->count == f->cap) {
        f->cap = f->cap == 0 ? 64 : 2 * f->cap;
        f->ops = mem_realloc(f->ops, f->cap * sizeof(*f->ops));
    }
    f->ops[f->count++] = (struct flush_op){
        .key = v->key,
        .value = v->value,
        .deleted = v->deleted,
        .entry = entry_ref(v->entry),
    };
    f->bytes += v->key.len + v->value.len;
}

bool flush_collect(struct flush *f, const struct memtable *m, size_t budget)
{
    CHECK_OBJ(f, FLUSH_MAGIC);
    struct memtable_iter iter;
    struct memtable_version v;
    memtable_seek(m, bytes_of(f->resume, f->resume_len), f->resume_len > 0,
                  f->lsn, &iter);
    for (size_t i = 0; i < budget; i++) {
        if (!memtable_next(&iter, &v)) {
            f->complete = true;
            return true;
        }
        /* Older ones wait for memtable_trim; the engine has them. */
        if (v.lsn > f->base_lsn)
            add_op(f, &v);
        memcpy(f->resume, v.key.data, v.key.len);
        f->resume_len = v.key.len;
    }
    return false;
}

static struct flush_info *info_slot(struct flush *f, const char *name)
{
    for (unsigned i = 0; i < f->info_count; i++) {
        if (strcmp(f->info[i].name, name) == 0)
            return &f->info[i];
    }
    if (f->info_count == FLUSH_INFO_MAX)
        return NULL;
    struct flush_info *info = &f->info[f->info_count++];
    memcpy(info->name, name, strlen(name) + 1);
    return info;
}

int flush_set_info(struct flush *f, const char *name, struct bytes blob)
{
    CHECK_OBJ(f, FLUSH_MAGIC);
    size_t len = strlen(name);
    CHECK(len >= 1 && len <= FLUSH_INFO_NAME_MAX && name[0] != '_');
    if (blob.len > FLUSH_INFO_BYTES_MAX)
        return ERR_LIMIT;
    struct flush_info *info = info_slot(f, name);
    if (info == NULL)
        return ERR_LIMIT;
    mem_free(info->data);
    info->data = mem_dup(blob.data, blob.len);
    info->len = blob.len;
    return ERR_OK;
}

void flush_free(struct flush *f)
{
    if (f == NULL)
        return;
    CHECK_OBJ(f, FLUSH_MAGIC);
    for (size_t i = 0; i < f->count; i++)
        entry_unref(f->ops[i].entry);
    for (unsigned i = 0; i < f->info_count; i++)
        mem_free(f->info[i].data);
    mem_free(f->ops);
    f->magic = 0;
    mem_free(f);
}
