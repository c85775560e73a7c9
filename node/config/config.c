#include "node/config/config.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/config/file.h"
#include "node/config/latency.h"
#include "node/config/settings.h"

#define ENV_PREFIX "BASTIDE_"
#define ENV_FAULTS "BASTIDE_FAULTS"
#define ENV_FILE "_FILE"

/* Turns "LISTEN_ADMIN" into the index of "listen.admin": compares letter by
 * letter, '_' of the variable standing for '.' as well as '_'. */
static int setting_of_variable(const char *name, size_t len)
{
    for (size_t i = 0; i < setting_count; i++) {
        const char *want = settings[i].name;
        size_t at = 0;
        while (at < len && want[at] != '\0' &&
               name[at] == (want[at] == '.' ? '_' : toupper(want[at])))
            at++;
        if (at == len && want[at] == '\0')
            return (int)i;
    }
    return -1;
}

/* What a variable of the environment is about. */
struct variable {
    struct bytes name; /* with its prefix */
    const char *value;
    int setting;  /* index */
    bool in_file; /* the value is the name of a file that holds it */
};

/* ERR_NOT_FOUND: no setting has this name. */
static int find_variable(const char *text, struct variable *out)
{
    const char *equals = strchr(text, '=');
    struct variable v = {.name = bytes_of(text, (size_t)(equals - text)),
                         .value = equals + 1};
    const char *name = text + strlen(ENV_PREFIX);
    size_t len = v.name.len - strlen(ENV_PREFIX), end = strlen(ENV_FILE);
    v.setting = setting_of_variable(name, len);
    if (v.setting < 0 && len > end &&
        memcmp(name + len - end, ENV_FILE, end) == 0) {
        v.setting = setting_of_variable(name, len - end);
        v.in_file = true;
    }
    *out = v;
    return v.setting >= 0 ? ERR_OK : ERR_NOT_FOUND;
}

/* Reads a setting from a file that holds nothing else. What the file holds is
 * in no message: it may be a secret that stands in the wrong place. */
static int read_value_file(const char *path, const struct setting *s,
                           struct config *c, struct err_msg *msg)
{
    struct buf text;
    buf_init(&text, CONFIG_VALUE_MAX);
    int err = file_read(path, false, &text, msg);
    size_t len = buf_len(&text);
    while (len > 0 && strchr("\r\n", buf_bytes(&text)[len - 1]) != NULL)
        len--;
    if (err == ERR_OK && memchr(buf_bytes(&text), '\0', len) != NULL)
        err = err_set(msg, ERR_INVALID, "%s: a NUL byte inside a value", path);
    if (err == ERR_OK) {
        char *value = mem_strndup((const char *)buf_bytes(&text), len);
        if (setting_read(s, value, c, NULL) != ERR_OK)
            err = err_set(msg, ERR_INVALID,
                          "%s: %.200s holds something else, expected %s",
                          s->name, path, s->expected);
        mem_wipe(value, len);
        mem_free(value);
    }
    buf_wipe(&text);
    return err;
}

/* Which form of a variable was seen: nothing may be given in both. */
enum variable_form { FORM_NONE, FORM_VALUE, FORM_FILE };

static int read_variable(const char *text, struct config *c, bool *given,
                         enum variable_form *forms, struct err_msg *msg)
{
    struct variable v;
    struct err_msg why;
    if (find_variable(text, &v) != ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "%.*s: unknown environment variable; `bastide node "
                       "--help` lists all settings",
                       (int)v.name.len, text);
    enum variable_form form = v.in_file ? FORM_FILE : FORM_VALUE;
    if (forms[v.setting] != FORM_NONE && forms[v.setting] != form)
        return err_set(msg, ERR_INVALID,
                       "%.*s: the setting is given by value and by file, "
                       "expected one of the two",
                       (int)v.name.len, text);
    forms[v.setting] = form;
    const struct setting *s = &settings[v.setting];
    /* A path names a file already, and the name is what is wanted. */
    int err = v.in_file && s->type != SETTING_PATH
                  ? read_value_file(v.value, s, c, &why)
                  : setting_read(s, v.value, c, &why);
    if (err != ERR_OK)
        return err_set(msg, err, "%.*s: %s", (int)v.name.len, text, why.text);
    given[v.setting] = true;
    return ERR_OK;
}

static int read_environment(const char *const *env, struct config *c,
                            bool *given, struct err_msg *msg)
{
    enum variable_form forms[SETTINGS_MAX] = {FORM_NONE};
    int err = ERR_OK;
    for (size_t i = 0; env != NULL && env[i] != NULL && err == ERR_OK; i++) {
        if (strncmp(env[i], ENV_PREFIX, strlen(ENV_PREFIX)) != 0 ||
            strchr(env[i], '=') == NULL)
            continue;
        if (strncmp(env[i], CONFIG_ENV_FILE "=", strlen(CONFIG_ENV_FILE) + 1) ==
            0)
            continue;
        if (strncmp(env[i], ENV_FAULTS "=", strlen(ENV_FAULTS) + 1) == 0) {
            mem_free(c->faults);
            c->faults = mem_strdup(env[i] + strlen(ENV_FAULTS) + 1);
        } else {
            err = read_variable(env[i], c, given, forms, msg);
        }
    }
    return err;
}

static int read_flag(const char *set, struct config *c, bool *given,
                     struct err_msg *msg)
{
    const char *equals = strchr(set, '=');
    if (equals == NULL)
        return err_set(msg, ERR_INVALID,
                       "--set %.100s: expected name=value, for example "
                       "log.level=debug",
                       set);
    int i = setting_find(set, (size_t)(equals - set));
    if (i < 0)
        return err_set(msg, ERR_INVALID,
                       "--set %.*s: unknown setting; `bastide node --help` "
                       "lists all",
                       (int)(equals - set), set);
    struct err_msg why;
    if (setting_read(&settings[i], equals + 1, c, &why) != ERR_OK)
        return err_set(msg, ERR_INVALID, "--set %s", why.text);
    given[i] = true;
    return ERR_OK;
}

/* ---- checks across settings ---------------------------------------------- */

static int check_given(struct config *c, const bool *given, const char *where,
                       struct err_msg *msg)
{
    for (size_t i = 0; i < setting_count; i++) {
        if (given[i])
            continue;
        const struct setting *s = &settings[i];
        if (s->fallback == NULL)
            return err_set(msg, ERR_INVALID, "%s: %s is missing, expected %s",
                           where, s->name, s->expected);
        CHECK(setting_read(s, s->fallback, c, NULL) == ERR_OK);
    }
    if (c->regions == NULL)
        return err_set(msg, ERR_INVALID,
                       "%s: regions is missing, expected a list of regions",
                       where);
    return ERR_OK;
}

static bool addr_equal(const struct config_addr *a, const struct config_addr *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* The admin and peer ports speak other protocols than the client ports, so
 * they must stand alone; client endpoints may share one. */
static int check_listeners(const struct config *c, const char *where,
                           struct err_msg *msg)
{
    const struct {
        const char *name;
        const struct config_addr *addr;
    } all[] = {{"listen.peer", &c->listen.peer},
               {"listen.admin", &c->listen.admin},
               {"listen.account", &c->listen.account},
               {"listen.region", &c->listen.region},
               {"listen.node", &c->listen.node}};
    for (size_t i = 0; i < 2; i++)
        for (size_t j = i + 1; j < ARRAY_LEN(all); j++)
            if (addr_equal(all[i].addr, all[j].addr))
                return err_set(msg, ERR_INVALID,
                               "%s: %s and %s are both %s:%u, expected "
                               "different ports",
                               where, all[i].name, all[j].name,
                               all[i].addr->host, all[i].addr->port);
    return ERR_OK;
}

static int check_timeouts(const struct config *c, const char *where,
                          struct err_msg *msg)
{
    const struct {
        const char *small_name, *large_name;
        uint32_t small, large;
        const char *why;
    } rules[] = {
        {"timeouts.heartbeat_ms", "timeouts.lease_ms", c->timeouts.heartbeat_ms,
         c->timeouts.lease_ms, "a lease must outlive the next heartbeat"},
        {"timeouts.lease_ms", "timeouts.election_ms", c->timeouts.lease_ms,
         c->timeouts.election_ms,
         "a leader must stop before another one starts"},
        {"timeouts.heartbeat_ms", "timeouts.link_silence_ms",
         c->timeouts.heartbeat_ms, c->timeouts.link_silence_ms,
         "heartbeats keep a link alive"},
        {"timeouts.election_ms", "timeouts.request_ms", c->timeouts.election_ms,
         c->timeouts.request_ms, "a request waits for an election"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].small >= rules[i].large)
            return err_set(msg, ERR_INVALID,
                           "%s: found %s %u and %s %u, expected the first to "
                           "be smaller: %s",
                           where, rules[i].small_name, rules[i].small,
                           rules[i].large_name, rules[i].large, rules[i].why);
    return ERR_OK;
}

/* Two regions that cannot be told apart. */
/* All or none; and no two the same, which would open each other's groups. */
static int check_region_keys(const struct config_region *a,
                             const struct config_region *b, const char *where,
                             struct err_msg *msg)
{
    if (a->key.given != b->key.given)
        return err_set(msg, ERR_INVALID,
                       "%s: region %s has a key and region %s has none, "
                       "expected keys for all regions or for none; bastide "
                       "init --region-keys adds them",
                       where, a->key.given ? a->name : b->name,
                       a->key.given ? b->name : a->name);
    if (a->key.given && memcmp(a->key.public_key, b->key.public_key,
                               sizeof(a->key.public_key)) == 0)
        return err_set(msg, ERR_INVALID,
                       "%s: regions %s and %s have the same key, expected one "
                       "of its own for each",
                       where, a->name, b->name);
    return ERR_OK;
}

static int check_region_pair(const struct config_region *a,
                             const struct config_region *b, const char *where,
                             struct err_msg *msg)
{
    if (strcmp(a->name, b->name) == 0)
        return err_set(msg, ERR_INVALID, "%s: two regions are named %s", where,
                       a->name);
    if (a->priority == b->priority)
        return err_set(msg, ERR_INVALID,
                       "%s: regions %s and %s both have priority %u, expected "
                       "different ones",
                       where, a->name, b->name, a->priority);
    return check_region_keys(a, b, where, msg);
}

/* Two nodes, of any regions, that cannot be told apart. */
static int check_node_pair(const struct config_node *a,
                           const struct config_node *b, const char *where,
                           struct err_msg *msg)
{
    const char *same = a->id == b->id                   ? "id"
                       : strcmp(a->name, b->name) == 0  ? "name"
                       : addr_equal(&a->peer, &b->peer) ? "peer"
                                                        : NULL;
    if (same == NULL)
        return ERR_OK;
    return err_set(msg, ERR_INVALID, "%s: nodes %s and %s have the same %s",
                   where, a->name, b->name, same);
}

/* Checks one node against all that come before it in the list. */
static int check_node(const struct config *c, const struct config_node *node,
                      const char *where, struct err_msg *msg)
{
    if (node->id == 0)
        return err_set(msg, ERR_INVALID,
                       "%s: node %s has id 0, expected 1 to %d", where,
                       node->name, CONFIG_NODES_MAX);
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t j = 0; j < c->regions[i].node_count; j++) {
            const struct config_node *other = &c->regions[i].nodes[j];
            if (other == node)
                return ERR_OK;
            int err = check_node_pair(other, node, where, msg);
            if (err != ERR_OK)
                return err;
        }
    CHECK_UNREACHABLE();
}

static int check_regions(const struct config *c, const char *where,
                         struct err_msg *msg)
{
    int err = ERR_OK;
    for (size_t i = 0; i < c->region_count && err == ERR_OK; i++) {
        const struct config_region *r = &c->regions[i];
        for (size_t j = 0; j < i && err == ERR_OK; j++)
            err = check_region_pair(&c->regions[j], r, where, msg);
        for (size_t j = 0; j < r->node_count && err == ERR_OK; j++)
            err = check_node(c, &r->nodes[j], where, msg);
    }
    return err;
}

/* Latencies name regions that exist, and "world" is what it means for them. */
static int expand_latencies(struct config *c, const char *where,
                            struct err_msg *msg)
{
    const char *names[CONFIG_REGIONS_MAX];
    struct err_msg why;
    for (size_t i = 0; i < c->region_count; i++)
        names[i] = c->regions[i].name;
    int err = latency_expand(&c->latency, names, c->region_count, &why);
    return err == ERR_OK
               ? ERR_OK
               : err_set(msg, err, "%s: latency: %.400s", where, why.text);
}

/* Puts the URLs of advertise_regions in place of those of the list. */
static int place_endpoints(struct config *c, const char *where,
                           struct err_msg *msg)
{
    for (size_t i = 0; i < c->advertise_regions.count; i++) {
        const struct config_endpoint *e = &c->advertise_regions.list[i];
        struct config_region *region = NULL;
        for (size_t j = 0; j < c->region_count; j++)
            if (strcmp(c->regions[j].name, e->region) == 0)
                region = &c->regions[j];
        if (region == NULL)
            return err_set(msg, ERR_INVALID,
                           "%s: advertise_regions: there is no region \"%s\"",
                           where, e->region);
        mem_free(region->endpoint);
        region->endpoint = mem_strdup(e->url);
    }
    return ERR_OK;
}

static int by_priority(const void *a, const void *b)
{
    uint32_t x = ((const struct config_region *)a)->priority;
    uint32_t y = ((const struct config_region *)b)->priority;
    return x < y ? -1 : x > y;
}

/* Finds this node in its own region's list. */
static int check_self(struct config *c, const char *where, struct err_msg *msg)
{
    c->own_region = config_find_region(c, c->region);
    if (c->own_region == NULL)
        return err_set(msg, ERR_INVALID,
                       "%s: region \"%s\" is not in the list of regions", where,
                       c->region);
    for (size_t i = 0; i < c->own_region->node_count; i++)
        if (strcmp(c->own_region->nodes[i].name, c->node) == 0)
            c->own_node = &c->own_region->nodes[i];
    if (c->own_node == NULL)
        return err_set(msg, ERR_INVALID,
                       "%s: node \"%s\" is not in the list of region %s", where,
                       c->node, c->region);
    if (c->own_node->id != c->id)
        return err_set(msg, ERR_INVALID,
                       "%s: id: found %u, expected %u as in the list of "
                       "region %s",
                       where, c->id, c->own_node->id, c->region);
    return ERR_OK;
}

static int check_all(struct config *c, const bool *given, const char *where,
                     struct err_msg *msg)
{
    int err = check_given(c, given, where, msg);
    if (err == ERR_OK)
        err = check_regions(c, where, msg);
    if (err != ERR_OK)
        return err;
    qsort(c->regions, c->region_count, sizeof(*c->regions), by_priority);
    err = check_self(c, where, msg);
    if (err == ERR_OK)
        err = check_listeners(c, where, msg);
    if (err == ERR_OK)
        err = expand_latencies(c, where, msg);
    if (err == ERR_OK)
        err = place_endpoints(c, where, msg);
    if (err == ERR_OK)
        err = check_timeouts(c, where, msg);
    return err;
}

/* ---- paths ----------------------------------------------------------------
 */

/* The folder that relative paths are relative to: the file's, else the
 * current one. Owned by the caller. */
static char *base_folder(const char *file)
{
    char resolved[PATH_MAX];
    if (file == NULL || realpath(file, resolved) == NULL)
        return getcwd(resolved, sizeof(resolved)) != NULL ? mem_strdup(resolved)
                                                          : mem_strdup("/");
    char *slash = strrchr(resolved, '/');
    CHECK(slash != NULL);
    *(slash == resolved ? slash + 1 : slash) = '\0';
    return mem_strdup(resolved);
}

static void make_paths_absolute(struct config *c, const char *file)
{
    char *base = base_folder(file);
    for (size_t i = 0; i < setting_count; i++)
        if (settings[i].type == SETTING_PATH) {
            char **path = (char **)((char *)c + settings[i].offset);
            *path = setting_absolute(base, *path);
        }
    if (file != NULL) {
        char resolved[PATH_MAX];
        c->file =
            mem_strdup(realpath(file, resolved) != NULL ? resolved : file);
    }
    mem_free(base);
}

/* ---- public ----------------------------------------------------------------
 */

static int load(const struct config_sources *src, struct config *c,
                struct err_msg *msg)
{
    bool given[SETTINGS_MAX] = {false};
    int err = ERR_OK;
    if (src->file != NULL)
        err = config_file_read(src->file, c, given, msg);
    if (err == ERR_OK)
        err = read_environment(src->env, c, given, msg);
    for (size_t i = 0; i < src->set_count && err == ERR_OK; i++)
        err = read_flag(src->sets[i], c, given, msg);
    if (err == ERR_OK)
        err = check_all(c, given, src->file != NULL ? src->file : "settings",
                        msg);
    if (err == ERR_OK)
        make_paths_absolute(c, src->file);
    return err;
}

int config_load(const struct config_sources *sources,
                struct config **config_out, struct err_msg *msg)
{
    CHECK(sources != NULL);
    CHECK(config_out != NULL);
    CHECK_IMPLIES(sources->set_count > 0, sources->sets != NULL);
    struct config *c = mem_zalloc(sizeof(*c));
    int err = load(sources, c, msg);
    if (err != ERR_OK) {
        config_free(c);
        return err;
    }
    CHECK(c->own_node != NULL && c->own_node->id == c->id);
    *config_out = c;
    return ERR_OK;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    settings_free(config);
    for (size_t i = 0; i < config->region_count; i++) {
        struct config_region *r = &config->regions[i];
        for (size_t j = 0; j < r->node_count; j++)
            mem_free(r->nodes[j].endpoint);
        mem_free(r->nodes);
        mem_free(r->endpoint);
    }
    mem_free(config->regions);
    mem_free(config->file);
    mem_free(config->faults);
    mem_free(config);
}

const struct config_node *
config_find_node(const struct config *config, uint32_t id,
                 const struct config_region **region_out)
{
    for (size_t i = 0; i < config->region_count; i++)
        for (size_t j = 0; j < config->regions[i].node_count; j++)
            if (config->regions[i].nodes[j].id == id) {
                if (region_out != NULL)
                    *region_out = &config->regions[i];
                return &config->regions[i].nodes[j];
            }
    return NULL;
}

const struct config_region *config_find_region(const struct config *config,
                                               const char *name)
{
    for (size_t i = 0; i < config->region_count; i++)
        if (strcmp(config->regions[i].name, name) == 0)
            return &config->regions[i];
    return NULL;
}

bool config_has_region_keys(const struct config *config)
{
    return config->regions[0].key.given; /* all or none */
}

uint32_t config_rtt_us(const struct config *config, const char *a,
                       const char *b)
{
    uint32_t rtt_us = 0;
    for (size_t i = 0; i < config->latency.count; i++) {
        const struct config_latency *l = &config->latency.list[i];
        bool match = l->a[0] == '\0'
                         ? strcmp(a, b) != 0
                         : (strcmp(l->a, a) == 0 && strcmp(l->b, b) == 0) ||
                               (strcmp(l->a, b) == 0 && strcmp(l->b, a) == 0);
        if (match)
            rtt_us = l->rtt_us;
    }
    return rtt_us;
}

enum log_format config_log_format(const struct config *config, int fd)
{
    switch (config->log.format) {
    case CONFIG_LOG_TEXT:
        return LOG_TEXT;
    case CONFIG_LOG_JSON:
        return LOG_JSON;
    case CONFIG_LOG_AUTO:
        return isatty(fd) == 1 ? LOG_TEXT : LOG_JSON;
    }
    CHECK_UNREACHABLE();
}

bool config_region_added(const struct config_region *region)
{
    for (size_t i = 0; i < region->node_count; i++)
        if (!region->nodes[i].added)
            return false;
    return true;
}

/* ---- growing ---------------------------------------------------------------
 */

static bool same_addr(const struct config_addr *a, const struct config_addr *b)
{
    return strcmp(a->host, b->host) == 0 && a->port == b->port;
}

static bool same_node(const struct config_node *a, const struct config_node *b)
{
    return strcmp(a->name, b->name) == 0 && a->id == b->id &&
           same_addr(&a->peer, &b->peer) &&
           strcmp(a->endpoint, b->endpoint) == 0 && a->added == b->added;
}

static bool same_region(const struct config_region *a,
                        const struct config_region *b)
{
    return strcmp(a->name, b->name) == 0 && a->priority == b->priority &&
           strcmp(a->endpoint, b->endpoint) == 0 &&
           same_addr(&a->listen, &b->listen) && a->key.given == b->key.given &&
           memcmp(a->key.public_key, b->key.public_key, REGION_KEY_LEN) == 0;
}

static int refuse_growth(const struct config_region *r, const char *node,
                         struct err_msg *msg)
{
    return err_set(
        msg, ERR_INVALID,
        "regions: what is there of %s%s%s has changed, which needs a "
        "restart; a running node takes only regions at the end of "
        "the list, nodes at the end of a region's, and these with "
        "added: true",
        r->name, node != NULL ? ", node " : "", node != NULL ? node : "");
}

static int check_growth(const struct config *c, const struct config *newer,
                        struct err_msg *msg)
{
    for (size_t i = 0; i < newer->region_count; i++) {
        const struct config_region *b = &newer->regions[i];
        const struct config_region *a =
            i < c->region_count ? &c->regions[i] : NULL;
        if (a != NULL && (!same_region(a, b) || b->node_count < a->node_count))
            return refuse_growth(a, NULL, msg);
        for (size_t k = 0; k < b->node_count; k++) {
            bool known = a != NULL && k < a->node_count;
            if (known ? !same_node(&a->nodes[k], &b->nodes[k])
                      : !b->nodes[k].added)
                return refuse_growth(b, b->nodes[k].name, msg);
        }
    }
    return newer->region_count >= c->region_count
               ? ERR_OK
               : refuse_growth(&c->regions[newer->region_count], NULL, msg);
}

int config_grow(struct config *config, struct config *newer,
                struct err_msg *msg)
{
    int err = check_growth(config, newer, msg);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < config->region_count; i++) {
        struct config_region *a = &config->regions[i], *b = &newer->regions[i];
        while (a->node_count < b->node_count) {
            a->nodes[a->node_count] = b->nodes[a->node_count];
            b->nodes[a->node_count++].endpoint = NULL;
        }
    }
    while (config->region_count < newer->region_count) {
        struct config_region *b = &newer->regions[config->region_count];
        config->regions[config->region_count++] = *b;
        *b = (struct config_region){.endpoint = NULL};
    }
    struct config_latencies latency = config->latency;
    config->latency = newer->latency;
    newer->latency = latency;
    return ERR_OK;
}
