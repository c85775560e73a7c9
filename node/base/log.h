/* The process log: one event a line, with named fields.
 *
 *     log_warn("peer refused", LOG_STR("peer", name), LOG_INT("port", port));
 *
 * As JSON: {"time":"...","level":"warn","msg":"peer refused","peer":"eu-1",...}
 * On a terminal: 01:53:57.123 WARN peer refused peer=eu-1 port=9000
 *
 * Only shells log; pure modules return errors and the shell logs them, once.
 * Never pass a key, a token, a document, an id or a partition key.
 * Thread-safe: a line is one write(2).
 */
#ifndef BASTIDE_BASE_LOG_H
#define BASTIDE_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_UINT } type;
    union {
        const char *str;
        int64_t i;
        uint64_t u;
    };
};

#define LOG_STR(k, v) ((struct log_field){.key = (k), LOG_FIELD_STR, {.str = (v)}})
#define LOG_INT(k, v) ((struct log_field){.key = (k), LOG_FIELD_INT, {.i = (v)}})
#define LOG_UINT(k, v) ((struct log_field){.key = (k), LOG_FIELD_UINT, {.u = (v)}})

/* `fd` stays owned by the caller. Default: stderr, info, text. Call before
 * other threads start. */
void log_setup(int fd, enum log_level least, enum log_format format);
/* A fixed field that every line carries (such as node=eu-1); the strings must
 * outlive the process's logging. */
void log_set_context(const char *key, const char *value);
int log_level_parse(const char *text, enum log_level *level_out);

/* Whether events of this level are written: to skip costly fields. */
int log_enabled(enum log_level level);

void log_write(enum log_level level, const char *msg,
               const struct log_field *fields);

#define LOG_AT(level, msg, ...)                                                \
    log_write((level), (msg),                                                  \
              (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.key = 0}})
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)

#endif
