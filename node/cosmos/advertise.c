#include "node/cosmos/advertise.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/text.h"

#define SCHEME "https://"

static bool all_of(struct bytes text, const char *others)
{
    for (size_t i = 0; i < text.len; i++) {
        char ch = (char)text.data[i];
        bool alnum = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9');
        if (!alnum && (ch == '\0' || strchr(others, ch) == NULL))
            return false;
    }
    return text.len > 0;
}

/* Bytes of the name at the start of a host: up to the colon, or with both
 * brackets. 0 if it is neither a name nor an IPv6 address. */
static size_t name_length(struct bytes host)
{
    if (host.len > 0 && host.data[0] == '[') {
        const uint8_t *end = memchr(host.data, ']', host.len);
        if (end == NULL)
            return 0;
        size_t len = (size_t)(end - host.data) + 1;
        return all_of(bytes_of(host.data + 1, len - 2), ":.") ? len : 0;
    }
    const uint8_t *colon =
        host.len > 0 ? memchr(host.data, ':', host.len) : NULL;
    size_t len = colon != NULL ? (size_t)(colon - host.data) : host.len;
    return all_of(bytes_of(host.data, len), "-_.") ? len : 0;
}

/* Takes "name", "name:port", "[v6]" or "[v6]:port" apart: `name_out` keeps the
 * brackets, `port_out` is empty without one. ERR_INVALID for anything else:
 * names are of letters, digits, '-', '_' and '.', ports from 1 to 65535. */
static int advertise_split(struct bytes host, struct bytes *name_out,
                           struct bytes *port_out)
{
    uint64_t number;
    size_t len = host.len <= ADVERTISE_HOST_MAX ? name_length(host) : 0;
    if (len == 0)
        return ERR_INVALID;
    struct bytes port = bytes_of(host.data + len, host.len - len);
    if (port.len > 0) {
        if (port.data[0] != ':')
            return ERR_INVALID;
        port = bytes_of(port.data + 1, port.len - 1);
        if (text_parse_u64(port, UINT16_MAX, &number) != ERR_OK || number == 0)
            return ERR_INVALID;
    }
    *name_out = bytes_of(host.data, len);
    *port_out = port;
    return ERR_OK;
}

/* The port of a URL as regions have it; empty without one. */
static struct bytes port_of(const char *url)
{
    struct bytes name, port = {.len = 0};
    CHECK(strncmp(url, SCHEME, strlen(SCHEME)) == 0);
    const char *host = url + strlen(SCHEME);
    if (advertise_split(bytes_of(host, strcspn(host, "/")), &name, &port) !=
        ERR_OK)
        return (struct bytes){.len = 0};
    return port;
}

void advertise_url(enum cosmos_advertise how, struct bytes host,
                   const char *listed, char *out)
{
    struct bytes name, port;
    if (how == COSMOS_ADVERTISE_LISTED ||
        advertise_split(host, &name, &port) != ERR_OK) {
        snprintf(out, COSMOS_NAME_MAX + 1, "%s", listed);
        return;
    }
    if (how == COSMOS_ADVERTISE_HOST)
        port = port_of(listed);
    snprintf(out, COSMOS_NAME_MAX + 1, SCHEME "%.*s%s%.*s/", (int)name.len,
             (const char *)name.data, port.len > 0 ? ":" : "", (int)port.len,
             port.len > 0 ? (const char *)port.data : "");
}
