#include "node/cosmos/headers.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/text.h"

/* The list as rows. Lengths are compared first, so that the many headers of
 * headers are of no interest here and are passed over by one comparison of
 * lengths. */
struct header_row {
    const char *name;
    size_t len;
    size_t offset;
};

static const struct header_row rows[] = {
#define COSMOS_HEADER_ROW(field, text)                                         \
    {text, sizeof(text) - 1, offsetof(struct cosmos_headers, field)},
    COSMOS_HEADER_LIST(COSMOS_HEADER_ROW)
#undef COSMOS_HEADER_ROW
};

static struct bytes *header_slot(struct cosmos_headers *h, struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].len == name.len && text_equal_nocase(name, rows[i].name))
            return (struct bytes *)(void *)((char *)h + rows[i].offset);
    }
    return NULL;
}

void cosmos_headers_read(const struct http_request *request,
                         struct cosmos_headers *headers_out)
{
    memset(headers_out, 0, sizeof(*headers_out));
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        struct bytes *slot = header_slot(headers_out, header->name);
        if (slot != NULL && slot->data == NULL)
            *slot = header->value;
    }
}

bool cosmos_header_true(struct bytes value)
{
    return text_equal_nocase(value, "true");
}

/* Whether a boolean header says false, in any case. */
static bool cosmos_header_false(struct bytes value)
{
    return text_equal_nocase(value, "false");
}

bool cosmos_headers_minimal(const struct cosmos_headers *headers)
{
    return text_equal_nocase(headers->prefer, "return=minimal") ||
           cosmos_header_false(headers->populate_content);
}

bool cosmos_headers_query(const struct cosmos_headers *headers)
{
    static const char type[] = "application/query+json";
    if (cosmos_header_true(headers->is_query))
        return true;
    struct bytes t = headers->content_type;
    return t.len >= sizeof(type) - 1 &&
           text_equal_nocase(bytes_of(t.data, sizeof(type) - 1), type) &&
           (t.len == sizeof(type) - 1 || t.data[sizeof(type) - 1] == ';' ||
            t.data[sizeof(type) - 1] == ' ');
}
