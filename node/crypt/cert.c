#include "node/crypt/cert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/file.h"

#define SERIAL_BITS 128 /* RFC 5280 4.1.2.2: positive, at most 20 bytes */
#define SECONDS_PER_DAY 86400L
/* Clocks of other machines may be a little behind. */
#define CA_BACKDATE_SEC (-3600)
#define RENEWED_FROM_SEC (-60)
/* What a new file is called until it takes the old one's place. */
#define NEW_SUFFIX ".new"

int cert_uri_node(const char *cluster, const char *region, const char *node,
                  char *out)
{
    char uri[CERT_URI_MAX + 1];
    int len = snprintf(uri, sizeof(uri), "spiffe://%s/region/%s/node/%s",
                       cluster, region, node);
    if (len < 0 || len > CERT_URI_MAX)
        return ERR_LIMIT;
    memcpy(out, uri, (size_t)len + 1);
    return ERR_OK;
}

int cert_uri_admin(const char *cluster, char *out)
{
    char uri[CERT_URI_MAX + 1];
    int len = snprintf(uri, sizeof(uri), "spiffe://%s/admin", cluster);
    if (len < 0 || len > CERT_URI_MAX)
        return ERR_LIMIT;
    memcpy(out, uri, (size_t)len + 1);
    return ERR_OK;
}

/* ---- looking at one --------------------------------------------------------
 */

static int64_t not_after(const X509 *cert)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm);
}

int64_t cert_file_not_after(const char *path)
{
    BIO *bio = BIO_new_file(path, "re");
    int64_t first = 0;
    X509 *cert;
    while (bio != NULL &&
           (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        int64_t until = not_after(cert);
        if (first == 0 || until < first)
            first = until;
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error(); /* the end of the file is one */
    return first;
}

/* ---- building a certificate ------------------------------------------------
 */

static bool set_serial(X509 *cert)
{
    BIGNUM *bn = BN_new();
    bool ok = bn != NULL &&
              BN_rand(bn, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
              BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) != NULL;
    BN_free(bn);
    return ok;
}

static bool set_name(X509_NAME *name, const char *common_name)
{
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                      (const unsigned char *)"Bastide", -1, -1,
                                      0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)common_name, -1,
                                      -1, 0) == 1;
}

static bool set_validity(X509 *cert, int from_sec, int days)
{
    return X509_gmtime_adj(X509_getm_notBefore(cert), from_sec) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(cert),
                           from_sec + days * SECONDS_PER_DAY) != NULL;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

/* Adds one name to the list, which then owns it. */
static bool push_name(GENERAL_NAMES *names, int type, const void *data,
                      size_t len)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *text =
        type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    if (name == NULL || text == NULL ||
        ASN1_STRING_set(text, data, (int)len) != 1) {
        ASN1_STRING_free(text);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, text);
    if (sk_GENERAL_NAME_push(names, name) == 0) {
        GENERAL_NAME_free(name);
        return false;
    }
    return true;
}

static bool push_host(GENERAL_NAMES *names, const char *host)
{
    unsigned char ip[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, ip) == 1)
        return push_name(names, GEN_IPADD, ip, sizeof(struct in_addr));
    if (inet_pton(AF_INET6, host, ip) == 1)
        return push_name(names, GEN_IPADD, ip, sizeof(struct in6_addr));
    return push_name(names, GEN_DNS, host, strlen(host));
}

static bool add_names(X509 *cert, const struct cert_request *req)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    bool ok =
        names != NULL && push_name(names, GEN_URI, req->uri, strlen(req->uri));
    for (size_t i = 0; i < req->host_count && ok; i++)
        ok = push_host(names, req->hosts[i]);
    ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;
    sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
    return ok;
}

static X509 *build_ca(const char *cluster, EVP_PKEY *key)
{
    char name[80];
    snprintf(name, sizeof(name), "Bastide CA of %.63s", cluster);
    X509 *cert = X509_new();
    if (cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 &&
        set_serial(cert) && set_validity(cert, CA_BACKDATE_SEC, CERT_CA_DAYS) &&
        set_name(X509_get_subject_name(cert), name) &&
        X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1 &&
        X509_set_pubkey(cert, key) == 1 &&
        add_extension(cert, cert, NID_basic_constraints,
                      "critical,CA:TRUE,pathlen:0") &&
        add_extension(cert, cert, NID_key_usage,
                      "critical,keyCertSign,cRLSign") &&
        add_extension(cert, cert, NID_subject_key_identifier, "hash") &&
        X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

static X509 *build_leaf(const struct cert_request *req, EVP_PKEY *key, X509 *ca,
                        EVP_PKEY *ca_key)
{
    const char *usage = req->server && req->client ? "serverAuth,clientAuth"
                        : req->server              ? "serverAuth"
                                                   : "clientAuth";
    X509 *cert = X509_new();
    if (cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 &&
        set_serial(cert) &&
        set_validity(cert, req->valid_from_sec, req->valid_days) &&
        set_name(X509_get_subject_name(cert), req->common_name) &&
        X509_set_issuer_name(cert, X509_get_subject_name(ca)) == 1 &&
        X509_set_pubkey(cert, key) == 1 &&
        add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") &&
        add_extension(cert, ca, NID_ext_key_usage, usage) &&
        add_extension(cert, ca, NID_subject_key_identifier, "hash") &&
        add_extension(cert, ca, NID_authority_key_identifier, "keyid") &&
        add_names(cert, req) && X509_sign(cert, ca_key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

/* Copies the extensions that say who and what for; the others are those that
 * this module gives every such certificate. */
static bool copy_extensions(X509 *to, const X509 *from)
{
    static const int same[] = {NID_ext_key_usage, NID_subject_alt_name};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        int at = X509_get_ext_by_NID(from, same[i], -1);
        if (at < 0 || X509_add_ext(to, X509_get_ext(from, at), -1) != 1)
            return false;
    }
    return true;
}

static X509 *build_again(const X509 *old, int valid_days, EVP_PKEY *key,
                         X509 *ca, EVP_PKEY *ca_key)
{
    X509 *cert = X509_new();
    if (cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 &&
        set_serial(cert) && set_validity(cert, RENEWED_FROM_SEC, valid_days) &&
        X509_set_subject_name(cert, X509_get_subject_name(old)) == 1 &&
        X509_set_issuer_name(cert, X509_get_subject_name(ca)) == 1 &&
        X509_set_pubkey(cert, key) == 1 &&
        add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(cert, ca, NID_key_usage, "critical,digitalSignature") &&
        copy_extensions(cert, old) &&
        add_extension(cert, ca, NID_subject_key_identifier, "hash") &&
        add_extension(cert, ca, NID_authority_key_identifier, "keyid") &&
        X509_sign(cert, ca_key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

/* ---- files -----------------------------------------------------------------
 */

static int write_bio(BIO *bio, const char *path, mode_t mode, const char *like,
                     struct err_msg *msg)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    CHECK(len > 0);
    return file_create_like(path, mode, like, bytes_of(data, (size_t)len), msg);
}

/* The key first: a certificate without its key would be of no use, a key
 * without a certificate is removed. They get the owners of the two old files;
 * NULL if there are none. */
static int write_pair(X509 *cert, EVP_PKEY *key, const char *cert_path,
                      const char *key_path, const char *old_cert,
                      const char *old_key, struct err_msg *msg)
{
    BIO *key_bio = BIO_new(BIO_s_secmem()), *cert_bio = BIO_new(BIO_s_mem());
    CHECK(key_bio != NULL && cert_bio != NULL);
    CHECK(PEM_write_bio_PKCS8PrivateKey(key_bio, key, NULL, NULL, 0, NULL,
                                        NULL) == 1);
    CHECK(PEM_write_bio_X509(cert_bio, cert) == 1);
    int err = write_bio(key_bio, key_path, 0600, old_key, msg);
    if (err == ERR_OK) {
        err = write_bio(cert_bio, cert_path, 0644, old_cert, msg);
        if (err != ERR_OK)
            unlink(key_path);
    }
    BIO_free(key_bio);
    BIO_free(cert_bio);
    return err;
}

#define PEM_FILE_MAX (64 * 1024)

/* Opens a PEM file as a memory BIO over `text`, which the caller wipes. */
static int open_pem(const char *path, bool secret, struct buf *text,
                    BIO **bio_out, struct err_msg *msg)
{
    int err = file_read(path, secret, text, msg);
    if (err != ERR_OK)
        return err;
    BIO *bio = BIO_new_mem_buf(buf_bytes(text), (int)buf_len(text));
    CHECK(bio != NULL);
    *bio_out = bio;
    return ERR_OK;
}

static int load_ca(const char *cert_path, const char *key_path, X509 **cert_out,
                   EVP_PKEY **key_out, struct err_msg *msg)
{
    struct buf cert_text, key_text;
    BIO *cert_bio = NULL, *key_bio = NULL;
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    buf_init(&cert_text, PEM_FILE_MAX);
    buf_init(&key_text, PEM_FILE_MAX);
    int err = open_pem(cert_path, false, &cert_text, &cert_bio, msg);
    if (err == ERR_OK)
        err = open_pem(key_path, true, &key_text, &key_bio, msg);
    if (err == ERR_OK) {
        cert = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
        key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
        if (cert == NULL || key == NULL ||
            X509_check_private_key(cert, key) != 1 || X509_check_ca(cert) == 0)
            err = err_set(msg, ERR_INVALID,
                          "%s and %s: not a CA certificate and its key",
                          cert_path, key_path);
    }
    BIO_free(cert_bio);
    BIO_free(key_bio);
    buf_free(&cert_text);
    buf_wipe(&key_text);
    if (err != ERR_OK) {
        X509_free(cert);
        EVP_PKEY_free(key);
        return err;
    }
    *cert_out = cert;
    *key_out = key;
    return ERR_OK;
}

/* ---- public ----------------------------------------------------------------
 */

static bool request_ok(const struct cert_request *r)
{
    if (r->common_name == NULL || r->uri == NULL)
        return false;
    size_t cn = strlen(r->common_name), uri = strlen(r->uri);
    for (size_t i = 0; i < r->host_count; i++)
        if (r->hosts[i][0] == '\0' || strlen(r->hosts[i]) > 253)
            return false;
    return cn >= 1 && cn <= 64 && uri >= 1 && uri <= CERT_URI_MAX &&
           r->host_count <= CERT_HOSTS_MAX && r->valid_days >= 1 &&
           (r->server || r->client);
}

int cert_create_ca(const char *cluster, const char *cert_path,
                   const char *key_path, struct err_msg *msg)
{
    CHECK(cluster != NULL && cert_path != NULL && key_path != NULL);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CHECK(key != NULL);
    X509 *cert = build_ca(cluster, key);
    int err = cert == NULL
                  ? err_set(msg, ERR_INVALID,
                            "no CA certificate can be made for cluster \"%s\"",
                            cluster)
                  : write_pair(cert, key, cert_path, key_path, NULL, NULL, msg);
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

int cert_issue(const struct cert_request *request, const char *ca_cert,
               const char *ca_key, const char *cert_path, const char *key_path,
               struct err_msg *msg)
{
    CHECK(request != NULL);
    if (!request_ok(request))
        return err_set(msg, ERR_INVALID,
                       "%s: the names of the certificate are missing or too "
                       "long",
                       cert_path);
    X509 *ca = NULL;
    EVP_PKEY *signer = NULL;
    int err = load_ca(ca_cert, ca_key, &ca, &signer, msg);
    if (err != ERR_OK)
        return err;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CHECK(key != NULL);
    X509 *cert = build_leaf(request, key, ca, signer);
    err = cert == NULL
              ? err_set(msg, ERR_INVALID, "%s: the certificate cannot be made",
                        cert_path)
              : write_pair(cert, key, cert_path, key_path, NULL, NULL, msg);
    X509_free(cert);
    EVP_PKEY_free(key);
    X509_free(ca);
    EVP_PKEY_free(signer);
    return err;
}

static int load_cert(const char *path, X509 **cert_out, struct err_msg *msg)
{
    struct buf text;
    BIO *bio = NULL;
    buf_init(&text, PEM_FILE_MAX);
    int err = open_pem(path, false, &text, &bio, msg);
    if (err == ERR_OK) {
        *cert_out = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (*cert_out == NULL)
            err = err_set(msg, ERR_INVALID, "%s: no certificate in it", path);
    }
    BIO_free(bio);
    buf_free(&text);
    return err;
}

/* Whether a CA of the file signed it, at whatever time: while a CA is replaced
 * there are two in it. */
static bool signed_by_any(X509 *cert, const char *ca_path)
{
    struct buf text;
    BIO *bio = NULL;
    X509 *ca;
    bool found = false;
    buf_init(&text, PEM_FILE_MAX);
    if (open_pem(ca_path, false, &text, &bio, NULL) == ERR_OK)
        while (!found &&
               (ca = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
            EVP_PKEY *key = X509_get0_pubkey(ca);
            found = X509_check_ca(ca) != 0 && key != NULL &&
                    X509_verify(cert, key) == 1;
            X509_free(ca);
        }
    BIO_free(bio);
    buf_free(&text);
    ERR_clear_error(); /* the end of the file is one */
    return found;
}

static bool same_text(const ASN1_STRING *a, const char *b)
{
    size_t len = strlen(b);
    return (size_t)ASN1_STRING_length(a) == len &&
           memcmp(ASN1_STRING_get0_data(a), b, len) == 0;
}

/* Whether its identity is this one and no other. */
static bool names_only(const X509 *cert, const char *uri)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int uris = 0;
    bool same = true;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        uris++;
        same = same && same_text(name->d.uniformResourceIdentifier, uri);
    }
    GENERAL_NAMES_free(names);
    return uris == 1 && same;
}

/* The file may have been put there by whoever runs the node: the CA does not
 * sign for more than it has signed before, nor for another node. */
static int check_old(X509 *old, const char *uri, const char *cert_path,
                     const char *ca_cert, struct err_msg *msg)
{
    if (!signed_by_any(old, ca_cert))
        return err_set(msg, ERR_INVALID,
                       "%s: not signed by the CA in %s; it is not renewed",
                       cert_path, ca_cert);
    if (!names_only(old, uri))
        return err_set(msg, ERR_INVALID,
                       "%s: not the certificate of %s; it is not renewed",
                       cert_path, uri);
    return ERR_OK;
}

static int new_path(const char *path, char out[PATH_MAX], struct err_msg *msg)
{
    int len = snprintf(out, PATH_MAX, "%s%s", path, NEW_SUFFIX);
    if (len >= PATH_MAX)
        return err_set(msg, ERR_LIMIT, "%s: the path is too long", path);
    unlink(out); /* of an interrupted renewal: nobody has used it */
    return ERR_OK;
}

static int take_place(const char *from, const char *to, struct err_msg *msg)
{
    if (rename(from, to) != 0)
        return err_set(msg, err_from_errno(errno), "%s: %s", to,
                       strerror(errno));
    return file_sync_parent(to);
}

/* Writes the pair beside the old one, then in its place. */
static int replace_pair(X509 *cert, EVP_PKEY *key, const char *cert_path,
                        const char *key_path, struct err_msg *msg)
{
    char new_cert[PATH_MAX], new_key[PATH_MAX];
    int err = new_path(cert_path, new_cert, msg);
    if (err == ERR_OK)
        err = new_path(key_path, new_key, msg);
    if (err == ERR_OK)
        err =
            write_pair(cert, key, new_cert, new_key, cert_path, key_path, msg);
    if (err == ERR_OK)
        err = take_place(new_key, key_path, msg);
    return err == ERR_OK ? take_place(new_cert, cert_path, msg) : err;
}

int cert_renew(const char *uri, const char *cert_path, const char *key_path,
               const char *ca_cert, const char *ca_key, int valid_days,
               struct err_msg *msg)
{
    CHECK(uri != NULL && valid_days >= 1);
    X509 *ca = NULL, *old = NULL, *cert = NULL;
    EVP_PKEY *signer = NULL, *key = NULL;
    int err = load_cert(cert_path, &old, msg);
    if (err == ERR_OK)
        err = load_ca(ca_cert, ca_key, &ca, &signer, msg);
    if (err == ERR_OK)
        err = check_old(old, uri, cert_path, ca_cert, msg);
    if (err == ERR_OK) {
        key = EVP_EC_gen("P-256");
        CHECK(key != NULL);
        cert = build_again(old, valid_days, key, ca, signer);
        err = cert == NULL
                  ? err_set(msg, ERR_INVALID,
                            "%s: not a certificate that can be renewed",
                            cert_path)
                  : replace_pair(cert, key, cert_path, key_path, msg);
    }
    X509_free(cert);
    X509_free(old);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(signer);
    return err;
}
