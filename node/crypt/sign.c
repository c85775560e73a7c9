#include "node/crypt/sign.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/base/text.h"

#define SIGNER_MAGIC 0x7369676eu

static const char label[] = "bastide statement 1";
#define MESSAGE_LEN (sizeof(label) + SHA256_DIGEST_LENGTH)

struct node_signer {
    uint32_t magic;
    char *cert_path, *key_path;
    pthread_mutex_t lock; /* over what follows, which reread replaces */
    EVP_PKEY *key;
    struct buf cert_pem;
};

/* ---- PEM -------------------------------------------------------------------
 */

/* We never ask for a passphrase: a node starts without a person. */
static int no_passphrase(char *out, int size, int writing, void *user)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

/* The certificates of a text in their order; the caller frees them. The stack
 * is empty when there is none. */
static STACK_OF(X509) * read_certs(struct bytes pem)
{
    STACK_OF(X509) *certs = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(pem.len > 0 ? pem.data : (const void *)"",
                               (int)pem.len);
    X509 *cert;
    CHECK(certs != NULL && bio != NULL);
    while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
        CHECK(sk_X509_push(certs, cert) > 0);
    BIO_free(bio);
    ERR_clear_error(); /* the end of the text is one */
    return certs;
}

static void free_certs(STACK_OF(X509) * certs)
{
    sk_X509_pop_free(certs, X509_free);
}

/* NULL: none in it, or one with a passphrase. */
static EVP_PKEY *read_key(struct bytes pem)
{
    BIO *bio = BIO_new_mem_buf(pem.len > 0 ? pem.data : (const void *)"",
                               (int)pem.len);
    CHECK(bio != NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static struct bytes content(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

/* ---- the signer ------------------------------------------------------------
 */

/* Whether the key belongs to the first certificate of the text. */
static int check_pair(const struct node_signer *s, EVP_PKEY *key,
                      const struct buf *cert_pem, struct err_msg *msg)
{
    STACK_OF(X509) *certs = read_certs(content(cert_pem));
    int err = ERR_OK;
    if (sk_X509_num(certs) == 0)
        err =
            err_set(msg, ERR_INVALID, "%s: no certificate in it", s->cert_path);
    else if (key == NULL)
        err = err_set(msg, ERR_INVALID,
                      "%s: no private key without a passphrase in it",
                      s->key_path);
    else if (X509_check_private_key(sk_X509_value(certs, 0), key) != 1)
        err = err_set(msg, ERR_IDENTITY,
                      "%s: not the private key of the certificate in %s",
                      s->key_path, s->cert_path);
    free_certs(certs);
    ERR_clear_error();
    return err;
}

/* Reads the files; what is returned belongs to the caller. */
static int read_pair(const struct node_signer *s, struct buf *cert_pem,
                     EVP_PKEY **key_out, struct err_msg *msg)
{
    struct buf key_pem;
    EVP_PKEY *key = NULL;
    buf_init(&key_pem, SIGN_PEM_MAX);
    buf_init(cert_pem, SIGN_PEM_MAX);
    int err = file_read(s->cert_path, false, cert_pem, msg);
    if (err == ERR_OK)
        err = file_read(s->key_path, false, &key_pem, msg);
    if (err == ERR_OK) {
        key = read_key(content(&key_pem));
        err = check_pair(s, key, cert_pem, msg);
    }
    buf_wipe(&key_pem);
    if (err != ERR_OK) {
        EVP_PKEY_free(key);
        buf_free(cert_pem);
        return err;
    }
    *key_out = key;
    return ERR_OK;
}

int node_signer_open(const char *cert_path, const char *key_path,
                     struct err_msg *msg, struct node_signer **signer_out)
{
    struct node_signer *s = mem_zalloc(sizeof(*s));
    s->magic = SIGNER_MAGIC;
    s->cert_path = mem_strdup(cert_path);
    s->key_path = mem_strdup(key_path);
    buf_init(&s->cert_pem, SIGN_PEM_MAX);
    CHECK(pthread_mutex_init(&s->lock, NULL) == 0);
    int err = node_signer_reread(s, msg);
    if (err != ERR_OK)
        node_signer_close(s);
    else
        *signer_out = s;
    return err;
}

int node_signer_reread(struct node_signer *s, struct err_msg *msg)
{
    CHECK_OBJ(s, SIGNER_MAGIC);
    struct buf cert_pem, old_pem;
    EVP_PKEY *key, *old_key;
    int err = read_pair(s, &cert_pem, &key, msg);
    if (err != ERR_OK)
        return err;
    CHECK(pthread_mutex_lock(&s->lock) == 0);
    old_key = s->key;
    old_pem = s->cert_pem;
    s->key = key;
    s->cert_pem = cert_pem;
    CHECK(pthread_mutex_unlock(&s->lock) == 0);
    EVP_PKEY_free(old_key); /* OpenSSL wipes it */
    buf_free(&old_pem);
    return ERR_OK;
}

void node_signer_close(struct node_signer *s)
{
    if (s == NULL)
        return;
    CHECK_OBJ(s, SIGNER_MAGIC);
    EVP_PKEY_free(s->key);
    buf_free(&s->cert_pem);
    mem_free(s->cert_path);
    mem_free(s->key_path);
    CHECK(pthread_mutex_destroy(&s->lock) == 0);
    s->magic = 0;
    mem_free(s);
}

/* ---- signatures ------------------------------------------------------------
 */

static void make_message(struct bytes statement, uint8_t out[MESSAGE_LEN])
{
    memcpy(out, label, sizeof(label));
    CHECK(EVP_Digest(statement.len > 0 ? statement.data : (const void *)"",
                     statement.len, out + sizeof(label), NULL, EVP_sha256(),
                     NULL) == 1);
}

/* Edwards curves have their digest built in. */
static const EVP_MD *digest_of(const EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448")
               ? NULL
               : EVP_sha256();
}

static int sign_with(EVP_PKEY *key, struct bytes statement, struct buf *out)
{
    uint8_t message[MESSAGE_LEN], signature[SIGN_SIGNATURE_MAX];
    size_t len = sizeof(signature);
    make_message(statement, message);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHECK(ctx != NULL &&
          EVP_DigestSignInit(ctx, NULL, digest_of(key), NULL, key) == 1);
    /* Fails for a key whose signatures are longer than we carry. */
    bool made =
        EVP_DigestSign(ctx, signature, &len, message, sizeof(message)) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return made ? buf_append(out, signature, len) : ERR_LIMIT;
}

int node_sign(struct node_signer *s, struct bytes statement,
              struct buf *signature_out, struct buf *cert_pem_out)
{
    CHECK_OBJ(s, SIGNER_MAGIC);
    CHECK(pthread_mutex_lock(&s->lock) == 0);
    int err = sign_with(s->key, statement, signature_out);
    if (err == ERR_OK)
        err = buf_append(cert_pem_out, buf_bytes(&s->cert_pem),
                         buf_len(&s->cert_pem));
    CHECK(pthread_mutex_unlock(&s->lock) == 0);
    return err;
}

/* ---- checking --------------------------------------------------------------
 */

static int check_chain(X509 *cert, STACK_OF(X509) * between,
                       const STACK_OF(X509) * cas, int64_t at_sec,
                       struct err_msg *msg)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    CHECK(store != NULL && ctx != NULL);
    for (int i = 0; i < sk_X509_num(cas); i++)
        CHECK(X509_STORE_add_cert(store, sk_X509_value(cas, i)) == 1);
    CHECK(X509_STORE_CTX_init(ctx, store, cert, between) == 1);
    CHECK(X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) == 1);
    X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), (time_t)at_sec);
    int err = ERR_OK;
    if (X509_verify_cert(ctx) != 1)
        err = err_set(
            msg, ERR_AUTH, "the certificate is not trusted as of that time: %s",
            X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return err;
}

/* With several identities, which one a reader believes would be chance. */
static int only_uri(const X509 *cert, char *uri_out, struct err_msg *msg)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    const ASN1_STRING *uri = NULL;
    int count = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        uri = name->d.uniformResourceIdentifier;
        count++;
    }
    size_t len = count == 1 ? (size_t)ASN1_STRING_length(uri) : 0;
    bool usable = len > 0 && len <= CERT_URI_MAX &&
                  memchr(ASN1_STRING_get0_data(uri), '\0', len) == NULL;
    if (usable) {
        memcpy(uri_out, ASN1_STRING_get0_data(uri), len);
        uri_out[len] = '\0';
    }
    GENERAL_NAMES_free(names);
    return usable ? ERR_OK
                  : err_set(msg, ERR_IDENTITY,
                            "the certificate does not name exactly one node");
}

static int check_signature(X509 *cert, struct bytes statement,
                           struct bytes signature, struct err_msg *msg)
{
    uint8_t message[MESSAGE_LEN];
    EVP_PKEY *key = X509_get0_pubkey(cert);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    CHECK(ctx != NULL);
    make_message(statement, message);
    bool good =
        key != NULL && signature.len > 0 &&
        EVP_DigestVerifyInit(ctx, NULL, digest_of(key), NULL, key) == 1 &&
        EVP_DigestVerify(ctx, signature.data, signature.len, message,
                         sizeof(message)) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good ? ERR_OK
                : err_set(msg, ERR_AUTH,
                          "the signature is not one of this statement by this "
                          "certificate");
}

int node_verify(struct bytes ca_pem, struct bytes cert_pem, int64_t at_sec,
                struct bytes statement, struct bytes signature, char *uri_out,
                struct err_msg *msg)
{
    if (ca_pem.len > SIGN_PEM_MAX || cert_pem.len > SIGN_PEM_MAX)
        return err_set(msg, ERR_INVALID, "certificates of more than %d bytes",
                       SIGN_PEM_MAX);
    STACK_OF(X509) *cas = read_certs(ca_pem), *chain = read_certs(cert_pem);
    X509 *cert = sk_X509_value(chain, 0);
    char uri[CERT_URI_MAX + 1];
    int err = ERR_OK;
    if (sk_X509_num(cas) == 0)
        err = err_set(msg, ERR_INVALID, "no CA certificate");
    else if (cert == NULL)
        err = err_set(msg, ERR_INVALID, "no certificate of the signer");
    if (err == ERR_OK)
        err = check_chain(cert, chain, cas, at_sec, msg);
    if (err == ERR_OK)
        err = only_uri(cert, uri, msg);
    if (err == ERR_OK)
        err = check_signature(cert, statement, signature, msg);
    if (err == ERR_OK)
        strcpy(uri_out, uri);
    free_certs(cas);
    free_certs(chain);
    return err;
}

/* ---- naming a certificate ---------------------------------------------------
 */

int cert_fingerprint(struct bytes pem, char out[SIGN_FINGERPRINT_LEN + 1])
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct buf hex = buf_over(out, SIGN_FINGERPRINT_LEN);
    unsigned len = 0;
    STACK_OF(X509) *certs = read_certs(pem);
    bool ok =
        sk_X509_num(certs) > 0 &&
        X509_digest(sk_X509_value(certs, 0), EVP_sha256(), hash, &len) == 1;
    free_certs(certs);
    if (!ok)
        return ERR_INVALID;
    CHECK(text_hex_encode(bytes_of(hash, len), &hex) == ERR_OK);
    out[SIGN_FINGERPRINT_LEN] = '\0';
    return ERR_OK;
}
