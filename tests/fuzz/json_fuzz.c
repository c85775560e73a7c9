/* Any bytes: the parser accepts or refuses them without harm; what it accepts
 * can be walked, rewritten, and the rewritten text is accepted and stable. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/json/json.h"

#define INPUT_MAX (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads every node the way its type allows. */
static void walk(const struct json *j, struct buf *scratch)
{
    for (json_ref r = 0; r < j->count; r++) {
        struct bytes text;
        int64_t number;
        switch (json_type(j, r)) {
        case JSON_NUMBER:
            CHECK(isfinite(json_number(j, r)));
            (void)json_int64(j, r, &number);
            break;
        case JSON_STRING:
            buf_clear(scratch);
            CHECK(json_string(j, r, scratch, &text) == ERR_OK);
            CHECK(json_string_equal(j, r, text));
            break;
        case JSON_OBJECT:
            for (json_ref k = json_first(j, r); k != JSON_NONE;
                 k = json_next_member(j, r, k))
                CHECK(json_type(j, k) == JSON_STRING);
            break;
        default:
            break;
        }
    }
}

static void rewrite(const struct json *j, struct buf *out)
{
    struct json_writer w;
    buf_clear(out);
    json_writer_init(&w, out);
    json_write_value(&w, j, 0);
    CHECK(json_writer_end(&w) == ERR_OK);
}

static void store(const struct json *j, struct buf *out)
{
    struct json_writer w;
    struct json again;
    buf_clear(out);
    json_writer_init(&w, out);
    json_document_normalise(&w, j, 0);
    json_write_member_int64(&w, "_ts", 1);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    json_init(&again);
    CHECK(json_parse(&again, bytes_of(buf_bytes(out), buf_len(out)),
                     2 * INPUT_MAX, NULL) == ERR_OK);
    CHECK(json_members_unique(&again, 0) && !again.has_space);
    json_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json j, again;
    struct buf first, second;
    json_init(&j);
    json_init(&again);
    buf_init(&first, 2 * INPUT_MAX);
    buf_init(&second, 2 * INPUT_MAX);
    if (json_parse(&j, bytes_of(data, size), INPUT_MAX, NULL) == ERR_OK) {
        walk(&j, &first);
        rewrite(&j, &first);
        CHECK(json_parse(&again, bytes_of(buf_bytes(&first), buf_len(&first)),
                         INPUT_MAX, NULL) == ERR_OK);
        rewrite(&again, &second);
        CHECK(bytes_equal(bytes_of(buf_bytes(&first), buf_len(&first)),
                          bytes_of(buf_bytes(&second), buf_len(&second))));
        if (json_type(&j, 0) == JSON_OBJECT)
            store(&j, &second);
    }
    json_free(&j);
    json_free(&again);
    buf_free(&first);
    buf_free(&second);
    return 0;
}
