/* The settings that are more than a number or a name: the consistency level,
 * the list of latencies, the list of URLs. Their text is also what `bastide
 * demo` takes. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/config/settings.h"

/* ---- consistency ----------------------------------------------------------
 */

/* The short name, that of `bastide consistency set`, and the API's. */
static const struct {
    const char *name, *long_name, *api_name;
} levels[] = {
    [CONFIG_LEVEL_STRONG] = {"strong", "strong", "Strong"},
    [CONFIG_LEVEL_BOUNDED] = {"bounded", "bounded-staleness",
                              "BoundedStaleness"},
    [CONFIG_LEVEL_SESSION] = {"session", "session", "Session"},
    [CONFIG_LEVEL_PREFIX] = {"prefix", "consistent-prefix", "ConsistentPrefix"},
    [CONFIG_LEVEL_EVENTUAL] = {"eventual", "eventual", "Eventual"},
};

/* The bytes up to `stop` or the end. */
static struct bytes part_of(const char *text, char stop)
{
    const char *end = strchr(text, stop);
    return bytes_of(text, end != NULL ? (size_t)(end - text) : strlen(text));
}

static bool read_level(struct bytes text, enum config_level *level_out)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (text_equal_nocase(text, levels[i].name) ||
            text_equal_nocase(text, levels[i].long_name) ||
            text_equal_nocase(text, levels[i].api_name)) {
            *level_out = (enum config_level)i;
            return true;
        }
    return false;
}

/* "K=10" or "T=5". */
static bool read_bound(struct bytes text, struct config_consistency *c)
{
    if (text.len < 3 || text.data[1] != '=')
        return false;
    bool prefix = text.data[0] == 'K' || text.data[0] == 'k';
    if (!prefix && text.data[0] != 'T' && text.data[0] != 't')
        return false;
    uint64_t value;
    int err = text_parse_u64(bytes_of(text.data + 2, text.len - 2),
                             prefix ? CONFIG_STALENESS_PREFIX_MAX
                                    : CONFIG_STALENESS_INTERVAL_MAX,
                             &value);
    if (err != ERR_OK || value == 0)
        return false;
    *(prefix ? &c->max_staleness_prefix : &c->max_staleness_interval) =
        (uint32_t)value;
    return true;
}

int config_parse_consistency(const char *text,
                             struct config_consistency *consistency_out,
                             struct err_msg *msg)
{
    struct config_consistency c = {
        .max_staleness_prefix = CONFIG_STALENESS_PREFIX_DEFAULT,
        .max_staleness_interval = CONFIG_STALENESS_INTERVAL_DEFAULT};
    struct bytes part = part_of(text, ',');
    bool ok = read_level(part, &c.level);
    for (const char *at = text + part.len; ok && *at == ',';
         at += 1 + part.len) {
        part = part_of(at + 1, ',');
        ok = c.level == CONFIG_LEVEL_BOUNDED && read_bound(part, &c);
    }
    if (!ok)
        return err_set(msg, ERR_INVALID,
                       "found \"%.100s\", expected strong, "
                       "bounded[,K=entries][,T=seconds], session, prefix or "
                       "eventual",
                       text);
    *consistency_out = c;
    return ERR_OK;
}

void config_format_consistency(const struct config_consistency *c,
                               char out[CONFIG_CONSISTENCY_TEXT_MAX])
{
    CHECK(c->level < ARRAY_LEN(levels));
    if (c->level == CONFIG_LEVEL_BOUNDED)
        snprintf(out, CONFIG_CONSISTENCY_TEXT_MAX, "%s,K=%u,T=%u",
                 levels[c->level].name, c->max_staleness_prefix,
                 c->max_staleness_interval);
    else
        snprintf(out, CONFIG_CONSISTENCY_TEXT_MAX, "%s", levels[c->level].name);
}

/* ---- latency --------------------------------------------------------------
 */

/* "80ms", "500us" or "2s". */
static bool read_time(struct bytes text, uint32_t *us_out)
{
    static const struct {
        const char *suffix;
        uint64_t us;
    } units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}};
    size_t digits = 0;
    while (digits < text.len && text.data[digits] >= '0' &&
           text.data[digits] <= '9')
        digits++;
    struct bytes unit = bytes_of(text.data + digits, text.len - digits);
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        uint64_t value;
        if (!bytes_equal(unit, bytes_str(units[i].suffix)))
            continue;
        if (text_parse_u64(bytes_of(text.data, digits),
                           CONFIG_RTT_MAX_US / units[i].us, &value) != ERR_OK)
            return false;
        *us_out = (uint32_t)(value * units[i].us);
        return true;
    }
    return false;
}

static bool read_region(struct bytes text, char out[CONFIG_NAME_MAX + 1])
{
    if (text.len == 0 || text.len > CONFIG_NAME_MAX)
        return false;
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return config_name_ok(out);
}

/* "a:b=80ms", "80ms" or "world". */
static bool read_latency(struct bytes text, struct config_latency *out)
{
    struct config_latency l = {.world = bytes_equal(text, bytes_str("world"))};
    const uint8_t *equals = memchr(text.data, '=', text.len);
    if (equals == NULL) {
        if (!l.world && !read_time(text, &l.rtt_us))
            return false;
        *out = l;
        return true;
    }
    size_t names = (size_t)(equals - text.data);
    const uint8_t *colon = memchr(text.data, ':', names);
    if (colon == NULL)
        return false;
    size_t first = (size_t)(colon - text.data);
    if (!read_region(bytes_of(text.data, first), l.a) ||
        !read_region(bytes_of(colon + 1, names - first - 1), l.b) ||
        !read_time(bytes_of(equals + 1, text.len - names - 1), &l.rtt_us))
        return false;
    *out = l;
    return true;
}

int config_latencies_add(struct config_latencies *list,
                         const struct config_latency *latency,
                         struct err_msg *msg)
{
    if (list->count == CONFIG_LATENCIES_MAX)
        return err_set(msg, ERR_LIMIT, "more than %d round trip times",
                       CONFIG_LATENCIES_MAX);
    list->list =
        mem_realloc(list->list, (list->count + 1) * sizeof(*list->list));
    list->list[list->count++] = *latency;
    return ERR_OK;
}

int config_parse_latencies(const char *text, struct config_latencies *list,
                           struct err_msg *msg)
{
    for (const char *at = text; *at != '\0';) {
        struct bytes part = part_of(at, ',');
        struct config_latency l;
        if (!read_latency(part, &l))
            return err_set(msg, ERR_INVALID,
                           "found \"%.*s\", expected a round trip time as "
                           "region:region=80ms, or 80ms for all, up to 10s, or "
                           "world",
                           (int)(part.len < 100 ? part.len : 100), at);
        int err = config_latencies_add(list, &l, msg);
        if (err != ERR_OK)
            return err;
        at += part.len;
        if (*at == ',')
            at++;
    }
    return ERR_OK;
}

void config_latencies_free(struct config_latencies *list)
{
    mem_free(list->list);
    *list = (struct config_latencies){.list = NULL};
}

/* ---- endpoints ------------------------------------------------------------
 */

/* "eastus=https://localhost:8082/". */
static bool read_endpoint(struct bytes text, struct config_endpoint *out)
{
    struct config_endpoint e = {.url = NULL};
    const uint8_t *equals = memchr(text.data, '=', text.len);
    if (equals == NULL)
        return false;
    size_t name = (size_t)(equals - text.data);
    if (!read_region(bytes_of(text.data, name), e.region))
        return false;
    e.url = mem_strndup((const char *)equals + 1, text.len - name - 1);
    if (!setting_url_ok(e.url)) {
        mem_free(e.url);
        return false;
    }
    *out = e;
    return true;
}

int config_parse_endpoints(const char *text, struct config_endpoints *list,
                           struct err_msg *msg)
{
    for (const char *at = text; *at != '\0';) {
        struct bytes part = part_of(at, ',');
        struct config_endpoint e;
        if (list->count == CONFIG_REGIONS_MAX)
            return err_set(msg, ERR_LIMIT, "more than %d URLs of regions",
                           CONFIG_REGIONS_MAX);
        if (!read_endpoint(part, &e))
            return err_set(msg, ERR_INVALID,
                           "found \"%.*s\", expected "
                           "region=https://host:port/",
                           (int)(part.len < 100 ? part.len : 100), at);
        list->list =
            mem_realloc(list->list, (list->count + 1) * sizeof(*list->list));
        list->list[list->count++] = e;
        at += part.len;
        if (*at == ',')
            at++;
    }
    return ERR_OK;
}

void config_endpoints_free(struct config_endpoints *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->list[i].url);
    mem_free(list->list);
    *list = (struct config_endpoints){.list = NULL};
}
