#include "node/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/check.h"

#define READ_STEP 16384

static int fail(const char *path, const char *what, int saved,
                struct err_msg *msg)
{
    return err_set(msg, err_from_errno(saved), "%s: cannot %s it: %s", path,
                   what, strerror(saved));
}

static int read_all(int fd, const char *path, struct buf *out,
                    struct err_msg *msg)
{
    for (;;) {
        char step[READ_STEP];
        ssize_t n = read(fd, step, sizeof(step));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(path, "read", errno, msg);
        if (n == 0)
            return ERR_OK;
        int err = buf_append(out, step, (size_t)n);
        explicit_bzero(step, (size_t)n); /* it may have been a key */
        if (err != ERR_OK)
            return err_set(msg, err, "%s: larger than %zu bytes", path,
                           out->max);
    }
}

int file_read(const char *path, bool private_only, struct buf *out,
              struct err_msg *msg)
{
    CHECK(path != NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(path, "open", errno, msg);
    struct stat st;
    int err = ERR_OK;
    if (fstat(fd, &st) != 0)
        err = fail(path, "examine", errno, msg);
    else if (!S_ISREG(st.st_mode))
        err = err_set(msg, ERR_INVALID, "%s: not a regular file", path);
    else if (private_only && (st.st_mode & 077) != 0)
        err = err_set(msg, ERR_FORBIDDEN,
                      "%s: others than its owner may use it (mode %03o); run "
                      "chmod 600 on it",
                      path, (unsigned)st.st_mode & 0777);
    if (err == ERR_OK)
        err = read_all(fd, path, out, msg);
    close(fd);
    return err;
}

static int write_all(int fd, struct bytes content)
{
    while (content.len > 0) {
        ssize_t n = write(fd, content.data, content.len);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            content.data += n;
            content.len -= (size_t)n;
        }
    }
    return fsync(fd) == 0 ? 0 : errno;
}

/* Makes a new file with a name of its own beside `path`, complete and synced;
 * `temp` (PATH_MAX bytes) receives its name. 0 or an errno. */
static int write_beside(const char *path, mode_t mode, struct bytes content,
                        char *temp)
{
    int len = snprintf(temp, PATH_MAX, "%s.XXXXXX", path);
    if (len < 0 || len >= PATH_MAX)
        return ENAMETOOLONG;
    int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return errno;
    int saved = fchmod(fd, mode) == 0 ? write_all(fd, content) : errno;
    if (close(fd) != 0 && saved == 0)
        saved = errno;
    if (saved != 0)
        unlink(temp);
    return saved;
}

int file_create(const char *path, mode_t mode, struct bytes content,
                struct err_msg *msg)
{
    char temp[PATH_MAX];
    int saved = write_beside(path, mode, content, temp);
    if (saved == 0) {
        /* link, unlike rename, refuses to replace. */
        saved = link(temp, path) == 0 ? 0 : errno;
        unlink(temp);
    }
    return saved == 0 ? ERR_OK : fail(path, "create", saved, msg);
}

int file_replace(const char *path, mode_t mode, struct bytes content,
                 struct err_msg *msg)
{
    char temp[PATH_MAX];
    int saved = write_beside(path, mode, content, temp);
    if (saved == 0 && rename(temp, path) != 0) {
        saved = errno;
        unlink(temp);
    }
    return saved == 0 ? ERR_OK : fail(path, "write", saved, msg);
}

int file_make_folder(const char *path, mode_t mode, struct err_msg *msg)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(part))
        return fail(path, "create", len == 0 ? ENOENT : ENAMETOOLONG, msg);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, mode) != 0 && errno != EEXIST)
            return fail(part, "create", errno, msg);
    }
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return fail(path, "create", ENOTDIR, msg);
    return ERR_OK;
}
