#include "node/cli/renew.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "node/base/file.h"
#include "node/crypt/cert.h"

#define KEYS_FILE_MAX 4096

/* The CA's key is kept away from nodes on purpose, so it is often missing. */
static int find_ca_key(const char *dir, char path[PATH_MAX],
                       struct err_msg *msg)
{
    int err = layout_path(dir, "ca.key", NULL, path, msg);
    if (err == ERR_OK && access(path, R_OK) != 0)
        err = err_set(msg, err_from_errno(errno),
                      "%.300s: %s; certificates are signed with the key of "
                      "the cluster's CA, which bastide init and demo leave "
                      "there",
                      path, strerror(errno));
    return err;
}

/* Who a node is according to the folder; its certificate has to agree. */
static int find_uri(const char *dir, const char *node, char *uri_out,
                    struct err_msg *msg)
{
    struct layout l;
    int err = layout_load(dir, &l, msg);
    if (err != ERR_OK)
        return err;
    for (unsigned i = 0; i < l.node_count; i++) {
        if (strcmp(l.nodes[i].name, node) != 0)
            continue;
        err = cert_uri_node(l.cluster, l.regions[l.nodes[i].region].name, node,
                            uri_out);
        return err == ERR_OK ? ERR_OK
                             : err_set(msg, err,
                                       "node %s: the names are too long for a "
                                       "certificate",
                                       node);
    }
    return err_set(msg, ERR_NOT_FOUND, "%.300s: no node %s", dir, node);
}

int renew_certificate(const char *dir, const char *node, unsigned days,
                      struct err_msg *msg)
{
    char ca[PATH_MAX], ca_key[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
    char uri[CERT_URI_MAX + 1];
    int err = find_ca_key(dir, ca_key, msg);
    if (err == ERR_OK)
        err = find_uri(dir, node, uri, msg);
    if (err == ERR_OK)
        err = layout_path(dir, "ca.pem", NULL, ca, msg);
    if (err == ERR_OK)
        err = layout_path(dir, node, "node.pem", cert, msg);
    if (err == ERR_OK)
        err = layout_path(dir, node, "node.key", key, msg);
    if (err == ERR_OK)
        err = cert_renew(uri, cert, key, ca, ca_key, (int)days, msg);
    return err;
}

/* The folder's file first: a rotation that is interrupted is repeated by
 * copying it again, and another rotation makes one more key. */
int renew_account_key(const char *dir, const struct reach *r,
                      enum config_master_key which, struct err_msg *msg)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct buf text;
    int err = layout_path(dir, "account.keys", NULL, from, msg);
    if (err == ERR_OK)
        err = config_account_keys_rotate(from, which, msg);
    if (err != ERR_OK)
        return err;
    buf_init(&text, KEYS_FILE_MAX);
    err = file_read(from, true, &text, msg);
    for (unsigned i = 0; i < r->node_count && err == ERR_OK; i++) {
        err = layout_path(dir, r->nodes[i].name, "account.keys", to, msg);
        if (err == ERR_OK)
            err = file_replace(to, 0600,
                               bytes_of(buf_bytes(&text), buf_len(&text)), msg);
    }
    buf_wipe(&text);
    return err;
}

int renew_reload(struct reach *r, unsigned node, struct err_msg *msg)
{
    struct reach_answer a;
    reach_answer_init(&a);
    int err = reach_ask(r, node, "reload", "{}", REACH_ASK_TIMEOUT_US, &a, msg);
    reach_answer_free(&a);
    return err;
}
