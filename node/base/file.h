/* Small whole files: configuration, keys, certificates, notes of a tool.
 * Blocking; for start-up and for command-line tools, never for a loop.
 *
 * Errors everywhere: err_from_errno of what failed (ERR_NOT_FOUND,
 * ERR_FORBIDDEN, ERR_NO_SPACE, ERR_IO, ...); the message names the path. */
#ifndef BASTIDE_BASE_FILE_H
#define BASTIDE_BASE_FILE_H

#include <stdbool.h>
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

/* Likewise, but replaces what is there, atomically. */
int file_replace(const char *path, mode_t mode, struct bytes content,
                 struct err_msg *msg);

/* Creates a folder and its missing parents; fine if it is there. */
int file_make_folder(const char *path, mode_t mode, struct err_msg *msg);

#endif
