/* Small text files with secrets (private to node/crypt): opened only when they
 * are this user's alone, read line by line as `name value`. */
#ifndef BASTIDE_CRYPT_SECRET_FILE_H
#define BASTIDE_CRYPT_SECRET_FILE_H

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"

/* Appends the whole file to `out`, which was made with the most it may hold;
 * the caller wipes it. `what` names its kind in messages ("key file").
 * ERR_NOT_FOUND; ERR_FORBIDDEN: not a regular file, not mode 0600 exactly, not
 * owned by this user, or unreadable; ERR_INVALID: too long; ERR_IO. `msg` says
 * what to do. */
int secret_file_read(const char *path, const char *what, struct err_msg *msg,
                     struct buf *out);

/* Without white space at both ends. */
struct bytes secret_file_trim(struct bytes in);
/* The first word of `*rest`, which moves past it and the blanks behind it. */
struct bytes secret_file_word(struct bytes *rest);

/* Calls `each` with the first word and the rest of every line, from 1, that is
 * not empty and does not begin with '#'; stops at its first error and returns
 * it. */
int secret_file_lines(struct bytes text,
                      int (*each)(void *arg, unsigned line, struct bytes word,
                                  struct bytes rest),
                      void *arg);

#endif
