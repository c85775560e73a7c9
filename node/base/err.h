/* Results of operations that can fail for reasons outside the program.
 *
 * Convention for the whole project: a function that can fail returns `int`,
 * 0 (ERR_OK) for success or one of these codes; outputs are parameters named
 * `*_out`, last in the list and untouched on failure. ERR_AGAIN is a normal
 * value: "not now, call again when the named condition changes".
 *
 * One list yields the enum, the names and the texts. Which HTTP status an
 * error becomes is decided by the API in front (node/cosmos/status.h), because
 * the two protocols disagree.
 */
#ifndef BASTIDE_BASE_ERR_H
#define BASTIDE_BASE_ERR_H

#include <stddef.h>

#define ERR_LIST(X)                                                            \
    X(OK, "success")                                                           \
    X(AGAIN, "not now, try again")                                             \
    X(EOF, "end of stream")                                                    \
    X(NO_MEMORY, "out of memory")                                              \
    X(LIMIT, "a named limit was exceeded")                                     \
    X(FULL, "queue or buffer is full")                                         \
    X(INVALID, "invalid input")                                                \
    X(MALFORMED, "malformed bytes")                                            \
    X(NOT_FOUND, "not found")                                                  \
    X(EXISTS, "already exists")                                                \
    X(PRECONDITION, "precondition failed")                                     \
    X(NOT_MODIFIED, "not modified")                                            \
    X(NOT_LEADER, "not the leader of this shard")                              \
    X(NO_LEADER, "no leader is known for this shard")                          \
    X(NO_QUORUM, "no quorum answers")                                          \
    X(STALE, "newer state exists")                                             \
    X(BEHIND, "the state asked for has not arrived here yet")                  \
    X(TIMEOUT, "timed out, the outcome is unknown")                            \
    X(UNAVAILABLE, "unavailable, nothing was applied")                         \
    X(THROTTLED, "too many requests, retry later")                             \
    X(CANCELLED, "cancelled")                                                  \
    X(IO, "input/output error")                                                \
    X(NO_SPACE, "no space left on device")                                     \
    X(CORRUPT, "stored data is damaged")                                       \
    X(BUSY, "in use by another process")                                       \
    X(IDENTITY, "belongs to another node or cluster")                          \
    X(AUTH, "authentication failed")                                           \
    X(FORBIDDEN, "not allowed")                                                \
    X(PROTOCOL, "peer broke the protocol")                                     \
    X(UNSUPPORTED, "not supported")                                            \
    X(CLOSED, "closed")                                                        \
    X(MOVED, "the container is being moved, or is in another group")           \
    X(FORGOTTEN, "whether an earlier attempt succeeded is not known any more")

enum err {
#define ERR_ENUM(name, text) ERR_##name,
    ERR_LIST(ERR_ENUM)
#undef ERR_ENUM
        ERR_COUNT
};

/* The code's name without the prefix ("NOT_FOUND"); "UNKNOWN" for others. */
const char *err_name(int code);
/* A short English text ("not found"). */
const char *err_text(int code);

/* Reads errno and maps it: ENOSPC/EDQUOT -> ERR_NO_SPACE, ENOENT ->
 * ERR_NOT_FOUND, EEXIST -> ERR_EXISTS, ENOMEM -> ERR_NO_MEMORY, EACCES/EPERM
 * -> ERR_FORBIDDEN, EAGAIN/EINTR -> ERR_AGAIN, anything else -> ERR_IO. */
int err_from_errno(int errno_value);

/* A message for a person, filled by functions that can say more than a code:
 * which file, which line, what was expected. Always NUL-terminated; longer
 * texts are cut. Callers own the struct (usually on the stack). */
#define ERR_MSG_MAX 512
struct err_msg {
    char text[ERR_MSG_MAX];
};

/* Formats into `msg` (which may be NULL) and returns `code`, so that a failing
 * path can be written `return err_set(msg, ERR_INVALID, "...", ...)`. */
int err_set(struct err_msg *msg, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
