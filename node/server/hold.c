#include "node/server/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/bytes.h"
#include "node/base/file.h"
#include "node/base/log.h"
#include "node/base/text.h"

#define HOLD_TEXT_MAX 32

static bool hold_path(const char *data_dir, char path[PATH_MAX])
{
    int len = snprintf(path, PATH_MAX, "%s/hold", data_dir);
    return len > 0 && len < PATH_MAX;
}

int hold_write(const char *data_dir, usec_t for_us, struct err_msg *msg)
{
    char path[PATH_MAX], text[HOLD_TEXT_MAX];
    if (!hold_path(data_dir, path))
        return err_set(msg, ERR_LIMIT, "%s: the path is too long", data_dir);
    snprintf(text, sizeof(text), "%lld",
             (long long)(clock_real_wall_us() + for_us));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err =
        fd >= 0 ? file_write_all(fd, bytes_str(text)) : err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    if (err != ERR_OK)
        unlink(path);
    return err == ERR_OK ? ERR_OK
                         : err_set(msg, err, "%s: cannot write it: %s", path,
                                   err_text(err));
}

usec_t hold_left_us(const char *data_dir)
{
    char path[PATH_MAX], text[HOLD_TEXT_MAX];
    int fd = hold_path(data_dir, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof(text));
    close(fd);
    uint64_t until;
    if (len <= 0 || text_parse_u64(bytes_of(text, (size_t)len), INT64_MAX,
                                   &until) != ERR_OK)
        return 0;
    usec_t left = (usec_t)until - clock_real_wall_us();
    return left > 0 && left <= HOLD_MAX_US ? left : 0;
}

static bool wait_for(usec_t us, const sigset_t *signals)
{
    struct timespec ts = {.tv_sec = us / USEC_PER_SEC,
                          .tv_nsec = us % USEC_PER_SEC * 1000};
    int sig = sigtimedwait(signals, NULL, &ts);
    return sig < 0 || sig == SIGHUP;
}

bool hold_wait(const char *data_dir, const sigset_t *signals)
{
    char path[PATH_MAX];
    usec_t left = hold_left_us(data_dir);
    if (left > 0)
        log_warn("this node was killed on request and is held down",
                 LOG_UINT("ms", (uint64_t)(left / USEC_PER_MS)));
    for (; left > 0; left = hold_left_us(data_dir))
        if (!wait_for(left, signals)) {
            log_info("stopped while it was held down");
            return false;
        }
    if (hold_path(data_dir, path))
        unlink(path);
    return true;
}
