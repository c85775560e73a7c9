#include "node/crypt/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/file.h"

/* Opens a file that must be ours alone. The checks are on the descriptor, so
 * that nobody can exchange the file in between. */
static int open_secret(const char *path, const char *what, struct err_msg *msg,
                       int *fd_out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return err_set(
            msg, errno == ELOOP ? ERR_FORBIDDEN : err_from_errno(errno),
            "cannot open the %s %s: %s", what, path, strerror(errno));
    struct stat st;
    int code = ERR_OK;
    if (fstat(fd, &st) != 0)
        code = err_set(msg, ERR_IO, "cannot examine the %s %s: %s", what, path,
                       strerror(errno));
    else if (!S_ISREG(st.st_mode))
        code = err_set(msg, ERR_FORBIDDEN, "the %s %s is not a regular file",
                       what, path);
    else if (st.st_uid != geteuid())
        code = err_set(msg, ERR_FORBIDDEN,
                       "the %s %s belongs to user %u, expected %u: chown it",
                       what, path, (unsigned)st.st_uid, (unsigned)geteuid());
    else if ((st.st_mode & 07777) != 0600)
        code = err_set(msg, ERR_FORBIDDEN,
                       "the %s %s has mode %04o, expected 0600: run chmod 600",
                       what, path, (unsigned)(st.st_mode & 07777));
    if (code != ERR_OK) {
        close(fd);
        return code;
    }
    *fd_out = fd;
    return ERR_OK;
}

int secret_file_read(const char *path, const char *what, struct err_msg *msg,
                     struct buf *out)
{
    int fd = -1;
    int code = open_secret(path, what, msg, &fd);
    if (code != ERR_OK)
        return code;
    code = file_read_rest(fd, out);
    close(fd);
    if (code == ERR_LIMIT)
        return err_set(msg, ERR_INVALID, "the %s %s is too long", what, path);
    if (code != ERR_OK)
        return err_set(msg, code, "cannot read the %s %s: %s", what, path,
                       err_text(code));
    return ERR_OK;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct bytes secret_file_trim(struct bytes in)
{
    while (in.len > 0 && is_blank(in.data[in.len - 1]))
        in.len--;
    while (in.len > 0 && is_blank(in.data[0]))
        in = bytes_of(in.data + 1, in.len - 1);
    return in;
}

struct bytes secret_file_word(struct bytes *rest)
{
    size_t len = 0;
    while (len < rest->len && rest->data[len] != ' ')
        len++;
    struct bytes word = bytes_of(rest->data, len);
    *rest = secret_file_trim(bytes_of(rest->data + len, rest->len - len));
    return word;
}

int secret_file_lines(struct bytes text,
                      int (*each)(void *arg, unsigned line, struct bytes word,
                                  struct bytes rest),
                      void *arg)
{
    for (unsigned line = 1; text.len > 0; line++) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.data) : text.len;
        size_t step = end != NULL ? len + 1 : len;
        struct bytes rest = secret_file_trim(bytes_of(text.data, len));
        if (rest.len > 0 && rest.data[0] != '#') {
            struct bytes word = secret_file_word(&rest);
            int code = each(arg, line, word, rest);
            if (code != ERR_OK)
                return code;
        }
        text = bytes_of(text.data + step, text.len - step);
    }
    return ERR_OK;
}
