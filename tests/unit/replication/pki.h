/* A throw-away CA and certificates for the tests of the links, made with
 * OpenSSL in a temporary folder. */
#ifndef BASTIDE_TESTS_UNIT_REPLICATION_PKI_H
#define BASTIDE_TESTS_UNIT_REPLICATION_PKI_H

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "replication/link/tls_ctx.h"

#define PKI_PATH 128

struct pki {
    char dir[PKI_PATH];
};

struct pki_ca {
    X509 *cert;
    EVP_PKEY *key;
    char path[2 * PKI_PATH];
};

struct pki_node {
    char cert[2 * PKI_PATH];
    char key[2 * PKI_PATH];
};

static inline void pki_open(struct pki *p)
{
    snprintf(p->dir, sizeof(p->dir), "/tmp/bastide-pki-XXXXXX");
    CHECK(mkdtemp(p->dir) != NULL);
}

static inline void pki_close(struct pki *p)
{
    DIR *d = opendir(p->dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[PKI_PATH + 300];
        snprintf(path, sizeof(path), "%s/%s", p->dir, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    closedir(d);
    rmdir(p->dir);
}

static inline void pki_write(const char *path, X509 *cert, EVP_PKEY *key)
{
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    if (cert != NULL)
        CHECK(PEM_write_X509(f, cert) == 1);
    if (key != NULL)
        CHECK(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(f);
}

static inline void pki_extension(X509 *cert, X509 *issuer, int nid,
                                 const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CHECK(ext != NULL);
    CHECK(X509_add_ext(cert, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

static inline X509 *pki_cert(EVP_PKEY *key, const char *cn, long from_sec,
                             long until_sec)
{
    static long serial = 1;
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), from_sec);
    X509_gmtime_adj(X509_getm_notAfter(cert), until_sec);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)cn, -1, -1, 0);
    X509_set_pubkey(cert, key);
    return cert;
}

static inline void pki_make_ca(struct pki *p, const char *name,
                               struct pki_ca *ca)
{
    ca->key = EVP_EC_gen("P-256");
    ca->cert = pki_cert(ca->key, name, -3600, 86400);
    X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert));
    pki_extension(ca->cert, ca->cert, NID_basic_constraints,
                  "critical,CA:TRUE");
    pki_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign");
    CHECK(X509_sign(ca->cert, ca->key, EVP_sha256()) > 0);
    snprintf(ca->path, sizeof(ca->path), "%s/%s.pem", p->dir, name);
    pki_write(ca->path, ca->cert, NULL);
}

static inline void pki_free_ca(struct pki_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

/* `san` as OpenSSL writes it: "URI:spiffe://...,IP:127.0.0.1". */
static inline void pki_make_node(struct pki *p, const struct pki_ca *ca,
                                 const char *name, const char *san,
                                 long from_sec, long until_sec,
                                 struct pki_node *node)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = pki_cert(key, name, from_sec, until_sec);
    X509_set_issuer_name(cert, X509_get_subject_name(ca->cert));
    pki_extension(cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth");
    pki_extension(cert, ca->cert, NID_subject_alt_name, san);
    CHECK(X509_sign(cert, ca->key, EVP_sha256()) > 0);
    snprintf(node->cert, sizeof(node->cert), "%s/%s.pem", p->dir, name);
    snprintf(node->key, sizeof(node->key), "%s/%s.key", p->dir, name);
    pki_write(node->cert, cert, NULL);
    pki_write(node->key, NULL, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

#endif
