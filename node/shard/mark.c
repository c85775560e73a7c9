#include "node/shard/mark.h"

#include "node/base/bytes.h"
#include "node/catalog/numbers.h"
#include "node/shard/record.h"
#include "node/store/view.h"

void mark_write(const struct mark *m, uint8_t out[MARK_LEN])
{
    out[0] = (uint8_t)m->state;
    put_u64_be(out + 1, m->number);
}

/* Containers of the catalog, and conflicts, have none. */
static bool can_move(uint32_t container)
{
    return container >= CONTAINER_FIRST_USER &&
           (container & CONTAINER_CONFLICTS) == 0;
}

int mark_find(const struct memtable *m, struct kv kv, uint32_t container,
              uint64_t read_lsn, struct mark *out)
{
    struct record_key key;
    struct bytes value;
    *out = (struct mark){.state = OP_MARK_NONE};
    if (!can_move(container))
        return ERR_OK;
    record_mark_key(container, &key);
    int err = view_get(m, kv, record_key_bytes(&key), read_lsn, &value);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err != ERR_OK)
        return err;
    if (value.len != MARK_LEN || value.data[0] == OP_MARK_NONE ||
        value.data[0] >= OP_MARK_COUNT)
        return ERR_CORRUPT;
    *out = (struct mark){.state = value.data[0],
                         .number = get_u64_be(value.data + 1)};
    return ERR_OK;
}

static bool takes_clients(const struct mark *m)
{
    return m->state == OP_MARK_NONE || m->state == OP_MARK_OPEN ||
           m->state == OP_MARK_LEAVING;
}

/* What is dropped: everything, where the container is not to be read; its
 * graves, where it stayed. */
static bool may_drop(const struct mark *m, const struct op *op)
{
    if (op->graves)
        return m->state == OP_MARK_OPEN && m->number == op->move;
    return (m->state == OP_MARK_COMING || m->state == OP_MARK_GONE) &&
           m->number <= op->move;
}

int mark_admit_write(const struct mark *m, const struct op *op)
{
    bool ok;
    switch (op->mode) {
    case OP_MARK:
        ok = m->number <= op->move;
        break;
    case OP_COPY:
    case OP_UNCOPY:
        ok = m->state == OP_MARK_COMING && m->number == op->move;
        break;
    case OP_DROP:
        ok = may_drop(m, op);
        break;
    default:
        if (!can_move(op->at.container))
            return ERR_OK;
        return takes_clients(m) && m->number >= op->move ? ERR_OK : ERR_MOVED;
    }
    return ok ? ERR_OK : ERR_PRECONDITION;
}

int mark_admit_read(const struct mark *m, const struct op *op)
{
    if (!can_move(op->at.container))
        return ERR_OK;
    bool ok = takes_clients(m) || m->state == OP_MARK_SEALED;
    return ok && m->number >= op->move ? ERR_OK : ERR_MOVED;
}
