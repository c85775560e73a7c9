#include "node/store/entry.h"

#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"

int entry_new(uint64_t lsn, uint64_t term, uint8_t type, size_t len,
              struct entry **entry_out)
{
    CHECK(lsn > 0);
    if (len > ENTRY_MAX_BYTES)
        return ERR_LIMIT;
    /* Not mem_alloc: a client or a peer chose this size. */
    struct entry *e = mem_try_alloc(sizeof(*e) + len);
    if (e == NULL)
        return ERR_NO_MEMORY;
    e->magic = ENTRY_MAGIC;
    e->refs = 1;
    e->lsn = lsn;
    e->term = term;
    e->len = (uint32_t)len;
    e->type = type;
    *entry_out = e;
    return ERR_OK;
}

int entry_copy(uint64_t lsn, uint64_t term, uint8_t type, struct bytes payload,
               struct entry **entry_out)
{
    struct entry *e;
    int code = entry_new(lsn, term, type, payload.len, &e);
    if (code != ERR_OK)
        return code;
    if (payload.len > 0)
        memcpy(e->data, payload.data, payload.len);
    *entry_out = e;
    return ERR_OK;
}

struct entry *entry_ref(struct entry *e)
{
    CHECK_OBJ(e, ENTRY_MAGIC);
    CHECK(e->refs > 0 && e->refs < UINT32_MAX);
    e->refs++;
    return e;
}

void entry_unref(struct entry *e)
{
    if (e == NULL)
        return;
    CHECK_OBJ(e, ENTRY_MAGIC);
    CHECK(e->refs > 0);
    if (--e->refs > 0)
        return;
    e->magic = 0;
    mem_free(e);
}
