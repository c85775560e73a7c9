/* Whole files appear complete or not at all, and private ones stay private. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/file.h"

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[400];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/bastide-file-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int entries(void)
{
    DIR *d = opendir(folder);
    int count = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        remove(in_folder(e->d_name));
    closedir(d);
    return rmdir(folder);
}

static void a_created_file_reads_back_and_is_never_overwritten(void **state)
{
    (void)state;
    struct err_msg msg;
    struct buf got;
    buf_init(&got, 100);
    assert_int_equal(file_create(in_folder("a"), 0600, bytes_str("one"), &msg),
                     ERR_OK);
    assert_int_equal(file_create(in_folder("a"), 0600, bytes_str("two"), &msg),
                     ERR_EXISTS);
    assert_int_equal(file_read(in_folder("a"), true, &got, &msg), ERR_OK);
    assert_string_equal(buf_cstr(&got), "one");
    assert_int_equal(entries(), 1);
    buf_free(&got);
}

static void replacing_keeps_one_file_with_the_new_mode(void **state)
{
    (void)state;
    struct stat st;
    struct buf got;
    buf_init(&got, 100);
    assert_int_equal(file_replace(in_folder("a"), 0600, bytes_str("one"), NULL),
                     ERR_OK);
    assert_int_equal(file_replace(in_folder("a"), 0644, bytes_str("two"), NULL),
                     ERR_OK);
    assert_int_equal(stat(in_folder("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(file_read(in_folder("a"), false, &got, NULL), ERR_OK);
    assert_string_equal(buf_cstr(&got), "two");
    assert_int_equal(entries(), 1);
    buf_free(&got);
}

/* What root renews is still its owner's. */
static void replacing_keeps_the_owner(void **state)
{
    (void)state;
    struct stat st;
    struct err_msg msg;
    char old[400];
    if (geteuid() != 0)
        skip();
    snprintf(old, sizeof(old), "%s", in_folder("a"));
    file_create(old, 0600, bytes_str("one"), NULL);
    assert_int_equal(chown(old, 12345, 23456), 0);
    assert_int_equal(file_replace(old, 0640, bytes_str("two"), &msg), ERR_OK);
    assert_int_equal(stat(old, &st), 0);
    assert_int_equal(st.st_uid, 12345);
    assert_int_equal(st.st_gid, 23456);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(
        file_create_like(in_folder("b"), 0600, old, bytes_str("x"), &msg),
        ERR_OK);
    assert_int_equal(stat(in_folder("b"), &st), 0);
    assert_int_equal(st.st_uid, 12345);
    /* Somebody else may replace it, but not give the new one away. */
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(seteuid(54321), 0);
    int err = file_replace(old, 0600, bytes_str("three"), &msg);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(err, ERR_FORBIDDEN);
    assert_int_equal(stat(old, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(entries(), 2);
}

static void reading_refuses_what_it_should(void **state)
{
    (void)state;
    struct err_msg msg;
    struct buf got;
    buf_init(&got, 2);
    assert_int_equal(file_read(in_folder("none"), false, &got, &msg),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(msg.text, "none: cannot open it: No such file"));
    file_create(in_folder("open"), 0644, bytes_str("x"), NULL);
    assert_int_equal(file_read(in_folder("open"), true, &got, &msg),
                     ERR_FORBIDDEN);
    assert_non_null(strstr(msg.text, "chmod 600"));
    file_create(in_folder("long"), 0600, bytes_str("xyz"), NULL);
    assert_int_equal(file_read(in_folder("long"), true, &got, &msg), ERR_LIMIT);
    assert_int_equal(file_read(folder, false, &got, &msg), ERR_INVALID);
    buf_free(&got);
}

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    struct err_msg msg;
    assert_int_equal(file_make_folder(in_folder("d/e"), 0700, &msg), ERR_OK);
    assert_int_equal(file_make_folder(in_folder("d/e"), 0700, &msg), ERR_OK);
    assert_int_equal(file_create(in_folder("d/e/f"), 0600, bytes_str(""), &msg),
                     ERR_OK);
    assert_int_not_equal(file_make_folder(in_folder("d/e/f"), 0700, &msg),
                         ERR_OK);
    assert_int_equal(unlink(in_folder("d/e/f")), 0);
    assert_int_equal(rmdir(in_folder("d/e")), 0);
}

static void the_steps_beneath_do_all_or_say_so(void **state)
{
    (void)state;
    struct buf rest;
    char text[8] = {0};
    int fd = open(in_folder("steps"), O_RDWR | O_CREAT, 0600);
    assert_int_equal(file_write_all(fd, bytes_str("abcdef")), ERR_OK);
    assert_int_equal(file_pwrite_all(fd, bytes_str("XY"), 2), ERR_OK);
    assert_int_equal(file_pread_all(fd, text, 6, 0), ERR_OK);
    assert_string_equal(text, "abXYef");
    assert_int_equal(file_pread_all(fd, text, 7, 0), ERR_EOF);
    assert_int_equal(file_pread_all(-1, text, 1, 0), ERR_IO);
    buf_init(&rest, 4);
    lseek(fd, 2, SEEK_SET);
    assert_int_equal(file_read_rest(fd, &rest), ERR_OK);
    assert_string_equal(buf_cstr(&rest), "XYef");
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(file_read_rest(fd, &rest), ERR_LIMIT);
    buf_free(&rest);
    close(fd);
    assert_int_equal(file_sync_parent(in_folder("steps")), ERR_OK);
    assert_int_equal(file_sync_parent("relative"), ERR_OK);
    assert_int_equal(file_sync_folder(in_folder("none")), ERR_NOT_FOUND);
    unlink(in_folder("steps"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_created_file_reads_back_and_is_never_overwritten, make_folder,
            remove_folder),
        cmocka_unit_test_setup_teardown(
            replacing_keeps_one_file_with_the_new_mode, make_folder,
            remove_folder),
        cmocka_unit_test_setup_teardown(replacing_keeps_the_owner, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(reading_refuses_what_it_should,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(folders_are_made_with_their_parents,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(the_steps_beneath_do_all_or_say_so,
                                        make_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("base/file", tests, NULL, NULL);
}
