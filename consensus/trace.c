#include "consensus/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "node/base/check.h"

static const struct {
    const char *name;
    const char *lsn;
    const char *value;
} words[RAFT_TRACE_TYPES] = {
#define TRACE_ROW(name, lsn, value) [RAFT_TRACE_##name] = {#name, lsn, value},
    RAFT_TRACE_LIST(TRACE_ROW)
#undef TRACE_ROW
};

static size_t add(char *out, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static size_t add(char *out, size_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out + at, RAFT_TRACE_TEXT_MAX - at, format, args);
    va_end(args);
    CHECK(n >= 0);
    size_t end = at + (size_t)n;
    return end < RAFT_TRACE_TEXT_MAX ? end : RAFT_TRACE_TEXT_MAX - 1;
}

size_t raft_trace_format(const struct raft_trace *t,
                         char out[RAFT_TRACE_TEXT_MAX])
{
    CHECK(t->type < RAFT_TRACE_TYPES);
    size_t at = add(out, 0, "n%" PRIu32 " t%" PRIu32 ".%" PRIu32 " %s", t->self,
                    RAFT_TERM_EPOCH(t->term), RAFT_TERM_COUNTER(t->term),
                    words[t->type].name);
    if (t->peer != 0)
        at = add(out, at, " peer=n%" PRIu32, t->peer);
    if (words[t->type].lsn[0] != '\0')
        at = add(out, at, " %s=%" PRIu64, words[t->type].lsn, t->lsn);
    if (words[t->type].value[0] != '\0')
        at = add(out, at, " %s=%" PRIu64, words[t->type].value, t->value);
    return at;
}
