#include "node/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/err.h"
#include "node/base/mem.h"

int file_write_all(int fd, struct bytes data)
{
    while (data.len > 0) {
        ssize_t put = write(fd, data.data, data.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return err_from_errno(put == 0 ? ENOSPC : errno);
        data = bytes_of(data.data + put, data.len - (size_t)put);
    }
    return ERR_OK;
}

int file_pwrite_all(int fd, struct bytes data, off_t offset)
{
    while (data.len > 0) {
        ssize_t put = pwrite(fd, data.data, data.len, offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return err_from_errno(put == 0 ? ENOSPC : errno);
        data = bytes_of(data.data + put, data.len - (size_t)put);
        offset += put;
    }
    return ERR_OK;
}

int file_pread_all(int fd, void *out, size_t len, off_t offset)
{
    uint8_t *at = out;
    while (len > 0) {
        ssize_t got = pread(fd, at, len, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_from_errno(errno);
        if (got == 0)
            return ERR_EOF;
        at += got;
        len -= (size_t)got;
        offset += got;
    }
    return ERR_OK;
}

int file_read_rest(int fd, struct buf *out)
{
    uint8_t chunk[4096];
    int code = ERR_OK;
    while (code == ERR_OK) {
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            code = err_from_errno(errno);
        else if (got == 0)
            break;
        else
            code = buf_append(out, chunk, (size_t)got);
    }
    mem_wipe(chunk, sizeof(chunk)); /* it may have been a key */
    return code;
}

int file_create(const char *path, mode_t mode, struct bytes data)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return err_from_errno(errno);
    int code = file_write_all(fd, data);
    /* fchmod: the umask may have taken bits away. */
    if (code == ERR_OK && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        code = err_from_errno(errno);
    close(fd);
    if (code == ERR_OK)
        code = file_sync_parent(path);
    if (code != ERR_OK)
        unlink(path);
    return code;
}

int file_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int code = fsync(fd) == 0 ? ERR_OK : err_from_errno(errno);
    close(fd);
    return code;
}

int file_sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return file_sync_dir(".");
    char *parent =
        mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int code = file_sync_dir(parent);
    mem_free(parent);
    return code;
}
