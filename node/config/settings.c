#include "node/config/settings.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"

#define AT(field) offsetof(struct config, field)

#define NAME(n, f, help)                                                       \
    {                                                                          \
        n, SETTING_NAME, AT(f), NULL, NULL, "a name of a-z, 0-9 and '-'",      \
            NULL, help                                                         \
    }
#define U32(n, f, lo, hi, def, help)                                           \
    {                                                                          \
        n, SETTING_U32, AT(f), #lo, #hi,                                       \
            "a whole number from " #lo " to " #hi, def, help                   \
    }
#define SIZE(n, type, f, lo, hi, def, help)                                    \
    {                                                                          \
        n, type, AT(f), lo, hi,                                                \
            "a size from " lo " to " hi " (bytes, KiB, MiB or GiB)", def, help \
    }
#define BOOL(n, f, def, help)                                                  \
    {                                                                          \
        n, SETTING_BOOL, AT(f), NULL, NULL, "true or false", def, help         \
    }
#define ADDR(n, f, help)                                                       \
    {                                                                          \
        n, SETTING_ADDR, AT(f), NULL, NULL, "an address as host:port", NULL,   \
            help                                                               \
    }
#define PATH(n, f, help)                                                       \
    {                                                                          \
        n, SETTING_PATH, AT(f), NULL, NULL, "a path", NULL, help               \
    }
#define URL(n, f, help)                                                        \
    {                                                                          \
        n, SETTING_URL, AT(f), NULL, NULL, "a URL as https://host:port/",      \
            NULL, help                                                         \
    }

/* clang-format off */
const struct setting settings[] = {
    NAME("cluster", cluster, "name of the cluster, part of every node's identity"),
    NAME("region", region, "the region this node is in"),
    NAME("node", node, "name of this node"),
    U32("id", id, 1, 255, NULL, "number of this node, unique in the cluster"),
    PATH("data_dir", data_dir, "folder of the log and the store; made if missing"),
    U32("workers", workers, 0, 64, "0", "worker threads, 0 = one per core; fixed by the data folder's first start"),
    BOOL("stand_in", stand_in, "false", "serve a lost region's address too, where regions share a host"),
    ADDR("listen.account", listen.account, "client endpoint shared by all nodes"),
    ADDR("listen.region", listen.region, "client endpoint shared by the region's nodes"),
    ADDR("listen.node", listen.node, "client endpoint of this node alone"),
    ADDR("listen.admin", listen.admin, "liveness, readiness and status (mutual TLS for status)"),
    ADDR("listen.peer", listen.peer, "links of other nodes (mutual TLS)"),
    URL("account.endpoint", account_endpoint, "public URL of the account, served by every node"),
    {"advertise", SETTING_ADVERTISE, AT(advertise), NULL, NULL, "listed, host or request", "listed", "addresses of regions that clients are given: as listed; with the host they asked; or the host and port they asked"},
    {"advertise_regions", SETTING_ENDPOINTS, AT(advertise_regions), NULL, NULL, "public URLs as region=https://host:port/,...", "", "public URLs of regions, instead of those in the regions list"},
    PATH("tls.ca", tls.ca, "the cluster's CA certificate (PEM)"),
    PATH("tls.cert", tls.cert, "this node's certificate (PEM)"),
    PATH("tls.key", tls.key, "this node's private key (PEM, mode 0600)"),
    {"tls.min_version", SETTING_TLS, AT(tls.min_version), NULL, NULL, "1.3 or 1.2", "1.3", "lowest TLS version for clients; links between nodes always use 1.3"},
    PATH("keys.kek", keys.kek, "key-encryption key (mode 0600)"),
    PATH("keys.cluster", keys.cluster, "the cluster's wrapped data keys"),
    PATH("keys.account", keys.account, "the account's master keys (mode 0600)"),
    {"keys.region", SETTING_PATH, AT(keys.region), NULL, NULL, "a path", "region.key", "private key of the node's region (mode 0600), where regions have keys"},
    U32("shards", shards, 1, 1024, "2", "shards that the group 'default' begins with; stays as it is when the group is split"),
    {"consistency", SETTING_CONSISTENCY, AT(consistency), NULL, NULL, "strong, bounded[,K=entries][,T=seconds], session, prefix or eventual", "strong", "level of a new account; later `bastide consistency set` decides"},
    BOOL("forward_writes", forward_writes, "true", "outside the write region, pass writes on to it; false: refuse them, so that SDKs go there"),
    {"latency", SETTING_LATENCIES, AT(latency), NULL, NULL, "round trips as region:region=80ms, or 80ms for all, up to 10s, or world", "", "for tests and demos: delay what is sent to nodes of other regions"},
    BOOL("fault_injection", fault_injection, "false", "for tests only: administrators may make this node fail (bastide fault)"),
    U32("feature_level_max", feature_level_max, 0, 1000000, "0", "while any node has this, the cluster's feature level does not rise above it; 0: to what all nodes support"),
    SIZE("limits.memtable_bytes", SETTING_SIZE_U64, limits.memtable_bytes, "16MiB", "64GiB", "64MiB", "memory for writes not yet in the store, per worker; beyond it writes get 429"),
    U32("limits.connections", limits.connections, 16, 1000000, "10000", "client connections at once"),
    SIZE("limits.header_bytes", SETTING_SIZE_U32, limits.header_bytes, "16KiB", "1MiB", "32KiB", "request line and headers of a request"),
    SIZE("limits.body_bytes", SETTING_SIZE_U32, limits.body_bytes, "64KiB", "16MiB", "2MiB", "body of a request"),
    SIZE("limits.log_segment_bytes", SETTING_SIZE_U32, limits.log_segment_bytes, "1MiB", "1GiB", "64MiB", "size at which the log begins a new file"),
    SIZE("limits.map_bytes", SETTING_SIZE_U64, limits.map_bytes, "16MiB", "16384GiB", "64GiB", "most bytes the store of one worker may grow to"),
    SIZE("limits.snapshot_rate", SETTING_SIZE_U64, limits.snapshot_rate, "1MiB", "64GiB", "16MiB", "bytes a second that this node sends of snapshots, in all; a reload changes it"),
    U32("timeouts.heartbeat_ms", timeouts.heartbeat_ms, 5, 60000, "100", "how often a leader is heard"),
    U32("timeouts.election_ms", timeouts.election_ms, 50, 600000, "800", "shortest wait before a new leader is sought; the longest is twice that"),
    U32("timeouts.lease_ms", timeouts.lease_ms, 20, 600000, "600", "how long a leader may rely on its last majority; below election_ms"),
    U32("timeouts.link_silence_ms", timeouts.link_silence_ms, 50, 600000, "1000", "a link to a node without a byte for this long is broken"),
    U32("timeouts.region_down_ms", timeouts.region_down_ms, 200, 600000, "1000", "a region that a majority does not reach for this long is lost: the next takes the writes"),
    U32("timeouts.region_up_ms", timeouts.region_up_ms, 200, 300000, "10000", "a region is up again when it has been well for this long, doubled each time it fails again; and gets the writes back when it has caught up for this long"),
    U32("timeouts.connect_ms", timeouts.connect_ms, 50, 600000, "1500", "time to connect to another node; more than three round trips"),
    U32("timeouts.request_ms", timeouts.request_ms, 100, 55000, "10000", "an operation on a shard, then 408 or 503; clients give up after 60 s"),
    U32("timeouts.handshake_ms", timeouts.handshake_ms, 100, 600000, "10000", "TLS handshake of a client"),
    U32("timeouts.header_ms", timeouts.header_ms, 100, 600000, "10000", "from a request's first byte to the end of its headers"),
    U32("timeouts.body_ms", timeouts.body_ms, 100, 3600000, "60000", "from there to the end of its body"),
    U32("timeouts.idle_ms", timeouts.idle_ms, 100, 86400000, "120000", "a connection kept alive without a request"),
    U32("timeouts.drain_ms", timeouts.drain_ms, 0, 600000, "5000", "what a stopping node waits for running requests"),
    U32("scrub.interval_s", scrub.interval_s, 0, 31536000, "21600", "how often the replicas of a shard are read through and compared, and a wrong one replaced; 0: only when asked (bastide scrub)"),
    SIZE("scrub.rate_bytes", SETTING_SIZE_U64, scrub.rate_bytes, "64KiB", "16GiB", "16MiB", "how much of the stores a worker reads a second for that"),
    {"log.level", SETTING_LEVEL, AT(log.level), NULL, NULL, "debug, info, warn or error", "info", "least level that is logged"},
    {"log.format", SETTING_FORMAT, AT(log.format), NULL, NULL, "auto, text or json", "auto", "auto: text on a terminal, else JSON"},
};
/* clang-format on */
const size_t setting_count = ARRAY_LEN(settings);
_Static_assert(ARRAY_LEN(settings) <= SETTINGS_MAX, "raise SETTINGS_MAX");

bool config_describe(size_t i, struct config_setting *setting_out)
{
    if (i >= setting_count)
        return false;
    const struct setting *s = &settings[i];
    *setting_out =
        (struct config_setting){s->name, s->expected, s->fallback, s->help};
    return true;
}

int setting_find(const char *name, size_t len)
{
    for (size_t i = 0; i < setting_count; i++)
        if (strlen(settings[i].name) == len &&
            memcmp(settings[i].name, name, len) == 0)
            return (int)i;
    return -1;
}

bool config_name_ok(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > CONFIG_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char ch = name[i];
        bool alnum = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
        if (!alnum && (ch != '-' || i == 0 || i + 1 == len))
            return false;
    }
    return true;
}

int setting_number(const char *text, bool size, uint64_t *value_out)
{
    static const struct {
        const char *suffix;
        unsigned shift;
    } units[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
    size_t digits = strspn(text, "0123456789");
    const char *rest = text + digits;
    unsigned shift = 0;
    if (size && *rest == ' ')
        rest++;
    if (*rest != '\0') {
        for (size_t i = 0; size && i < ARRAY_LEN(units); i++)
            if (strcmp(rest, units[i].suffix) == 0)
                shift = units[i].shift;
        if (shift == 0)
            return ERR_MALFORMED;
    }
    uint64_t value;
    int err =
        text_parse_u64(bytes_of(text, digits), UINT64_MAX >> shift, &value);
    if (err != ERR_OK)
        return err;
    *value_out = value << shift;
    return ERR_OK;
}

int config_parse_addr(const char *text, struct config_addr *addr_out,
                      struct err_msg *msg)
{
    static const char expected[] =
        "expected an address as host:port, for example 127.0.0.1:8081 or "
        "[::1]:8081";
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return err_set(msg, ERR_INVALID, "found \"%.100s\", %s", text,
                       expected);
    const char *host = text;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(host, ':', len) != NULL) {
        len = 0;
    }
    uint64_t port = 0;
    struct config_addr addr = {.port = 0};
    if (len == 0 || len > CONFIG_HOST_MAX ||
        strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                     "0123456789.:-_%") < len ||
        text_parse_u64(bytes_str(colon + 1), UINT16_MAX, &port) != ERR_OK ||
        port == 0)
        return err_set(msg, ERR_INVALID, "found \"%.100s\", %s", text,
                       expected);
    memcpy(addr.host, host, len);
    addr.port = (uint16_t)port;
    *addr_out = addr;
    return ERR_OK;
}

bool setting_url_ok(const char *text)
{
    static const char scheme[] = "https://";
    if (strncmp(text, scheme, strlen(scheme)) != 0)
        return false;
    const char *host = text + strlen(scheme);
    const char *slash = strchr(host, '/');
    if (slash == NULL || slash[1] != '\0' || slash == host)
        return false;
    for (const char *p = host; p < slash; p++)
        if (!isalnum((unsigned char)*p) && strchr(".:-_[]", *p) == NULL)
            return false;
    /* A port, if there is one, behind the last colon that is not inside the
     * brackets of an IPv6 address. */
    const char *colon = NULL;
    for (const char *p = host; p < slash; p++)
        colon = *p == ':' ? p : *p == ']' ? NULL : colon;
    uint64_t port;
    return colon == NULL ||
           (colon > host &&
            text_parse_u64(bytes_of(colon + 1, (size_t)(slash - colon - 1)),
                           UINT16_MAX, &port) == ERR_OK &&
            port > 0);
}

static bool read_choice(const char *text, const char *const *names,
                        size_t count, size_t *index_out)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0) {
            *index_out = i;
            return true;
        }
    return false;
}

static bool read_number(const struct setting *s, const char *text, bool size,
                        uint64_t *value_out)
{
    uint64_t value, min = 0, max = 0;
    CHECK(setting_number(s->min, size, &min) == ERR_OK);
    CHECK(setting_number(s->max, size, &max) == ERR_OK);
    if (setting_number(text, size, &value) != ERR_OK)
        return false;
    if (value < min || value > max)
        return false;
    *value_out = value;
    return true;
}

static bool read_text(const struct setting *s, const char *text, void *place)
{
    bool ok = s->type == SETTING_URL ? setting_url_ok(text) : text[0] != '\0';
    if (!ok)
        return false;
    char **owned = place;
    mem_free(*owned);
    *owned = mem_strdup(text);
    return true;
}

static bool read_name(const char *text, char *place)
{
    if (!config_name_ok(text))
        return false;
    strcpy(place, text); /* config_name_ok bounds the length */
    return true;
}

/* Whether `text` is a value of the setting; if so it is in place. */
static bool read_value(const struct setting *s, const char *text, void *place)
{
    static const char *const bools[] = {"false", "true"};
    static const char *const versions[] = {"1.2", "1.3"};
    static const char *const formats[] = {"auto", "text", "json"};
    static const char *const advertise[] = {"listed", "host", "request"};
    uint64_t number = 0;
    size_t choice = 0;
    switch (s->type) {
    case SETTING_NAME:
        return read_name(text, place);
    case SETTING_U32:
    case SETTING_SIZE_U32:
        if (!read_number(s, text, s->type != SETTING_U32, &number))
            return false;
        *(uint32_t *)place = (uint32_t)number;
        return true;
    case SETTING_SIZE_U64:
        return read_number(s, text, true, place);
    case SETTING_BOOL:
        if (!read_choice(text, bools, ARRAY_LEN(bools), &choice))
            return false;
        *(bool *)place = choice == 1;
        return true;
    case SETTING_ADDR:
        return config_parse_addr(text, place, NULL) == ERR_OK;
    case SETTING_PATH:
    case SETTING_URL:
        return read_text(s, text, place);
    case SETTING_TLS:
        if (!read_choice(text, versions, ARRAY_LEN(versions), &choice))
            return false;
        *(enum config_tls *)place =
            choice == 1 ? CONFIG_TLS_1_3 : CONFIG_TLS_1_2;
        return true;
    case SETTING_LEVEL:
        return log_level_parse(text, place) == ERR_OK;
    case SETTING_CONSISTENCY:
        return config_parse_consistency(text, place, NULL) == ERR_OK;
    case SETTING_LATENCIES:
        config_latencies_free(place);
        return config_parse_latencies(text, place, NULL) == ERR_OK;
    case SETTING_ENDPOINTS:
        config_endpoints_free(place);
        return config_parse_endpoints(text, place, NULL) == ERR_OK;
    case SETTING_ADVERTISE:
        if (!read_choice(text, advertise, ARRAY_LEN(advertise), &choice))
            return false;
        *(enum config_advertise *)place = (enum config_advertise)choice;
        return true;
    case SETTING_FORMAT:
        if (!read_choice(text, formats, ARRAY_LEN(formats), &choice))
            return false;
        *(enum config_log_format *)place = (enum config_log_format)choice;
        return true;
    }
    CHECK_UNREACHABLE();
}

int setting_read(const struct setting *s, const char *text, struct config *c,
                 struct err_msg *msg)
{
    if (read_value(s, text, (char *)c + s->offset))
        return ERR_OK;
    if (text[0] == '\0')
        return err_set(msg, ERR_INVALID, "%s: found nothing, expected %s",
                       s->name, s->expected);
    return err_set(msg, ERR_INVALID, "%s: found \"%.100s\", expected %s",
                   s->name, text, s->expected);
}

void settings_free(struct config *c)
{
    for (size_t i = 0; i < setting_count; i++)
        if (settings[i].type == SETTING_PATH || settings[i].type == SETTING_URL)
            mem_free(*(char **)((char *)c + settings[i].offset));
    config_latencies_free(&c->latency);
    config_endpoints_free(&c->advertise_regions);
}

char *setting_absolute(const char *base, char *path)
{
    if (path[0] == '/')
        return path;
    while (strncmp(path, "./", 2) == 0)
        memmove(path, path + 2, strlen(path) - 1);
    size_t len = strlen(base) + 1 + strlen(path) + 1;
    char *joined = mem_alloc(len);
    snprintf(joined, len, "%s/%s", base, path);
    mem_free(path);
    return joined;
}
