/* OpenSSL contexts: who we are, whom we believe, which versions we speak.
 *
 * Three kinds, constant after creation but for tls_ctx_become:
 *
 *     tls_ctx_server   HTTPS front and admin listener: TLS 1.3 (1.2 only if
 *                      asked for), stateless session tickets, a client
 *                      certificate on request or by force
 *     tls_ctx_peer     links between nodes: TLS 1.3, both sides show a
 *                      certificate of the cluster's CA; no resumption, so that
 *                      every connection proves its identity anew
 *     tls_ctx_client   the command line and the load generator
 *
 * A context may be shared by all threads and by any number of channels, each of
 * which holds a reference. Keys are ECDSA P-256 by convention (that is what
 * `bastide init` makes); any key OpenSSL accepts works.
 *
 * Only tls_ctx.c and chan_tls.c see OpenSSL's types. The library's per-thread
 * error queue is empty after each call.
 */
#ifndef BASTIDE_REPLICATION_LINK_TLS_CTX_H
#define BASTIDE_REPLICATION_LINK_TLS_CTX_H

#include <stdbool.h>

#include "node/base/err.h"

struct tls_ctx;

/* PEM files, borrowed during the call only. */
struct tls_files {
    const char *cert; /* the certificate, then intermediates if any */
    const char *key;  /* its private key, without a passphrase */
    const char *ca;   /* trusted CA certificates, one or several */
};

struct tls_server_options {
    /* `ca` may be NULL when client_cert is TLS_CLIENT_CERT_NONE. */
    struct tls_files files;
    bool allow_tls12;
    enum tls_client_cert {
        TLS_CLIENT_CERT_NONE,     /* not asked for */
        TLS_CLIENT_CERT_OPTIONAL, /* verified against `ca` if shown */
        TLS_CLIENT_CERT_REQUIRED, /* no handshake without a valid one */
    } client_cert;
};

/* All three return ERR_OK and a context with one reference, or, with a message
 * that names the file and the problem:
 *   ERR_NOT_FOUND   a file does not exist
 *   ERR_FORBIDDEN   a file may not be read
 *   ERR_IO          reading it failed otherwise
 *   ERR_LIMIT       it is larger than any such file would be
 *   ERR_MALFORMED   no certificate or key in it, or a damaged one; a key that
 *                   is encrypted
 *   ERR_IDENTITY    the key does not belong to the certificate
 *   ERR_AUTH        the certificate has expired or is not valid yet; for peers
 *                   also: it was not issued by the CA
 *   ERR_UNSUPPORTED OpenSSL refused a setting (key too small, for example) */
int tls_ctx_server(const struct tls_server_options *options,
                   struct err_msg *msg, struct tls_ctx **ctx_out);
int tls_ctx_peer(const struct tls_files *files, struct err_msg *msg,
                 struct tls_ctx **ctx_out);
/* `files->cert` and `key` may both be NULL (no client certificate). Servers
 * must show a certificate of `files->ca`, valid for the name or address that
 * chan_connect was given. */
int tls_ctx_client(const struct tls_files *files, struct err_msg *msg,
                   struct tls_ctx **ctx_out);

/* Reads the context's files again, with the same errors, into a context of its
 * own; ERR_IDENTITY also when the new certificate is of another identity. `ctx`
 * stays as it was. */
int tls_ctx_reread(const struct tls_ctx *ctx, struct err_msg *msg,
                   struct tls_ctx **fresh_out);
/* Makes `ctx` use what `fresh` (of tls_ctx_reread, taken over) has read for all
 * connections to come; those that are open keep what they began with. Any
 * thread. */
void tls_ctx_become(struct tls_ctx *ctx, struct tls_ctx *fresh);

/* The URI SAN of the context's own certificate ("spiffe://..."), NULL when it
 * has none. Lives as long as the context. */
const char *tls_ctx_uri(const struct tls_ctx *ctx);
/* When the own certificate expires, seconds since 1970; 0 without one. */
long long tls_ctx_not_after(struct tls_ctx *ctx);

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
/* Drops one reference; NULL is allowed. */
void tls_ctx_unref(struct tls_ctx *ctx);

#endif
