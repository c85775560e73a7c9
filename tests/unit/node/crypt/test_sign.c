/* A statement passes only as what the node of the certificate signed, while
 * that certificate was valid, in its own cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/crypt/sign.h"

#define DAY 86400
#define NODE_URI "spiffe://demo/region/germany/node/germany-1"
#define STATEMENT "germany-1 holds replica 7 of group eu, 1000 records"

static char folder[64];
static struct err_msg msg;
static struct buf ca_pem;

static const char *at(const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void read_text(const char *name, struct buf *out)
{
    buf_init(out, SIGN_PEM_MAX);
    assert_int_equal(file_read(at(name), false, out, &msg), ERR_OK);
}

static void issue(const char *name, const char *ca, const char *uri,
                  bool client, int from_sec, int days)
{
    char cert[64], key[64], ca_cert[64], ca_key[64];
    snprintf(cert, sizeof(cert), "%s.pem", name);
    snprintf(key, sizeof(key), "%s.key", name);
    snprintf(ca_cert, sizeof(ca_cert), "%s.pem", ca);
    snprintf(ca_key, sizeof(ca_key), "%s.key", ca);
    const struct cert_request request = {.common_name = name,
                                         .uri = uri,
                                         .server = true,
                                         .client = client,
                                         .valid_from_sec = from_sec,
                                         .valid_days = days};
    char paths[4][128];
    strcpy(paths[0], at(ca_cert));
    strcpy(paths[1], at(ca_key));
    strcpy(paths[2], at(cert));
    strcpy(paths[3], at(key));
    assert_int_equal(
        cert_issue(&request, paths[0], paths[1], paths[2], paths[3], &msg),
        ERR_OK);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/bastide-sign-XXXXXX");
    if (mkdtemp(folder) == NULL ||
        cert_create_ca("demo", at("ca.pem"), at("ca.key"), &msg) != ERR_OK ||
        cert_create_ca("demo", at("other.pem"), at("other.key"), &msg))
        return 1;
    issue("n", "ca", NODE_URI, true, -60, 30);
    read_text("ca.pem", &ca_pem);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    buf_free(&ca_pem);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static struct bytes content(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

struct signed_statement {
    struct buf signature, cert;
};

/* Signs STATEMENT with the pair called `name`. */
static struct signed_statement sign(const char *name)
{
    char cert[128], key[128];
    struct signed_statement s;
    struct node_signer *signer;
    snprintf(cert, sizeof(cert), "%s/%s.pem", folder, name);
    snprintf(key, sizeof(key), "%s/%s.key", folder, name);
    buf_init(&s.signature, SIGN_SIGNATURE_MAX);
    buf_init(&s.cert, SIGN_PEM_MAX);
    assert_int_equal(node_signer_open(cert, key, &msg, &signer), ERR_OK);
    assert_int_equal(
        node_sign(signer, bytes_str(STATEMENT), &s.signature, &s.cert), ERR_OK);
    node_signer_close(signer);
    return s;
}

static void release(struct signed_statement *s)
{
    buf_free(&s->signature);
    buf_free(&s->cert);
}

static int check(const struct signed_statement *s, int64_t at_sec,
                 const char *statement, char *uri_out)
{
    return node_verify(content(&ca_pem), content(&s->cert), at_sec,
                       bytes_str(statement), content(&s->signature), uri_out,
                       &msg);
}

static void a_statement_is_verified_with_its_certificate(void **state)
{
    (void)state;
    char uri[CERT_URI_MAX + 1] = "";
    struct signed_statement s = sign("n");
    assert_int_equal(check(&s, time(NULL), STATEMENT, uri), ERR_OK);
    assert_string_equal(uri, NODE_URI);
    release(&s);
}

static void every_byte_of_it_counts(void **state)
{
    (void)state;
    char uri[CERT_URI_MAX + 1] = "", text[] = STATEMENT;
    struct signed_statement s = sign("n");
    int64_t now = time(NULL);
    for (size_t i = 0; i < strlen(text); i++) {
        text[i] ^= 1;
        assert_int_equal(check(&s, now, text, uri), ERR_AUTH);
        text[i] ^= 1;
    }
    assert_int_equal(check(&s, now, STATEMENT " ", uri), ERR_AUTH);
    assert_int_equal(check(&s, now, "", uri), ERR_AUTH);
    uint8_t *signature = (uint8_t *)buf_bytes(&s.signature);
    for (size_t i = 0; i < buf_len(&s.signature); i++) {
        signature[i] ^= 1;
        assert_int_equal(check(&s, now, STATEMENT, uri), ERR_AUTH);
        signature[i] ^= 1;
    }
    struct bytes shorter = content(&s.signature);
    shorter.len--;
    assert_int_equal(node_verify(content(&ca_pem), content(&s.cert), now,
                                 bytes_str(STATEMENT), shorter, uri, &msg),
                     ERR_AUTH);
    shorter.len = 0;
    assert_int_equal(node_verify(content(&ca_pem), content(&s.cert), now,
                                 bytes_str(STATEMENT), shorter, uri, &msg),
                     ERR_AUTH);
    assert_string_equal(uri, "");
    assert_int_equal(check(&s, now, STATEMENT, uri), ERR_OK);
    release(&s);
}

static void another_nodes_certificate_does_not_do(void **state)
{
    (void)state;
    char uri[CERT_URI_MAX + 1] = "";
    struct signed_statement s = sign("n"), other;
    issue("m", "ca", "spiffe://demo/region/us/node/us-1", true, -60, 30);
    other = sign("m");
    assert_int_equal(node_verify(content(&ca_pem), content(&other.cert),
                                 time(NULL), bytes_str(STATEMENT),
                                 content(&s.signature), uri, &msg),
                     ERR_AUTH);
    assert_non_null(strstr(msg.text, "not one of this statement"));
    release(&s);
    release(&other);
}

/* A cluster of the same name has another CA: the name alone proves nothing. */
static void another_cluster_is_not_trusted(void **state)
{
    (void)state;
    char uri[CERT_URI_MAX + 1] = "";
    struct buf other_ca, both;
    issue("o", "other", NODE_URI, true, -60, 30);
    struct signed_statement s = sign("o");
    assert_int_equal(check(&s, time(NULL), STATEMENT, uri), ERR_AUTH);
    assert_non_null(strstr(msg.text, "not trusted"));
    /* While a CA is replaced there are two of them. */
    read_text("other.pem", &other_ca);
    buf_init(&both, SIGN_PEM_MAX);
    assert_int_equal(buf_append_str(&both, buf_cstr(&ca_pem)), ERR_OK);
    assert_int_equal(buf_append_str(&both, buf_cstr(&other_ca)), ERR_OK);
    assert_int_equal(node_verify(content(&both), content(&s.cert), time(NULL),
                                 bytes_str(STATEMENT), content(&s.signature),
                                 uri, &msg),
                     ERR_OK);
    /* A certificate that vouches for itself is none of the CA's. */
    assert_int_equal(buf_append_str(&s.cert, buf_cstr(&other_ca)), ERR_OK);
    assert_int_equal(check(&s, time(NULL), STATEMENT, uri), ERR_AUTH);
    buf_free(&other_ca);
    buf_free(&both);
    release(&s);
}

static void it_counts_when_it_was_signed(void **state)
{
    (void)state;
    char uri[CERT_URI_MAX + 1] = "";
    int64_t now = time(NULL);
    /* Yesterday's for ten minutes less than today; the CA is an hour old. */
    issue("short", "ca", NODE_URI, true, -DAY - 600, 1);
    struct signed_statement s = sign("short"), fresh = sign("n");
    assert_int_equal(check(&s, now, STATEMENT, uri), ERR_AUTH);
    assert_non_null(strstr(msg.text, "expired"));
    assert_int_equal(check(&s, now - 1200, STATEMENT, uri), ERR_OK);
    assert_int_equal(check(&fresh, now - 600, STATEMENT, uri), ERR_AUTH);
    assert_non_null(strstr(msg.text, "not yet valid"));
    assert_int_equal(check(&fresh, now + 29 * DAY, STATEMENT, uri), ERR_OK);
    assert_int_equal(check(&fresh, now + 31 * DAY, STATEMENT, uri), ERR_AUTH);
    release(&s);
    release(&fresh);
}

static void a_certificate_for_something_else_is_refused(void **state)
{
    (void)state;
    char uri[CERT_URI_MAX + 1] = "";
    issue("server", "ca", NODE_URI, false, -60, 30);
    struct signed_statement s = sign("server");
    assert_int_equal(check(&s, time(NULL), STATEMENT, uri), ERR_AUTH);
    assert_non_null(strstr(msg.text, "purpose"));
    release(&s);
}

static void nonsense_is_no_certificate(void **state)
{
    (void)state;
    char uri[CERT_URI_MAX + 1] = "";
    struct signed_statement s = sign("n");
    static const char *const texts[] = {"", "hello",
                                        "-----BEGIN CERTIFICATE-----\nAAAA\n"
                                        "-----END CERTIFICATE-----\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(node_verify(bytes_str(texts[i]), content(&s.cert),
                                     time(NULL), bytes_str(STATEMENT),
                                     content(&s.signature), uri, &msg),
                         ERR_INVALID);
        assert_int_equal(node_verify(content(&ca_pem), bytes_str(texts[i]),
                                     time(NULL), bytes_str(STATEMENT),
                                     content(&s.signature), uri, &msg),
                         ERR_INVALID);
    }
    release(&s);
}

static void files_that_do_not_fit_are_named(void **state)
{
    (void)state;
    struct node_signer *signer = NULL;
    issue("a", "ca", NODE_URI, true, -60, 30);
    issue("b", "ca", NODE_URI, true, -60, 30);
    assert_int_equal(
        node_signer_open(at("none.pem"), at("a.key"), &msg, &signer),
        ERR_NOT_FOUND);
    assert_int_equal(node_signer_open(at("a.pem"), at("b.key"), &msg, &signer),
                     ERR_IDENTITY);
    assert_non_null(strstr(msg.text, "b.key"));
    assert_int_equal(node_signer_open(at("a.pem"), at("a.pem"), &msg, &signer),
                     ERR_INVALID);
    assert_int_equal(node_signer_open(at("a.key"), at("a.key"), &msg, &signer),
                     ERR_INVALID);
    assert_null(signer);
}

/* A renewed pair is used from then on; one that does not fit is not. */
static void renewed_files_are_read_again(void **state)
{
    (void)state;
    struct node_signer *signer;
    char uri[CERT_URI_MAX + 1];
    struct signed_statement s;
    issue("r", "ca", NODE_URI, true, -60, 30);
    issue("s", "ca", NODE_URI, true, -60, 30);
    assert_int_equal(node_signer_open(at("r.pem"), at("r.key"), &msg, &signer),
                     ERR_OK);
    assert_int_equal(rename(at("s.pem"), at("r.pem")), 0);
    assert_int_equal(node_signer_reread(signer, &msg), ERR_IDENTITY);
    for (int renewed = 0; renewed < 2; renewed++) {
        struct buf now;
        buf_init(&s.signature, SIGN_SIGNATURE_MAX);
        buf_init(&s.cert, SIGN_PEM_MAX);
        assert_int_equal(
            node_sign(signer, bytes_str(STATEMENT), &s.signature, &s.cert),
            ERR_OK);
        assert_int_equal(check(&s, time(NULL), STATEMENT, uri), ERR_OK);
        read_text("r.pem", &now);
        assert_int_equal(bytes_equal(content(&now), content(&s.cert)), renewed);
        buf_free(&now);
        release(&s);
        assert_int_equal(rename(at(renewed ? "r.key" : "s.key"), at("r.key")),
                         0);
        assert_int_equal(node_signer_reread(signer, &msg), ERR_OK);
    }
    node_signer_close(signer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_statement_is_verified_with_its_certificate),
        cmocka_unit_test(every_byte_of_it_counts),
        cmocka_unit_test(another_nodes_certificate_does_not_do),
        cmocka_unit_test(another_cluster_is_not_trusted),
        cmocka_unit_test(it_counts_when_it_was_signed),
        cmocka_unit_test(a_certificate_for_something_else_is_refused),
        cmocka_unit_test(nonsense_is_no_certificate),
        cmocka_unit_test(files_that_do_not_fit_are_named),
        cmocka_unit_test(renewed_files_are_read_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
