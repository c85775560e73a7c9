/* Query text to tokens. */
#ifndef BASTIDE_QUERY_LEX_H
#define BASTIDE_QUERY_LEX_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/query/arena.h"
#include "node/query/query.h"

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,      /* identifier or keyword: text */
    TOKEN_PARAMETER, /* text with the @ */
    TOKEN_STRING,    /* text decoded */
    TOKEN_NUMBER,    /* number */
    TOKEN_PUNCT,     /* text is one of the operators and brackets */
};

struct token {
    enum token_kind kind;
    uint32_t start, end; /* bytes of the query text */
    struct bytes text;
    double number;
};

struct lexer {
    struct bytes text;
    uint32_t at;
    struct arena *arena; /* decoded strings */
};

/* The next token; white space and comments are skipped. ERR_INVALID with
 * `error`: no token starts here, or it is malformed. */
int lex_next(struct lexer *lexer, struct token *token_out,
             struct query_error *error);

/* Whether the token is exactly this operator or bracket. */
static inline bool token_is(const struct token *t, const char *punct)
{
    return t->kind == TOKEN_PUNCT && bytes_equal(t->text, bytes_str(punct));
}

#endif
