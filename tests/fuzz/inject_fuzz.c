/* Any body: a fault or a message. What is read is written so that it reads the
 * same, and can be described in any room. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/inject/inject.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An escaped byte of a name takes six. */
#define TEXT_MAX (6 * INJECT_BODY_MAX)

static struct bytes write_fault(const struct inject_fault *f, struct buf *text)
{
    struct json_writer w;
    json_writer_init(&w, text);
    json_write_object_begin(&w);
    inject_write(&w, f);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    return bytes_of(buf_bytes(text), buf_len(text));
}

static void write_again(const struct inject_fault *f)
{
    struct buf text, twice;
    struct json j;
    struct inject_fault again;
    struct err_msg msg;
    buf_init(&text, TEXT_MAX);
    buf_init(&twice, TEXT_MAX);
    json_init(&j);
    struct bytes first = write_fault(f, &text);
    CHECK(json_parse(&j, first, TEXT_MAX, NULL) == ERR_OK);
    CHECK(inject_read(&j, 0, &again, &msg) == ERR_OK);
    CHECK(bytes_equal(first, write_fault(&again, &twice)));
    json_free(&j);
    buf_free(&text);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json j;
    struct inject_fault f;
    struct err_msg msg = {.text = ""};
    char sentence[INJECT_SENTENCE_MAX];
    json_init(&j);
    if (json_parse(&j, bytes_of(data, size), INJECT_BODY_MAX, NULL) == ERR_OK) {
        int err = inject_read(&j, 0, &f, &msg);
        CHECK(err == ERR_OK || err == ERR_INVALID);
        CHECK_IMPLIES(err != ERR_OK, msg.text[0] != '\0');
        if (err == ERR_OK) {
            write_again(&f);
            inject_describe(&f, sentence, sizeof(sentence));
            inject_describe(&f, sentence, size % sizeof(sentence) + 1);
        }
    }
    json_free(&j);
    return 0;
}
