#include "node/cli/layout.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/config/latency.h"

#define CONFIG_TEXT_MAX (256 * 1024)
#define NODE_TAG "{node}"

void layout_url(const char *host, unsigned port, char *out)
{
    bool v6 = strchr(host, ':') != NULL;
    snprintf(out, LAYOUT_URL_MAX + 1,
             v6 ? "https://[%s]:%u/" : "https://%s:%u/", host, port);
}

int layout_path(const char *dir, const char *a, const char *b, char *out,
                struct err_msg *msg)
{
    int len = b == NULL ? snprintf(out, PATH_MAX, "%s/%s", dir, a)
                        : snprintf(out, PATH_MAX, "%s/%s/%s", dir, a, b);
    if (len < 0 || len >= PATH_MAX)
        return err_set(msg, ERR_LIMIT, "%.100s...: the path is too long", dir);
    return ERR_OK;
}

/* ---- making one ------------------------------------------------------------
 */

static int add_region(struct layout *l, const char *name, size_t len,
                      struct err_msg *msg)
{
    struct layout_region *r = &l->regions[l->region_count];
    if (l->region_count == LAYOUT_REGIONS_MAX)
        return err_set(msg, ERR_INVALID, "more than %d regions",
                       LAYOUT_REGIONS_MAX);
    if (len <= CONFIG_NAME_MAX - 2) { /* room for "-9", the node's number */
        memcpy(r->name, name, len);
        r->name[len] = '\0';
    }
    if (len > CONFIG_NAME_MAX - 2 || !config_name_ok(r->name))
        return err_set(msg, ERR_INVALID,
                       "region \"%.*s\": expected a name of a-z, 0-9 and '-', "
                       "at most %d long",
                       (int)(len < 64 ? len : 64), name, CONFIG_NAME_MAX - 2);
    for (unsigned i = 0; i < l->region_count; i++)
        if (strcmp(l->regions[i].name, r->name) == 0)
            return err_set(msg, ERR_INVALID, "region %s is given twice",
                           r->name);
    r->priority = l->region_count == 0 ? 0 : r[-1].priority + 1;
    l->region_count++;
    return ERR_OK;
}

static int add_regions(struct layout *l, const char *list, struct err_msg *msg)
{
    for (const char *at = list;; at++) {
        size_t len = strcspn(at, ",");
        int err = add_region(l, at, len, msg);
        if (err != ERR_OK)
            return err;
        at += len;
        if (*at == '\0')
            return ERR_OK;
    }
}

static void name_node(const struct layout *l, struct layout_node *node,
                      unsigned number)
{
    size_t len = strlen(l->regions[node->region].name);
    CHECK(number <= LAYOUT_NODES_PER_REGION_MAX);
    memcpy(node->name, l->regions[node->region].name, len);
    node->name[len] = '-';
    node->name[len + 1] = (char)('0' + number); /* it is below 10 */
    node->name[len + 2] = '\0';
}

static void add_nodes(struct layout *l, unsigned per_region)
{
    for (unsigned r = 0; r < l->region_count; r++)
        for (unsigned n = 1; n <= per_region; n++) {
            struct layout_node *node = &l->nodes[l->node_count++];
            node->id = l->node_count;
            node->region = r;
            name_node(l, node, n);
        }
}

/* Replaces {node} in the pattern; ERR_INVALID when it gets too long. */
static int expand(const char *pattern, const char *name,
                  char out[CONFIG_HOST_MAX + 1], struct err_msg *msg)
{
    const char *tag = strstr(pattern, NODE_TAG);
    struct buf host;
    buf_init(&host, CONFIG_HOST_MAX);
    int err = tag == NULL ? buf_append_str(&host, pattern)
                          : buf_printf(&host, "%.*s%s%s", (int)(tag - pattern),
                                       pattern, name, tag + strlen(NODE_TAG));
    if (err == ERR_OK && buf_len(&host) > 0) {
        memcpy(out, buf_bytes(&host), buf_len(&host));
        out[buf_len(&host)] = '\0';
    } else {
        err = err_set(msg, ERR_INVALID, "host \"%.64s\": too long or empty",
                      pattern);
    }
    buf_free(&host);
    return err;
}

static int set_hosts(struct layout *l, const char *pattern, struct err_msg *msg)
{
    bool shared = strstr(pattern, NODE_TAG) == NULL;
    struct config_addr probe;
    char text[CONFIG_HOST_MAX + 16];
    int err = expand(pattern, l->cluster, l->host, msg);
    for (unsigned i = 0; i < l->region_count && err == ERR_OK; i++)
        err = expand(pattern, l->regions[i].name, l->regions[i].host, msg);
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++)
        err = expand(pattern, l->nodes[i].name, l->nodes[i].host, msg);
    if (err != ERR_OK)
        return err;
    snprintf(text, sizeof(text),
             strchr(l->host, ':') != NULL ? "[%s]:1" : "%s:1", l->host);
    if (config_parse_addr(text, &probe, NULL) != ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "host \"%.100s\": expected an address, a host name or "
                       "a pattern such as {node}.example.org",
                       pattern);
    l->stand_in = shared;
    strcpy(l->listen, "0.0.0.0");
    if (shared)
        memcpy(l->listen, l->host, sizeof(l->listen));
    return ERR_OK;
}

static void set_region_port(struct layout *l, unsigned region)
{
    l->regions[region].port =
        (uint16_t)(l->stand_in ? l->port + 1 + region : l->port);
}

/* Ids of one host begin with 1 and grow by 1, so that nobody's is far away. */
static void set_node_ports(const struct layout *l, struct layout_node *node)
{
    unsigned base = l->port, n = l->stand_in ? node->id - 1 : 0;
    node->port = (uint16_t)(l->stand_in ? base + 10 + n : base);
    node->admin_port = (uint16_t)(base + 1010 + n);
    node->peer_port = (uint16_t)(base + 2010 + n);
}

void layout_set_ports(struct layout *l, unsigned base)
{
    CHECK(base > 0 && base <= LAYOUT_BASE_PORT_MAX);
    l->port = (uint16_t)base;
    for (unsigned i = 0; i < l->region_count; i++)
        set_region_port(l, i);
    for (unsigned i = 0; i < l->node_count; i++)
        set_node_ports(l, &l->nodes[i]);
}

/* "" stands for none. */
int layout_set_sans(struct layout *l, const char *text, struct err_msg *msg)
{
    struct config_addr probe;
    char host[CONFIG_HOST_MAX + 16];
    unsigned count = 0;
    if (strlen(text) > LAYOUT_SANS_TEXT_MAX)
        return err_set(msg, ERR_INVALID, "san: more than %d bytes",
                       LAYOUT_SANS_TEXT_MAX);
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, ",");
        bool v6 = memchr(at, ':', len) != NULL;
        snprintf(host, sizeof(host), v6 ? "[%.*s]:1" : "%.*s:1", (int)len, at);
        if (len > CONFIG_HOST_MAX ||
            config_parse_addr(host, &probe, NULL) != ERR_OK)
            return err_set(msg, ERR_INVALID,
                           "san \"%.*s\": expected an address or a host name",
                           (int)(len < 100 ? len : 100), at);
        if (++count > LAYOUT_SANS_MAX)
            return err_set(msg, ERR_INVALID, "more than %d sans",
                           LAYOUT_SANS_MAX);
        at += len + (at[len] == ',');
    }
    strcpy(l->sans, text);
    return ERR_OK;
}

int layout_make(const struct layout_options *o, struct layout *layout_out,
                struct err_msg *msg)
{
    struct layout l = {.shards = o->shards,
                       .consistency = o->consistency,
                       .fault_injection = o->fault_injection};
    if (!config_name_ok(o->cluster))
        return err_set(msg, ERR_INVALID,
                       "cluster \"%.64s\": expected a name of a-z, 0-9 and "
                       "'-', at most %d long",
                       o->cluster, CONFIG_NAME_MAX);
    if (o->nodes_per_region < 1 ||
        o->nodes_per_region > LAYOUT_NODES_PER_REGION_MAX)
        return err_set(msg, ERR_INVALID,
                       "%u nodes per region: expected 1 to %d",
                       o->nodes_per_region, LAYOUT_NODES_PER_REGION_MAX);
    if (o->base_port < 1 || o->base_port > LAYOUT_BASE_PORT_MAX)
        return err_set(msg, ERR_INVALID, "base port %u: expected 1 to %d",
                       o->base_port, LAYOUT_BASE_PORT_MAX);
    if (o->shards < 1 || o->shards > CONFIG_SHARDS_MAX)
        return err_set(msg, ERR_INVALID, "%u shards: expected 1 to %d",
                       o->shards, CONFIG_SHARDS_MAX);
    strcpy(l.cluster, o->cluster); /* config_name_ok bounds it */
    int err = add_regions(&l, o->regions, msg);
    if (err != ERR_OK)
        return err;
    add_nodes(&l, o->nodes_per_region);
    err = set_hosts(&l, o->host, msg);
    if (err == ERR_OK && o->sans != NULL)
        err = layout_set_sans(&l, o->sans, msg);
    if (err != ERR_OK)
        return err;
    layout_set_ports(&l, o->base_port);
    *layout_out = l;
    return ERR_OK;
}

/* ---- making it larger ------------------------------------------------------
 */

static unsigned find_region(const struct layout *l, const char *name)
{
    unsigned i = 0;
    while (i < l->region_count && strcmp(l->regions[i].name, name) != 0)
        i++;
    return i;
}

static unsigned count_nodes(const struct layout *l, unsigned region)
{
    unsigned count = 0;
    for (unsigned i = 0; i < l->node_count; i++)
        count += l->nodes[i].region == region;
    return count;
}

/* The pattern that the nodes' hosts were made from, as far as one can see. */
static int guess_pattern(const struct layout *l, char out[CONFIG_HOST_MAX + 1],
                         struct err_msg *msg)
{
    const struct layout_node *n = &l->nodes[0];
    const char *at = strstr(n->host, n->name);
    struct buf b = buf_over(out, CONFIG_HOST_MAX);
    int err = ERR_OK;
    if (l->stand_in)
        err = buf_append_str(&b, l->host);
    else if (at != NULL)
        err = buf_printf(&b, "%.*s" NODE_TAG "%s", (int)(at - n->host), n->host,
                         at + strlen(n->name));
    out[buf_len(&b)] = '\0';
    if (err != ERR_OK || (!l->stand_in && at == NULL))
        return err_set(msg, ERR_INVALID,
                       "where the new nodes run cannot be seen from %s of %s; "
                       "add --host",
                       n->host, n->name);
    return ERR_OK;
}

/* The number behind the region's name: the lowest that no node has. */
static void choose_name(const struct layout *l, struct layout_node *node)
{
    bool taken = true;
    for (unsigned number = 1; taken; number++) {
        name_node(l, node, number);
        taken = false;
        for (unsigned i = 0; i < l->node_count && !taken; i++)
            taken = strcmp(l->nodes[i].name, node->name) == 0;
    }
}

/* On a shared host every listener needs a port of its own. */
static int check_ports(const struct layout *l, const struct layout_node *node,
                       struct err_msg *msg)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < l->region_count && l->stand_in; i++)
        if (l->regions[i].port == node->port)
            taken = node->port;
    for (unsigned i = 0; i < l->node_count && l->stand_in; i++) {
        const struct layout_node *n = &l->nodes[i];
        if (n->port == node->port || n->admin_port == node->admin_port ||
            n->peer_port == node->peer_port)
            taken = node->port;
    }
    return taken == 0
               ? ERR_OK
               : err_set(msg, ERR_INVALID,
                         "node %s: port %u, or those for admin or peers that "
                         "go with it, belong to another one; this cluster's "
                         "ports are not those that init chooses",
                         node->name, taken);
}

static int join_node(struct layout *l, unsigned region, const char *pattern,
                     struct err_msg *msg)
{
    struct layout_node node = {.region = region, .added = true};
    unsigned at = 0;
    if (l->node_count == LAYOUT_NODES_MAX)
        return err_set(msg, ERR_INVALID, "more than %d nodes",
                       LAYOUT_NODES_MAX);
    for (unsigned i = 0; i < l->node_count; i++) {
        if (l->nodes[i].id > node.id)
            node.id = l->nodes[i].id;
        if (l->nodes[i].region <= region)
            at = i + 1;
    }
    if (++node.id > (l->stand_in ? LAYOUT_NODES_MAX : CONFIG_NODES_MAX))
        return err_set(msg, ERR_INVALID, "no id is left for another node");
    choose_name(l, &node);
    int err = expand(pattern, node.name, node.host, msg);
    set_node_ports(l, &node);
    if (err == ERR_OK)
        err = check_ports(l, &node, msg);
    if (err != ERR_OK)
        return err;
    memmove(&l->nodes[at + 1], &l->nodes[at],
            (l->node_count - at) * sizeof(node));
    l->nodes[at] = node;
    l->node_count++;
    return ERR_OK;
}

int layout_join(struct layout *layout, const char *region, unsigned nodes,
                const char *host, struct err_msg *msg)
{
    struct layout l = *layout;
    char guessed[CONFIG_HOST_MAX + 1];
    unsigned r = find_region(&l, region);
    bool is_new = r == l.region_count;
    unsigned has = count_nodes(&l, r);
    if (nodes > LAYOUT_NODES_PER_REGION_MAX || (nodes > 0 && nodes < has))
        return err_set(msg, ERR_INVALID,
                       "region %s has %u nodes in the list, and may have up to "
                       "%d; nodes that are no longer wanted are taken out of "
                       "the cluster with `bastide node remove`, not of the "
                       "list",
                       region, has, LAYOUT_NODES_PER_REGION_MAX);
    int err = host == NULL ? guess_pattern(&l, guessed, msg) : ERR_OK;
    if (err == ERR_OK && is_new)
        err = add_region(&l, region, strlen(region), msg);
    if (err == ERR_OK && is_new) {
        err = expand(host != NULL ? host : guessed, region, l.regions[r].host,
                     msg);
        set_region_port(&l, r);
    }
    for (unsigned n = has; err == ERR_OK && n < (nodes > 0 ? nodes : is_new);
         n++)
        err = join_node(&l, r, host != NULL ? host : guessed, msg);
    if (err == ERR_OK)
        *layout = l;
    return err;
}

static bool same_node(const struct layout_node *a, const struct layout_node *b)
{
    return strcmp(a->name, b->name) == 0 && a->id == b->id &&
           a->region == b->region && a->added == b->added &&
           strcmp(a->host, b->host) == 0 && a->port == b->port &&
           a->admin_port == b->admin_port && a->peer_port == b->peer_port;
}

bool layout_same(const struct layout *a, const struct layout *b)
{
    bool same = strcmp(a->cluster, b->cluster) == 0 &&
                strcmp(a->host, b->host) == 0 && a->port == b->port &&
                a->shards == b->shards && a->region_count == b->region_count &&
                a->node_count == b->node_count;
    for (unsigned i = 0; same && i < a->region_count; i++)
        same = strcmp(a->regions[i].name, b->regions[i].name) == 0 &&
               strcmp(a->regions[i].host, b->regions[i].host) == 0 &&
               a->regions[i].port == b->regions[i].port;
    for (unsigned i = 0; same && i < a->node_count; i++)
        same = same_node(&a->nodes[i], &b->nodes[i]);
    return same;
}

/* ---- latency ---------------------------------------------------------------
 */

int layout_set_latency(struct layout *l, const char *text, struct err_msg *msg)
{
    struct config_latencies list = {.count = 0};
    const char *names[LAYOUT_REGIONS_MAX];
    for (unsigned i = 0; i < l->region_count; i++)
        names[i] = l->regions[i].name;
    int err = config_parse_latencies(text, &list, msg);
    if (err == ERR_OK)
        err = latency_expand(&list, names, l->region_count, msg);
    if (err == ERR_OK && list.count > LAYOUT_LATENCIES_MAX)
        err = err_set(msg, ERR_INVALID, "more than %d round trip times",
                      LAYOUT_LATENCIES_MAX);
    if (err == ERR_OK) {
        l->latency_count = (unsigned)list.count;
        for (size_t i = 0; i < list.count; i++)
            l->latencies[i] = list.list[i];
    }
    config_latencies_free(&list);
    return err == ERR_OK ? ERR_OK : ERR_INVALID;
}

/* ---- node.yaml -------------------------------------------------------------
 */

static void put_addr(struct buf *b, const char *indent, const char *key,
                     const char *host, unsigned port)
{
    CHECK(buf_printf(b,
                     strchr(host, ':') != NULL ? "%s%s: \"[%s]:%u\"\n"
                                               : "%s%s: \"%s:%u\"\n",
                     indent, key, host, port) == ERR_OK);
}

static void put_url(struct buf *b, const char *indent, const char *key,
                    const char *host, unsigned port)
{
    char url[LAYOUT_URL_MAX + 1];
    layout_url(host, port, url);
    CHECK(buf_printf(b, "%s%s: \"%s\"\n", indent, key, url) == ERR_OK);
}

void layout_put_node(struct buf *b, const struct layout_node *n)
{
    CHECK(buf_printf(b, "      - name: %s\n        id: %u\n", n->name, n->id) ==
          ERR_OK);
    put_addr(b, "        ", "peer", n->host, n->peer_port);
    put_url(b, "        ", "endpoint", n->host, n->port);
    if (n->added)
        CHECK(buf_append_str(b, "        added: true\n") == ERR_OK);
}

void layout_put_region(struct buf *b, const struct layout *l, unsigned region)
{
    const struct layout_region *r = &l->regions[region];
    CHECK(buf_printf(b, "  - name: %s\n    priority: %u\n", r->name,
                     r->priority) == ERR_OK);
    put_url(b, "    ", "endpoint", r->host, r->port);
    put_addr(b, "    ", "listen", l->listen, r->port);
    if (r->key[0] != '\0')
        CHECK(buf_printf(b, "    key: \"%s\"\n", r->key) == ERR_OK);
    CHECK(buf_append_str(b, "    nodes:\n") == ERR_OK);
    for (unsigned i = 0; i < l->node_count; i++)
        if (l->nodes[i].region == region)
            layout_put_node(b, &l->nodes[i]);
}

/* What only some clusters have: a level other than the default, slow links,
 * faults on request. */
static void put_character(struct buf *b, const struct layout *l)
{
    char level[CONFIG_CONSISTENCY_TEXT_MAX];
    if (l->consistency.level != CONFIG_LEVEL_STRONG) {
        config_format_consistency(&l->consistency, level);
        CHECK(buf_printf(b, "consistency: \"%s\"\n", level) == ERR_OK);
    }
    if (l->latency_count > 0)
        CHECK(buf_append_str(b, "latency:\n") == ERR_OK);
    for (unsigned i = 0; i < l->latency_count; i++) {
        const struct config_latency *t = &l->latencies[i];
        CHECK(buf_printf(b, "  - \"%s%s%s%s%uus\"\n", t->a,
                         t->a[0] != '\0' ? ":" : "", t->b,
                         t->a[0] != '\0' ? "=" : "", t->rtt_us) == ERR_OK);
    }
    if (l->fault_injection)
        CHECK(buf_append_str(b, "fault_injection: true\n") == ERR_OK);
}

/* Nodes that share a host share its cores: more threads than cores would only
 * make batches smaller. 0 lets a node use all of its machine. */
static unsigned workers_per_node(const struct layout *l)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!l->stand_in)
        return 0;
    return cores > (long)l->node_count ? (unsigned)(cores / l->node_count) : 1;
}

int layout_write_config(const struct layout *l, const struct layout_node *node,
                        const char *dir, struct err_msg *msg)
{
    char path[PATH_MAX];
    struct buf b;
    int err = layout_path(dir, node->name, "node.yaml", path, msg);
    if (err != ERR_OK)
        return err;
    buf_init(&b, CONFIG_TEXT_MAX);
    CHECK(buf_printf(&b,
                     "# One node of the Bastide cluster %s. Paths are relative "
                     "to this file.\n"
                     "# All settings: docs/configuration.md or `bastide node "
                     "--help`.\n"
                     "cluster: %s\nregion: %s\nnode: %s\nid: %u\n"
                     "data_dir: data\nstand_in: %s\nshards: %u\nworkers: %u\n"
                     "listen:\n",
                     l->cluster, l->cluster, l->regions[node->region].name,
                     node->name, node->id, l->stand_in ? "true" : "false",
                     l->shards, workers_per_node(l)) == ERR_OK);
    put_addr(&b, "  ", "account", l->listen, l->port);
    put_addr(&b, "  ", "region", l->listen, l->regions[node->region].port);
    put_addr(&b, "  ", "node", l->listen, node->port);
    put_addr(&b, "  ", "admin", l->listen, node->admin_port);
    put_addr(&b, "  ", "peer", l->listen, node->peer_port);
    CHECK(buf_append_str(&b, "account:\n") == ERR_OK);
    put_url(&b, "  ", "endpoint", l->host, l->port);
    CHECK(buf_append_str(&b, "tls:\n  ca: ca.pem\n  cert: node.pem\n"
                             "  key: node.key\n"
                             "keys:\n  kek: kek.key\n  cluster: cluster.keys\n"
                             "  account: account.keys\n") == ERR_OK);
    if (l->regions[node->region].key[0] != '\0')
        CHECK(buf_append_str(&b, "  region: region.key\n") == ERR_OK);
    put_character(&b, l);
    CHECK(buf_append_str(&b, "regions:\n") == ERR_OK);
    for (unsigned i = 0; i < l->region_count; i++)
        layout_put_region(&b, l, i);
    err = file_replace(path, 0644, bytes_of(buf_bytes(&b), buf_len(&b)), msg);
    buf_free(&b);
    return err;
}

/* ---- reading one back ------------------------------------------------------
 */

static void copy_addr(const struct config_addr *from, char *host,
                      uint16_t *port_out)
{
    strcpy(host, from->host); /* both hold CONFIG_HOST_MAX + 1 bytes */
    *port_out = from->port;
}

/* Takes the host and port out of a URL that config_load accepted. */
static void copy_url(const char *url, char *host, uint16_t *port_out)
{
    struct config_addr addr;
    char text[LAYOUT_URL_MAX + 8];
    const char *at = url + strlen("https://");
    int len = (int)strcspn(at, "/");
    snprintf(text, sizeof(text), "%.*s", len, at);
    if (config_parse_addr(text, &addr, NULL) != ERR_OK) {
        snprintf(text, sizeof(text), "%.*s:443", len, at);
        CHECK(config_parse_addr(text, &addr, NULL) == ERR_OK);
    }
    copy_addr(&addr, host, port_out);
}

static void copy_topology(const struct config *c, struct layout *l)
{
    strcpy(l->cluster, c->cluster);
    strcpy(l->listen, c->listen.account.host);
    copy_url(c->account_endpoint, l->host, &l->port);
    l->stand_in = c->stand_in;
    l->shards = c->shards;
    l->consistency = c->consistency;
    l->fault_injection = c->fault_injection;
    for (size_t i = 0; i < c->latency.count && i < LAYOUT_LATENCIES_MAX; i++)
        l->latencies[l->latency_count++] = c->latency.list[i];
    l->region_count = (unsigned)c->region_count;
    for (unsigned i = 0; i < l->region_count; i++) {
        const struct config_region *r = &c->regions[i];
        strcpy(l->regions[i].name, r->name);
        l->regions[i].priority = r->priority;
        copy_url(r->endpoint, l->regions[i].host, &l->regions[i].port);
        if (r->key.given)
            region_public_format(r->key.public_key, l->regions[i].key);
        for (size_t j = 0; j < r->node_count; j++) {
            struct layout_node *n = &l->nodes[l->node_count++];
            strcpy(n->name, r->nodes[j].name);
            n->id = r->nodes[j].id;
            n->region = i;
            n->added = r->nodes[j].added;
            n->peer_port = r->nodes[j].peer.port;
            copy_url(r->nodes[j].endpoint, n->host, &n->port);
        }
    }
}

static int load_config(const char *dir, const char *node,
                       struct config **config_out, struct err_msg *msg)
{
    char path[PATH_MAX];
    int err = layout_path(dir, node, "node.yaml", path, msg);
    if (err != ERR_OK)
        return err;
    const struct config_sources sources = {.file = path};
    return config_load(&sources, config_out, msg);
}

static size_t nodes_of(const struct config *c)
{
    size_t nodes = 0;
    for (size_t i = 0; i < c->region_count; i++)
        nodes += c->regions[i].node_count;
    return nodes;
}

static bool has_config(const char *dir, const char *node)
{
    char path[PATH_MAX];
    return layout_path(dir, node, "node.yaml", path, NULL) == ERR_OK &&
           access(path, F_OK) == 0;
}

/* The settings of the node that knows the most nodes. One that cannot be read
 * is the business of whoever finds it in that list. */
static int load_widest(const char *dir, struct config **config_out,
                       struct err_msg *msg)
{
    DIR *d = opendir(dir);
    struct config *best = NULL;
    int err = err_set(msg, ERR_NOT_FOUND, "%s: no cluster in there", dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        struct config *c;
        struct err_msg why;
        if (!config_name_ok(e->d_name) || !has_config(dir, e->d_name))
            continue;
        int failed = load_config(dir, e->d_name, &c, &why);
        if (failed != ERR_OK) {
            err = err_set(msg, failed, "%s", why.text);
        } else if (best == NULL || nodes_of(c) > nodes_of(best)) {
            config_free(best);
            best = c;
        } else {
            config_free(c);
        }
    }
    if (d != NULL)
        closedir(d);
    *config_out = best;
    return best != NULL ? ERR_OK : err;
}

/* Admin ports are known to each node alone. */
static int load_admin_ports(const char *dir, struct layout *l, bool unfinished,
                            struct err_msg *msg)
{
    int err = ERR_OK;
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++) {
        struct layout_node *n = &l->nodes[i];
        struct config *c;
        if (n->added && !has_config(dir, n->name)) {
            set_node_ports(l, n);
            if (!unfinished)
                err =
                    err_set(msg, ERR_INVALID,
                            "%s: node %s is listed and has no node.yaml: give "
                            "bastide init --join %s again, which was "
                            "interrupted",
                            dir, n->name, l->regions[n->region].name);
            continue;
        }
        err = load_config(dir, n->name, &c, msg);
        if (err == ERR_OK) {
            n->admin_port = c->listen.admin.port;
            config_free(c);
        }
    }
    return err;
}

static int from_config(const struct config *c, struct layout *layout_out,
                       struct err_msg *msg)
{
    struct layout l = {.port = 0};
    if (c->region_count > LAYOUT_REGIONS_MAX || nodes_of(c) > LAYOUT_NODES_MAX)
        return err_set(msg, ERR_INVALID, "%s: more than %d regions or %d nodes",
                       c->file, LAYOUT_REGIONS_MAX, LAYOUT_NODES_MAX);
    copy_topology(c, &l);
    *layout_out = l;
    return ERR_OK;
}

static int load(const char *dir, bool unfinished, struct layout *layout_out,
                struct err_msg *msg)
{
    struct config *c;
    struct layout l;
    int err = load_widest(dir, &c, msg);
    if (err == ERR_OK) {
        err = from_config(c, &l, msg);
        config_free(c);
    }
    if (err == ERR_OK)
        err = load_admin_ports(dir, &l, unfinished, msg);
    if (err == ERR_OK)
        *layout_out = l;
    return err;
}

int layout_load(const char *dir, struct layout *layout_out, struct err_msg *msg)
{
    return load(dir, false, layout_out, msg);
}

int layout_load_unfinished(const char *dir, struct layout *layout_out,
                           struct err_msg *msg)
{
    return load(dir, true, layout_out, msg);
}

int layout_read(const char *path, struct layout *layout_out,
                struct err_msg *msg)
{
    const struct config_sources sources = {.file = path};
    struct config *c;
    int err = config_load(&sources, &c, msg);
    if (err == ERR_OK) {
        err = from_config(c, layout_out, msg);
        config_free(c);
    }
    return err;
}

int layout_account_keys(const char *dir, struct config_account_keys *keys_out,
                        struct err_msg *msg)
{
    char path[PATH_MAX];
    int err = layout_path(dir, "account.keys", NULL, path, msg);
    return err == ERR_OK ? config_account_keys_load(path, keys_out, msg) : err;
}
