#include "node/cli/join.h"

#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/config_text.h"
#include "node/cli/create.h"
#include "node/cli/region_keys.h"

/* ---- the entries in a node.yaml --------------------------------------------
 */

/* One file's change. */
struct entries {
    const struct layout *layout; /* all that it should list */
    struct layout listed;        /* what it lists */
};

static bool same_node(const struct layout_node *a, const struct layout_node *b)
{
    return strcmp(a->name, b->name) == 0 && a->id == b->id &&
           a->region == b->region && a->added == b->added &&
           strcmp(a->host, b->host) == 0 && a->port == b->port &&
           a->peer_port == b->peer_port;
}

/* Whether the lists of regions say the same; a node may give URLs of its own to
 * regions. */
static bool same_list(const struct layout *a, const struct layout *b)
{
    bool same =
        a->region_count == b->region_count && a->node_count == b->node_count;
    for (unsigned i = 0; same && i < a->region_count; i++)
        same = strcmp(a->regions[i].name, b->regions[i].name) == 0 &&
               a->regions[i].priority == b->regions[i].priority &&
               strcmp(a->regions[i].key, b->regions[i].key) == 0;
    for (unsigned i = 0; same && i < a->node_count; i++)
        same = same_node(&a->nodes[i], &b->nodes[i]);
    return same;
}

static int check_entries(void *user, const char *path)
{
    const struct entries *e = user;
    struct layout now;
    struct err_msg ignored;
    int err = layout_read(path, &now, &ignored);
    return err == ERR_OK && !same_list(&now, e->layout) ? ERR_INVALID : err;
}

static bool is_listed(const struct layout *listed, const char *node)
{
    for (unsigned i = 0; i < listed->node_count; i++)
        if (strcmp(listed->nodes[i].name, node) == 0)
            return true;
    return false;
}

/* Ends of entries in the text, in bytes; 0: it was not found. */
struct places {
    size_t regions[LAYOUT_REGIONS_MAX];
    size_t list;
};

/* A line of the list that says something; comments behind an entry stay behind
 * what is added to it. */
static bool is_entry(const char *line, size_t len)
{
    size_t blank = strspn(line, " ");
    return blank > 0 && blank < len && line[blank] != '#';
}

static void find_places(const struct layout *l, const char *text,
                        struct places *out)
{
    static const char head[] = "regions:";
    bool inside = false;
    size_t *place = NULL;
    *out = (struct places){.list = 0};
    for (size_t at = 0; text[at] != '\0';) {
        const char *line = text + at;
        size_t len = strcspn(line, "\n");
        at += len + (line[len] == '\n');
        if (len > 0 && line[0] != ' ' && line[0] != '#')
            inside = len == sizeof(head) - 1 && memcmp(line, head, len) == 0;
        if (!inside || !is_entry(line, len))
            continue;
        const struct layout_region *r = config_text_region(l, line, len);
        if (r != NULL)
            place = &out->regions[r - l->regions];
        else if (strncmp(line, "  - ", 4) == 0)
            place = NULL;
        if (place != NULL)
            *place = at;
        out->list = at;
    }
}

/* The entries that belong behind the one that ends at `at`. */
static void put_entries(const struct entries *e, const struct places *p,
                        size_t at, struct buf *out)
{
    const struct layout *l = e->layout;
    for (unsigned i = 0; i < l->node_count; i++)
        if (p->regions[l->nodes[i].region] == at &&
            !is_listed(&e->listed, l->nodes[i].name))
            layout_put_node(out, &l->nodes[i]);
    for (unsigned i = e->listed.region_count;
         i < l->region_count && p->list == at; i++)
        layout_put_region(out, l, i);
}

static int insert_entries(void *user, const char *text, struct buf *out)
{
    const struct entries *e = user;
    struct places p;
    find_places(e->layout, text, &p);
    for (size_t at = 0; text[at] != '\0';) {
        size_t len = strcspn(text + at, "\n");
        if (buf_printf(out, "%.*s\n", (int)len, text + at) != ERR_OK)
            return ERR_LIMIT;
        at += len + (text[at + len] == '\n');
        if (buf_len(out) > CONFIG_FILE_MAX / 2)
            return ERR_LIMIT; /* all entries there can be are shorter */
        put_entries(e, &p, at, out);
    }
    return ERR_OK;
}

static int refuse_form(void *user, const char *path, struct err_msg *msg)
{
    const struct entries *e = user;
    const struct layout_node *n = NULL;
    for (unsigned i = 0; i < e->layout->node_count && n == NULL; i++)
        if (!is_listed(&e->listed, e->layout->nodes[i].name))
            n = &e->layout->nodes[i];
    CHECK(n != NULL);
    return err_set(msg, ERR_INVALID,
                   "%.200s: its list of regions is not written as bastide init "
                   "writes it, or is another one; add to it by hand what the "
                   "list in %s/node.yaml has more, node %s with id %u first, "
                   "then give the command again",
                   path, n->name, n->name, n->id);
}

static int add_entries(const struct layout *l, const char *node,
                       const char *dir, struct err_msg *msg)
{
    char path[PATH_MAX];
    struct entries e = {.layout = l};
    const struct config_text_change change = {.edit = insert_entries,
                                              .check = check_entries,
                                              .refuse = refuse_form,
                                              .user = &e};
    int err = layout_path(dir, node, "node.yaml", path, msg);
    if (err == ERR_OK)
        err = layout_read(path, &e.listed, msg);
    if (err == ERR_OK && e.listed.node_count < l->node_count)
        err = config_text_change(dir, node, &change, msg);
    return err;
}

/* ---- the new nodes ---------------------------------------------------------
 */

static bool has_config(const char *dir, const struct layout_node *n)
{
    char path[PATH_MAX];
    return layout_path(dir, n->name, "node.yaml", path, NULL) == ERR_OK &&
           access(path, F_OK) == 0;
}

/* A folder that is nobody's must not bring data of another life. */
static int refuse_data(const struct layout *was, const struct layout_node *n,
                       const char *dir, struct err_msg *msg)
{
    char path[PATH_MAX];
    int err = layout_path(dir, n->name, "data", path, msg);
    if (err == ERR_OK && !is_listed(was, n->name) && access(path, F_OK) == 0)
        err = err_set(msg, ERR_EXISTS,
                      "%s: there is data in it, and node %s is not in the list "
                      "of regions; put it away",
                      path, n->name);
    return err;
}

static int make_folders(const struct layout *l, const struct layout *was,
                        const char *dir, struct err_msg *msg)
{
    int err = ERR_OK;
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++) {
        if (has_config(dir, &l->nodes[i]))
            continue;
        err = refuse_data(was, &l->nodes[i], dir, msg);
        if (err == ERR_OK)
            err = create_node(l, &l->nodes[i], dir, msg);
    }
    return err;
}

/* Regions have keys, all of them or none. */
static int make_keys(struct layout *l, const char *dir, struct err_msg *msg)
{
    bool done[LAYOUT_REGIONS_MAX] = {false};
    int err = ERR_OK;
    for (unsigned i = 0;
         i < l->node_count && err == ERR_OK && l->regions[0].key[0] != '\0';
         i++) {
        unsigned region = l->nodes[i].region;
        if (has_config(dir, &l->nodes[i]) || done[region])
            continue;
        err = region_keys_create_one(l, region, dir, msg);
        done[region] = true;
    }
    return err;
}

static int write_configs(const struct layout *l, const char *dir,
                         struct err_msg *msg)
{
    int err = ERR_OK;
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++)
        if (!has_config(dir, &l->nodes[i]))
            err = layout_write_config(l, &l->nodes[i], dir, msg);
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++)
        err = add_entries(l, l->nodes[i].name, dir, msg);
    return err;
}

int join(const struct join_options *o, const char *dir,
         struct layout *layout_out, struct layout *was_out, struct err_msg *msg)
{
    struct layout l, was;
    int err = layout_load_unfinished(dir, &l, msg);
    if (err != ERR_OK)
        return err;
    was = l;
    err = layout_join(&l, o->region, o->nodes, o->host, msg);
    if (err == ERR_OK && o->sans != NULL)
        err = layout_set_sans(&l, o->sans, msg);
    if (err == ERR_OK)
        err = make_folders(&l, &was, dir, msg);
    if (err == ERR_OK)
        err = make_keys(&l, dir, msg);
    if (err == ERR_OK)
        err = write_configs(&l, dir, msg);
    if (err != ERR_OK)
        return err;
    *layout_out = l;
    if (was_out != NULL)
        *was_out = was;
    return ERR_OK;
}
