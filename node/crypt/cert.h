/* Certificates of a cluster: one CA, a certificate per node, one for admins.
 *
 * A node is who its certificate says (design section 5): the URI subject
 * alternative name is its identity,
 *
 *     spiffe://<cluster>/region/<region>/node/<node>     a node
 *     spiffe://<cluster>/admin                           an administrator
 *
 * DNS and IP names are added so that ordinary HTTPS clients accept the same
 * certificate on the client endpoints. Keys are ECDSA P-256; the profile is
 * RFC 5280: CA:TRUE with pathlen 0 and keyCertSign for the CA; digitalSignature
 * with serverAuth and/or clientAuth for the others. Serial numbers are random.
 *
 * Private keys are written with mode 0600, certificates with 0644; an existing
 * file is never overwritten (ERR_EXISTS), but by cert_renew. Files appear
 * complete or not at all.
 *
 * Every function: ERR_EXISTS, ERR_NOT_FOUND (folder or CA file missing),
 * ERR_FORBIDDEN, ERR_NO_SPACE, ERR_IO for files; ERR_INVALID for a request
 * that cannot be put into a certificate or a CA file that is none.
 */
#ifndef BASTIDE_CRYPT_CERT_H
#define BASTIDE_CRYPT_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

#define CERT_URI_MAX 255
#define CERT_HOSTS_MAX 32
#define CERT_CA_DAYS 3650
#define CERT_NODE_DAYS 825

struct cert_request {
    const char *common_name;  /* 1..64 bytes, for people to read */
    const char *uri;          /* the identity; see cert_uri_* */
    const char *const *hosts; /* DNS names and IP addresses, told apart */
    size_t host_count;        /* at most CERT_HOSTS_MAX */
    bool server;              /* may accept TLS connections */
    bool client;              /* may open TLS connections */
    int valid_from_sec;       /* seconds from now; negative = in the past */
    int valid_days;           /* at least 1 */
};

/* Writes the identity of a node / of administrators into `out`, a buffer of
 * CERT_URI_MAX + 1 bytes. ERR_LIMIT when it does not fit. */
int cert_uri_node(const char *cluster, const char *region, const char *node,
                  char *out);
int cert_uri_admin(const char *cluster, char *out);

/* When the first certificate of a PEM file expires, seconds since 1970; 0 when
 * there is none in it, or it cannot be read. */
int64_t cert_file_not_after(const char *path);

/* Creates a self-signed CA named after the cluster. */
int cert_create_ca(const char *cluster, const char *cert_path,
                   const char *key_path, struct err_msg *msg);

/* Creates a key and a certificate signed by the CA in `ca_cert`/`ca_key`.
 * `valid_days` is counted from valid_from_sec (tests make expired ones). */
int cert_issue(const struct cert_request *request, const char *ca_cert,
               const char *ca_key, const char *cert_path, const char *key_path,
               struct err_msg *msg);

/* Replaces a certificate and its key by new ones of the same subject, names and
 * extended usages, valid from a minute ago for `valid_days`. The old one may
 * have expired, but it must be signed by a CA in `ca_cert` and `uri` must be
 * the one identity in it: ERR_INVALID otherwise, and nothing is changed.
 * `ca_cert` may hold several CAs, of which the first is `ca_key`'s.
 * The new files belong to the owners of the old ones.
 * Key and certificate are two files, so for a moment they do not belong
 * together: whoever reads them just then is told so (tls_ctx.h: ERR_IDENTITY)
 * and reads them again. Interrupted in that moment, it is to be done again. */
int cert_renew(const char *uri, const char *cert_path, const char *key_path,
               const char *ca_cert, const char *ca_key, int valid_days,
               struct err_msg *msg);

#endif
