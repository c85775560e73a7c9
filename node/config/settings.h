/* The table of scalar settings (private to node/config): one row gives a
 * setting its name, where it lives in struct config, how its text is read and
 * what is expected. The file, the environment and flags all go through it. */
#ifndef BASTIDE_CONFIG_SETTINGS_H
#define BASTIDE_CONFIG_SETTINGS_H

#include "node/config/config.h"

enum setting_type {
    SETTING_NAME,        /* char[CONFIG_NAME_MAX + 1] */
    SETTING_U32,         /* uint32_t, min..max */
    SETTING_SIZE_U32,    /* uint32_t, bytes, suffix KiB/MiB/GiB allowed */
    SETTING_SIZE_U64,    /* uint64_t, likewise */
    SETTING_BOOL,        /* bool */
    SETTING_ADDR,        /* struct config_addr */
    SETTING_PATH,        /* char *, made absolute later */
    SETTING_URL,         /* char * */
    SETTING_TLS,         /* enum config_tls */
    SETTING_LEVEL,       /* enum log_level */
    SETTING_FORMAT,      /* enum config_log_format */
    SETTING_CONSISTENCY, /* struct config_consistency */
    SETTING_LATENCIES,   /* struct config_latencies; in the file also a list */
    SETTING_ADVERTISE,   /* enum config_advertise */
    SETTING_ENDPOINTS,   /* struct config_endpoints */
};

struct setting {
    const char *name;
    enum setting_type type;
    size_t offset;         /* in struct config */
    const char *min, *max; /* numbers and sizes, as text */
    const char *expected;
    const char *fallback; /* NULL = must be given */
    const char *help;
};

#define SETTINGS_MAX 64
extern const struct setting settings[];
extern const size_t setting_count;

/* Index of a setting by dotted name, of `len` bytes; -1 when there is none. */
int setting_find(const char *name, size_t len);

/* Reads `text` into the setting's place. ERR_INVALID with "found ...,
 * expected ..." when it does not fit. */
int setting_read(const struct setting *s, const char *text, struct config *c,
                 struct err_msg *msg);

/* "https://host[:port]/", nothing behind the slash. */
bool setting_url_ok(const char *text);
/* Reads a decimal number, with a binary suffix if `size`. */
int setting_number(const char *text, bool size, uint64_t *value_out);

/* Frees the strings that settings own. */
void settings_free(struct config *c);

/* Makes a relative path absolute against folder `base`; owns and returns. */
char *setting_absolute(const char *base, char *path);

#endif
