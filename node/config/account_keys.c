/* The file of the account's four master keys. */
#include <stdio.h>
#include <string.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/base/text.h"
#include "node/config/config.h"

#define KEY_FILE_MAX 4096

static const char *const key_names[CONFIG_KEY_COUNT] = {
    [CONFIG_KEY_PRIMARY] = "primary",
    [CONFIG_KEY_SECONDARY] = "secondary",
    [CONFIG_KEY_PRIMARY_READONLY] = "primary_readonly",
    [CONFIG_KEY_SECONDARY_READONLY] = "secondary_readonly",
};

void config_account_keys_wipe(struct config_account_keys *keys)
{
    mem_wipe(keys, sizeof(*keys));
}

/* Takes "name: base64" apart and puts the key in its place. */
static int read_line(const char *path, int line, char *text, unsigned *seen,
                     struct config_account_keys *keys, struct err_msg *msg)
{
    char *colon = strchr(text, ':');
    size_t i = 0;
    if (colon != NULL) {
        *colon = '\0';
        while (i < CONFIG_KEY_COUNT && strcmp(text, key_names[i]) != 0)
            i++;
    }
    if (colon == NULL || i == CONFIG_KEY_COUNT)
        return err_set(msg, ERR_INVALID,
                       "%s:%d: expected \"primary: \", \"secondary: \", "
                       "\"primary_readonly: \" or \"secondary_readonly: \"",
                       path, line);
    if ((*seen & 1u << i) != 0)
        return err_set(msg, ERR_INVALID, "%s:%d: %s is given twice", path, line,
                       key_names[i]);
    const char *value = colon + 1 + strspn(colon + 1, " ");
    size_t len = strlen(value);
    struct buf raw;
    buf_init(&raw, KEY_FILE_MAX);
    int err = text_base64_decode(bytes_of(value, len), &raw);
    if (err != ERR_OK || buf_len(&raw) != CONFIG_MASTER_KEY_LEN) {
        buf_wipe(&raw);
        return err_set(msg, ERR_INVALID,
                       "%s:%d: %s: expected the base64 form of %d bytes", path,
                       line, key_names[i], CONFIG_MASTER_KEY_LEN);
    }
    CHECK(len == CONFIG_MASTER_KEY_TEXT_LEN);
    memcpy(keys->raw[i], buf_bytes(&raw), CONFIG_MASTER_KEY_LEN);
    memcpy(keys->text[i], value, len + 1);
    buf_wipe(&raw);
    *seen |= 1u << i;
    return ERR_OK;
}

/* Reads the lines of `text`, which it takes apart. */
static int read_text(const char *path, char *text,
                     struct config_account_keys *keys, struct err_msg *msg)
{
    unsigned seen = 0;
    int line = 0, err = ERR_OK;
    char *rest = text, *part;
    while ((part = strsep(&rest, "\n")) != NULL && err == ERR_OK) {
        line++;
        if (part[0] != '\0' && part[0] != '#')
            err = read_line(path, line, part, &seen, keys, msg);
    }
    for (size_t i = 0; i < CONFIG_KEY_COUNT && err == ERR_OK; i++)
        if ((seen & 1u << i) == 0)
            err = err_set(msg, ERR_INVALID, "%s: key %s is missing", path,
                          key_names[i]);
    return err;
}

int config_account_keys_load(const char *path,
                             struct config_account_keys *keys_out,
                             struct err_msg *msg)
{
    struct config_account_keys keys;
    memset(&keys, 0, sizeof(keys));
    struct buf text;
    buf_init(&text, KEY_FILE_MAX);
    int err = file_read(path, true, &text, msg);
    if (err == ERR_OK)
        err = buf_append_u8(&text, '\0');
    if (err == ERR_OK)
        err = read_text(path, (char *)text.data + text.head, &keys, msg);
    if (err == ERR_OK)
        *keys_out = keys;
    buf_wipe(&text);
    config_account_keys_wipe(&keys);
    return err;
}

const char *config_master_key_name(enum config_master_key which)
{
    CHECK(which < CONFIG_KEY_COUNT);
    return key_names[which];
}

/* A new key as base64 text. */
static void put_random_key(struct buf *text)
{
    uint8_t raw[CONFIG_MASTER_KEY_LEN];
    rng_fill(raw, sizeof(raw));
    CHECK(text_base64_encode(bytes_of(raw, sizeof(raw)), text) == ERR_OK);
    mem_wipe(raw, sizeof(raw));
}

/* The text of a file with these keys; those without text are made. */
static void put_file(const struct config_account_keys *keys, struct buf *text)
{
    for (size_t i = 0; i < CONFIG_KEY_COUNT; i++) {
        CHECK(buf_printf(text, "%s: ", key_names[i]) == ERR_OK);
        if (keys->text[i][0] == '\0')
            put_random_key(text);
        else
            CHECK(buf_append_str(text, keys->text[i]) == ERR_OK);
        CHECK(buf_append_str(text, "\n") == ERR_OK);
    }
}

int config_account_keys_create(const char *path, struct err_msg *msg)
{
    const struct config_account_keys none = {.text = {""}};
    struct buf text;
    buf_init(&text, KEY_FILE_MAX);
    put_file(&none, &text);
    int err = file_create(path, 0600,
                          bytes_of(buf_bytes(&text), buf_len(&text)), msg);
    buf_wipe(&text);
    return err;
}

int config_account_keys_rotate(const char *path, enum config_master_key which,
                               struct err_msg *msg)
{
    CHECK(which < CONFIG_KEY_COUNT);
    struct config_account_keys keys;
    struct buf text;
    int err = config_account_keys_load(path, &keys, msg);
    if (err != ERR_OK)
        return err;
    mem_wipe(keys.text[which], sizeof(keys.text[which]));
    buf_init(&text, KEY_FILE_MAX);
    put_file(&keys, &text);
    err = file_replace(path, 0600, bytes_of(buf_bytes(&text), buf_len(&text)),
                       msg);
    buf_wipe(&text);
    config_account_keys_wipe(&keys);
    return err;
}
