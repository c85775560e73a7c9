#include "node/cli/cluster_file.h"

#include <unistd.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/json/json.h"

#define CLUSTER_FILE_MAX (1 << 20)
#define CLUSTER_FILE "cluster.json"

static void put_path(struct json_writer *w, const char *key, const char *dir,
                     const char *name)
{
    char path[PATH_MAX];
    CHECK(layout_path(dir, name, NULL, path, NULL) == ERR_OK);
    json_write_member_str(w, key, path);
}

static void put_url(struct json_writer *w, const char *key, const char *host,
                    unsigned port)
{
    char url[LAYOUT_URL_MAX + 1];
    layout_url(host, port, url);
    json_write_member_str(w, key, url);
}

static void put_node(struct json_writer *w, const struct layout_node *n,
                     const char *dir, pid_t pid)
{
    json_write_object_begin(w);
    json_write_member_str(w, "name", n->name);
    put_url(w, "endpoint", n->host, n->port);
    put_url(w, "admin", n->host, n->admin_port);
    json_write_member_int64(w, "pid", pid);
    put_path(w, "dir", dir, n->name);
    json_write_object_end(w);
}

static void put_region(struct json_writer *w, const struct layout *l,
                       unsigned region, const char *dir, const pid_t *pids)
{
    const struct layout_region *r = &l->regions[region];
    json_write_object_begin(w);
    json_write_member_str(w, "name", r->name);
    json_write_member_int64(w, "priority", region);
    put_url(w, "endpoint", r->host, r->port);
    json_write_key(w, "nodes");
    json_write_array_begin(w);
    for (unsigned i = 0; i < l->node_count; i++)
        if (l->nodes[i].region == region)
            put_node(w, &l->nodes[i], dir, pids[i]);
    json_write_array_end(w);
    json_write_object_end(w);
}

static int put_keys(struct json_writer *w, const char *dir, struct err_msg *msg)
{
    struct config_account_keys keys;
    int err = layout_account_keys(dir, &keys, msg);
    if (err != ERR_OK)
        return err;
    json_write_member_str(w, "primaryKey", keys.text[CONFIG_KEY_PRIMARY]);
    json_write_member_str(w, "secondaryKey", keys.text[CONFIG_KEY_SECONDARY]);
    json_write_member_str(w, "primaryReadonlyKey",
                          keys.text[CONFIG_KEY_PRIMARY_READONLY]);
    json_write_member_str(w, "secondaryReadonlyKey",
                          keys.text[CONFIG_KEY_SECONDARY_READONLY]);
    config_account_keys_wipe(&keys);
    return ERR_OK;
}

static void put_regions(struct json_writer *w, const struct layout *l,
                        const char *dir, const pid_t *pids)
{
    json_write_key(w, "regions");
    json_write_array_begin(w);
    for (unsigned i = 0; i < l->region_count; i++)
        put_region(w, l, i, dir, pids);
    json_write_array_end(w);
}

int cluster_file_write(const struct layout *l, const char *dir,
                       const pid_t *pids, struct err_msg *msg)
{
    CHECK(dir[0] == '/');
    char path[PATH_MAX];
    int err = layout_path(dir, CLUSTER_FILE, NULL, path, msg);
    if (err != ERR_OK)
        return err;
    struct buf b;
    struct json_writer w;
    buf_init(&b, CLUSTER_FILE_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "cluster", l->cluster);
    err = put_keys(&w, dir, msg);
    put_path(&w, "ca", dir, "ca.pem");
    put_url(&w, "endpoint", l->host, l->port);
    put_regions(&w, l, dir, pids);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    CHECK(buf_append_str(&b, "\n") == ERR_OK);
    if (err == ERR_OK)
        err =
            file_replace(path, 0600, bytes_of(buf_bytes(&b), buf_len(&b)), msg);
    buf_wipe(&b);
    return err;
}

void cluster_file_remove(const char *dir)
{
    char path[PATH_MAX];
    if (layout_path(dir, CLUSTER_FILE, NULL, path, NULL) == ERR_OK)
        unlink(path);
}
