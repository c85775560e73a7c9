/* Faults as JSON and as sentences. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/inject/inject_impl.h"

/* Longest value of a member, as text. */
#define VALUE_MAX (INJECT_RESOURCE_MAX + 1)

static uint32_t bits_of(const void *field)
{
    uint32_t bits;
    memcpy(&bits, field, sizeof(bits));
    return bits;
}

/* Whether the value is what it is without the member. Words that a kind needs
 * have no such value, but it is harmless to leave out the first. */
static bool is_default(const struct inject_member_info *m, const void *field)
{
    switch (m->type) {
    case INJECT_TYPE_ID:
    case INJECT_TYPE_NAME:
    case INJECT_TYPE_RESOURCE:
        return *(const char *)field == '\0';
    case INJECT_TYPE_BOOL:
        return !*(const bool *)field;
    case INJECT_TYPE_NUMBER:
    case INJECT_TYPE_WORD:
        return bits_of(field) == 0;
    case INJECT_TYPE_PERCENT:
        return bits_of(field) == 1000;
    case INJECT_TYPE_TIME:
        return *(const usec_t *)field == 0;
    }
    CHECK_UNREACHABLE();
}

/* The value as text, without quotes. */
static void put_text(const struct inject_member_info *m, const void *field,
                     char out[VALUE_MAX])
{
    uint32_t bits = 0;
    usec_t ms;
    if (m->type == INJECT_TYPE_NUMBER || m->type == INJECT_TYPE_WORD ||
        m->type == INJECT_TYPE_PERCENT)
        bits = bits_of(field);
    switch (m->type) {
    case INJECT_TYPE_ID:
    case INJECT_TYPE_NAME:
    case INJECT_TYPE_RESOURCE:
        snprintf(out, VALUE_MAX, "%s", (const char *)field);
        return;
    case INJECT_TYPE_BOOL:
        snprintf(out, VALUE_MAX, *(const bool *)field ? "true" : "false");
        return;
    case INJECT_TYPE_NUMBER:
        snprintf(out, VALUE_MAX, "%ld",
                 m->min < 0 ? (long)(int32_t)bits : (long)bits);
        return;
    case INJECT_TYPE_WORD:
        snprintf(out, VALUE_MAX, "%s", m->words[bits]);
        return;
    case INJECT_TYPE_PERCENT:
        if (bits % 10 == 0)
            snprintf(out, VALUE_MAX, "%u", bits / 10);
        else
            snprintf(out, VALUE_MAX, "%u.%u", bits / 10, bits % 10);
        return;
    case INJECT_TYPE_TIME:
        ms = *(const usec_t *)field / USEC_PER_MS;
        if (ms % 1000 == 0)
            snprintf(out, VALUE_MAX, "%llds", (long long)ms / 1000);
        else
            snprintf(out, VALUE_MAX, "%lldms", (long long)ms);
        return;
    }
    CHECK_UNREACHABLE();
}

static bool is_quoted(const struct inject_member_info *m)
{
    return m->type != INJECT_TYPE_BOOL && m->type != INJECT_TYPE_NUMBER &&
           m->type != INJECT_TYPE_PERCENT;
}

void inject_write(struct json_writer *out, const struct inject_fault *fault)
{
    char text[VALUE_MAX];
    json_write_member_str(out, "kind", inject_word(fault->kind));
    for (unsigned i = 0; i < INJECT_MEMBERS; i++) {
        const struct inject_member_info *m = &inject_member_table[i];
        const void *field = (const char *)fault + m->offset;
        if (!inject_takes(fault->kind, i) ||
            (is_default(m, field) && !inject_needs(fault->kind, i)))
            continue;
        put_text(m, field, text);
        if (is_quoted(m))
            json_write_member_str(out, m->shown.name, text);
        else
            json_write_member_raw(out, m->shown.name, bytes_str(text));
    }
}

/* Whether it reads as a JSON number. */
static bool is_number(const char *text)
{
    struct json j;
    json_init(&j);
    bool yes = json_parse(&j, bytes_str(text), VALUE_MAX, NULL) == ERR_OK &&
               json_type(&j, 0) == JSON_NUMBER;
    json_free(&j);
    return yes;
}

static bool is_raw(const char *name, const char *text)
{
    for (unsigned i = 0; i < INJECT_MEMBERS; i++) {
        const struct inject_member_info *m = &inject_member_table[i];
        if (strcmp(m->shown.name, name) != 0)
            continue;
        if (m->type == INJECT_TYPE_BOOL)
            return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
        return (m->type == INJECT_TYPE_NUMBER ||
                m->type == INJECT_TYPE_PERCENT ||
                m->type == INJECT_TYPE_TIME) &&
               is_number(text);
    }
    return false;
}

void inject_put_member(struct json_writer *out, const char *name,
                       const char *text)
{
    if (is_raw(name, text))
        json_write_member_raw(out, name, bytes_str(text));
    else
        json_write_member_str(out, name, text);
}

/* ---- sentences -------------------------------------------------------------
 */

static void put_where(struct buf *out, const struct inject_fault *f)
{
    if (inject_family_of(f->kind) == INJECT_LINK)
        (void)buf_printf(out, "%s %s -> %s%s", inject_word(f->kind), f->from,
                         f->to, f->both ? ", both ways" : "");
    else
        (void)buf_printf(out, "%s at %s", inject_word(f->kind), f->at);
}

/* A member's part, such as "by 100 ms"; `format` has one "%s". */
static void put_part(struct buf *out, const char *format, const char *value)
{
    const char *gap = strstr(format, "%s");
    (void)buf_printf(out, "%.*s%s%s", (int)(gap - format), format, value,
                     gap + 2);
}

void inject_describe(const struct inject_fault *fault, char *out, size_t size)
{
    CHECK(size > 0);
    char text[VALUE_MAX], whole[2 * VALUE_MAX + 8 * INJECT_NAME_MAX];
    struct buf b = buf_over(whole, sizeof(whole) - 1);
    const char *before = ": ";
    put_where(&b, fault);
    for (unsigned i = 0; i < INJECT_MEMBERS; i++) {
        const struct inject_member_info *m = &inject_member_table[i];
        const void *field = (const char *)fault + m->offset;
        if (m->text == NULL || !inject_takes(fault->kind, i) ||
            (is_default(m, field) && !inject_needs(fault->kind, i) &&
             i != INJECT_M_WHEN))
            continue;
        put_text(m, field, text);
        (void)buf_append_str(&b, before);
        put_part(&b, m->text, text);
        before = ", ";
    }
    snprintf(out, size, "%.*s", (int)buf_len(&b), whole);
}
