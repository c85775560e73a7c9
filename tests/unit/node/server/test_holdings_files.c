/* Whatever lies in a data directory is told, by shard where it has one. */
#include "node/server/holdings_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consensus/raft.h"
#include "node/base/err.h"
#include "node/base/file.h"
#include "node/store/entry.h"
#include "node/store/wal.h"

#define TEXT_MAX 65536

static char folder[64];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/bastide-holdings-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static void make_folder(const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(file_make_folder(path, 0700, NULL), ERR_OK);
}

static void make_file(const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(file_create(path, 0600, bytes_str("1234"), NULL), ERR_OK);
}

/* A log with two entries of shard 7, one of which brings data. */
static void make_log(const char *name)
{
    char path[160];
    struct err_msg msg;
    struct wal_report report;
    struct wal *w;
    struct entry *data, *config;
    struct wal_batch *b = wal_batch_new(1 << 20);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    const struct wal_options options = {.dir = path,
                                        .cluster_id = "c",
                                        .node = "n",
                                        .segment_bytes = WAL_SEGMENT_BYTES_MIN};
    make_folder(name);
    assert_int_equal(wal_open(&options, NULL, NULL, &report, &msg, &w), ERR_OK);
    assert_int_equal(
        entry_copy(4, 1, RAFT_ENTRY_DATA, bytes_str("sealed"), &data), ERR_OK);
    assert_int_equal(
        entry_copy(5, 1, RAFT_ENTRY_CONFIG, bytes_str("members"), &config),
        ERR_OK);
    assert_int_equal(wal_batch_entry(b, 7, data), ERR_OK);
    assert_int_equal(wal_batch_entry(b, 7, config), ERR_OK);
    assert_int_equal(wal_append(w, b), ERR_OK);
    entry_unref(data);
    entry_unref(config);
    wal_batch_free(b);
    wal_close(w);
}

struct told {
    struct buf folders, log, trouble;
};

static struct told look(void)
{
    struct told t;
    buf_init(&t.folders, TEXT_MAX);
    buf_init(&t.log, TEXT_MAX);
    buf_init(&t.trouble, TEXT_MAX);
    assert_int_equal(holdings_files(folder, &t.folders, &t.log, &t.trouble),
                     ERR_OK);
    return t;
}

static void forget(struct told *t)
{
    buf_free(&t->folders);
    buf_free(&t->log);
    buf_free(&t->trouble);
}

static void expect(struct buf *text, const char *part)
{
    if (strstr(buf_cstr(text), part) == NULL)
        fail_msg("%s is not in %s", part, buf_cstr(text));
}

static void nothing_is_told_of_an_empty_one(void **state)
{
    (void)state;
    make_file("identity");
    make_file("lock");
    struct told t = look();
    assert_string_equal(buf_cstr(&t.folders), "[]");
    assert_string_equal(buf_cstr(&t.log), "[]");
    assert_int_equal(buf_len(&t.trouble), 0);
    forget(&t);
}

static void stores_are_told_wherever_they_are(void **state)
{
    (void)state;
    make_folder("shards/5/incoming");
    make_file("shards/5/data.mdb");
    make_folder("discarded-2/shards/9");
    make_folder("shards/old");
    make_folder("backup");
    make_file("shards/5/data.mdb.bak");
    make_file("shards/5/incoming/more");
    struct told t = look();
    expect(&t.folders, "{\"path\":\"shards/5\",\"shard\":5,\"bytes\":4}");
    expect(&t.folders, "{\"path\":\"shards/5/incoming\",\"shard\":5,");
    expect(&t.folders, "{\"path\":\"discarded-2/shards/9\",\"shard\":9,");
    expect(&t.folders, "{\"path\":\"shards/old\",\"shard\":null,");
    expect(&t.folders, "{\"path\":\"backup\",\"shard\":null,");
    expect(&t.folders,
           "{\"path\":\"shards/5/data.mdb.bak\",\"shard\":null,\"bytes\":4}");
    expect(&t.folders, "{\"path\":\"shards/5/incoming/more\",\"shard\":null,");
    assert_int_equal(buf_len(&t.trouble), 0);
    forget(&t);
}

static void logs_are_told_wherever_they_are(void **state)
{
    (void)state;
    make_log("wal/0");
    make_log("discarded-1/wal/3");
    make_file("wal/0/copy");
    make_file("wal/1");
    struct told t = look();
    expect(&t.log, "{\"path\":\"wal/0\",\"shard\":7,\"entries\":2,"
                   "\"payloads\":1,\"last_lsn\":5}");
    expect(&t.log, "{\"path\":\"discarded-1/wal/3\",\"shard\":7,");
    expect(&t.folders, "{\"path\":\"wal/0/copy\",\"shard\":null,");
    expect(&t.trouble, "wal/1: ");
    forget(&t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_told_of_an_empty_one),
        TEST(stores_are_told_wherever_they_are),
        TEST(logs_are_told_wherever_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
