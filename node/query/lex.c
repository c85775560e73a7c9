#include "node/query/lex.h"

#include <math.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/json/json.h"
#include "node/query/ast.h"

static uint8_t peek(const struct lexer *l, uint32_t ahead)
{
    return l->at + ahead < l->text.len ? l->text.data[l->at + ahead] : 0;
}

static bool at_end(const struct lexer *l)
{
    return l->at >= l->text.len;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_name_start(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26 || c == '_';
}

static bool is_digit(uint8_t c)
{
    return (uint8_t)(c - '0') < 10;
}

static bool is_name(uint8_t c)
{
    return is_name_start(c) || is_digit(c);
}

static int fail(const struct lexer *l, struct query_error *error,
                const char *code, uint32_t start, const char *what)
{
    uint32_t end = l->at < l->text.len ? l->at : (uint32_t)l->text.len;
    if (end == start && end < l->text.len)
        end++;
    while (end < l->text.len && (l->text.data[end] & 0xc0) == 0x80)
        end++;
    return query_fail(error, ERR_INVALID, code, l->text, start, end,
                      "Syntax error, %s '%.*s'.", what,
                      (int)(end - start > 60 ? 60 : end - start),
                      (const char *)l->text.data + start);
}

/* A block comment whose end is missing is an error at its start. */
static int skip_comment(struct lexer *l, struct query_error *error)
{
    uint32_t start = l->at;
    if (peek(l, 0) == '-') {
        while (!at_end(l) && peek(l, 0) != '\n')
            l->at++;
        return ERR_OK;
    }
    l->at += 2;
    while (!at_end(l) && !(peek(l, 0) == '*' && peek(l, 1) == '/'))
        l->at++;
    if (at_end(l)) {
        l->at = start + 2;
        return fail(l, error, "SC1001", start, "unterminated comment");
    }
    l->at += 2;
    return ERR_OK;
}

static int skip_blank(struct lexer *l, struct query_error *error)
{
    for (;;) {
        while (!at_end(l) && is_space(peek(l, 0)))
            l->at++;
        bool line = peek(l, 0) == '-' && peek(l, 1) == '-';
        bool block = peek(l, 0) == '/' && peek(l, 1) == '*';
        if (!line && !block)
            return ERR_OK;
        int result = skip_comment(l, error);
        if (result != ERR_OK)
            return result;
    }
}

static void lex_name(struct lexer *l, struct token *t)
{
    while (!at_end(l) && is_name(peek(l, 0)))
        l->at++;
    t->kind = TOKEN_NAME;
    t->text = bytes_of(l->text.data + t->start, l->at - t->start);
}

static int lex_parameter(struct lexer *l, struct token *t,
                         struct query_error *error)
{
    l->at++;
    if (!is_name(peek(l, 0)))
        return fail(l, error, "SC1012", t->start, "invalid parameter name");
    lex_name(l, t);
    t->kind = TOKEN_PARAMETER;
    return ERR_OK;
}

static int lex_number(struct lexer *l, struct token *t,
                      struct query_error *error)
{
    while (is_digit(peek(l, 0)))
        l->at++;
    if (peek(l, 0) == '.') {
        l->at++;
        while (is_digit(peek(l, 0)))
            l->at++;
    }
    if ((peek(l, 0) | 0x20) == 'e') {
        uint32_t sign = peek(l, 1) == '+' || peek(l, 1) == '-';
        if (!is_digit(peek(l, 1 + sign))) {
            l->at += 1 + sign;
            return fail(l, error, "SC1011", t->start,
                        "invalid numeric literal token");
        }
        l->at += 1 + sign;
        while (is_digit(peek(l, 0)))
            l->at++;
    }
    t->kind = TOKEN_NUMBER;
    t->text = bytes_of(l->text.data + t->start, l->at - t->start);
    t->number = json_text_to_double(t->text);
    if (!isfinite(t->number) || is_name_start(peek(l, 0)))
        return fail(l, error, "SC1011", t->start,
                    "invalid numeric literal token");
    return ERR_OK;
}

/* Turns what stands between the quotes into a JSON string and lets the JSON
 * scanner judge it: only \' is not JSON's own, and " may stand bare inside
 * single quotes. */
static int decode_string(struct lexer *l, struct token *t,
                         struct query_error *error)
{
    struct buf quoted;
    struct json j;
    const uint8_t *p = l->text.data + t->start + 1;
    const uint8_t *end = l->text.data + l->at - 1;
    int result;
    buf_init(&quoted, 2 * QUERY_TEXT_MAX + 2);
    json_init(&j);
    result = buf_append_u8(&quoted, '"');
    for (; p < end && result == ERR_OK; p++) {
        if (*p == '\\' && p[1] == '\'')
            p++;
        else if (*p == '\\')
            result = buf_append_u8(&quoted, *p++);
        else if (*p == '"')
            result = buf_append_u8(&quoted, '\\');
        if (result == ERR_OK)
            result = buf_append_u8(&quoted, *p);
    }
    if (result == ERR_OK)
        result = buf_append_u8(&quoted, '"');
    struct bytes json = bytes_of(buf_bytes(&quoted), buf_len(&quoted));
    if (result == ERR_OK &&
        json_parse(&j, json, json.len, NULL) == ERR_MALFORMED)
        result =
            fail(l, error, "SC1010", t->start, "invalid string literal token");
    if (result == ERR_OK)
        t->text = value_of_json(l->arena, &j, 0).text;
    if (result == ERR_OK && !json_string_escaped(&j, 0))
        t->text = arena_copy(l->arena, t->text);
    json_free(&j);
    buf_free(&quoted);
    return result;
}

static int lex_string(struct lexer *l, struct token *t,
                      struct query_error *error)
{
    uint8_t quote = peek(l, 0);
    bool plain = true;
    for (l->at++; !at_end(l) && peek(l, 0) != quote; l->at++) {
        uint8_t c = peek(l, 0);
        plain &= c != '\\' && c >= 0x20;
        l->at += c == '\\';
    }
    if (at_end(l))
        return fail(l, error, "SC1010", t->start,
                    "invalid string literal token");
    l->at++;
    t->kind = TOKEN_STRING;
    t->text = bytes_of(l->text.data + t->start + 1, l->at - t->start - 2);
    return plain ? ERR_OK : decode_string(l, t, error);
}

static int lex_punct(struct lexer *l, struct token *t,
                     struct query_error *error)
{
    /* Longer ones first. */
    static const char *const puncts[] = {
        ">>>", "<>", "!=", "<=", ">=", "<<", ">>", "||", "??", "(", ")",
        "[",   "]",  "{",  "}",  ",",  ".",  ":",  "?",  "=",  "<", ">",
        "+",   "-",  "*",  "/",  "%",  "&",  "|",  "^",  "~"};
    size_t left = l->text.len - l->at;
    for (size_t i = 0; i < ARRAY_LEN(puncts); i++) {
        size_t len = strlen(puncts[i]);
        if (len > left || memcmp(l->text.data + l->at, puncts[i], len) != 0)
            continue;
        l->at += (uint32_t)len;
        t->kind = TOKEN_PUNCT;
        t->text = bytes_of(puncts[i], len);
        return ERR_OK;
    }
    return fail(l, error, "SC1001", t->start, "incorrect syntax near");
}

int lex_next(struct lexer *l, struct token *token_out,
             struct query_error *error)
{
    struct token t = {.kind = TOKEN_END};
    int result = skip_blank(l, error);
    if (result != ERR_OK)
        return result;
    t.start = l->at;
    uint8_t c = peek(l, 0);
    if (at_end(l))
        t.text = bytes_str("");
    else if (is_name_start(c))
        lex_name(l, &t);
    else if (c == '@')
        result = lex_parameter(l, &t, error);
    else if (is_digit(c) || (c == '.' && is_digit(peek(l, 1))))
        result = lex_number(l, &t, error);
    else if (c == '"' || c == '\'')
        result = lex_string(l, &t, error);
    else
        result = lex_punct(l, &t, error);
    if (result != ERR_OK)
        return result;
    t.end = l->at;
    *token_out = t;
    return ERR_OK;
}
