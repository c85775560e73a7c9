#include "node/cli/create.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/cli/region_keys.h"
#include "node/crypt/cert.h"
#include "node/crypt/keyring.h"

#define COPY_MAX (64 * 1024)

/* Files every node gets a copy of. */
static const struct {
    const char *name;
    mode_t mode;
} node_copies[] = {
    {"ca.pem", 0644},
    {"kek.key", 0600},
    {"cluster.keys", 0600},
    {"account.keys", 0600},
};

/* Whether it is a folder, with nothing in it. */
static bool is_empty_folder(const char *dir, const char *name)
{
    char path[PATH_MAX];
    bool empty = true;
    if (layout_path(dir, name, NULL, path, NULL) != ERR_OK)
        return false;
    DIR *d = opendir(path);
    if (d == NULL)
        return false;
    for (struct dirent *e; empty && (e = readdir(d)) != NULL;)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(d);
    return empty;
}

static int refuse_used(const char *dir, struct err_msg *msg)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return err_set(msg, ERR_NOT_FOUND, "%s: cannot open the folder", dir);
    int err = ERR_OK;
    for (struct dirent *e; err == ERR_OK && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && strncmp(e->d_name, "demo.", 5) != 0 &&
            !is_empty_folder(dir, e->d_name))
            err = err_set(msg, ERR_EXISTS,
                          "%s: not empty (it holds %.100s); choose a new "
                          "folder, or remove this one if you need nothing in "
                          "it",
                          dir, e->d_name);
    closedir(d);
    return err;
}

/* Every name that create_cluster may have written, but for the marker: first
 * those that DIR/<node> may hold, then those that only DIR holds. */
static const char *const all_names[] = {
    "ca.pem",   "kek.key",   "cluster.keys", "account.keys",
    "node.pem", "node.key",  "region.key",   "node.yaml",
    "ca.key",   "admin.pem", "admin.key",
};

#define NODE_NAMES 8
#define TEMP_SUFFIX_LEN 7 /* ".XXXXXX" of file_create */

static bool is_one_of(const char *name, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(all_names[i]);
        if (strncmp(name, all_names[i], len) == 0 &&
            (name[len] == '\0' ||
             (name[len] == '.' && strlen(name + len) == TEMP_SUFFIX_LEN)))
            return true;
    }
    return false;
}

/* ---- the marker ------------------------------------------------------------
 * It is there from before the first file until after the last. What a folder
 * holds does not tell: a cluster that lost a file looks like one that has not
 * got it yet. */

#define MARKER ".unfinished"

static bool has_marker(const char *dir)
{
    char path[PATH_MAX];
    struct stat st;
    return layout_path(dir, MARKER, NULL, path, NULL) == ERR_OK &&
           lstat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Not with file_create: a temporary file of it would be left for good if this
 * is killed here. */
static int put_marker(const char *dir, struct err_msg *msg)
{
    char path[PATH_MAX];
    int err = layout_path(dir, MARKER, NULL, path, msg);
    if (err != ERR_OK)
        return err;
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return err_set(msg, ERR_EXISTS,
                       "%s: an interrupted init left it half made; bastide "
                       "init --if-missing makes it anew",
                       dir);
    err = fd < 0 ? err_from_errno(errno) : file_sync_parent(path);
    if (fd >= 0)
        close(fd);
    return err == ERR_OK ? ERR_OK
                         : err_set(msg, err, "%s: cannot create it: %s", path,
                                   err_text(err));
}

int create_settle(const char *dir, struct err_msg *msg)
{
    char path[PATH_MAX];
    int err = layout_path(dir, MARKER, NULL, path, msg);
    /* Asked first: a read-only file system answers EROFS, marker or not. */
    if (err != ERR_OK || !has_marker(dir))
        return err;
    err = unlink(path) == 0 ? file_sync_parent(path) : err_from_errno(errno);
    return err == ERR_OK ? ERR_OK
                         : err_set(msg, err, "%s: cannot remove it: %s", path,
                                   err_text(err));
}

/* ---- what was interrupted --------------------------------------------------
 */

static void remove_files(const char *dir, size_t names)
{
    char path[PATH_MAX];
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        if (is_one_of(e->d_name, names) &&
            layout_path(dir, e->d_name, NULL, path, NULL) == ERR_OK)
            unlink(path);
    if (d != NULL)
        closedir(d);
}

/* "<region>-<number>", as layout_make names nodes. */
static bool is_node_name(const char *name)
{
    size_t len = strlen(name);
    return config_name_ok(name) && len >= 3 && name[len - 2] == '-' &&
           name[len - 1] >= '1' && name[len - 1] <= '9';
}

/* Whether it is a folder that create_cluster has begun to fill. Those that are
 * still empty are in nobody's way. */
static bool is_node_folder(const char *path)
{
    struct stat st;
    bool found = false;
    if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return false;
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && !found && (e = readdir(d)) != NULL;)
        found = is_one_of(e->d_name, NODE_NAMES);
    if (d != NULL)
        closedir(d);
    return found;
}

/* Calls `each` with the path of every sub-folder that create_cluster made. */
static int for_each_node_folder(const char *dir,
                                int (*each)(const char *path,
                                            struct err_msg *msg),
                                struct err_msg *msg)
{
    char path[PATH_MAX];
    DIR *d = opendir(dir);
    int err = ERR_OK;
    for (struct dirent *e;
         d != NULL && err == ERR_OK && (e = readdir(d)) != NULL;)
        if (is_node_name(e->d_name) &&
            layout_path(dir, e->d_name, NULL, path, NULL) == ERR_OK &&
            is_node_folder(path))
            err = each(path, msg);
    if (d != NULL)
        closedir(d);
    return err;
}

/* Data above all: a node that has run is not half made. */
static int refuse_others(const char *path, struct err_msg *msg)
{
    int err = ERR_OK;
    DIR *d = opendir(path);
    for (struct dirent *e;
         d != NULL && err == ERR_OK && (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            !is_one_of(e->d_name, NODE_NAMES))
            err = err_set(msg, ERR_EXISTS,
                          "%s: holds %.100s, which init does not make; "
                          "nothing was removed: restore its node.yaml, or "
                          "choose a new folder",
                          path, e->d_name);
    if (d != NULL)
        closedir(d);
    return err;
}

static int remove_node_folder(const char *path, struct err_msg *msg)
{
    remove_files(path, NODE_NAMES);
    if (rmdir(path) != 0)
        return err_set(msg, err_from_errno(errno),
                       "%s: cannot remove it: %s; remove it or choose a new "
                       "folder",
                       path, strerror(errno));
    return ERR_OK;
}

/* Nobody was interrupted here: whatever there is belongs to somebody. */
static int refuse_unmarked(const char *dir, struct err_msg *msg)
{
    struct layout l;
    struct err_msg why = {.text = ""};
    if (access(dir, F_OK) != 0)
        return ERR_OK;
    int err = refuse_used(dir, msg);
    if (err != ERR_EXISTS || layout_load(dir, &l, &why) == ERR_OK)
        return err;
    return err_set(msg, ERR_EXISTS,
                   "%.200s: not empty, but not a whole cluster (%.200s), and "
                   "not left by an interrupted init; nothing was changed: "
                   "restore what is missing, or choose a new folder",
                   dir, why.text);
}

int create_discard_unfinished(const char *dir, struct err_msg *msg)
{
    if (!has_marker(dir))
        return refuse_unmarked(dir, msg);
    int err = for_each_node_folder(dir, refuse_others, msg);
    if (err == ERR_OK)
        err = for_each_node_folder(dir, remove_node_folder, msg);
    if (err != ERR_OK)
        return err;
    /* The marker last: this may be interrupted, too. */
    remove_files(dir, ARRAY_LEN(all_names));
    file_sync_folder(dir);
    return create_settle(dir, msg);
}

/* ---- making one ------------------------------------------------------------
 */

static int copy_file(const char *from, const char *to, mode_t mode,
                     struct err_msg *msg)
{
    struct buf b;
    buf_init(&b, COPY_MAX);
    int err = file_read(from, false, &b, msg);
    if (err == ERR_OK)
        err = file_create(to, mode, bytes_of(buf_bytes(&b), buf_len(&b)), msg);
    buf_wipe(&b);
    return err;
}

/* Those that are there are whole: file_create makes them so. */
static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* A path in the cluster's folder that is known to fit: layout_path for every
 * longest name was tried before. */
static const char *in(char *out, const char *dir, const char *a, const char *b)
{
    CHECK(layout_path(dir, a, b, out, NULL) == ERR_OK);
    return out;
}

static int create_keys(const struct layout *l, const char *dir,
                       struct err_msg *msg)
{
    char path[PATH_MAX];
    struct kek kek;
    int err = kek_create_file(in(path, dir, "kek.key", NULL), msg);
    if (err == ERR_OK)
        err = kek_load_file(path, msg, &kek);
    if (err != ERR_OK)
        return err;
    err = cluster_keys_create(in(path, dir, "cluster.keys", NULL), &kek,
                              l->cluster, msg);
    kek_wipe(&kek);
    if (err == ERR_OK)
        err = config_account_keys_create(in(path, dir, "account.keys", NULL),
                                         msg);
    return err;
}

static int create_ca(const struct layout *l, const char *dir,
                     struct err_msg *msg)
{
    char ca[PATH_MAX], ca_key[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
    char uri[CERT_URI_MAX + 1];
    in(ca, dir, "ca.pem", NULL);
    in(ca_key, dir, "ca.key", NULL);
    int err = cert_create_ca(l->cluster, ca, ca_key, msg);
    if (err == ERR_OK)
        err = cert_uri_admin(l->cluster, uri);
    if (err != ERR_OK)
        return err;
    const struct cert_request admin = {.common_name = "admin",
                                       .uri = uri,
                                       .client = true,
                                       .valid_days = CERT_NODE_DAYS};
    return cert_issue(&admin, ca, ca_key, in(cert, dir, "admin.pem", NULL),
                      in(key, dir, "admin.key", NULL), msg);
}

#define HOSTS_MAX (5 + LAYOUT_REGIONS_MAX + LAYOUT_SANS_MAX)
_Static_assert(HOSTS_MAX <= CERT_HOSTS_MAX, "a certificate holds them all");

static void add_host(const char **hosts, size_t *count, const char *host)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(hosts[i], host) == 0)
            return;
    CHECK(*count < HOSTS_MAX);
    hosts[(*count)++] = host;
}

static int create_node_cert(const struct layout *l,
                            const struct layout_node *node, const char *dir,
                            struct err_msg *msg)
{
    char ca[PATH_MAX], ca_key[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
    char uri[CERT_URI_MAX + 1];
    const char *region = l->regions[node->region].name;
    int err = cert_uri_node(l->cluster, region, node->name, uri);
    if (err != ERR_OK)
        return err_set(msg, err,
                       "node %s: the names are too long for a "
                       "certificate",
                       node->name);
    const char *hosts[HOSTS_MAX] = {"localhost", "127.0.0.1", "::1"};
    size_t count = 3;
    add_host(hosts, &count, l->host);
    add_host(hosts, &count, node->host);
    /* A stand-in answers under the names of other regions too. */
    for (unsigned i = 0; i < l->region_count; i++)
        add_host(hosts, &count, l->regions[i].host);
    char sans[LAYOUT_SANS_TEXT_MAX + 1], *rest = sans, *san;
    strcpy(sans, l->sans);
    while ((san = strsep(&rest, ",")) != NULL)
        if (san[0] != '\0')
            add_host(hosts, &count, san);
    in(cert, dir, node->name, "node.pem");
    in(key, dir, node->name, "node.key");
    if (is_there(cert) && is_there(key))
        return ERR_OK;
    if (!is_there(in(ca_key, dir, "ca.key", NULL)))
        return err_set(msg, ERR_NOT_FOUND,
                       "%.200s is not there to sign a certificate for %s; put "
                       "it there for a moment, or bring node.pem and node.key "
                       "into %.200s/%s: a certificate of the cluster's CA for "
                       "the URI %s, for servers and clients",
                       ca_key, node->name, dir, node->name, uri);
    unlink(cert); /* one without the other is of no use */
    unlink(key);
    const struct cert_request request = {.common_name = node->name,
                                         .uri = uri,
                                         .hosts = hosts,
                                         .host_count = count,
                                         .server = true,
                                         .client = true,
                                         .valid_days = CERT_NODE_DAYS};
    return cert_issue(&request, in(ca, dir, "ca.pem", NULL), ca_key, cert, key,
                      msg);
}

int create_node(const struct layout *l, const struct layout_node *node,
                const char *dir, struct err_msg *msg)
{
    char from[PATH_MAX], to[PATH_MAX];
    int err = layout_path(dir, node->name, "account.keys.XXXXXX", to, msg);
    if (err == ERR_OK)
        err = file_make_folder(in(to, dir, node->name, NULL), 0700, msg);
    for (size_t i = 0; i < ARRAY_LEN(node_copies) && err == ERR_OK; i++)
        if (!is_there(in(to, dir, node->name, node_copies[i].name)))
            err = copy_file(in(from, dir, node_copies[i].name, NULL), to,
                            node_copies[i].mode, msg);
    if (err == ERR_OK)
        err = create_node_cert(l, node, dir, msg);
    return err;
}

int create_cluster(struct layout *l, const char *dir, struct err_msg *msg)
{
    char longest[PATH_MAX];
    int err = ERR_OK;
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++)
        err = layout_path(dir, l->nodes[i].name, "account.keys.XXXXXX", longest,
                          msg);
    if (err == ERR_OK)
        err = file_make_folder(dir, 0755, msg);
    if (err == ERR_OK)
        err = refuse_used(dir, msg);
    if (err == ERR_OK)
        err = put_marker(dir, msg);
    if (err == ERR_OK)
        err = create_ca(l, dir, msg);
    if (err == ERR_OK)
        err = create_keys(l, dir, msg);
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++)
        err = create_node(l, &l->nodes[i], dir, msg);
    for (unsigned i = 0; i < l->region_count; i++)
        l->regions[i].key[0] = '\0'; /* of an earlier attempt */
    if (err == ERR_OK)
        err = region_keys_create(l, dir, msg);
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++)
        err = layout_write_config(l, &l->nodes[i], dir, msg);
    return err == ERR_OK ? create_settle(dir, msg) : err;
}
