/* Promises about conflicts: their names, addresses and text. */
#include "tests/unit/node/shard/shard_test.h"

#include "node/base/err.h"
#include "node/catalog/rid.h"
#include "node/shard/conflict.h"

static void a_name_is_its_own_text_and_no_other(void **state)
{
    (void)state;
    struct conflict_id id = {.shard = 4095,
                             .term = RAFT_TERM(4294967295u, 4294967295u),
                             .lsn = RID_LSN_MAX,
                             .position = CONFLICT_POSITION_MAX};
    struct conflict_id again;
    char text[CONFLICT_ID_MAX];
    size_t len = conflict_id_format(&id, text);
    assert_string_equal(text, "4095-4294967295.4294967295-1099511627775-1023");
    assert_int_equal(conflict_id_parse(bytes_of(text, len), &again), ERR_OK);
    assert_memory_equal(&again.term, &id.term, sizeof(id.term));
    assert_int_equal(again.lsn, id.lsn);
    assert_int_equal(again.shard, id.shard);
    assert_int_equal(again.position, id.position);
    static const char *const wrong[] = {"",
                                        "3",
                                        "3-0.1-7",
                                        "3-0.1-7-",
                                        "3-0.1-7-0 ",
                                        "03-0.1-7-0",
                                        "+3-0.1-7-0",
                                        "3-0-7-0",
                                        "4096-0.1-7-0",
                                        "3-0.1-7-1024",
                                        "3-0.1-1099511627776-0",
                                        "3-0.4294967296-7-0",
                                        "3-0.1-7-0-0",
                                        "-3-0.1-7-0"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(conflict_id_parse(bytes_str(wrong[i]), &again),
                         ERR_MALFORMED);
}

static void every_name_has_an_address_of_its_own(void **state)
{
    (void)state;
    const struct conflict_id base = {.shard = 1, .term = 1, .lsn = 1};
    struct conflict_id ids[] = {base, base, base, base, base, base, base};
    struct op_address at[7];
    ids[1].shard = 2;
    ids[2].term = 2;
    ids[3].term = RAFT_TERM(1, 1);
    ids[4].lsn = 2;
    ids[5].lsn = (uint64_t)1 << 39;
    ids[6].position = 1;
    for (int i = 0; i < 7; i++) {
        conflict_address(&ids[i], 77, &at[i]);
        assert_int_equal(at[i].container, 77 | CONTAINER_CONFLICTS);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(at[i].id_hash, at[j].id_hash, OP_HASH_LEN);
        assert_memory_equal(at[i].pk_hash, at[0].pk_hash, OP_HASH_LEN);
    }
}

static struct conflict sample(struct bytes content)
{
    return (struct conflict){
        .id = {.shard = 3, .term = RAFT_TERM(2, 5), .lsn = 47, .position = 1},
        .kind = CONFLICT_REPLACE,
        .acknowledged = true,
        .container_rid = {0, 0, 0, 32, 0x80, 0, 0, 16},
        .record = rid_counter(9, 0, 3),
        .content = content};
}

static void the_text_says_what_was_lost(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OP_BODY_MAX);
    struct conflict c = sample(bytes_str("{\"id\":\"a\"}"));
    assert_int_equal(conflict_body(&c, &out), ERR_OK);
    assert_string_equal(buf_cstr(&out),
                        "{\"id\":\"3-2.5-47-1\",\"operationType\":\"replace\","
                        "\"resourceType\":\"document\","
                        "\"resourceId\":\"AAAAIIAAABADAJAAAAAAAA==\","
                        "\"_acknowledged\":true,\"_lsn\":47,\"_epoch\":2,"
                        "\"content\":\"{\\\"id\\\":\\\"a\\\"}\"");
    buf_clear(&out);
    c.kind = CONFLICT_DELETE;
    c.acknowledged = false;
    c.content = bytes_of(NULL, 0);
    assert_int_equal(conflict_body(&c, &out), ERR_OK);
    assert_non_null(strstr(buf_cstr(&out), "\"operationType\":\"delete\""));
    assert_non_null(strstr(buf_cstr(&out), "\"_acknowledged\":null"));
    assert_non_null(strstr(buf_cstr(&out), "\"content\":\"\""));
    buf_free(&out);
}

/* Text that would double is kept as the value it is. */
static void nothing_is_too_large_to_keep(void **state)
{
    (void)state;
    struct buf out;
    size_t len = OP_DOCUMENT_MAX + 400;
    char *text = malloc(len + 1);
    buf_init(&out, OP_BODY_MAX);
    memset(text, '"', len);
    memcpy(text, "[0", 2);
    for (size_t i = 2; i + 3 < len; i += 3)
        memcpy(text + i, ",\"\"", 3);
    text[len - 1] = ']';
    struct conflict c = sample(bytes_of(text, len));
    assert_int_equal(conflict_body(&c, &out), ERR_OK);
    assert_true(buf_len(&out) > len && buf_len(&out) < len + 1000);
    assert_non_null(strstr(buf_cstr(&out), "\"content\":[0,\"\","));
    buf_free(&out);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_its_own_text_and_no_other),
        cmocka_unit_test(every_name_has_an_address_of_its_own),
        cmocka_unit_test(the_text_says_what_was_lost),
        cmocka_unit_test(nothing_is_too_large_to_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
