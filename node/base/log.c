#include "node/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/clock.h"
#include "node/base/err.h"

/* Longest line; what does not fit is cut, the line stays well-formed. */
#define LOG_LINE_MAX 4096

static struct {
    int fd;
    enum log_level least;
    enum log_format format;
    const char *context_key;
    const char *context_value;
} log_state = {.fd = STDERR_FILENO, .least = LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_tags[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

struct line {
    char text[LOG_LINE_MAX];
    size_t len;
};

void log_setup(int fd, enum log_level least, enum log_format format)
{
    log_state.fd = fd;
    log_state.least = least;
    log_state.format = format;
}

void log_set_context(const char *key, const char *value)
{
    log_state.context_key = key;
    log_state.context_value = value;
}

int log_level_parse(const char *text, enum log_level *level_out)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level_out = (enum log_level)i;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

/* Room is kept for the closing `"}\n`. */
static void line_put(struct line *l, const char *data, size_t len)
{
    size_t room = LOG_LINE_MAX - 8 - l->len;
    if (len > room)
        len = room;
    memcpy(l->text + l->len, data, len);
    l->len += len;
}

static void line_str(struct line *l, const char *text)
{
    line_put(l, text, strlen(text));
}

/* Escapes control characters, quotes and backslashes; cuts when full. */
static void line_escaped(struct line *l, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        char esc[8];
        if (*p == '"' || *p == '\\')
            snprintf(esc, sizeof(esc), "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            snprintf(esc, sizeof(esc), "\\u%04x", *p);
        else
            snprintf(esc, sizeof(esc), "%c", *p);
        if (l->len + strlen(esc) > LOG_LINE_MAX - 8)
            return;
        line_str(l, esc);
    }
}

static void line_value(struct line *l, const struct log_field *f, int quote)
{
    char number[32];
    switch (f->type) {
    case LOG_FIELD_STR:
        if (quote)
            line_str(l, "\"");
        line_escaped(l, f->str != NULL ? f->str : "");
        if (quote)
            line_str(l, "\"");
        break;
    case LOG_FIELD_INT:
        snprintf(number, sizeof(number), "%" PRId64, f->i);
        line_str(l, number);
        break;
    case LOG_FIELD_UINT:
        snprintf(number, sizeof(number), "%" PRIu64, f->u);
        line_str(l, number);
        break;
    }
}

static void line_json_field(struct line *l, const struct log_field *f)
{
    if (l->len + strlen(f->key) + 32 > LOG_LINE_MAX - 8)
        return;
    line_str(l, ",\"");
    line_str(l, f->key);
    line_str(l, "\":");
    line_value(l, f, 1);
}

static void line_json(struct line *l, enum log_level level, const char *msg,
                      const struct log_field *fields)
{
    char when[CLOCK_ISO_LEN + 1];
    clock_iso(clock_wall_us(), when);
    line_str(l, "{\"time\":\"");
    line_str(l, when);
    line_str(l, "\",\"level\":\"");
    line_str(l, level_names[level]);
    line_str(l, "\",\"msg\":\"");
    line_escaped(l, msg);
    line_str(l, "\"");
    if (log_state.context_key != NULL)
        line_json_field(l, &LOG_STR(log_state.context_key,
                                    log_state.context_value));
    for (const struct log_field *f = fields; f->key != NULL; f++)
        line_json_field(l, f);
    /* The reserve of line_put leaves room for this even when cut. */
    memcpy(l->text + l->len, "}\n", 2);
    l->len += 2;
}

static void line_text(struct line *l, enum log_level level, const char *msg,
                      const struct log_field *fields)
{
    char when[CLOCK_ISO_LEN + 1];
    clock_iso(clock_wall_us(), when);
    line_put(l, when + 11, 12);
    line_str(l, " ");
    line_str(l, level_tags[level]);
    line_str(l, " ");
    if (log_state.context_value != NULL) {
        line_str(l, log_state.context_value);
        line_str(l, ": ");
    }
    line_escaped(l, msg);
    for (const struct log_field *f = fields; f->key != NULL; f++) {
        line_str(l, " ");
        line_str(l, f->key);
        line_str(l, "=");
        line_value(l, f, 0);
    }
    memcpy(l->text + l->len, "\n", 1);
    l->len += 1;
}

int log_enabled(enum log_level level)
{
    return level >= log_state.least;
}

void log_write(enum log_level level, const char *msg,
               const struct log_field *fields)
{
    if (level < log_state.least)
        return;
    struct line line;
    line.len = 0;
    if (log_state.format == LOG_JSON)
        line_json(&line, level, msg, fields);
    else
        line_text(&line, level, msg, fields);
    /* Nothing sensible can be done when the log itself cannot be written. */
    ssize_t ignored = write(log_state.fd, line.text, line.len);
    (void)ignored;
}
