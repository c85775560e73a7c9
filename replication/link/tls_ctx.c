#include "replication/link/tls_ctx_impl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/mem.h"

#define TLS_CTX_MAGIC MAGIC('t', 'l', 's', 'x')
/* A PEM file larger than this is not ours. */
#define TLS_FILE_MAX (1024 * 1024)

/* What a context is made from, so that it can be made again. Owned copies. */
struct recipe {
    enum tls_kind kind;
    char *cert, *key, *ca; /* paths; NULL where the kind has none */
    bool allow_tls12;
    enum tls_client_cert client_cert;
};

/* `ssl` and `not_after` change when the files are read again; all else is
 * constant. */
struct tls_ctx {
    uint32_t magic;
    atomic_uint refs;
    struct recipe recipe;
    pthread_mutex_t lock; /* of the two below */
    SSL_CTX *ssl;
    long long not_after;
    char *uri;
};

/* -- reading PEM files ---------------------------------------------------- */

static int slurp(const char *path, const char *what, struct err_msg *msg,
                 struct buf *out)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return err_set(msg, err_from_errno(errno), "%s file %s: %s", what, path,
                       strerror(errno));
    setvbuf(f, NULL, _IONBF, 0); /* no second copy of a key */
    int err = ERR_OK;
    size_t n = 1;
    while (err == ERR_OK && n > 0) {
        uint8_t *room;
        err = buf_reserve(out, 4096, &room);
        if (err != ERR_OK) {
            err_set(msg, err, "%s file %s: too large", what, path);
            break;
        }
        n = fread(room, 1, 4096, f);
        buf_commit(out, n);
    }
    if (err == ERR_OK && ferror(f))
        err =
            err_set(msg, ERR_IO, "%s file %s: %s", what, path, strerror(errno));
    fclose(f);
    return err;
}

/* Reads a file into a BIO that shows it to OpenSSL's PEM reader. `storage`
 * holds the bytes and is wiped by the caller. */
static int file_bio(const char *path, const char *what, struct err_msg *msg,
                    struct buf *storage, BIO **bio_out)
{
    int err = slurp(path, what, msg, storage);
    if (err != ERR_OK)
        return err;
    BIO *bio = BIO_new_mem_buf(storage->data != NULL ? buf_bytes(storage)
                                                     : (const uint8_t *)"",
                               (int)buf_len(storage));
    CHECK(bio != NULL);
    *bio_out = bio;
    return ERR_OK;
}

/* We never ask for a passphrase: a node starts without a person. */
static int no_passphrase(char *out, int size, int writing, void *user)
{
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)user = true;
    return -1;
}

/* Checks that `now` lies within the certificate's validity. */
static int cert_check_time(X509 *cert, const char *path, struct err_msg *msg)
{
    char text[64] = "";
    const ASN1_TIME *from = X509_get0_notBefore(cert);
    const ASN1_TIME *until = X509_get0_notAfter(cert);
    bool early = X509_cmp_current_time(from) > 0;
    bool late = X509_cmp_current_time(until) < 0;
    if (!early && !late)
        return ERR_OK;
    struct tm tm;
    if (ASN1_TIME_to_tm(early ? from : until, &tm) == 1)
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
    return err_set(msg, ERR_AUTH, "certificate file %s: %s %s", path,
                   early ? "not valid before" : "expired on", text);
}

static long long cert_not_after(X509 *cert)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1)
        return 0;
    return (long long)timegm(&tm);
}

/* Adds the chain of `path` to the context and notes whose it is. */
static int load_cert(struct tls_ctx *ctx, const char *path, struct err_msg *msg)
{
    struct buf text;
    buf_init(&text, TLS_FILE_MAX);
    BIO *bio = NULL;
    int err = file_bio(path, "certificate", msg, &text, &bio);
    X509 *cert = NULL;
    if (err == ERR_OK) {
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (cert == NULL)
            err = err_set(msg, ERR_MALFORMED,
                          "certificate file %s: no certificate in it", path);
    }
    if (err == ERR_OK)
        err = cert_check_time(cert, path, msg);
    if (err == ERR_OK && SSL_CTX_use_certificate(ctx->ssl, cert) != 1)
        err = err_set(msg, ERR_UNSUPPORTED, "certificate file %s: %s", path,
                      ERR_reason_error_string(ERR_peek_error()));
    while (err == ERR_OK) {
        X509 *more = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (more == NULL)
            break; /* the end, or something that is not a certificate */
        CHECK(SSL_CTX_add0_chain_cert(ctx->ssl, more) == 1);
    }
    if (err == ERR_OK) {
        ctx->not_after = cert_not_after(cert);
        tls_cert_uri(cert, &ctx->uri);
    }
    X509_free(cert);
    BIO_free(bio);
    buf_free(&text);
    return err;
}

static int load_key(struct tls_ctx *ctx, struct err_msg *msg)
{
    const struct recipe *files = &ctx->recipe;
    struct buf text;
    buf_init(&text, TLS_FILE_MAX);
    BIO *bio = NULL;
    int err = file_bio(files->key, "key", msg, &text, &bio);
    EVP_PKEY *key = NULL;
    bool asked = false;
    if (err == ERR_OK) {
        key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
        if (key == NULL)
            err = err_set(msg, ERR_MALFORMED, "key file %s: %s", files->key,
                          asked ? "needs a passphrase; use a plain key"
                                : "no private key in it");
    }
    if (err == ERR_OK &&
        X509_check_private_key(SSL_CTX_get0_certificate(ctx->ssl), key) != 1)
        err = err_set(msg, ERR_IDENTITY,
                      "key file %s: does not belong to the certificate in %s",
                      files->key, files->cert);
    if (err == ERR_OK && SSL_CTX_use_PrivateKey(ctx->ssl, key) != 1)
        err = err_set(msg, ERR_UNSUPPORTED, "key file %s: %s", files->key,
                      ERR_reason_error_string(ERR_peek_error()));
    EVP_PKEY_free(key);
    BIO_free(bio);
    buf_wipe(&text);
    return err;
}

/* Makes the certificates of `path` the only trusted ones. They are also the
 * names a server lists when it asks for a client certificate. */
static int load_ca(struct tls_ctx *ctx, const char *path, struct err_msg *msg)
{
    struct buf text;
    buf_init(&text, TLS_FILE_MAX);
    BIO *bio = NULL;
    int err = file_bio(path, "CA", msg, &text, &bio);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx->ssl);
    size_t count = 0;
    while (err == ERR_OK) {
        X509 *ca = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (ca == NULL)
            break;
        if (X509_STORE_add_cert(store, ca) != 1 ||
            SSL_CTX_add_client_CA(ctx->ssl, ca) != 1)
            err = err_set(msg, ERR_UNSUPPORTED, "CA file %s: %s", path,
                          ERR_reason_error_string(ERR_peek_error()));
        X509_free(ca);
        count++;
    }
    if (err == ERR_OK && count == 0)
        err = err_set(msg, ERR_MALFORMED, "CA file %s: no certificate in it",
                      path);
    BIO_free(bio);
    buf_free(&text);
    return err;
}

/* A node that its own CA did not issue would be refused by everybody: say so at
 * the start, not at the first link. */
static int check_issued(struct tls_ctx *ctx, struct err_msg *msg)
{
    STACK_OF(X509) *chain = NULL;
    SSL_CTX_get0_chain_certs(ctx->ssl, &chain);
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    CHECK(check != NULL);
    CHECK(X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(ctx->ssl),
                              SSL_CTX_get0_certificate(ctx->ssl), chain) == 1);
    int err = ERR_OK;
    if (X509_verify_cert(check) != 1)
        err = err_set(
            msg, ERR_AUTH, "certificate file %s: not vouched for by %s: %s",
            ctx->recipe.cert, ctx->recipe.ca,
            X509_verify_cert_error_string(X509_STORE_CTX_get_error(check)));
    X509_STORE_CTX_free(check);
    return err;
}

/* -- identity ------------------------------------------------------------- */

bool tls_cert_uri(X509 *cert, char **uri_out)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    const ASN1_IA5STRING *uri = NULL;
    int count = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        uri = name->d.uniformResourceIdentifier;
        count++;
    }
    /* An X.509-SVID has exactly one URI (SPIFFE X509-SVID section 2); with two
     * of them, which one a reader believes would be chance. */
    bool usable = count == 1 && memchr(ASN1_STRING_get0_data(uri), '\0',
                                       (size_t)ASN1_STRING_length(uri)) == NULL;
    if (usable)
        *uri_out = mem_strndup((const char *)ASN1_STRING_get0_data(uri),
                               (size_t)ASN1_STRING_length(uri));
    GENERAL_NAMES_free(names);
    return usable;
}

/* -- contexts ------------------------------------------------------------- */

static char *copy(const char *text)
{
    return text == NULL ? NULL : mem_strdup(text);
}

static struct recipe recipe_copy(const struct recipe *r)
{
    struct recipe copied = *r;
    copied.cert = copy(r->cert);
    copied.key = copy(r->key);
    copied.ca = copy(r->ca);
    return copied;
}

static struct recipe recipe_of(enum tls_kind kind,
                               const struct tls_files *files)
{
    return (struct recipe){.kind = kind,
                           .cert = copy(files->cert),
                           .key = copy(files->key),
                           .ca = copy(files->ca)};
}

/* Takes the recipe over. */
static struct tls_ctx *ctx_new(struct recipe recipe)
{
    struct tls_ctx *ctx = mem_zalloc(sizeof(*ctx));
    ctx->magic = TLS_CTX_MAGIC;
    atomic_init(&ctx->refs, 1);
    ctx->recipe = recipe;
    CHECK(pthread_mutex_init(&ctx->lock, NULL) == 0);
    ERR_clear_error();
    ctx->ssl = SSL_CTX_new(TLS_method());
    CHECK(ctx->ssl != NULL);
    CHECK(SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_3_VERSION) == 1);
    SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_RENEGOTIATION |
                                      SSL_OP_NO_COMPRESSION |
                                      SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* An idle connection keeps no record buffers (2 x 17 KiB), and nobody is
     * sent the CA certificate, which they have. */
    SSL_CTX_set_mode(ctx->ssl, SSL_MODE_RELEASE_BUFFERS |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_NO_AUTO_CHAIN);
    /* Tickets are stateless; a cache would be shared mutable state. */
    SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF);
    return ctx;
}

static void server_settings(struct tls_ctx *ctx)
{
    if (ctx->recipe.allow_tls12) {
        CHECK(SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_2_VERSION) == 1);
        /* RFC 9325 section 4.2: forward secrecy and AEAD only. */
        CHECK(SSL_CTX_set_cipher_list(
                  ctx->ssl, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL") == 1);
    }
    static const unsigned char context[] = "bastide";
    CHECK(SSL_CTX_set_session_id_context(ctx->ssl, context,
                                         sizeof(context) - 1) == 1);
    /* One is enough: the SDKs keep the latest, and each costs a record. */
    CHECK(SSL_CTX_set_num_tickets(ctx->ssl, 1) == 1);
}

static int load_own(struct tls_ctx *ctx, struct err_msg *msg)
{
    int err = load_cert(ctx, ctx->recipe.cert, msg);
    return err == ERR_OK ? load_key(ctx, msg) : err;
}

static int fill_server(struct tls_ctx *ctx, struct err_msg *msg)
{
    server_settings(ctx);
    int err = load_own(ctx, msg);
    if (err != ERR_OK || ctx->recipe.client_cert == TLS_CLIENT_CERT_NONE)
        return err;
    int mode = SSL_VERIFY_PEER;
    if (ctx->recipe.client_cert == TLS_CLIENT_CERT_REQUIRED)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx->ssl, mode, NULL);
    return load_ca(ctx, ctx->recipe.ca, msg);
}

static int fill_peer(struct tls_ctx *ctx, struct err_msg *msg)
{
    SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_TICKET);
    CHECK(SSL_CTX_set_num_tickets(ctx->ssl, 0) == 1);
    SSL_CTX_set_verify(ctx->ssl,
                       SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    int err = load_own(ctx, msg);
    if (err == ERR_OK)
        err = load_ca(ctx, ctx->recipe.ca, msg);
    return err == ERR_OK ? check_issued(ctx, msg) : err;
}

static int fill_client(struct tls_ctx *ctx, struct err_msg *msg)
{
    SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER, NULL);
    int err = load_ca(ctx, ctx->recipe.ca, msg);
    return err == ERR_OK && ctx->recipe.cert != NULL ? load_own(ctx, msg) : err;
}

/* Takes the recipe over, also on failure. */
static int make(struct recipe recipe, struct err_msg *msg,
                struct tls_ctx **ctx_out)
{
    static int (*const fill[])(struct tls_ctx * ctx, struct err_msg * msg) = {
        [TLS_KIND_SERVER] = fill_server,
        [TLS_KIND_PEER] = fill_peer,
        [TLS_KIND_CLIENT] = fill_client};
    struct tls_ctx *ctx = ctx_new(recipe);
    int err = fill[recipe.kind](ctx, msg);
    ERR_clear_error();
    if (err != ERR_OK) {
        tls_ctx_unref(ctx);
        return err;
    }
    *ctx_out = ctx;
    return ERR_OK;
}

int tls_ctx_server(const struct tls_server_options *options,
                   struct err_msg *msg, struct tls_ctx **ctx_out)
{
    CHECK(options->files.cert != NULL && options->files.key != NULL);
    CHECK_IMPLIES(options->client_cert != TLS_CLIENT_CERT_NONE,
                  options->files.ca != NULL);
    struct recipe recipe = recipe_of(TLS_KIND_SERVER, &options->files);
    recipe.allow_tls12 = options->allow_tls12;
    recipe.client_cert = options->client_cert;
    return make(recipe, msg, ctx_out);
}

int tls_ctx_peer(const struct tls_files *files, struct err_msg *msg,
                 struct tls_ctx **ctx_out)
{
    CHECK(files->cert != NULL && files->key != NULL && files->ca != NULL);
    return make(recipe_of(TLS_KIND_PEER, files), msg, ctx_out);
}

int tls_ctx_client(const struct tls_files *files, struct err_msg *msg,
                   struct tls_ctx **ctx_out)
{
    CHECK(files->ca != NULL);
    CHECK((files->cert == NULL) == (files->key == NULL));
    return make(recipe_of(TLS_KIND_CLIENT, files), msg, ctx_out);
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

int tls_ctx_reread(const struct tls_ctx *ctx, struct err_msg *msg,
                   struct tls_ctx **fresh_out)
{
    CHECK_OBJ(ctx, TLS_CTX_MAGIC);
    struct tls_ctx *fresh;
    int err = make(recipe_copy(&ctx->recipe), msg, &fresh);
    if (err != ERR_OK)
        return err;
    if (!same_text(ctx->uri, fresh->uri)) {
        err = err_set(msg, ERR_IDENTITY,
                      "certificate file %s: is of %.255s, this is %.255s",
                      ctx->recipe.cert,
                      fresh->uri != NULL ? fresh->uri : "nobody",
                      ctx->uri != NULL ? ctx->uri : "nobody");
        tls_ctx_unref(fresh);
        return err;
    }
    *fresh_out = fresh;
    return ERR_OK;
}

void tls_ctx_become(struct tls_ctx *ctx, struct tls_ctx *fresh)
{
    CHECK_OBJ(ctx, TLS_CTX_MAGIC);
    CHECK_OBJ(fresh, TLS_CTX_MAGIC);
    CHECK(same_text(ctx->uri, fresh->uri));
    pthread_mutex_lock(&ctx->lock);
    SSL_CTX *old = ctx->ssl;
    ctx->ssl = fresh->ssl;
    ctx->not_after = fresh->not_after;
    pthread_mutex_unlock(&ctx->lock);
    fresh->ssl = old; /* goes with it; connections hold what they use */
    tls_ctx_unref(fresh);
}

const char *tls_ctx_uri(const struct tls_ctx *ctx)
{
    CHECK_OBJ(ctx, TLS_CTX_MAGIC);
    return ctx->uri;
}

long long tls_ctx_not_after(struct tls_ctx *ctx)
{
    CHECK_OBJ(ctx, TLS_CTX_MAGIC);
    pthread_mutex_lock(&ctx->lock);
    long long not_after = ctx->not_after;
    pthread_mutex_unlock(&ctx->lock);
    return not_after;
}

SSL *tls_ctx_connection(struct tls_ctx *ctx)
{
    CHECK_OBJ(ctx, TLS_CTX_MAGIC);
    pthread_mutex_lock(&ctx->lock);
    SSL *ssl = SSL_new(ctx->ssl);
    pthread_mutex_unlock(&ctx->lock);
    CHECK(ssl != NULL);
    return ssl;
}

enum tls_kind tls_ctx_kind(const struct tls_ctx *ctx)
{
    CHECK_OBJ(ctx, TLS_CTX_MAGIC);
    return ctx->recipe.kind;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
    CHECK_OBJ(ctx, TLS_CTX_MAGIC);
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    return ctx;
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
    if (ctx == NULL)
        return;
    CHECK_OBJ(ctx, TLS_CTX_MAGIC);
    if (atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(ctx->ssl);
    pthread_mutex_destroy(&ctx->lock);
    mem_free(ctx->recipe.cert);
    mem_free(ctx->recipe.key);
    mem_free(ctx->recipe.ca);
    mem_free(ctx->uri);
    ctx->magic = 0;
    mem_free(ctx);
}
