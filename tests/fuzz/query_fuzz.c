/* Any text: the compiler accepts or refuses it with an error that can be sent;
 * what it accepts runs over a few documents, in one go and in pages of one
 * row, without harm and with the same rows. Text behind a zero byte is taken as
 * the parameters. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/query/query.h"

#define PAGES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char documents[] = "{\"id\":\"1\",\"a\":5,\"b\":\"x\\u0041\","
                                "\"t\":[1,2,{\"k\":[3]}],\"o\":{}},"
                                "{\"id\":\"2\",\"a\":-1e3,\"t\":[],\"b\":null},"
                                "{\"id\":\"3\",\"a\":5.0,\"o\":{\"x y\":true}},"
                                "7";

static struct bytes contents(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

static int run(const struct query *q, struct bytes token, uint32_t rows_max,
               struct buf *rows, uint32_t *count_out, struct buf *token_out)
{
    struct query_error error;
    int result = query_run(q, bytes_str(documents), 1, token, rows_max, rows,
                           count_out, token_out, &error);
    CHECK(result == ERR_OK || result == ERR_LIMIT || result == ERR_INVALID);
    CHECK_IMPLIES(result != ERR_OK, error.text[0] != '\0');
    return result;
}

/* Every row is JSON, and paging finds the same rows. */
static void run_all(const struct query *q)
{
    struct buf whole, paged, token, next;
    struct json j;
    struct bytes rows, row;
    uint32_t count, pages = 0;
    buf_init(&whole, 1 << 24);
    buf_init(&paged, 1 << 24);
    buf_init(&token, QUERY_TOKEN_MAX);
    buf_init(&next, QUERY_TOKEN_MAX);
    json_init(&j);
    if (run(q, bytes_str(""), PAGES_MAX, &whole, &count, &token) == ERR_OK) {
        for (rows = contents(&whole); query_rows_next(&rows, &row);)
            CHECK(json_parse_deep(&j, row, 1 << 24, JSON_DEPTH_LIMIT, NULL) ==
                  ERR_OK);
        bool all = buf_len(&token) == 0;
        buf_clear(&token);
        do {
            buf_clear(&next);
            CHECK(run(q, contents(&token), 1, &paged, &count, &next) == ERR_OK);
            buf_clear(&token);
            CHECK(buf_append(&token, buf_bytes(&next), buf_len(&next)) ==
                  ERR_OK);
        } while (buf_len(&next) > 0 && ++pages < PAGES_MAX);
        if (all)
            CHECK(bytes_equal(contents(&whole), contents(&paged)));
    }
    json_free(&j);
    buf_free(&whole);
    buf_free(&paged);
    buf_free(&token);
    buf_free(&next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct query *q;
    struct query_error error;
    struct buf text;
    struct bytes path = bytes_str("/a");
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t len = zero != NULL ? (size_t)(zero - data) : size;
    struct bytes parameters = {NULL, 0};
    if (zero != NULL)
        parameters = bytes_of(zero + 1, size - len - 1);
    buf_init(&text, 1 << 20);
    int result = query_compile(bytes_of(data, len), parameters, &q, &error);
    if (result != ERR_OK) {
        CHECK(error.text[0] != '\0' && error.start <= error.end);
        CHECK(query_error_json(&error, &text) == ERR_OK);
    } else {
        (void)query_point(q, &path, 1, &text);
        run_all(q);
        query_free(q);
    }
    buf_free(&text);
    return 0;
}
