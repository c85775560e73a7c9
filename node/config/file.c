#include "node/config/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#include "node/base/check.h"
#include "node/base/mem.h"

/* What every step of reading a file needs. */
struct reader {
    const char *path;
    yaml_document_t *doc;
    struct config *config;
    bool *given;
    struct err_msg *msg;
};

#define KEY_MAX 128 /* bytes of a dotted name; the longest known has 26 */

static const yaml_node_t *node_at(const struct reader *r, yaml_node_item_t item)
{
    const yaml_node_t *n = yaml_document_get_node(r->doc, item);
    CHECK(n != NULL);
    return n;
}

static const char *kind_of(const yaml_node_t *n)
{
    return n->type == YAML_MAPPING_NODE    ? "a mapping"
           : n->type == YAML_SEQUENCE_NODE ? "a list"
                                           : "a value";
}

/* Refuses with "file:line: text"; returns ERR_INVALID. */
static int refuse(const struct reader *r, const yaml_node_t *n,
                  const char *text)
{
    return err_set(r->msg, ERR_INVALID, "%s:%zu: %s", r->path,
                   n->start_mark.line + 1, text);
}

static int refuse_kind(const struct reader *r, const yaml_node_t *n,
                       const char *key, const char *expected)
{
    struct err_msg why;
    err_set(&why, ERR_INVALID, "%s: found %s, expected %s", key, kind_of(n),
            expected);
    return refuse(r, n, why.text);
}

/* A scalar's text; ERR_INVALID for lists, mappings and embedded NULs. */
static int scalar_text(const struct reader *r, const yaml_node_t *n,
                       const char *key, const char **text_out)
{
    if (n->type != YAML_SCALAR_NODE)
        return refuse_kind(r, n, key, "one value");
    const char *text = (const char *)n->data.scalar.value;
    if (strlen(text) != n->data.scalar.length)
        return refuse(r, n, "a NUL byte inside a value");
    *text_out = text;
    return ERR_OK;
}

/* ---- entries of regions and nodes: one row per key ------------------------
 */

struct entry_key {
    const char *name;
    enum {
        ENTRY_NAME,
        ENTRY_NUMBER,
        ENTRY_ADDR,
        ENTRY_URL,
        ENTRY_KEY,
        ENTRY_FLAG,
        ENTRY_NODES
    } type;
    size_t offset;
    const char *expected;
};

#define RAT(field) offsetof(struct config_region, field)
#define NAT(field) offsetof(struct config_node, field)
#define NAME_EXPECTED "a name of a-z, 0-9 and '-'"
#define ADDR_EXPECTED "an address as host:port"
#define URL_EXPECTED "a URL as https://host:port/"
#define KEY_EXPECTED "a region's public key, 64 hex digits"

static const struct entry_key region_keys[] = {
    {"name", ENTRY_NAME, RAT(name), NAME_EXPECTED},
    {"priority", ENTRY_NUMBER, RAT(priority), "a whole number from 0 to 255"},
    {"endpoint", ENTRY_URL, RAT(endpoint), URL_EXPECTED},
    {"listen", ENTRY_ADDR, RAT(listen), ADDR_EXPECTED},
    {"key", ENTRY_KEY, RAT(key), KEY_EXPECTED},
    {"nodes", ENTRY_NODES, 0, "a list of nodes"},
};
static const struct entry_key node_keys[] = {
    {"name", ENTRY_NAME, NAT(name), NAME_EXPECTED},
    {"id", ENTRY_NUMBER, NAT(id), "a whole number from 0 to 255"},
    {"peer", ENTRY_ADDR, NAT(peer), ADDR_EXPECTED},
    {"endpoint", ENTRY_URL, NAT(endpoint), URL_EXPECTED},
    {"added", ENTRY_FLAG, NAT(added), "true or false"},
};

static bool entry_optional(const struct entry_key *key)
{
    return key->type == ENTRY_KEY || key->type == ENTRY_FLAG;
}

static bool entry_value(const struct entry_key *key, const char *text,
                        void *place)
{
    struct config_region_key *key_place = place;
    uint64_t number;
    switch (key->type) {
    case ENTRY_NAME:
        if (!config_name_ok(text))
            return false;
        strcpy(place, text); /* config_name_ok bounds the length */
        return true;
    case ENTRY_NUMBER:
        if (setting_number(text, false, &number) != ERR_OK ||
            number > CONFIG_NODES_MAX)
            return false;
        *(uint32_t *)place = (uint32_t)number;
        return true;
    case ENTRY_ADDR:
        return config_parse_addr(text, place, NULL) == ERR_OK;
    case ENTRY_URL:
        if (!setting_url_ok(text))
            return false;
        *(char **)place = mem_strdup(text);
        return true;
    case ENTRY_KEY:
        key_place->given = region_public_parse(bytes_str(text),
                                               key_place->public_key) == ERR_OK;
        return key_place->given;
    case ENTRY_FLAG:
        *(bool *)place = strcmp(text, "true") == 0;
        return *(bool *)place || strcmp(text, "false") == 0;
    case ENTRY_NODES:
        break;
    }
    CHECK_UNREACHABLE();
}

static int read_nodes(const struct reader *r, const yaml_node_t *list,
                      struct config_region *region);

/* Reads one mapping by a table of keys; all of them must be there, once, but
 * for optional ones. */
static int read_entry(const struct reader *r, const yaml_node_t *map,
                      const char *where, const struct entry_key *keys,
                      size_t key_count, void *entry)
{
    if (map->type != YAML_MAPPING_NODE)
        return refuse_kind(r, map, where, "a mapping");
    unsigned seen = 0;
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start;
         p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = node_at(r, p->key), *v = node_at(r, p->value);
        const char *name = "", *text = "";
        struct err_msg why;
        int err = scalar_text(r, k, where, &name);
        if (err != ERR_OK)
            return err;
        size_t i = 0;
        while (i < key_count && strcmp(keys[i].name, name) != 0)
            i++;
        if (i == key_count || (seen & 1u << i) != 0) {
            err_set(&why, ERR_INVALID, "%s: %s key \"%.64s\"", where,
                    i == key_count ? "unknown" : "duplicate", name);
            return refuse(r, k, why.text);
        }
        seen |= 1u << i;
        if (keys[i].type == ENTRY_NODES) {
            err = read_nodes(r, v, entry);
            if (err != ERR_OK)
                return err;
            continue;
        }
        err = scalar_text(r, v, name, &text);
        if (err != ERR_OK)
            return err;
        if (!entry_value(&keys[i], text, (char *)entry + keys[i].offset)) {
            err_set(&why, ERR_INVALID, "%s.%s: found \"%.100s\", expected %s",
                    where, name, text, keys[i].expected);
            return refuse(r, v, why.text);
        }
    }
    for (size_t i = 0; i < key_count; i++)
        if ((seen & 1u << i) == 0 && !entry_optional(&keys[i])) {
            struct err_msg why;
            err_set(&why, ERR_INVALID, "%s: \"%s\" is missing, expected %s",
                    where, keys[i].name, keys[i].expected);
            return refuse(r, map, why.text);
        }
    return ERR_OK;
}

/* The items of a list, of which there must be 1..max. */
static int list_items(const struct reader *r, const yaml_node_t *list,
                      const char *where, size_t max, size_t *count_out)
{
    if (list->type != YAML_SEQUENCE_NODE)
        return refuse_kind(r, list, where, "a list");
    size_t count = (size_t)(list->data.sequence.items.top -
                            list->data.sequence.items.start);
    if (count == 0 || count > max) {
        struct err_msg why;
        err_set(&why, ERR_INVALID, "%s: found %zu entries, expected 1 to %zu",
                where, count, max);
        return refuse(r, list, why.text);
    }
    *count_out = count;
    return ERR_OK;
}

static int read_nodes(const struct reader *r, const yaml_node_t *list,
                      struct config_region *region)
{
    size_t count = 0;
    int err = list_items(r, list, "nodes", CONFIG_REGION_NODES_MAX, &count);
    if (err != ERR_OK)
        return err;
    region->nodes =
        mem_zalloc(CONFIG_REGION_NODES_MAX * sizeof(*region->nodes));
    region->node_count = count;
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = read_entry(r, node_at(r, list->data.sequence.items.start[i]),
                         "nodes", node_keys, ARRAY_LEN(node_keys),
                         &region->nodes[i]);
    return err;
}

static int read_regions(const struct reader *r, const yaml_node_t *list)
{
    size_t count = 0;
    int err = list_items(r, list, "regions", CONFIG_REGIONS_MAX, &count);
    if (err != ERR_OK)
        return err;
    struct config *c = r->config;
    c->regions = mem_zalloc(CONFIG_REGIONS_MAX * sizeof(*c->regions));
    c->region_count = count;
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = read_entry(r, node_at(r, list->data.sequence.items.start[i]),
                         "regions", region_keys, ARRAY_LEN(region_keys),
                         &c->regions[i]);
    return err;
}

/* ---- scalar settings ------------------------------------------------------
 */

/* `latency` may be given as a list of its parts. */
static int read_latency_list(const struct reader *r, const yaml_node_t *list)
{
    for (const yaml_node_item_t *item = list->data.sequence.items.start;
         item < list->data.sequence.items.top; item++) {
        const yaml_node_t *v = node_at(r, *item);
        const char *text = "";
        struct err_msg why, place;
        int err = scalar_text(r, v, "latency", &text);
        if (err != ERR_OK)
            return err;
        if (config_parse_latencies(text, &r->config->latency, &why) == ERR_OK)
            continue;
        err_set(&place, ERR_INVALID, "latency: %.400s", why.text);
        return refuse(r, v, place.text);
    }
    return ERR_OK;
}

static int read_setting(const struct reader *r, const char *name,
                        const yaml_node_t *k, const yaml_node_t *v)
{
    struct err_msg why;
    int i = setting_find(name, strlen(name));
    if (i < 0) {
        err_set(&why, ERR_INVALID,
                "unknown key \"%s\"; `bastide node --help` lists all", name);
        return refuse(r, k, why.text);
    }
    if (r->given[i]) {
        err_set(&why, ERR_INVALID, "duplicate key \"%s\"", name);
        return refuse(r, k, why.text);
    }
    if (settings[i].type == SETTING_LATENCIES &&
        v->type == YAML_SEQUENCE_NODE) {
        r->given[i] = true;
        return read_latency_list(r, v);
    }
    const char *text = "";
    int err = scalar_text(r, v, name, &text);
    if (err != ERR_OK)
        return err;
    if (setting_read(&settings[i], text, r->config, &why) != ERR_OK)
        return refuse(r, v, why.text);
    r->given[i] = true;
    return ERR_OK;
}

/* Reads a mapping whose keys stand behind `prefix` ("" or "listen."). */
static int read_mapping(const struct reader *r, const yaml_node_t *map,
                        const char *prefix)
{
    bool top = prefix[0] == '\0';
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start;
         p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = node_at(r, p->key), *v = node_at(r, p->value);
        const char *key = "";
        char name[KEY_MAX];
        int err = scalar_text(r, k, "key", &key);
        if (err != ERR_OK)
            return err;
        if (top && strcmp(key, "regions") == 0) {
            if (r->config->regions != NULL)
                return refuse(r, k, "duplicate key \"regions\"");
            err = read_regions(r, v);
        } else if (top && v->type == YAML_MAPPING_NODE) {
            snprintf(name, sizeof(name), "%.100s.", key);
            err = read_mapping(r, v, name);
        } else {
            snprintf(name, sizeof(name), "%s%.100s", prefix, key);
            err = read_setting(r, name, k, v);
        }
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* ---- the file -------------------------------------------------------------
 */

static int open_file(const char *path, FILE **file_out, struct err_msg *msg)
{
    FILE *file = fopen(path, "re");
    struct stat st;
    if (file == NULL || fstat(fileno(file), &st) != 0) {
        int saved = errno;
        if (file != NULL)
            fclose(file);
        return err_set(msg, err_from_errno(saved), "%s: cannot read it: %s",
                       path, strerror(saved));
    }
    if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_FILE_MAX) {
        fclose(file);
        return err_set(msg, S_ISREG(st.st_mode) ? ERR_LIMIT : ERR_INVALID,
                       "%s: expected a regular file of at most %d bytes", path,
                       CONFIG_FILE_MAX);
    }
    *file_out = file;
    return ERR_OK;
}

static int read_document(const struct reader *r)
{
    const yaml_node_t *root = yaml_document_get_root_node(r->doc);
    if (root == NULL)
        return err_set(r->msg, ERR_INVALID, "%s: the file is empty", r->path);
    if (root->type != YAML_MAPPING_NODE)
        return refuse_kind(r, root, "file", "a mapping");
    return read_mapping(r, root, "");
}

int config_file_read(const char *path, struct config *c,
                     bool given[SETTINGS_MAX], struct err_msg *msg)
{
    FILE *file = NULL;
    int err = open_file(path, &file, msg);
    if (err != ERR_OK)
        return err;
    yaml_parser_t parser;
    yaml_document_t doc;
    CHECK(yaml_parser_initialize(&parser) == 1);
    yaml_parser_set_input_file(&parser, file);
    if (yaml_parser_load(&parser, &doc) == 1) {
        struct reader r = {path, &doc, c, given, msg};
        err = read_document(&r);
        yaml_document_delete(&doc);
    } else {
        err = err_set(msg, ERR_MALFORMED, "%s:%zu: not YAML: %s", path,
                      parser.problem_mark.line + 1,
                      parser.problem != NULL ? parser.problem : "unreadable");
    }
    yaml_parser_delete(&parser);
    fclose(file);
    return err;
}
