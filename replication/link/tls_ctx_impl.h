/* What chan_tls.c needs to know of a context, and nobody else. */
#ifndef BASTIDE_REPLICATION_LINK_TLS_CTX_IMPL_H
#define BASTIDE_REPLICATION_LINK_TLS_CTX_IMPL_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "replication/link/tls_ctx.h"

enum tls_kind { TLS_KIND_SERVER, TLS_KIND_PEER, TLS_KIND_CLIENT };

/* A connection object with what the files said when they were last read. */
SSL *tls_ctx_connection(struct tls_ctx *ctx);
enum tls_kind tls_ctx_kind(const struct tls_ctx *ctx);

/* The only URI among the certificate's subject alternative names, as a new
 * string in `uri_out`. False, and `uri_out` untouched, when there is none, more
 * than one, or a NUL in it. */
bool tls_cert_uri(X509 *cert, char **uri_out);

#endif
