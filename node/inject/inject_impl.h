/* The table of members, shared by reading and writing (private). */
#ifndef BASTIDE_INJECT_INJECT_IMPL_H
#define BASTIDE_INJECT_INJECT_IMPL_H

#include "node/inject/inject.h"

/* How a member's value is written and kept in struct inject_fault. */
enum inject_type {
    INJECT_TYPE_ID,       /* char[INJECT_ID_MAX + 1] */
    INJECT_TYPE_NAME,     /* char[INJECT_NAME_MAX + 1] */
    INJECT_TYPE_RESOURCE, /* char[INJECT_RESOURCE_MAX + 1] */
    INJECT_TYPE_BOOL,
    INJECT_TYPE_NUMBER,  /* 32 bits, `min` to `max` */
    INJECT_TYPE_PERCENT, /* uint32_t, of 1000 */
    INJECT_TYPE_TIME,    /* usec_t, whole milliseconds */
    INJECT_TYPE_WORD     /* an enum: the place of the word in `words` */
};

/* X(name, member of struct inject_fault, type, min, max, words, expected,
 * description). The description is what inject_describe says with the value
 * ("%s"); NULL: it says it in its own way. */
#define INJECT_MEMBER_LIST(X)                                                  \
    X(FROM, "from", from, NAME, 0, 0, NULL, "a region, a node or \"*\"", NULL) \
    X(TO, "to", to, NAME, 0, 0, NULL, "a region, a node or \"*\"", NULL)       \
    X(BOTH, "both", both, BOOL, 0, 0, NULL, "true or false", NULL)             \
    X(AT, "at", at, NAME, 0, 0, NULL, "a region, a node or \"*\"", NULL)       \
    X(DELAY, "delay_ms", delay_ms, NUMBER, 1, INJECT_DELAY_MAX_MS, NULL,       \
      "a whole number from 1 to 60000", "by %s ms")                            \
    X(JITTER, "jitter_ms", jitter_ms, NUMBER, 0, INJECT_DELAY_MAX_MS, NULL,    \
      "a whole number from 0 to 60000", "up to %s ms more")                    \
    X(KBIT, "kbit_per_second", kbit_per_second, NUMBER, 1, INJECT_KBIT_MAX,    \
      NULL, "a whole number from 1 to 10000000", "to %s kbit/s")               \
    X(OFFSET, "offset_ms", offset_ms, NUMBER, -INJECT_OFFSET_MAX_MS,           \
      INJECT_OFFSET_MAX_MS, NULL,                                              \
      "a whole number from -86400000 to 86400000 (a day)", "by %s ms")         \
    X(PPM, "ppm", ppm, NUMBER, -INJECT_PPM_MAX, INJECT_PPM_MAX, NULL,          \
      "a whole number from -500000 to 500000", "by %s ppm")                    \
    X(PROBLEM, "problem", problem, WORD, 0, 0, problem_words,                  \
      "expired, revoked or wrong-region", "%s")                                \
    X(DISK, "disk", disk, WORD, 0, 0, disk_words, "read, write or sync",       \
      "each %s")                                                               \
    X(FILE, "file", file, WORD, 0, 0, file_words, "log or store", "in the %s") \
    X(STATUS, "status", status, NUMBER, 400, 599, NULL,                        \
      "a whole number from 400 to 599", "status %s")                           \
    X(SUBSTATUS, "substatus", substatus, NUMBER, 0, 65535, NULL,               \
      "a whole number from 0 to 65535", "substatus %s")                        \
    X(RETRY_AFTER, "retry_after_ms", retry_after_ms, NUMBER, 0,                \
      INJECT_DELAY_MAX_MS, NULL, "a whole number from 0 to 60000",             \
      "retry after %s ms")                                                     \
    X(WHEN, "when", when, WORD, 0, 0, when_words, "before or after",           \
      "%s it was carried out")                                                 \
    X(KEY, "key", key, WORD, 0, 0, key_words,                                  \
      "primary, secondary, primary-readonly or secondary-readonly", "%s")      \
    X(OPERATION, "operation", operation, WORD, 0, 0, operation_words,          \
      "any, read, query, create, upsert, replace, delete, write, account or "  \
      "metadata",                                                              \
      "operation %s")                                                          \
    X(DATABASE, "database", database, RESOURCE, 0, 0, NULL,                    \
      "the id of a database", "database %s")                                   \
    X(CONTAINER, "container", container, RESOURCE, 0, 0, NULL,                 \
      "the id of a container", "container %s")                                 \
    X(PERCENT, "percent", permille, PERCENT, 1, 1000, NULL,                    \
      "a number from 0.1 to 100 in steps of 0.1", "%s%")                       \
    X(COUNT, "count", count, NUMBER, 1, INJECT_COUNT_MAX, NULL,                \
      "a whole number from 1 to 1000000", "%s times")                          \
    X(FOR, "for", for_us, TIME, 0, 0, NULL,                                    \
      "a time such as \"10s\", \"500ms\", \"2m\" or a number of seconds, at "  \
      "most a day",                                                            \
      NULL)                                                                    \
    X(ID, "id", id, ID, 0, 0, NULL,                                            \
      "1 to 32 lower case letters, digits and dashes", NULL)

enum inject_member_id {
#define INJECT_MEMBER_ENUM(id, name, field, type, min, max, words, expected,   \
                           text)                                               \
    INJECT_M_##id,
    INJECT_MEMBER_LIST(INJECT_MEMBER_ENUM)
#undef INJECT_MEMBER_ENUM
        INJECT_MEMBERS
};

struct inject_member_info {
    struct inject_member shown;
    enum inject_type type;
    size_t offset; /* in struct inject_fault */
    int64_t min, max;
    const char *const *words; /* NULL-terminated */
    const char *text;         /* see above */
};
extern const struct inject_member_info inject_member_table[INJECT_MEMBERS];

bool inject_takes(enum inject_kind kind, enum inject_member_id m);
bool inject_needs(enum inject_kind kind, enum inject_member_id m);

#endif
