#include "node/cli/region_keys.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/config_text.h"
#include "node/crypt/region_key.h"

#define FILE_NAME "region.key"

/* ---- the files -------------------------------------------------------------
 */

/* What opens and seals the files. */
struct opener {
    struct kek kek;
    struct cluster_keys cluster;
};

static void wipe_opener(struct opener *o)
{
    kek_wipe(&o->kek);
    cluster_keys_wipe(&o->cluster);
}

static int load_opener(const struct layout *l, const char *dir,
                       struct opener *opener_out, struct err_msg *msg)
{
    char path[PATH_MAX];
    int err = layout_path(dir, "kek.key", NULL, path, msg);
    if (err == ERR_OK)
        err = kek_load_file(path, msg, &opener_out->kek);
    if (err == ERR_OK)
        err = layout_path(dir, "cluster.keys", NULL, path, msg);
    if (err == ERR_OK)
        err = cluster_keys_read(path, &opener_out->kek, l->cluster, msg,
                                &opener_out->cluster);
    return err;
}

/* Reads the key from the first of the region's folders that has it, and checks
 * that the others have the same. ERR_NOT_FOUND: none has it. */
static int find_key(const struct layout *l, unsigned region, const char *dir,
                    const struct opener *o, struct region_key *key_out,
                    struct err_msg *msg)
{
    const char *name = l->regions[region].name, *first = NULL;
    char path[PATH_MAX];
    struct region_key key;
    for (unsigned i = 0; i < l->node_count; i++) {
        if (l->nodes[i].region != region)
            continue;
        int err = layout_path(dir, l->nodes[i].name, FILE_NAME, path, msg);
        if (err == ERR_OK)
            err = region_key_read(path, &o->kek, o->cluster.cluster_id, name,
                                  msg, &key);
        if (err == ERR_NOT_FOUND)
            continue;
        if (err == ERR_OK && first == NULL) {
            first = l->nodes[i].name;
            *key_out = key;
        } else if (err == ERR_OK && memcmp(key.public_key, key_out->public_key,
                                           REGION_KEY_LEN) != 0) {
            err = err_set(msg, ERR_IDENTITY,
                          "%.300s: not the key that %s has for the same region",
                          path, first);
        }
        region_key_wipe(&key);
        if (err != ERR_OK)
            return err;
    }
    return first != NULL ? ERR_OK : ERR_NOT_FOUND;
}

/* Those that are there are good: find_key has read them. */
static int write_missing(const struct layout *l, unsigned region,
                         const char *dir, const struct opener *o,
                         const struct region_key *key, struct err_msg *msg)
{
    char path[PATH_MAX];
    int err = ERR_OK;
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++) {
        if (l->nodes[i].region != region)
            continue;
        err = layout_path(dir, l->nodes[i].name, FILE_NAME, path, msg);
        if (err == ERR_OK && access(path, F_OK) != 0)
            err = region_key_write(path, &o->kek, o->cluster.cluster_id, key,
                                   msg);
    }
    return err;
}

/* A key that was lost must not be replaced in silence: what was wrapped for it
 * would never open again. */
static int check_known(const struct layout_region *r, bool found,
                       const char *public_text, struct err_msg *msg)
{
    if (r->key[0] == '\0')
        return ERR_OK;
    if (!found)
        return err_set(msg, ERR_NOT_FOUND,
                       "region %s has a key according to node.yaml, but no "
                       "node of it has its " FILE_NAME " here; copy it from a "
                       "machine of that region",
                       r->name);
    if (strcmp(r->key, public_text) != 0)
        return err_set(msg, ERR_IDENTITY,
                       "region %s: " FILE_NAME " is another key than "
                       "node.yaml says",
                       r->name);
    return ERR_OK;
}

static int create_key(struct layout *l, unsigned region, const char *dir,
                      const struct opener *o, struct err_msg *msg)
{
    struct layout_region *r = &l->regions[region];
    char public_text[REGION_PUBLIC_TEXT_LEN + 1] = "";
    struct region_key key;
    int err = find_key(l, region, dir, o, &key, msg);
    bool found = err == ERR_OK;
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    if (!found)
        CHECK(region_key_generate(r->name, &key) == ERR_OK);
    region_public_format(key.public_key, public_text);
    err = check_known(r, found, public_text, msg);
    if (err == ERR_OK)
        err = write_missing(l, region, dir, o, &key, msg);
    region_key_wipe(&key);
    if (err == ERR_OK)
        strcpy(r->key, public_text);
    return err;
}

/* The regions from `first` to before `end`. */
static int create_range(struct layout *l, unsigned first, unsigned end,
                        const char *dir, struct err_msg *msg)
{
    struct opener opener = {.kek = {.key = {0}}};
    int err = load_opener(l, dir, &opener, msg);
    for (unsigned i = first; i < end && err == ERR_OK; i++)
        err = create_key(l, i, dir, &opener, msg);
    wipe_opener(&opener);
    return err;
}

int region_keys_create(struct layout *l, const char *dir, struct err_msg *msg)
{
    return create_range(l, 0, l->region_count, dir, msg);
}

int region_keys_create_one(struct layout *l, unsigned region, const char *dir,
                           struct err_msg *msg)
{
    return create_range(l, region, region + 1, dir, msg);
}

/* ---- node.yaml -------------------------------------------------------------
 */

/* Copies the text with a line behind every region's first one. */
static int insert_keys(void *user, const char *text, struct buf *out)
{
    const struct layout *l = user;
    int err = ERR_OK;
    while (*text != '\0' && err == ERR_OK) {
        size_t len = strcspn(text, "\n");
        const struct layout_region *r = config_text_region(l, text, len);
        err = buf_printf(out, "%.*s\n", (int)len, text);
        if (err == ERR_OK && r != NULL)
            err = buf_printf(out, "    key: \"%s\"\n", r->key);
        text += len + (text[len] == '\n');
    }
    return err;
}

/* How many regions have in the file the key that the layout says. ERR_IDENTITY:
 * one has another. */
static int count_keys(const struct layout *l, const char *path,
                      unsigned *count_out, struct err_msg *msg)
{
    const struct config_sources sources = {.file = path};
    char text[REGION_PUBLIC_TEXT_LEN + 1];
    struct config *c;
    int err = config_load(&sources, &c, msg);
    if (err != ERR_OK)
        return err;
    *count_out = 0;
    for (unsigned i = 0; i < l->region_count && err == ERR_OK; i++) {
        const struct config_region *r =
            config_find_region(c, l->regions[i].name);
        if (r == NULL || !r->key.given)
            continue;
        region_public_format(r->key.public_key, text);
        if (strcmp(text, l->regions[i].key) == 0)
            ++*count_out;
        else
            err = err_set(msg, ERR_IDENTITY,
                          "%.300s: another key of region %s than its nodes "
                          "have",
                          path, r->name);
    }
    config_free(c);
    return err;
}

static int check_keys(void *user, const char *path)
{
    const struct layout *l = user;
    struct err_msg ignored;
    unsigned count = 0;
    int err = count_keys(l, path, &count, &ignored);
    return err == ERR_OK && count != l->region_count ? ERR_INVALID : err;
}

static int refuse_form(void *user, const char *path, struct err_msg *msg)
{
    const struct layout *l = user;
    return err_set(msg, ERR_INVALID,
                   "%.300s: its list of regions is not written as bastide init "
                   "writes it; add to each region's entry the line `key: "
                   "\"...\"` with the public key of its " FILE_NAME
                   ", %s for %s and so on",
                   path, l->regions[0].key, l->regions[0].name);
}

static int add_to_config(struct layout *l, const char *node, const char *dir,
                         struct err_msg *msg)
{
    const struct config_text_change change = {.edit = insert_keys,
                                              .check = check_keys,
                                              .refuse = refuse_form,
                                              .user = l};
    char path[PATH_MAX];
    unsigned count = 0;
    int err = layout_path(dir, node, "node.yaml", path, msg);
    if (err == ERR_OK)
        err = count_keys(l, path, &count, msg);
    if (err == ERR_OK && count != l->region_count)
        err = config_text_change(dir, node, &change, msg);
    return err;
}

int region_keys_add(const char *dir, struct layout *layout_out,
                    struct err_msg *msg)
{
    struct layout l;
    int err = layout_load(dir, &l, msg);
    if (err == ERR_OK)
        err = region_keys_create(&l, dir, msg);
    for (unsigned i = 0; err == ERR_OK && i < l.node_count; i++)
        err = add_to_config(&l, l.nodes[i].name, dir, msg);
    if (err == ERR_OK)
        *layout_out = l;
    return err;
}
