/* Certificates carry the identity that design section 5 asks for, verify
 * against their CA alone, and never overwrite a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/crypt/cert.h"

static char folder[64];
static const char *const names[] = {"ca.pem",    "ca.key", "other.pem",
                                    "other.key", "n.pem",  "n.key"};

static const char *at(const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/bastide-cert-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    return cert_create_ca("demo", at("ca.pem"), at("ca.key"), NULL) ||
           cert_create_ca("demo", at("other.pem"), at("other.key"), NULL);
}

static int remove_folder(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(at(names[i]));
    return rmdir(folder);
}

static X509 *read_cert(const char *name)
{
    FILE *f = fopen(at(name), "re");
    assert_non_null(f);
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    fclose(f);
    assert_non_null(cert);
    return cert;
}

/* X509_V_OK or why `cert` is not trusted by `ca` for `purpose`. */
static int verify(const char *cert, const char *ca, int purpose)
{
    X509_STORE *store = X509_STORE_new();
    X509 *leaf = read_cert(cert), *root = read_cert(ca);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, root);
    X509_STORE_CTX_init(ctx, store, leaf, NULL);
    X509_STORE_CTX_set_purpose(ctx, purpose);
    int result =
        X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(leaf);
    X509_free(root);
    return result;
}

static struct cert_request node_request(const char *uri)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "::1"};
    return (struct cert_request){.common_name = "west-1",
                                 .uri = uri,
                                 .hosts = hosts,
                                 .host_count = 3,
                                 .server = true,
                                 .client = true,
                                 .valid_days = 1};
}

static int issue(const struct cert_request *r, struct err_msg *msg)
{
    return cert_issue(r, at("ca.pem"), at("ca.key"), at("n.pem"), at("n.key"),
                      msg);
}

static void a_node_certificate_names_its_node_and_hosts(void **state)
{
    (void)state;
    char uri[CERT_URI_MAX + 1];
    assert_int_equal(cert_uri_node("demo", "west", "west-1", uri), ERR_OK);
    assert_string_equal(uri, "spiffe://demo/region/west/node/west-1");
    struct cert_request r = node_request(uri);
    assert_int_equal(issue(&r, NULL), ERR_OK);
    X509 *cert = read_cert("n.pem");
    assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
    assert_int_equal(X509_check_host(cert, "example.org", 0, 0, NULL), 0);
    GENERAL_NAMES *san =
        X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int uris = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(san); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(san, i);
        if (name->type != GEN_URI)
            continue;
        uris++;
        assert_int_equal(ASN1_STRING_length(name->d.ia5), strlen(uri));
        assert_memory_equal(ASN1_STRING_get0_data(name->d.ia5), uri,
                            strlen(uri));
    }
    assert_int_equal(uris, 1);
    GENERAL_NAMES_free(san);
    X509_free(cert);
}

static void it_verifies_for_its_purposes_against_its_own_ca_alone(void **state)
{
    (void)state;
    struct cert_request r = node_request("spiffe://demo/admin");
    r.server = false;
    assert_int_equal(issue(&r, NULL), ERR_OK);
    assert_int_equal(verify("n.pem", "ca.pem", X509_PURPOSE_SSL_CLIENT),
                     X509_V_OK);
    assert_int_equal(verify("n.pem", "ca.pem", X509_PURPOSE_SSL_SERVER),
                     X509_V_ERR_INVALID_PURPOSE);
    assert_int_not_equal(verify("n.pem", "other.pem", X509_PURPOSE_SSL_CLIENT),
                         X509_V_OK);
}

static void an_expired_certificate_can_be_made_and_is_refused(void **state)
{
    (void)state;
    struct cert_request r = node_request("spiffe://demo/x");
    r.valid_from_sec = -2 * 86400;
    assert_int_equal(issue(&r, NULL), ERR_OK);
    assert_int_equal(verify("n.pem", "ca.pem", X509_PURPOSE_SSL_SERVER),
                     X509_V_ERR_CERT_HAS_EXPIRED);
}

static void
a_file_tells_when_the_first_of_its_certificates_expires(void **state)
{
    (void)state;
    struct cert_request request = {.common_name = "n",
                                   .uri = "spiffe://demo/admin",
                                   .client = true,
                                   .valid_days = 30};
    assert_int_equal(cert_issue(&request, at("ca.pem"), at("ca.key"),
                                at("n.pem"), at("n.key"), NULL),
                     0);
    int64_t now = (int64_t)time(NULL), day = 86400;
    int64_t soon = cert_file_not_after(at("n.pem"));
    int64_t late = cert_file_not_after(at("ca.pem"));
    assert_in_range(soon, now + 30 * day - 60, now + 30 * day + 60);
    assert_true(late > now + (CERT_CA_DAYS - 1) * day);
    /* Both in one file. */
    FILE *f = fopen(at("ca.pem"), "ae");
    X509 *cert = read_cert("n.pem");
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
    X509_free(cert);
    assert_int_equal(cert_file_not_after(at("ca.pem")), soon);
    assert_int_equal(cert_file_not_after(at("n.key")), 0);
    assert_int_equal(cert_file_not_after(at("missing")), 0);
}

static void keys_are_private_and_nothing_is_overwritten(void **state)
{
    (void)state;
    struct stat st;
    struct err_msg msg;
    struct cert_request r = node_request("spiffe://demo/x");
    assert_int_equal(issue(&r, NULL), ERR_OK);
    assert_int_equal(stat(at("n.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(issue(&r, &msg), ERR_EXISTS);
    assert_int_equal(unlink(at("n.key")), 0);
    /* The certificate is in the way: no key must be left without one. */
    assert_int_equal(issue(&r, &msg), ERR_EXISTS);
    assert_int_equal(access(at("n.key"), F_OK), -1);
}

static int renew(const char *uri, const char *ca, const char *ca_key,
                 struct err_msg *msg)
{
    return cert_renew(uri, at("n.pem"), at("n.key"), at(ca), at(ca_key), 30,
                      msg);
}

#define WEST_1 "spiffe://demo/region/w/node/west-1"

static void
a_renewed_certificate_has_the_same_names_and_another_key(void **state)
{
    (void)state;
    struct err_msg msg;
    struct cert_request r = node_request(WEST_1);
    r.valid_from_sec = -2 * 86400; /* has ended */
    assert_int_equal(issue(&r, NULL), ERR_OK);
    X509 *old = read_cert("n.pem");
    assert_int_equal(renew(WEST_1, "ca.pem", "ca.key", &msg), ERR_OK);
    X509 *cert = read_cert("n.pem");
    assert_int_equal(verify("n.pem", "ca.pem", X509_PURPOSE_SSL_SERVER),
                     X509_V_OK);
    assert_int_equal(verify("n.pem", "ca.pem", X509_PURPOSE_SSL_CLIENT),
                     X509_V_OK);
    assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ca(cert), 0);
    assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
    assert_int_equal(
        X509_NAME_cmp(X509_get_subject_name(cert), X509_get_subject_name(old)),
        0);
    assert_int_not_equal(
        EVP_PKEY_eq(X509_get0_pubkey(cert), X509_get0_pubkey(old)), 1);
    FILE *f = fopen(at("n.key"), "re");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    assert_int_equal(X509_check_private_key(cert, key), 1);
    EVP_PKEY_free(key);
    struct stat st;
    assert_int_equal(stat(at("n.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    X509_free(old);
    X509_free(cert);
}

static void a_renewed_certificate_keeps_its_owner(void **state)
{
    (void)state;
    struct err_msg msg;
    struct stat st;
    if (geteuid() != 0)
        skip();
    struct cert_request r = node_request(WEST_1);
    assert_int_equal(issue(&r, NULL), ERR_OK);
    assert_int_equal(chown(at("n.key"), 12345, 12345), 0);
    assert_int_equal(chown(at("n.pem"), 12346, 12345), 0);
    assert_int_equal(renew(WEST_1, "ca.pem", "ca.key", &msg), ERR_OK);
    assert_int_equal(stat(at("n.key"), &st), 0);
    assert_int_equal(st.st_uid, 12345);
    assert_int_equal(stat(at("n.pem"), &st), 0);
    assert_int_equal(st.st_uid, 12346);
}

static void what_cannot_be_renewed_stays(void **state)
{
    (void)state;
    struct err_msg msg;
    struct cert_request r = node_request(WEST_1);
    assert_int_equal(issue(&r, NULL), ERR_OK);
    X509 *before = read_cert("n.pem");
    assert_int_equal(renew(WEST_1, "ca.pem", "other.key", &msg), ERR_INVALID);
    assert_int_equal(cert_renew(WEST_1, at("none"), at("n.key"), at("ca.pem"),
                                at("ca.key"), 30, &msg),
                     ERR_NOT_FOUND);
    /* Another node's, and one of another CA. */
    assert_int_equal(
        renew("spiffe://demo/region/w/node/west-2", "ca.pem", "ca.key", &msg),
        ERR_INVALID);
    assert_non_null(strstr(msg.text, "not the certificate of"));
    assert_int_equal(renew(WEST_1, "other.pem", "other.key", &msg),
                     ERR_INVALID);
    assert_non_null(strstr(msg.text, "not signed by the CA"));
    X509 *after = read_cert("n.pem");
    assert_int_equal(X509_cmp(before, after), 0);
    X509_free(before);
    X509_free(after);
}

/* n.pem and n.key as somebody without the CA's key makes them. */
static void forge(const char *san, const char *basic)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    /* The CA's name, so that nothing but the signature tells. */
    X509 *ca = read_cert("ca.pem");
    X509_set_issuer_name(cert, X509_get_subject_name(ca));
    X509_set_subject_name(cert, X509_get_subject_name(ca));
    X509_free(ca);
    X509_set_pubkey(cert, key);
    const struct {
        int nid;
        const char *value;
    } extensions[] = {{NID_basic_constraints, basic},
                      {NID_key_usage, "critical,keyCertSign"},
                      {NID_ext_key_usage, "serverAuth,clientAuth"},
                      {NID_subject_alt_name, san}};
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, extensions[i].nid,
                                                extensions[i].value);
        assert_non_null(e);
        X509_add_ext(cert, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *f = fopen(at("n.pem"), "we");
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
    f = fopen(at("n.key"), "we");
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL),
                     1);
    fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void a_forged_certificate_is_not_signed(void **state)
{
    (void)state;
    struct err_msg msg;
    static const char *const sans[] = {"URI:spiffe://demo/admin",
                                       "URI:" WEST_1};
    for (size_t i = 0; i < ARRAY_LEN(sans); i++) {
        struct stat key, key_now;
        forge(sans[i], "critical,CA:TRUE");
        assert_int_equal(stat(at("n.key"), &key), 0);
        X509 *before = read_cert("n.pem");
        assert_int_equal(renew(WEST_1, "ca.pem", "ca.key", &msg), ERR_INVALID);
        assert_non_null(strstr(msg.text, "not signed by the CA"));
        X509 *after = read_cert("n.pem");
        assert_int_equal(X509_cmp(before, after), 0);
        assert_int_equal(stat(at("n.key"), &key_now), 0);
        assert_int_equal(key.st_ino, key_now.st_ino);
        X509_free(before);
        X509_free(after);
    }
}

/* As docs/operations.md replaces a CA: both in ca.pem, the new one first. */
static void a_certificate_of_the_old_ca_is_renewed_by_the_new(void **state)
{
    (void)state;
    struct err_msg msg;
    struct cert_request r = node_request(WEST_1);
    assert_int_equal(issue(&r, NULL), ERR_OK);
    X509 *old = read_cert("ca.pem");
    FILE *f = fopen(at("other.pem"), "ae");
    assert_int_equal(PEM_write_X509(f, old), 1);
    fclose(f);
    X509_free(old);
    assert_int_equal(renew(WEST_1, "other.pem", "other.key", &msg), ERR_OK);
    assert_int_equal(verify("n.pem", "other.pem", X509_PURPOSE_SSL_SERVER),
                     X509_V_OK);
}

static void bad_requests_and_files_are_refused(void **state)
{
    (void)state;
    struct err_msg msg;
    char uri[CERT_URI_MAX + 1], longer[300];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(cert_uri_node("demo", longer, "n", uri), ERR_LIMIT);
    assert_int_equal(cert_uri_admin(longer, uri), ERR_LIMIT);
    struct cert_request r = node_request("spiffe://demo/x");
    r.common_name = "";
    assert_int_equal(issue(&r, &msg), ERR_INVALID);
    r = node_request(longer);
    assert_int_equal(issue(&r, &msg), ERR_INVALID);
    r = node_request("spiffe://demo/x");
    assert_int_equal(cert_issue(&r, at("none"), at("ca.key"), at("n.pem"),
                                at("n.key"), &msg),
                     ERR_NOT_FOUND);
    /* A key of another CA, and a certificate that is no CA. */
    assert_int_equal(cert_issue(&r, at("ca.pem"), at("other.key"), at("n.pem"),
                                at("n.key"), &msg),
                     ERR_INVALID);
    assert_int_equal(issue(&r, NULL), ERR_OK);
    assert_int_equal(cert_issue(&r, at("n.pem"), at("n.key"), at("x.pem"),
                                at("x.key"), &msg),
                     ERR_INVALID);
    assert_int_equal(chmod(at("ca.key"), 0644), 0);
    assert_int_equal(issue(&r, &msg), ERR_FORBIDDEN);
}

#define ON_DISK(test)                                                          \
    cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DISK(a_node_certificate_names_its_node_and_hosts),
        ON_DISK(it_verifies_for_its_purposes_against_its_own_ca_alone),
        ON_DISK(an_expired_certificate_can_be_made_and_is_refused),
        ON_DISK(a_file_tells_when_the_first_of_its_certificates_expires),
        ON_DISK(keys_are_private_and_nothing_is_overwritten),
        ON_DISK(a_renewed_certificate_has_the_same_names_and_another_key),
        ON_DISK(a_renewed_certificate_keeps_its_owner),
        ON_DISK(what_cannot_be_renewed_stays),
        ON_DISK(a_forged_certificate_is_not_signed),
        ON_DISK(a_certificate_of_the_old_ca_is_renewed_by_the_new),
        ON_DISK(bad_requests_and_files_are_refused),
    };
    return cmocka_run_group_tests_name("crypt/cert", tests, NULL, NULL);
}
