/* What a path is about: resource type and link as official clients sign them
 * (protocol reference section 1.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/auth/signature.h"

static struct auth_target target;

static void expect(struct bytes actual, const char *expected)
{
    assert_int_equal(actual.len, strlen(expected));
    if (actual.len > 0)
        assert_memory_equal(actual.data, expected, actual.len);
}

static void every_route_has_the_type_and_link_of_the_protocol(void **state)
{
    (void)state;
    static const struct {
        const char *path, *type, *link, *rid_link;
    } routes[] = {
        {"/", "", "", ""},
        {"", "", "", ""},
        {"/dbs", "dbs", "", ""},
        {"/dbs/", "dbs", "", ""},
        {"/dbs/d", "dbs", "dbs/d", ""},
        {"/dbs/d/colls", "colls", "dbs/d", ""},
        {"/dbs/d/colls/c", "colls", "dbs/d/colls/c", ""},
        {"/dbs/d/colls/c/docs", "docs", "dbs/d/colls/c", ""},
        {"/dbs/d/colls/c/docs/i", "docs", "dbs/d/colls/c/docs/i", ""},
        {"/dbs/D/colls/C/docs/a?b", "docs", "dbs/D/colls/C/docs/a?b", ""},
        {"/dbs/d/colls/c/docs/%20%C3%A9%2B+", "docs",
         "dbs/d/colls/c/docs/ \xc3\xa9++", ""},
        {"/dbs/d/colls/c/docs/a%2520b", "docs", "dbs/d/colls/c/docs/a%20b", ""},
        {"/dbs/d/colls/c/docs/a%2Fb", "docs", "dbs/d/colls/c/docs/a/b", ""},
        {"/dbs/d/colls/c/pkranges", "pkranges", "dbs/d/colls/c", ""},
        {"/dbs/d/colls/c/sprocs/s", "sprocs", "dbs/d/colls/c/sprocs/s", ""},
        {"/dbs/d/users/u/permissions", "permissions", "dbs/d/users/u", ""},
        {"/dbs/d/users/u/permissions/p", "permissions",
         "dbs/d/users/u/permissions/p", ""},
        {"/dbs/d/clientencryptionkeys/k", "clientencryptionkeys",
         "dbs/d/clientencryptionkeys/k", ""},
        {"/offers", "offers", "", ""},
        {"/offers/TeSu", "offers", "tesu", ""},
        {"/dbs/kdY4AA==/", "dbs", "dbs/kdY4AA==", "kdy4aa=="},
        {"/dbs/kdY4AA==/colls/kdY4AIn8g54=/pkranges", "pkranges",
         "dbs/kdY4AA==/colls/kdY4AIn8g54=", "kdy4ain8g54="},
        /* a child by name below a RID, RIDs out of order, another's size */
        {"/dbs/kdY4AA==/colls/c", "colls", "dbs/kdY4AA==/colls/c", ""},
        {"/dbs/kdY4AA==/colls/name", "colls", "dbs/kdY4AA==/colls/name", ""},
        {"/dbs/kdY4AIn8g54=", "dbs", "dbs/kdY4AIn8g54=", ""},
    };
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        assert_int_equal(auth_target_parse(bytes_str(routes[i].path), &target),
                         ERR_OK);
        expect(target.type, routes[i].type);
        expect(target.link, routes[i].link);
        expect(target.rid_link, routes[i].rid_link);
        expect(target.alt_type, "");
    }
}

static void deleting_by_partition_key_concerns_the_container(void **state)
{
    (void)state;
    assert_int_equal(
        auth_target_parse(
            bytes_str("/dbs/d/colls/c/operations/partitionkeydelete"), &target),
        ERR_OK);
    expect(target.type, "colls");
    expect(target.alt_type, "partitionkey");
    expect(target.link, "dbs/d/colls/c");
}

static void a_conflict_is_read_with_the_type_of_users(void **state)
{
    (void)state;
    assert_int_equal(
        auth_target_parse(bytes_str("/dbs/d/colls/c/conflicts/x/conflicts"),
                          &target),
        ERR_OK);
    expect(target.type, "conflicts");
    expect(target.alt_type, "users");
    expect(target.link, "dbs/d/colls/c/conflicts/x");
}

static void broken_paths_are_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "/dbs/%",       "/dbs/%4", "/dbs/%zz", "/dbs//x",
        "/dbs/d//docs", "/%",      "/dbs/d%2", "/a/b/c/d/e/f/g/h/i/j/k"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(auth_target_parse(bytes_str(bad[i]), &target),
                         ERR_MALFORMED);
}

static void
the_longest_legal_link_fits_and_longer_ones_are_refused(void **state)
{
    (void)state;
    /* Two names of 255 four-byte characters and an id of 1,023 bytes, every
     * byte percent-encoded. */
    static char path[16384];
    char *at = path;
    at += sprintf(at, "/dbs/");
    for (int i = 0; i < 255; i++)
        at += sprintf(at, "%%F0%%9F%%98%%80");
    at += sprintf(at, "/colls/");
    for (int i = 0; i < 255; i++)
        at += sprintf(at, "%%F0%%9F%%98%%80");
    at += sprintf(at, "/docs/");
    for (int i = 0; i < 1023; i++)
        at += sprintf(at, "%%41");
    assert_int_equal(
        auth_target_parse(bytes_of(path, (size_t)(at - path)), &target),
        ERR_OK);
    assert_int_equal(target.link.len, 4 + 1020 + 7 + 1020 + 6 + 1023);
    memset(at, 'x', AUTH_LINK_MAX);
    assert_int_equal(
        auth_target_parse(bytes_of(path, (size_t)(at - path) + AUTH_LINK_MAX),
                          &target),
        ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_has_the_type_and_link_of_the_protocol),
        cmocka_unit_test(deleting_by_partition_key_concerns_the_container),
        cmocka_unit_test(a_conflict_is_read_with_the_type_of_users),
        cmocka_unit_test(broken_paths_are_malformed),
        cmocka_unit_test(
            the_longest_legal_link_fits_and_longer_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
