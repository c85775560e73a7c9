/* What a context makes of a handshake: versions and resumption. OpenSSL talks
 * to itself over memory; sockets are test_chan_tls.c's matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replication/link/tls_ctx_impl.h"
#include "tests/unit/replication/pki.h"

static struct pki pki;
static struct pki_ca ca;
static struct pki_node node;
static SSL_SESSION *ticket;

static struct tls_ctx *server_ctx(bool allow_tls12)
{
    struct tls_server_options o = {.files = {node.cert, node.key, NULL},
                                   .allow_tls12 = allow_tls12};
    struct tls_ctx *ctx = NULL;
    struct err_msg msg = {""};
    if (tls_ctx_server(&o, &msg, &ctx) != ERR_OK)
        fail_msg("%s", msg.text);
    return ctx;
}

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

/* An ordinary client, as an SDK would be. */
static SSL_CTX *client_ctx(int max_version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_load_verify_locations(ctx, ca.path, NULL), 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, max_version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(ctx, keep_ticket);
    return ctx;
}

struct outcome {
    bool done;
    bool reused;
    int version;
};

static bool turn(SSL *ssl)
{
    int rc = SSL_do_handshake(ssl);
    if (rc == 1)
        return true;
    ERR_clear_error();
    return false;
}

static struct outcome shake(SSL_CTX *client, struct tls_ctx *server)
{
    SSL *c = SSL_new(client), *s = tls_ctx_connection(server);
    BIO *cb, *sb;
    assert_int_equal(BIO_new_bio_pair(&cb, 65536, &sb, 65536), 1);
    SSL_set_bio(c, cb, cb);
    SSL_set_bio(s, sb, sb);
    SSL_set_connect_state(c);
    SSL_set_accept_state(s);
    if (ticket != NULL)
        assert_int_equal(SSL_set_session(c, ticket), 1);
    bool cdone = false, sdone = false;
    for (int i = 0; i < 10 && !(cdone && sdone); i++) {
        cdone = turn(c);
        sdone = turn(s);
    }
    struct outcome o = {cdone && sdone, SSL_session_reused(c) == 1,
                        SSL_version(c)};
    char byte;
    SSL_read(c, &byte, 1); /* takes the ticket in */
    SSL_shutdown(c); /* a session of a broken connection is not resumable */
    ERR_clear_error();
    SSL_free(c);
    SSL_free(s);
    return o;
}

static void tls_13_only_unless_configured(void **state)
{
    (void)state;
    struct tls_ctx *strict = server_ctx(false), *lenient = server_ctx(true);
    SSL_CTX *c13 = client_ctx(TLS1_3_VERSION),
            *c12 = client_ctx(TLS1_2_VERSION),
            *c11 = client_ctx(TLS1_1_VERSION);
    struct outcome o = shake(c13, strict);
    assert_true(o.done && o.version == TLS1_3_VERSION);
    SSL_SESSION_free(ticket);
    ticket = NULL;
    assert_false(shake(c12, strict).done);
    o = shake(c12, lenient);
    assert_true(o.done && o.version == TLS1_2_VERSION);
    SSL_SESSION_free(ticket);
    ticket = NULL;
    assert_false(shake(c11, lenient).done);
    o = shake(c13, lenient);
    assert_true(o.done && o.version == TLS1_3_VERSION);
    SSL_CTX_free(c13);
    SSL_CTX_free(c12);
    SSL_CTX_free(c11);
    tls_ctx_unref(strict);
    tls_ctx_unref(lenient);
    SSL_SESSION_free(ticket);
    ticket = NULL;
}

static void sessions_are_resumed(void **state)
{
    (void)state;
    struct tls_ctx *server = server_ctx(true);
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
    for (int i = 0; i < 2; i++) {
        SSL_CTX *client = client_ctx(versions[i]);
        struct outcome o = shake(client, server);
        assert_true(o.done && !o.reused);
        assert_non_null(ticket);
        o = shake(client, server);
        assert_true(o.done && o.reused);
        SSL_CTX_free(client);
        SSL_SESSION_free(ticket);
        ticket = NULL;
    }
    tls_ctx_unref(server);
}

/* A link proves itself anew each time: no ticket is ever given. */
static void peers_do_not_resume(void **state)
{
    (void)state;
    struct tls_files files = {node.cert, node.key, ca.path};
    struct tls_ctx *peer = NULL;
    assert_int_equal(tls_ctx_peer(&files, NULL, &peer), ERR_OK);
    SSL_CTX *client = client_ctx(TLS1_3_VERSION);
    assert_int_equal(
        SSL_CTX_use_certificate_file(client, node.cert, SSL_FILETYPE_PEM), 1);
    assert_int_equal(
        SSL_CTX_use_PrivateKey_file(client, node.key, SSL_FILETYPE_PEM), 1);
    assert_true(shake(client, peer).done);
    assert_null(ticket);
    SSL_CTX_free(client);
    tls_ctx_unref(peer);
}

static void references_are_counted(void **state)
{
    (void)state;
    struct tls_ctx *ctx = server_ctx(false);
    assert_ptr_equal(tls_ctx_ref(ctx), ctx);
    tls_ctx_unref(ctx);
    assert_string_equal(tls_ctx_uri(ctx), "spiffe://t/region/a/node/a-1");
    tls_ctx_unref(ctx);
    tls_ctx_unref(NULL);
}

/* New files of the same names; pki_make_node overwrites. */
static void renew(const char *uri, long until_sec)
{
    struct pki_node again;
    pki_make_node(&pki, &ca, "renewed", uri, -60, until_sec, &again);
}

static int reload(struct tls_ctx *ctx, struct err_msg *msg)
{
    struct tls_ctx *fresh;
    int err = tls_ctx_reread(ctx, msg, &fresh);
    if (err == ERR_OK)
        tls_ctx_become(ctx, fresh);
    return err;
}

static void files_are_read_again(void **state)
{
    (void)state;
    struct pki_node own;
    pki_make_node(&pki, &ca, "renewed", "URI:spiffe://t/region/a/node/a-1", -60,
                  3600, &own);
    struct tls_server_options o = {.files = {own.cert, own.key, NULL}};
    struct tls_ctx *ctx = NULL;
    struct err_msg msg;
    assert_int_equal(tls_ctx_server(&o, &msg, &ctx), ERR_OK);
    long long before = tls_ctx_not_after(ctx);
    renew("URI:spiffe://t/region/a/node/a-1", 7200);
    assert_int_equal(tls_ctx_not_after(ctx), before);
    assert_int_equal(reload(ctx, &msg), ERR_OK);
    assert_true(tls_ctx_not_after(ctx) > before + 3000);
    SSL_CTX *client = client_ctx(TLS1_3_VERSION);
    assert_true(shake(client, ctx).done);
    SSL_SESSION_free(ticket);
    ticket = NULL;
    SSL_CTX_free(client);
    tls_ctx_unref(ctx);
}

/* What cannot be used changes nothing: the context goes on as it was. */
static void bad_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        long until_sec;
        bool no_key;
        int err;
    } bad[] = {
        {"URI:spiffe://t/region/b/node/b-1", 3600, false, ERR_IDENTITY},
        {"URI:spiffe://t/region/a/node/a-1", -10, false, ERR_AUTH},
        {"URI:spiffe://t/region/a/node/a-1", 3600, true, ERR_NOT_FOUND},
    };
    struct pki_node own;
    pki_make_node(&pki, &ca, "renewed", "URI:spiffe://t/region/a/node/a-1", -60,
                  3600, &own);
    struct tls_files files = {own.cert, own.key, ca.path};
    struct tls_ctx *ctx = NULL;
    struct err_msg msg;
    assert_int_equal(tls_ctx_peer(&files, &msg, &ctx), ERR_OK);
    long long before = tls_ctx_not_after(ctx);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        renew(bad[i].uri, bad[i].until_sec);
        if (bad[i].no_key)
            unlink(own.key);
        assert_int_equal(reload(ctx, &msg), bad[i].err);
        assert_non_null(strstr(msg.text, "renewed"));
        assert_int_equal(tls_ctx_not_after(ctx), before);
        assert_string_equal(tls_ctx_uri(ctx), "spiffe://t/region/a/node/a-1");
    }
    tls_ctx_unref(ctx);
}

static int setup(void **state)
{
    (void)state;
    pki_open(&pki);
    pki_make_ca(&pki, "ca", &ca);
    pki_make_node(&pki, &ca, "node", "URI:spiffe://t/region/a/node/a-1", -60,
                  3600, &node);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_free_ca(&ca);
    pki_close(&pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_13_only_unless_configured),
        cmocka_unit_test(sessions_are_resumed),
        cmocka_unit_test(peers_do_not_resume),
        cmocka_unit_test(references_are_counted),
        cmocka_unit_test(files_are_read_again),
        cmocka_unit_test(bad_files_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
