#include "node/govern/word.h"

#include "node/base/check.h"
#include "node/catalog/catalog.h"

#define VERSION_DEFAULT 2
#define VERSION_GROUPS 3
#define FLAG_FORCED 1
#define FLAG_SETTLED 2
#define FLAG_FOLLOWED 4

void govern_words_begin(uint32_t groups, struct buf *out)
{
    CHECK(groups >= 1 && groups <= UINT8_MAX);
    const uint8_t alone = VERSION_DEFAULT;
    const uint8_t several[2] = {VERSION_GROUPS, (uint8_t)groups};
    CHECK((groups == 1 ? buf_append(out, &alone, 1)
                       : buf_append(out, several, sizeof(several))) == ERR_OK);
}

void govern_words_put(uint32_t groups, uint16_t number,
                      const struct govern_word *word, struct buf *out)
{
    uint8_t b[2 + GOVERN_WORD_BYTES], *at = b + 2;
    const struct govern_hint *d = &word->decision;
    put_u16_le(b, number);
    put_u32_le(at, d->epoch);
    put_u32_le(at + 4, word->pause_ms);
    put_u64_le(at + 8, word->at_risk_entries);
    put_u32_le(at + 16, word->at_risk_ms);
    put_u16_le(at + 20, (uint16_t)d->write_region);
    at[22] = (uint8_t)((d->forced ? FLAG_FORCED : 0) |
                       (d->settled ? FLAG_SETTLED : 0) |
                       (word->followed ? FLAG_FOLLOWED : 0));
    at[23] = (uint8_t)d->consistency.level;
    put_u32_le(at + 24, (uint32_t)d->consistency.max_staleness_prefix);
    put_u32_le(at + 28, (uint32_t)d->consistency.max_staleness_interval);
    put_u32_le(at + 32, d->recovered_epoch);
    CHECK((groups == 1 ? buf_append(out, at, GOVERN_WORD_BYTES)
                       : buf_append(out, b, sizeof(b))) == ERR_OK);
}

int govern_words_open(struct govern_words *r, struct bytes gossip)
{
    *r = (struct govern_words){.cursor = cursor_of(gossip.data, gossip.len)};
    uint8_t version = cursor_u8(&r->cursor);
    r->numbered = version == VERSION_GROUPS;
    r->left = r->numbered ? cursor_u8(&r->cursor) : 1;
    return r->numbered || version == VERSION_DEFAULT ? ERR_OK : ERR_UNSUPPORTED;
}

bool govern_words_next(struct govern_words *r, uint16_t *number_out,
                       struct govern_word *word_out)
{
    struct cursor *c = &r->cursor;
    struct govern_word w = {.followed = false};
    struct govern_hint *d = &w.decision;
    if (r->left == 0)
        return false;
    r->left--;
    *number_out = r->numbered ? cursor_u16_le(c) : GROUP_DEFAULT;
    d->epoch = cursor_u32_le(c);
    w.pause_ms = cursor_u32_le(c);
    w.at_risk_entries = cursor_u64_le(c);
    w.at_risk_ms = cursor_u32_le(c);
    d->write_region = (raft_region)cursor_u16_le(c);
    uint8_t flags = cursor_u8(c);
    d->forced = (flags & FLAG_FORCED) != 0;
    d->settled = (flags & FLAG_SETTLED) != 0;
    w.followed = (flags & FLAG_FOLLOWED) != 0;
    d->consistency.level = (enum consistency_level)cursor_u8(c);
    d->consistency.max_staleness_prefix = (int32_t)cursor_u32_le(c);
    d->consistency.max_staleness_interval = (int32_t)cursor_u32_le(c);
    d->recovered_epoch = cursor_u32_le(c);
    *word_out = w;
    return cursor_ok(c);
}

int govern_words_end(struct govern_words *r, struct bytes *rest_out)
{
    if (!cursor_ok(&r->cursor) || r->left > 0)
        return ERR_MALFORMED;
    size_t left = cursor_left(&r->cursor);
    *rest_out = bytes_of(cursor_take(&r->cursor, left), left);
    return ERR_OK;
}
