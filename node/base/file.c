#include "node/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/mem.h"

#define READ_STEP 16384

static int fail(const char *path, const char *what, int saved,
                struct err_msg *msg)
{
    return err_set(msg, err_from_errno(saved), "%s: cannot %s it: %s", path,
                   what, strerror(saved));
}

int file_read_rest(int fd, struct buf *out)
{
    for (;;) {
        char step[READ_STEP];
        ssize_t n = read(fd, step, sizeof(step));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? err_from_errno(errno) : ERR_OK;
        int err = buf_append(out, step, (size_t)n);
        mem_wipe(step, (size_t)n); /* it may have been a key */
        if (err != ERR_OK)
            return err;
    }
}

static int read_all(int fd, const char *path, struct buf *out,
                    struct err_msg *msg)
{
    int err = file_read_rest(fd, out);
    if (err == ERR_LIMIT)
        return err_set(msg, err, "%s: larger than %zu bytes", path, out->max);
    if (err != ERR_OK)
        return err_set(msg, err, "%s: cannot read it: %s", path, err_text(err));
    return ERR_OK;
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

int file_write_all(int fd, struct bytes data)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.data, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_from_errno(n == 0 ? ENOSPC : errno);
        data = bytes_of(data.data + n, data.len - (size_t)n);
    }
    return ERR_OK;
}

int file_pwrite_all(int fd, struct bytes data, off_t offset)
{
    while (data.len > 0) {
        ssize_t n = pwrite(fd, data.data, data.len, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_from_errno(n == 0 ? ENOSPC : errno);
        data = bytes_of(data.data + n, data.len - (size_t)n);
        offset += n;
    }
    return ERR_OK;
}

int file_pread_all(int fd, void *out, size_t len, off_t offset)
{
    uint8_t *at = out;
    while (len > 0) {
        ssize_t n = pread(fd, at, len, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? err_from_errno(errno) : ERR_EOF;
        at += n;
        len -= (size_t)n;
        offset += n;
    }
    return ERR_OK;
}

int file_free_bytes(const char *path, uint64_t *bytes_out)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return err_from_errno(errno);
    *bytes_out = (uint64_t)st.f_bavail * st.f_frsize;
    return ERR_OK;
}

int file_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int err = fsync(fd) == 0 ? ERR_OK : err_from_errno(errno);
    close(fd);
    return err;
}

int file_sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return file_sync_folder(".");
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    char *parent = mem_strndup(path, len);
    int err = file_sync_folder(parent);
    mem_free(parent);
    return err;
}

/* 0 or an errno. */
static int write_and_sync(int fd, struct bytes content)
{
    errno = 0;
    if (file_write_all(fd, content) == ERR_OK && fsync(fd) == 0)
        return 0;
    return errno != 0 ? errno : ENOSPC; /* a write of nothing says no more */
}

static int sync_parent(const char *path)
{
    errno = 0;
    if (file_sync_parent(path) == ERR_OK)
        return 0;
    return errno != 0 ? errno : EIO;
}

/* Gives a new file to the owner of `like`, if that exists. The group is taken
 * along where that is allowed: it says nothing about files of mode 0600, and
 * whoever owns a file need not be a member of its group. 0 or an errno. */
static int give_to_owner(int fd, const char *like)
{
    struct stat old, st;
    if (lstat(like, &old) != 0)
        return errno == ENOENT ? 0 : errno;
    if (fstat(fd, &st) != 0)
        return errno;
    if (old.st_uid != st.st_uid)
        return fchown(fd, old.st_uid, old.st_gid) == 0 ? 0 : errno;
    if (old.st_gid != st.st_gid && fchown(fd, (uid_t)-1, old.st_gid) != 0 &&
        errno != EPERM)
        return errno;
    return 0;
}

/* Makes a new file with a name of its own beside `path`, complete and synced;
 * `temp` (PATH_MAX bytes) receives its name. It belongs to the owner of `like`,
 * unless that is NULL. 0 or an errno. */
static int write_beside(const char *path, mode_t mode, const char *like,
                        struct bytes content, char *temp)
{
    int len = snprintf(temp, PATH_MAX, "%s.XXXXXX", path);
    if (len < 0 || len >= PATH_MAX)
        return ENAMETOOLONG;
    int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return errno;
    int saved = fchmod(fd, mode) == 0 ? 0 : errno;
    if (saved == 0 && like != NULL)
        saved = give_to_owner(fd, like);
    if (saved == 0)
        saved = write_and_sync(fd, content);
    if (close(fd) != 0 && saved == 0)
        saved = errno;
    if (saved != 0)
        unlink(temp);
    return saved;
}

int file_create_like(const char *path, mode_t mode, const char *like,
                     struct bytes content, struct err_msg *msg)
{
    char temp[PATH_MAX];
    int saved = write_beside(path, mode, like, content, temp);
    if (saved == 0) {
        /* link, unlike rename, refuses to replace. */
        saved = link(temp, path) == 0 ? 0 : errno;
        unlink(temp);
    }
    if (saved == 0)
        saved = sync_parent(path);
    return saved == 0 ? ERR_OK : fail(path, "create", saved, msg);
}

int file_create(const char *path, mode_t mode, struct bytes content,
                struct err_msg *msg)
{
    return file_create_like(path, mode, NULL, content, msg);
}

int file_replace(const char *path, mode_t mode, struct bytes content,
                 struct err_msg *msg)
{
    char temp[PATH_MAX];
    int saved = write_beside(path, mode, path, content, temp);
    if (saved == 0 && rename(temp, path) != 0) {
        saved = errno;
        unlink(temp);
    }
    if (saved == 0)
        saved = sync_parent(path);
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

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

int file_remove_tree(const char *path)
{
    int result = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (result != 0 && errno != ENOENT)
        return ERR_IO;
    return file_sync_parent(path);
}
