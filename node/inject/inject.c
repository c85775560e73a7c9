/* The tables of kinds and members, and reading by them. */
#include "node/inject/inject.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/inject/inject_impl.h"

/* ---- members ---------------------------------------------------------------
 */

static const char *const problem_words[] = {[INJECT_EXPIRED] = "expired",
                                            [INJECT_REVOKED] = "revoked",
                                            [INJECT_WRONG_REGION] =
                                                "wrong-region",
                                            NULL};
static const char *const disk_words[] = {[INJECT_READ] = "read",
                                         [INJECT_WRITE] = "write",
                                         [INJECT_SYNC] = "sync",
                                         NULL};
static const char *const file_words[] = {
    [INJECT_LOG] = "log", [INJECT_STORE] = "store", NULL};
static const char *const when_words[] = {
    [INJECT_BEFORE] = "before", [INJECT_AFTER] = "after", NULL};
static const char *const key_words[] = {
    [INJECT_PRIMARY] = "primary",
    [INJECT_SECONDARY] = "secondary",
    [INJECT_PRIMARY_READONLY] = "primary-readonly",
    [INJECT_SECONDARY_READONLY] = "secondary-readonly",
    NULL};
static const char *const operation_words[] = {[INJECT_OP_ANY] = "any",
                                              [INJECT_OP_READ] = "read",
                                              [INJECT_OP_QUERY] = "query",
                                              [INJECT_OP_CREATE] = "create",
                                              [INJECT_OP_UPSERT] = "upsert",
                                              [INJECT_OP_REPLACE] = "replace",
                                              [INJECT_OP_DELETE] = "delete",
                                              [INJECT_OP_WRITE] = "write",
                                              [INJECT_OP_ACCOUNT] = "account",
                                              [INJECT_OP_METADATA] = "metadata",
                                              NULL};

const struct inject_member_info inject_member_table[INJECT_MEMBERS] = {
#define INJECT_MEMBER_ROW(id, name, field, type, min, max, words, expected,    \
                          text)                                                \
    [INJECT_M_##                                                               \
        id] = {{name, expected, INJECT_TYPE_##type == INJECT_TYPE_BOOL},       \
               INJECT_TYPE_##type,                                             \
               offsetof(struct inject_fault, field),                           \
               min,                                                            \
               max,                                                            \
               words,                                                          \
               text},
    INJECT_MEMBER_LIST(INJECT_MEMBER_ROW)
#undef INJECT_MEMBER_ROW
};

const struct inject_member *inject_member(size_t i)
{
    return i < INJECT_MEMBERS ? &inject_member_table[i].shown : NULL;
}

/* ---- kinds -----------------------------------------------------------------
 */

#define M(name) (1u << INJECT_M_##name)
#define LINK_NEEDED (M(FROM) | M(TO))
#define LINK_TAKEN (LINK_NEEDED | M(BOTH) | M(FOR) | M(ID))
#define NODE_TAKEN (M(AT) | M(FOR) | M(ID))
#define CLIENT_TAKEN                                                           \
    (M(AT) | M(OPERATION) | M(DATABASE) | M(CONTAINER) | M(PERCENT) |          \
     M(COUNT) | M(FOR) | M(ID))

/* X(kind, members it needs, members it takes beyond these) */
#define KIND_MEMBERS(X)                                                        \
    X(CUT, LINK_NEEDED, LINK_TAKEN)                                            \
    X(DELAY, LINK_NEEDED | M(DELAY), LINK_TAKEN | M(JITTER))                   \
    X(LOSS, LINK_NEEDED | M(PERCENT), LINK_TAKEN)                              \
    X(DUPLICATE, LINK_NEEDED | M(PERCENT), LINK_TAKEN)                         \
    X(BANDWIDTH, LINK_NEEDED | M(KBIT), LINK_TAKEN)                            \
    X(SLOW_CLOSE, LINK_NEEDED | M(DELAY), LINK_TAKEN)                          \
    X(HANDSHAKE, LINK_NEEDED, LINK_TAKEN | M(PERCENT))                         \
    X(CERTIFICATE, M(AT) | M(PROBLEM), NODE_TAKEN)                             \
    X(DOWN, M(AT), NODE_TAKEN)                                                 \
    X(KILL, M(AT), NODE_TAKEN)                                                 \
    X(PAUSE, M(AT) | M(FOR), NODE_TAKEN)                                       \
    X(SLOW_LOOP, M(AT) | M(DELAY), NODE_TAKEN)                                 \
    X(CLOCK_JUMP, M(AT) | M(OFFSET), NODE_TAKEN)                               \
    X(CLOCK_DRIFT, M(AT) | M(PPM), NODE_TAKEN)                                 \
    X(DISK_FULL, M(AT), NODE_TAKEN)                                            \
    X(DISK_SLOW, M(AT) | M(DELAY), NODE_TAKEN)                                 \
    X(DISK_HANG, M(AT), NODE_TAKEN)                                            \
    X(DISK_ERROR, M(AT) | M(DISK), NODE_TAKEN)                                 \
    X(TORN_WRITE, M(AT), NODE_TAKEN)                                           \
    X(BIT_FLIP, M(AT) | M(FILE), M(ID))                                        \
    X(ALLOCATION, M(AT) | M(PERCENT), NODE_TAKEN)                              \
    X(RESPOND, M(STATUS),                                                      \
      CLIENT_TAKEN | M(SUBSTATUS) | M(RETRY_AFTER) | M(WHEN))                  \
    X(RESET, 0, CLIENT_TAKEN | M(WHEN))                                        \
    X(ANSWER_DELAY, M(DELAY), CLIENT_TAKEN)                                    \
    X(TRUNCATE, 0, CLIENT_TAKEN)                                               \
    X(KEY_ROTATED, M(KEY), NODE_TAKEN)

struct kind_info {
    const char *word, *what;
    enum inject_family family;
    uint32_t needed, taken; /* 1 << member; `needed` is a part of `taken` */
};

static const struct kind_info kinds[INJECT_KIND_COUNT] = {
#define KIND_WORDS(kind, word_, family_, what_)                                \
    [INJECT_##kind].word = word_, [INJECT_##kind].what = what_,                \
    [INJECT_##kind].family = INJECT_##family_,
#define KIND_SETS(kind, needed_, taken_)                                       \
    [INJECT_##kind].needed = needed_,                                          \
    [INJECT_##kind].taken = (needed_) | (taken_),
    INJECT_KIND_LIST(KIND_WORDS) KIND_MEMBERS(KIND_SETS)
#undef KIND_WORDS
#undef KIND_SETS
};

const char *inject_word(enum inject_kind kind)
{
    return kinds[kind].word;
}

enum inject_family inject_family_of(enum inject_kind kind)
{
    return kinds[kind].family;
}

const char *inject_what(enum inject_kind kind)
{
    return kinds[kind].what;
}

bool inject_is_instant(enum inject_kind kind)
{
    return kind == INJECT_KILL || kind == INJECT_PAUSE ||
           kind == INJECT_BIT_FLIP;
}

bool inject_takes(enum inject_kind kind, enum inject_member_id m)
{
    return (kinds[kind].taken & 1u << m) != 0;
}

bool inject_takes_member(enum inject_kind kind, size_t i)
{
    return i < INJECT_MEMBERS && inject_takes(kind, (enum inject_member_id)i);
}

bool inject_needs(enum inject_kind kind, enum inject_member_id m)
{
    return (kinds[kind].needed & 1u << m) != 0;
}

const char *inject_default(enum inject_kind kind, size_t i)
{
    if (!inject_takes_member(kind, i) || inject_needs(kind, i))
        return NULL;
    switch ((enum inject_member_id)i) {
    case INJECT_M_AT:
        return "\"*\"";
    case INJECT_M_PERCENT:
        return "100";
    case INJECT_M_WHEN:
        return when_words[INJECT_BEFORE];
    case INJECT_M_OPERATION:
        return operation_words[INJECT_OP_ANY];
    case INJECT_M_RETRY_AFTER:
        return "100 with status 429";
    case INJECT_M_SUBSTATUS:
        return "3200 with status 429";
    default:
        return NULL;
    }
}

static const char *name_of(const char *const *names, unsigned member)
{
    return names != NULL ? names[member]
                         : inject_member_table[member].shown.name;
}

void inject_members(enum inject_kind kind, const char *const *names,
                    struct buf *out)
{
    const char *comma = "";
    for (unsigned m = 0; m < INJECT_MEMBERS; m++) {
        if (!inject_takes(kind, m))
            continue;
        (void)buf_printf(out, "%s%s%s", comma, name_of(names, m),
                         inject_needs(kind, m) ? " (needed)" : "");
        comma = ", ";
    }
}

int inject_find_kind(struct bytes word, enum inject_kind *kind_out)
{
    for (size_t k = 0; k < INJECT_KIND_COUNT; k++)
        if (bytes_equal(word, bytes_str(kinds[k].word))) {
            *kind_out = (enum inject_kind)k;
            return ERR_OK;
        }
    return ERR_NOT_FOUND;
}

/* ---- reading values --------------------------------------------------------
 */

/* The text of a string that has no NUL and fits `max` bytes, as a C string. */
static bool read_text(const struct json *j, json_ref value, char *out,
                      size_t max)
{
    struct bytes text;
    struct buf scratch;
    if (json_type(j, value) != JSON_STRING)
        return false;
    buf_init(&scratch, INJECT_BODY_MAX);
    bool ok = json_string(j, value, &scratch, &text) == ERR_OK &&
              text.len > 0 && text.len <= max &&
              memchr(text.data, '\0', text.len) == NULL;
    if (ok) {
        memcpy(out, text.data, text.len);
        out[text.len] = '\0';
    }
    buf_free(&scratch);
    return ok;
}

/* Whether `text` has only bytes of `set`. */
static bool made_of(const char *text, const char *set)
{
    return text[strspn(text, set)] == '\0';
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool read_id(const struct json *j, json_ref value, void *field)
{
    return read_text(j, value, field, INJECT_ID_MAX) &&
           made_of(field, LOWER DIGITS "-");
}

static bool read_name(const struct json *j, json_ref value, void *field)
{
    char *name = field;
    return read_text(j, value, name, INJECT_NAME_MAX) &&
           (strcmp(name, "*") == 0 || made_of(name, LOWER UPPER DIGITS "._-"));
}

static bool read_number(const struct json *j, json_ref value,
                        const struct inject_member_info *m, void *field)
{
    int64_t n;
    if (json_type(j, value) != JSON_NUMBER ||
        json_int64(j, value, &n) != ERR_OK || n < m->min || n > m->max)
        return false;
    int32_t narrow = (int32_t)n;
    memcpy(field, &narrow, sizeof(narrow));
    return true;
}

static bool read_percent(const struct json *j, json_ref value, void *field)
{
    if (json_type(j, value) != JSON_NUMBER)
        return false;
    double permille = json_number(j, value) * 10;
    if (!(permille >= 1 && permille <= 1000) ||
        fabs(permille - round(permille)) > 1e-6)
        return false;
    *(uint32_t *)field = (uint32_t)lround(permille);
    return true;
}

/* "10s": digits and a unit. */
static bool parse_time(const char *text, double *seconds_out)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
    size_t digits = strspn(text, DIGITS);
    if (digits == 0 || digits > 9)
        return false;
    double n = 0;
    for (size_t i = 0; i < digits; i++)
        n = n * 10 + (text[i] - '0');
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(text + digits, units[i].unit) == 0) {
            *seconds_out = n * units[i].seconds;
            return true;
        }
    return false;
}

static bool read_time(const struct json *j, json_ref value, void *field)
{
    char text[16];
    double seconds = 0;
    if (json_type(j, value) == JSON_NUMBER)
        seconds = json_number(j, value);
    else if (!read_text(j, value, text, sizeof(text) - 1) ||
             !parse_time(text, &seconds))
        return false;
    if (!(seconds >= 1e-3 && seconds * 1e6 <= (double)INJECT_FOR_MAX_US))
        return false;
    *(usec_t *)field = llround(seconds * 1000) * USEC_PER_MS;
    return true;
}

static bool read_word(const struct json *j, json_ref value,
                      const char *const *words, void *field)
{
    _Static_assert(sizeof(enum inject_operation) == sizeof(uint32_t) &&
                       sizeof(enum inject_key) == sizeof(uint32_t),
                   "enums of struct inject_fault are 32 bits");
    if (json_type(j, value) != JSON_STRING)
        return false;
    for (uint32_t i = 0; words[i] != NULL; i++)
        if (json_string_equal(j, value, bytes_str(words[i]))) {
            memcpy(field, &i, sizeof(i));
            return true;
        }
    return false;
}

static bool read_value(const struct json *j, json_ref value,
                       const struct inject_member_info *m,
                       struct inject_fault *f)
{
    void *field = (char *)f + m->offset;
    switch (m->type) {
    case INJECT_TYPE_ID:
        return read_id(j, value, field);
    case INJECT_TYPE_NAME:
        return read_name(j, value, field);
    case INJECT_TYPE_RESOURCE:
        return read_text(j, value, field, INJECT_RESOURCE_MAX);
    case INJECT_TYPE_BOOL:
        if (json_type(j, value) != JSON_BOOL)
            return false;
        *(bool *)field = json_bool(j, value);
        return true;
    case INJECT_TYPE_NUMBER:
        return read_number(j, value, m, field);
    case INJECT_TYPE_PERCENT:
        return read_percent(j, value, field);
    case INJECT_TYPE_TIME:
        return read_time(j, value, field);
    case INJECT_TYPE_WORD:
        return read_word(j, value, m->words, field);
    }
    CHECK_UNREACHABLE();
}

/* ---- reading a fault -------------------------------------------------------
 */

/* ERR_INVALID, and what the kind takes. */
static int refuse(struct err_msg *msg, enum inject_kind kind,
                  const char *const *names, const char *problem,
                  const char *member)
{
    char storage[ERR_MSG_MAX];
    struct buf takes = buf_over(storage, sizeof(storage) - 1);
    inject_members(kind, names, &takes);
    return err_set(msg, ERR_INVALID, "%s %s %s; it takes %.*s",
                   kinds[kind].word, problem, member, (int)buf_len(&takes),
                   storage);
}

static int unknown_kind(struct err_msg *msg)
{
    char storage[ERR_MSG_MAX];
    struct buf words = buf_over(storage, sizeof(storage) - 1);
    for (size_t k = 0; k < INJECT_KIND_COUNT; k++)
        (void)buf_printf(&words, "%s%s", k > 0 ? ", " : "", kinds[k].word);
    return err_set(msg, ERR_INVALID, "kind: expected one of %.*s",
                   (int)buf_len(&words), storage);
}

static int read_kind(const struct json *j, json_ref ref,
                     enum inject_kind *kind_out, struct err_msg *msg)
{
    json_ref value = json_get_str(j, ref, "kind");
    if (value != JSON_NONE && json_type(j, value) == JSON_STRING)
        for (size_t k = 0; k < INJECT_KIND_COUNT; k++)
            if (json_string_equal(j, value, bytes_str(kinds[k].word))) {
                *kind_out = (enum inject_kind)k;
                return ERR_OK;
            }
    return unknown_kind(msg);
}

/* INJECT_MEMBERS when there is none. */
static unsigned find_member(const struct json *j, json_ref key)
{
    unsigned m = 0;
    while (m < INJECT_MEMBERS &&
           !json_string_equal(j, key,
                              bytes_str(inject_member_table[m].shown.name)))
        m++;
    return m;
}

/* A member of the user's, as written and not too long for a message. */
static const char *shown_name(const struct json *j, json_ref key, char out[48])
{
    struct bytes raw = json_raw(j, key);
    snprintf(out, 48, "%.*s", (int)(raw.len - 2), (const char *)raw.data + 1);
    return out;
}

static int read_member(const struct json *j, json_ref key,
                       const char *const *names, uint32_t *seen,
                       struct inject_fault *f, struct err_msg *msg)
{
    char unknown[48];
    unsigned m = find_member(j, key);
    if (m == INJECT_MEMBERS)
        return refuse(msg, f->kind, names, "has no member",
                      shown_name(j, key, unknown));
    const char *name = name_of(names, m);
    const struct inject_member_info *info = &inject_member_table[m];
    if (!inject_takes(f->kind, m))
        return refuse(msg, f->kind, names, "does not take", name);
    if ((*seen & 1u << m) != 0)
        return err_set(msg, ERR_INVALID, "%s is there twice", name);
    *seen |= 1u << m;
    if (!read_value(j, key + 1, info, f))
        return err_set(msg, ERR_INVALID, "%s: expected %s", name,
                       info->shown.expected);
    return ERR_OK;
}

static int read_members(const struct json *j, json_ref ref,
                        const char *const *names, struct inject_fault *f,
                        struct err_msg *msg)
{
    uint32_t seen = 0;
    unsigned kind_seen = 0;
    for (json_ref k = json_first(j, ref); k != JSON_NONE;
         k = json_next_member(j, ref, k)) {
        int err = ERR_OK;
        if (!json_string_equal(j, k, bytes_str("kind")))
            err = read_member(j, k, names, &seen, f, msg);
        else if (++kind_seen > 1)
            err = err_set(msg, ERR_INVALID, "kind is there twice");
        if (err != ERR_OK)
            return err;
    }
    uint32_t missing = kinds[f->kind].needed & ~seen;
    for (unsigned m = 0; m < INJECT_MEMBERS; m++)
        if ((missing & 1u << m) != 0)
            return refuse(msg, f->kind, names, "needs", name_of(names, m));
    return ERR_OK;
}

int inject_read(const struct json *j, json_ref ref,
                struct inject_fault *fault_out, struct err_msg *msg)
{
    return inject_read_named(j, ref, NULL, fault_out, msg);
}

int inject_read_named(const struct json *j, json_ref ref,
                      const char *const *names, struct inject_fault *fault_out,
                      struct err_msg *msg)
{
    struct inject_fault f = {.permille = 1000};
    if (json_type(j, ref) != JSON_OBJECT)
        return err_set(msg, ERR_INVALID,
                       "expected an object such as {\"kind\":\"cut\","
                       "\"from\":\"eastus\",\"to\":\"*\",\"both\":true}");
    int err = read_kind(j, ref, &f.kind, msg);
    if (err == ERR_OK)
        err = read_members(j, ref, names, &f, msg);
    if (err == ERR_OK && f.kind == INJECT_PAUSE &&
        f.for_us > INJECT_PAUSE_MAX_US)
        err = err_set(msg, ERR_INVALID, "%s: a pause takes at most 60s",
                      name_of(names, INJECT_M_FOR));
    if (err != ERR_OK)
        return err;
    if (kinds[f.kind].family != INJECT_LINK && f.at[0] == '\0')
        strcpy(f.at, "*");
    if (!inject_takes(f.kind, INJECT_M_PERCENT))
        f.permille = 0;
    *fault_out = f;
    return ERR_OK;
}
