/* Small whole files: configuration, keys, certificates, notes of a tool; and
 * the steps that durable files are made of. Blocking; for start-up, helper
 * threads and command-line tools, never for a loop.
 *
 * Errors everywhere: err_from_errno of what failed (ERR_NOT_FOUND,
 * ERR_FORBIDDEN, ERR_NO_SPACE, ERR_IO, ...); the message names the path. */
#ifndef BASTIDE_BASE_FILE_H
#define BASTIDE_BASE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"

/* Appends a regular file to `out`. ERR_LIMIT when it would pass out's maximum.
 * With `private_only`, a file that others than its owner may read is refused
 * with ERR_FORBIDDEN. */
int file_read(const char *path, bool private_only, struct buf *out,
              struct err_msg *msg);

/* Creates a file of exactly these permissions, synced to disk: it appears
 * complete or not at all. ERR_EXISTS when the path exists. */
int file_create(const char *path, mode_t mode, struct bytes content,
                struct err_msg *msg);

/* Likewise, for a file that is to take the place of `like`: it belongs to the
 * owner of that, so that root can renew what others read. An error when that
 * cannot be; nothing of it when `like` is NULL or does not exist. */
int file_create_like(const char *path, mode_t mode, const char *like,
                     struct bytes content, struct err_msg *msg);

/* Likewise, but replaces what is there, atomically, and keeps its owner. */
int file_replace(const char *path, mode_t mode, struct bytes content,
                 struct err_msg *msg);

/* Creates a folder and its missing parents; fine if it is there. */
int file_make_folder(const char *path, mode_t mode, struct err_msg *msg);

/* Appends what is left of an open file to `out`. ERR_LIMIT when it is more than
 * the buffer may hold. */
int file_read_rest(int fd, struct buf *out);

/* Everything or an error; interrupted and partial calls are continued. */
int file_write_all(int fd, struct bytes data);
int file_pwrite_all(int fd, struct bytes data, off_t offset);
/* ERR_EOF when the file ends before `len` bytes. */
int file_pread_all(int fd, void *out, size_t len, off_t offset);

/* How many bytes there is room for where `path` is. */
int file_free_bytes(const char *path, uint64_t *bytes_out);

/* fsync of a folder, so that names made, renamed or removed in it last. */
int file_sync_folder(const char *path);
/* Deletes a folder with all that is in it, and makes that durable. Follows no
 * links. One that is not there is fine. ERR_IO. */
int file_remove_tree(const char *path);
/* The same for the folder that holds `path`. */
int file_sync_parent(const char *path);

#endif
