/* Any text as a placement map, and a line to add: what is read is written so
 * that it reads the same, and no key that had a group gets another. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/base/check.h"
#include "node/catalog/placement_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A byte of a value is written as six at most. */
#define TEXT_MAX (8 * PLACEMENT_MAP_TEXT_MAX)

static void write_again(const struct placement_map *m)
{
    char storage[TEXT_MAX], twice[TEXT_MAX];
    struct buf text = buf_over(storage, sizeof(storage));
    struct buf again = buf_over(twice, sizeof(twice));
    struct placement_map read;
    struct err_msg msg;
    CHECK(placement_map_format(m, &text) == ERR_OK);
    struct bytes first = bytes_of(buf_bytes(&text), buf_len(&text));
    if (first.len > PLACEMENT_MAP_TEXT_MAX)
        return;
    CHECK(placement_map_parse(first, &read, &msg) == ERR_OK);
    CHECK(placement_map_format(&read, &again) == ERR_OK);
    CHECK(bytes_equal(first, bytes_of(buf_bytes(&again), buf_len(&again))));
    CHECK(read.group_count == m->group_count);
}

static uint8_t find(const struct placement_map *m, struct bytes value)
{
    struct partition_key pk = {.count = 1};
    pk.parts[0] =
        (struct pk_component){.type = value.data != NULL ? PK_STRING : PK_NULL,
                              .len = (uint16_t)value.len};
    if (value.len > 0)
        memcpy(pk.text, value.data, value.len);
    return placement_map_find(m, &pk, 0);
}

static void expect_stays(const struct placement_map *was,
                         const struct placement_map *is, struct bytes value)
{
    uint8_t group = find(was, value);
    CHECK_IMPLIES(group != PLACEMENT_MAP_REJECTED, find(is, value) == group);
}

static void add(const struct placement_map *m, struct bytes line)
{
    struct placement_map more = *m;
    struct err_msg msg = {.text = ""};
    if (placement_map_add(&more, line, &msg) != ERR_OK) {
        CHECK(msg.text[0] != '\0');
        CHECK(memcmp(&more, m, sizeof(more)) == 0);
        return;
    }
    expect_stays(m, &more, bytes_of(NULL, 0));
    for (size_t i = 0; i < m->line_count; i++) {
        struct bytes value = placement_map_value(m, &m->lines[i]);
        for (size_t len = 0; len <= value.len; len++)
            expect_stays(m, &more, bytes_of(value.data, len));
    }
    write_again(&more);
}

/* A map, and behind a line feed what is added to it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct placement_map m;
    struct err_msg msg = {.text = ""};
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t len = end != NULL ? (size_t)(end - data) : size;
    int err = placement_map_parse(bytes_of(data, len), &m, &msg);
    CHECK(err == ERR_OK || err == ERR_INVALID);
    CHECK_IMPLIES(err != ERR_OK, msg.text[0] != '\0');
    if (err != ERR_OK)
        return 0;
    write_again(&m);
    if (end != NULL)
        add(&m, bytes_of(end + 1, size - len - 1));
    return 0;
}
