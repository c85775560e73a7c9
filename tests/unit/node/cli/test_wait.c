/* What is told while a command waits: on a terminal one line that never wraps,
 * and in a log whole lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "node/cli/wait.h"

#define TEXT_MAX 8192

/* Longer than any terminal here; each character has two bytes. */
#define EIGHT "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
static const char seen_text[] = EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT;

struct looker {
    usec_t until_us; /* 0: it holds at the second look */
    unsigned looks;
};

static int look(void *user, struct err_msg *seen)
{
    struct looker *l = user;
    l->looks++;
    if (l->looks > 1 && clock_mono_us() >= l->until_us)
        return ERR_OK;
    return err_set(seen, ERR_AGAIN, "%s", seen_text);
}

/* Waits with `fd` as stderr. */
static void wait_on(int fd, struct looker *l)
{
    const struct wait_until wait = {.what = "it",
                                    .then = "see",
                                    .timeout_us = 60 * USEC_PER_SEC,
                                    .poll_us = USEC_PER_MS,
                                    .look = look,
                                    .user = l};
    struct err_msg msg;
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    int err = wait_until(&wait, &msg);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
    assert_int_equal(err, ERR_OK);
}

static void read_text(int fd, char text[TEXT_MAX])
{
    ssize_t n = read(fd, text, TEXT_MAX - 1);
    assert_true(n >= 0);
    text[n] = '\0';
}

/* What the terminal of so many columns got; 0: it does not say how many. */
static void on_terminal(unsigned short columns, char text[TEXT_MAX])
{
    const struct winsize size = {.ws_row = 24, .ws_col = columns};
    struct looker l = {.until_us = clock_mono_us() + 300 * USEC_PER_MS};
    int outer = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(outer >= 0);
    assert_int_equal(grantpt(outer), 0);
    assert_int_equal(unlockpt(outer), 0);
    int inner = open(ptsname(outer), O_RDWR | O_NOCTTY);
    assert_true(inner >= 0);
    assert_int_equal(ioctl(inner, TIOCSWINSZ, &size), 0);
    wait_on(inner, &l);
    read_text(outer, text);
    close(inner);
    close(outer);
}

static void fits(unsigned short columns, size_t expected)
{
    char text[TEXT_MAX];
    on_terminal(columns, text);
    char *line = strstr(text, "Waiting for it, 0 of at most 60 s: \xc3\xa9");
    assert_non_null(line);
    size_t len = strcspn(line, "\r\n");
    assert_int_equal(len, expected);
    assert_int_equal((unsigned char)line[len - 1], 0xa9); /* a whole one */
    assert_null(strchr(text, '\n'));
}

static void a_line_fits_the_terminal(void **state)
{
    (void)state;
    fits(40, 39);
    fits(41, 39);
}

static void a_terminal_without_a_width_has_80_columns(void **state)
{
    (void)state;
    fits(0, 79);
}

static void a_log_says_it_at_once_and_whole(void **state)
{
    (void)state;
    char text[TEXT_MAX], expected[TEXT_MAX];
    struct looker l = {.until_us = 0};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    wait_on(ends[1], &l);
    close(ends[1]);
    read_text(ends[0], text);
    snprintf(expected, sizeof(expected),
             "Waiting for it, 0 of at most 60 s: %s\n", seen_text);
    assert_string_equal(text, expected);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_fits_the_terminal),
        cmocka_unit_test(a_terminal_without_a_width_has_80_columns),
        cmocka_unit_test(a_log_says_it_at_once_and_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
