/* A data directory is used by one process of the node it belongs to. */
#include "store_test.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/base/err.h"
#include "node/store/datadir.h"

static char dir[64];
static char data[96];
static struct err_msg msg;
static const struct datadir_identity mine = {"demo", "id-1", "eu-1", 2};

static int setup(void **state)
{
    (void)state;
    scratch_make(dir);
    snprintf(data, sizeof(data), "%s/data", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static struct datadir *must_open(void)
{
    struct datadir *d;
    int code = datadir_open(data, &mine, &msg, &d);
    if (code != ERR_OK)
        fail_msg("%s: %s", err_name(code), msg.text);
    return d;
}

static unsigned mode_of(const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", data, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void it_is_made_private_and_found_again(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX];
    struct datadir *d = must_open();
    assert_int_equal(datadir_wal_path(d, 1, path), ERR_OK);
    assert_int_equal(datadir_shard_path(d, 12, path), ERR_OK);
    assert_int_equal(mode_of("."), 0700);
    assert_int_equal(mode_of("identity"), 0600);
    assert_int_equal(mode_of("lock"), 0600);
    assert_int_equal(mode_of("wal/1"), 0700);
    assert_int_equal(mode_of("shards/12"), 0700);
    datadir_close(d);
    struct datadir_identity more_workers = mine;
    more_workers.workers = 8;
    assert_int_equal(datadir_open(data, &more_workers, &msg, &d), ERR_OK);
    assert_int_equal(datadir_workers(d), 2);
    datadir_close(d);
}

static void another_nodes_directory_is_refused(void **state)
{
    (void)state;
    struct datadir *d;
    datadir_close(must_open());
    for (int i = 0; i < 3; i++) {
        struct datadir_identity other = mine;
        strcpy(i == 0   ? other.cluster
               : i == 1 ? other.cluster_id
                        : other.node,
               "other");
        assert_int_equal(datadir_open(data, &other, &msg, &d), ERR_IDENTITY);
        assert_non_null(strstr(msg.text, "eu-1"));
        assert_non_null(strstr(msg.text, "other"));
    }
    datadir_close(must_open());
}

static void a_second_process_is_told_who_is_there(void **state)
{
    (void)state;
    struct datadir *d = must_open();
    pid_t pid = fork();
    if (pid == 0) {
        struct datadir *second;
        char expected[32];
        snprintf(expected, sizeof(expected), "process %ld", (long)getppid());
        int code = datadir_open(data, &mine, &msg, &second);
        _exit(code == ERR_BUSY && strstr(msg.text, expected) != NULL ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    datadir_close(d);
    datadir_close(must_open());
}

static void open_modes_and_damage_are_refused(void **state)
{
    (void)state;
    struct datadir *d;
    char path[128];
    datadir_close(must_open());
    chmod(data, 0755);
    assert_int_equal(datadir_open(data, &mine, &msg, &d), ERR_FORBIDDEN);
    assert_non_null(strstr(msg.text, "chmod 700"));
    chmod(data, 0700);
    snprintf(path, sizeof(path), "%s/identity", data);
    FILE *f = fopen(path, "w");
    fputs("format 2\n", f);
    fclose(f);
    assert_int_equal(datadir_open(data, &mine, &msg, &d), ERR_UNSUPPORTED);
    f = fopen(path, "w");
    fputs("format 1\ncluster demo\n", f);
    fclose(f);
    assert_int_equal(datadir_open(data, &mine, &msg, &d), ERR_CORRUPT);
    struct datadir_identity bad = mine;
    bad.node[0] = '\0';
    assert_int_equal(datadir_open(data, &bad, &msg, &d), ERR_INVALID);
}

static void discarding_puts_the_data_away(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX];
    struct datadir *d = must_open();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(datadir_wal_path(d, 0, path), ERR_OK);
        assert_int_equal(datadir_shard_path(d, 1, path), ERR_OK);
        assert_int_equal(datadir_discard(d, &msg), ERR_OK);
    }
    assert_int_equal(mode_of("discarded-1/wal/0"), 0700);
    assert_int_equal(mode_of("discarded-2/shards/1"), 0700);
    assert_int_equal(datadir_discarded(d, path), ERR_OK);
    assert_string_equal(path + strlen(path) - 12, "/discarded-2");
    snprintf(path, sizeof(path), "%s/wal", data);
    assert_int_not_equal(access(path, F_OK), 0);
    /* Cut short after the log was put away: the next start finishes it. */
    assert_int_equal(datadir_shard_path(d, 1, path), ERR_OK);
    datadir_close(d);
    snprintf(path, sizeof(path), "%s/discarding", data);
    fclose(fopen(path, "w"));
    datadir_close(must_open());
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(mode_of("discarded-3/shards/1"), 0700);
}

static void a_retired_shard_is_remembered(void **state)
{
    (void)state;
    struct datadir *d = must_open();
    char path[DATADIR_PATH_MAX];
    assert_int_equal(datadir_shard_path(d, 3, path), ERR_OK);
    assert_false(datadir_shard_retired(d, 3));
    assert_int_equal(datadir_retire_shard(d, 3), ERR_OK);
    assert_int_equal(datadir_retire_shard(d, 3), ERR_OK);
    datadir_close(d);
    d = must_open();
    assert_true(datadir_shard_retired(d, 3));
    assert_false(datadir_shard_retired(d, 33));
    datadir_close(d);
}

static void a_rebuild_is_remembered_until_it_is_done(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX];
    struct datadir *d = must_open();
    assert_false(datadir_has_data(d));
    assert_false(datadir_rebuilding(d));
    /* An empty directory: there is nothing to put away, but much to fetch. */
    assert_int_equal(datadir_discard(d, &msg), ERR_OK);
    assert_true(datadir_rebuilding(d));
    snprintf(path, sizeof(path), "%s/discarded-1", data);
    assert_int_not_equal(access(path, F_OK), 0);
    datadir_close(d);
    d = must_open();
    assert_true(datadir_rebuilding(d));
    assert_int_equal(datadir_rebuilt(d), ERR_OK);
    assert_false(datadir_rebuilding(d));
    assert_int_equal(datadir_rebuilt(d), ERR_OK);
    datadir_close(d);
    d = must_open();
    assert_false(datadir_rebuilding(d));
    datadir_close(d);
}

static void damage_is_noted_and_goes_away_with_the_data(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX];
    struct datadir *d = must_open();
    assert_int_equal(datadir_wal_path(d, 0, path), ERR_OK);
    assert_true(datadir_has_data(d));
    assert_false(datadir_damaged(d));
    datadir_note_damage(d, "a file, an offset");
    datadir_note_damage(d, "again");
    assert_true(datadir_damaged(d));
    datadir_note_damage(d, NULL);
    assert_false(datadir_damaged(d));
    datadir_note_damage(d, "once more");
    assert_int_equal(datadir_discard(d, &msg), ERR_OK);
    assert_false(datadir_damaged(d));
    assert_false(datadir_has_data(d));
    assert_int_equal(mode_of("discarded-1/damaged"), 0600);
    datadir_close(d);
}

static void expect_mark(const struct datadir *d, uint32_t shard,
                        const char *text)
{
    struct buf mark;
    buf_init(&mark, 100);
    assert_int_equal(datadir_shard_mark(d, shard, &mark), ERR_OK);
    assert_true(bytes_equal(bytes_of(buf_bytes(&mark), buf_len(&mark)),
                            bytes_str(text)));
    buf_free(&mark);
}

static void one_shard_is_put_away_and_marked(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX];
    struct buf none;
    struct datadir *d = must_open();
    buf_init(&none, 100);
    assert_int_equal(datadir_shard_path(d, 3, path), ERR_OK);
    assert_int_equal(datadir_shard_path(d, 4, path), ERR_OK);
    assert_int_equal(datadir_shard_mark(d, 3, &none), ERR_NOT_FOUND);
    for (int i = 0; i < 2; i++) {
        const char *mark = i == 0 ? "one" : "two";
        assert_int_equal(datadir_quarantine(d, 3, bytes_str(mark), &msg),
                         ERR_OK);
        expect_mark(d, 3, mark);
        assert_int_equal(mode_of("discarded-shard-3"), 0700);
        snprintf(path, sizeof(path), "%s/shards/3", data);
        assert_int_not_equal(access(path, F_OK), 0);
        assert_int_equal(datadir_shard_path(d, 3, path), ERR_OK);
    }
    assert_int_equal(datadir_drop_discarded(d, 3), ERR_OK);
    assert_int_equal(datadir_drop_discarded(d, 3), ERR_OK);
    snprintf(path, sizeof(path), "%s/discarded-shard-3", data);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(mode_of("shards/4"), 0700);
    datadir_close(d);
    d = must_open();
    expect_mark(d, 3, "two");
    assert_int_equal(datadir_shard_rebuilt(d, 3), ERR_OK);
    assert_int_equal(datadir_shard_mark(d, 3, &none), ERR_NOT_FOUND);
    buf_free(&none);
    datadir_close(d);
}

static void note_shard(void *user, uint32_t shard)
{
    *(uint32_t *)user += shard;
}

static void marks_are_found_without_a_store(void **state)
{
    (void)state;
    uint32_t sum = 0;
    struct datadir *d = must_open();
    assert_int_equal(datadir_quarantine(d, 3, bytes_str("a"), &msg), ERR_OK);
    assert_int_equal(datadir_quarantine(d, 40, bytes_str("b"), &msg), ERR_OK);
    assert_int_equal(datadir_each_mark(d, note_shard, &sum), ERR_OK);
    assert_int_equal(sum, 43);
    datadir_close(d);
}

/* The process ended after the first step: the store is still there. */
static void putting_a_shard_away_is_finished_by_the_next_start(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX];
    struct datadir *d = must_open();
    assert_int_equal(datadir_shard_path(d, 3, path), ERR_OK);
    datadir_close(d);
    snprintf(path, sizeof(path), "%s/quarantine-3", data);
    FILE *f = fopen(path, "w");
    fputs("mine", f);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
    d = must_open();
    expect_mark(d, 3, "mine");
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "%s/shards/3", data);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "%s/discarded-shard-3", data);
    assert_int_not_equal(access(path, F_OK), 0);
    /* A log that is thrown away takes the promises with it. */
    assert_int_equal(datadir_discard(d, &msg), ERR_OK);
    struct buf none;
    buf_init(&none, 100);
    assert_int_equal(datadir_shard_mark(d, 3, &none), ERR_NOT_FOUND);
    buf_free(&none);
    datadir_close(d);
}

/* The store is away, its mark is not in place. */
static void putting_a_shard_away_is_tried_again(void **state)
{
    (void)state;
    char path[DATADIR_PATH_MAX], in_the_way[DATADIR_PATH_MAX];
    struct datadir *d = must_open();
    assert_int_equal(datadir_shard_path(d, 3, path), ERR_OK);
    snprintf(in_the_way, sizeof(in_the_way), "%s/rebuilding-3", data);
    assert_int_equal(mkdir(in_the_way, 0700), 0);
    assert_int_not_equal(datadir_quarantine(d, 3, bytes_str("mine"), &msg),
                         ERR_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(rmdir(in_the_way), 0);
    assert_int_equal(datadir_quarantine(d, 3, bytes_str("mine"), &msg), ERR_OK);
    expect_mark(d, 3, "mine");
    assert_int_equal(mode_of("discarded-shard-3"), 0700);
    datadir_close(d);
}

static void what_kind_a_replica_is_is_remembered(void **state)
{
    (void)state;
    struct datadir *d = must_open();
    struct datadir_role role = {.witness = true, .epoch = 12}, back;
    assert_int_equal(datadir_role(d, 3, &back), ERR_NOT_FOUND);
    assert_int_equal(datadir_set_role(d, 3, &role), ERR_OK);
    assert_int_equal(mode_of("role-3"), 0600);
    datadir_close(d);
    d = must_open();
    assert_int_equal(datadir_role(d, 3, &back), ERR_OK);
    assert_true(back.witness && back.epoch == 12);
    role = (struct datadir_role){.witness = false, .epoch = UINT32_MAX};
    assert_int_equal(datadir_set_role(d, 3, &role), ERR_OK);
    assert_int_equal(datadir_role(d, 3, &back), ERR_OK);
    assert_true(!back.witness && back.epoch == UINT32_MAX);
    assert_int_equal(datadir_role(d, 33, &back), ERR_NOT_FOUND);
    assert_int_equal(datadir_drop_role(d, 3), ERR_OK);
    assert_int_equal(datadir_drop_role(d, 3), ERR_OK);
    assert_int_equal(datadir_role(d, 3, &back), ERR_NOT_FOUND);
    /* A node that begins anew has none. */
    assert_int_equal(datadir_set_role(d, 4, &role), ERR_OK);
    char path[DATADIR_PATH_MAX];
    assert_int_equal(datadir_shard_path(d, 4, path), ERR_OK);
    assert_int_equal(datadir_discard(d, &msg), ERR_OK);
    assert_int_equal(datadir_role(d, 4, &back), ERR_NOT_FOUND);
    datadir_close(d);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_made_private_and_found_again),
        TEST(another_nodes_directory_is_refused),
        TEST(a_second_process_is_told_who_is_there),
        TEST(open_modes_and_damage_are_refused),
        TEST(discarding_puts_the_data_away),
        TEST(a_retired_shard_is_remembered),
        TEST(a_rebuild_is_remembered_until_it_is_done),
        TEST(damage_is_noted_and_goes_away_with_the_data),
        TEST(one_shard_is_put_away_and_marked),
        TEST(marks_are_found_without_a_store),
        TEST(putting_a_shard_away_is_finished_by_the_next_start),
        TEST(putting_a_shard_away_is_tried_again),
        TEST(what_kind_a_replica_is_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
