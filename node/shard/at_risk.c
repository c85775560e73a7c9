/* What the sudden loss of the write region would cost. */
#include "node/base/check.h"
#include "node/shard/record.h"
#include "node/shard/shard_impl.h"
#include "node/store/effects.h"

static void each_document(const struct entry *e,
                          void (*each)(void *user, uint32_t container),
                          void *user)
{
    struct effects_head head;
    struct effects_iter iter;
    struct effect effect;
    uint32_t container;
    uint64_t record;
    if (e->type != RAFT_ENTRY_DATA)
        return;
    CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
    while (effects_next(&iter, &effect)) {
        if (effect.key.len != RECORD_TEXT_KEY_LEN ||
            effect.key.data[0] != RECORD_TABLE_TEXT)
            continue;
        record_text_key_parts(effect.key, &container, &record);
        each(user, container);
    }
}

void shard_each_at_risk(const struct shard *s,
                        void (*each)(void *user, uint32_t container),
                        void *user)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    uint64_t visible = raft_visible_lsn(s->raft);
    for (uint64_t lsn = s->commit_seen + 1; lsn <= visible; lsn++) {
        const struct entry *e = entries_at(&s->entries, lsn);
        if (e != NULL)
            each_document(e, each, user);
    }
}
