#include "node/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name;
    const char *text;
} err_table[ERR_COUNT] = {
#define ERR_ROW(name, text) [ERR_##name] = {#name, text},
    ERR_LIST(ERR_ROW)
#undef ERR_ROW
};

const char *err_name(int code)
{
    return code >= 0 && code < ERR_COUNT ? err_table[code].name : "UNKNOWN";
}

const char *err_text(int code)
{
    return code >= 0 && code < ERR_COUNT ? err_table[code].text
                                         : "unknown error";
}

int err_from_errno(int errno_value)
{
    switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case ENOMEM:
        return ERR_NO_MEMORY;
    case EACCES:
    case EPERM:
        return ERR_FORBIDDEN;
    case EAGAIN:
    case EINTR:
        return ERR_AGAIN;
    default:
        return ERR_IO;
    }
}

int err_set(struct err_msg *msg, int code, const char *format, ...)
{
    if (msg != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(msg->text, sizeof(msg->text), format, args);
        va_end(args);
    }
    return code;
}
