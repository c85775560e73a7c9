/* Files, done whole and durably. Shells only; every call may block. */
#ifndef BASTIDE_BASE_FILE_H
#define BASTIDE_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"

/* Everything or an error; interrupted and partial calls are continued.
 * Errors as err_from_errno. */
int file_write_all(int fd, struct bytes data);
int file_pwrite_all(int fd, struct bytes data, off_t offset);
/* ERR_EOF when the file ends before `len` bytes. */
int file_pread_all(int fd, void *out, size_t len, off_t offset);

/* Appends what is left of the file to `out`. ERR_LIMIT when it is more than the
 * buffer may hold. */
int file_read_rest(int fd, struct buf *out);

/* Makes a new file with this mode, content and fsync, its directory synced too;
 * on failure there is no file. ERR_EXISTS when there was one. */
int file_create(const char *path, mode_t mode, struct bytes data);

/* fsync of a directory, so that names made, renamed or removed in it last. */
int file_sync_dir(const char *path);
/* The same for the directory that holds `path`. */
int file_sync_parent(const char *path);

#endif
