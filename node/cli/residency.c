/* Residency statements as texts: written, read, and whom to believe. */
#include "node/cli/residency.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/cli/residency_impl.h"
#include "node/server/holdings.h"
#include "replication/peer.h"

#define HASH_LEN 32
#define SEAL_BEFORE ",\"sha256\":\""
#define SEAL_AFTER "\"}\n"
#define SEAL_LEN                                                               \
    (sizeof(SEAL_BEFORE) - 1 + (size_t)2 * HASH_LEN + sizeof(SEAL_AFTER) - 1)

static struct bytes content(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

/* ---- writing ----------------------------------------------------------------
 */

/* What stands after `text` in a statement that begins with it. */
static void seal_of(struct bytes text, char out[SEAL_LEN + 1])
{
    uint8_t hash[HASH_LEN];
    struct buf b = buf_over(out, SEAL_LEN);
    CHECK(EVP_Digest(text.data, text.len, hash, NULL, EVP_sha256(), NULL) == 1);
    CHECK(buf_append_str(&b, SEAL_BEFORE) == ERR_OK);
    CHECK(text_hex_encode(bytes_of(hash, sizeof(hash)), &b) == ERR_OK);
    CHECK(buf_append_str(&b, SEAL_AFTER) == ERR_OK);
    out[SEAL_LEN] = '\0';
}

static void put_missing(struct json_writer *w, const struct residency_draft *d)
{
    json_write_key(w, "missing");
    json_write_array_begin(w);
    for (size_t i = 0; i < d->missing_count; i++) {
        json_write_object_begin(w);
        json_write_member_str(w, "node", d->missing[i].node);
        json_write_member_str(w, "region", d->missing[i].region);
        json_write_member_str(w, "reason", d->missing[i].reason);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

int residency_format(const struct residency_draft *d, struct buf *out)
{
    struct json_writer w;
    char at[CLOCK_ISO_LEN + 1], seal[SEAL_LEN + 1];
    char fingerprint[SIGN_FINGERPRINT_LEN + 1];
    size_t start = buf_len(out);
    int err = cert_fingerprint(d->ca_pem, fingerprint);
    if (err != ERR_OK)
        return err;
    clock_iso(d->made_us, at);
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_str(&w, "format", RESIDENCY_FORMAT);
    json_write_member_str(&w, "made_at", at);
    json_write_member_int64(&w, "made_at_us", d->made_us);
    json_write_key(&w, "group");
    if (d->group != NULL)
        json_write_str(&w, d->group);
    else
        json_write_null(&w);
    json_write_member_str(&w, "nonce", d->nonce);
    json_write_member_string(&w, "ca", d->ca_pem);
    json_write_member_str(&w, "ca_sha256", fingerprint);
    put_missing(&w, d);
    json_write_key(&w, "reports");
    json_write_array_begin(&w);
    for (size_t i = 0; i < d->report_count; i++)
        json_write_raw(&w, d->reports[i]);
    json_write_array_end(&w);
    json_write_object_end(&w);
    err = json_writer_end(&w);
    if (err != ERR_OK)
        return err;
    /* The seal ends the object in its turn. */
    buf_truncate(out, buf_len(out) - 1);
    seal_of(bytes_of(buf_bytes(out) + start, buf_len(out) - start), seal);
    return buf_append_str(out, seal);
}

/* ---- reading ----------------------------------------------------------------
 */

void residency_add_problem(struct residency *r, const char *format, ...)
{
    char text[ERR_MSG_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (size_t i = 0; i < r->problem_count; i++)
        if (strcmp(r->problems[i], text) == 0)
            return;
    if (r->problem_count == RESIDENCY_PROBLEMS_MAX)
        r->untold++;
    else
        r->problems[r->problem_count++] = mem_strdup(text);
}

int residency_text(const struct json *j, json_ref object, const char *key,
                   char *out, size_t size)
{
    struct buf scratch;
    struct bytes text;
    buf_init(&scratch, RESIDENCY_BYTES_MAX);
    int err = json_get_string(j, object, key, &scratch, &text);
    if (err == ERR_OK && text.len >= size)
        err = ERR_INVALID;
    for (size_t i = 0; i < text.len && err == ERR_OK; i++)
        out[i] = text.data[i] < ' ' || text.data[i] == 0x7f
                     ? ' '
                     : (char)text.data[i];
    if (err == ERR_OK)
        out[text.len] = '\0';
    buf_free(&scratch);
    return err;
}

int64_t residency_number(const struct json *j, json_ref object, const char *key,
                         int64_t fallback)
{
    int64_t value;
    return json_get_int64(j, object, key, &value) == ERR_OK && value >= 0
               ? value
               : fallback;
}

json_ref residency_list(const struct json *j, json_ref object, const char *key)
{
    json_ref list = json_get_str(j, object, key);
    return list != JSON_NONE && json_type(j, list) == JSON_ARRAY ? list
                                                                 : JSON_NONE;
}

static int check_seal(struct bytes text)
{
    char seal[SEAL_LEN + 1];
    if (text.len < SEAL_LEN)
        return ERR_MALFORMED;
    size_t at = text.len - SEAL_LEN;
    seal_of(bytes_of(text.data, at), seal);
    return memcmp(text.data + at, seal, SEAL_LEN) == 0 ? ERR_OK : ERR_MALFORMED;
}

/* A member decoded, of any length. */
static int get_bytes(const struct json *j, json_ref object, const char *key,
                     struct buf *out)
{
    struct buf scratch;
    struct bytes text;
    buf_init(&scratch, RESIDENCY_BYTES_MAX);
    int err = json_get_string(j, object, key, &scratch, &text);
    if (err == ERR_OK)
        err = buf_append(out, text.data, text.len);
    buf_free(&scratch);
    return err;
}

static int read_head(struct residency *r, struct err_msg *msg)
{
    const struct json *j = &r->json;
    char format[sizeof(RESIDENCY_FORMAT)];
    json_ref group = json_get_str(j, 0, "group");
    r->made_us = residency_number(j, 0, "made_at_us", -1);
    bool ok =
        residency_text(j, 0, "format", format, sizeof(format)) == ERR_OK &&
        strcmp(format, RESIDENCY_FORMAT) == 0 && r->made_us >= 0 &&
        residency_text(j, 0, "nonce", r->nonce, sizeof(r->nonce)) == ERR_OK &&
        residency_text(j, 0, "ca_sha256", r->ca_sha256, sizeof(r->ca_sha256)) ==
            ERR_OK &&
        group != JSON_NONE &&
        (json_type(j, group) == JSON_NULL ||
         residency_text(j, 0, "group", r->group, sizeof(r->group)) == ERR_OK);
    clock_iso(r->made_us, r->made_at);
    return ok ? ERR_OK
              : err_set(msg, ERR_MALFORMED,
                        "this is not a residency statement that this program "
                        "understands");
}

/* ---- reports ----------------------------------------------------------------
 */

static void report_free(struct residency_report *p)
{
    json_free(&p->json);
    buf_free(&p->text);
}

/* Its text and who it says it is from, in `expected`. */
static int read_report(struct residency *r, json_ref envelope,
                       struct residency_report *p,
                       struct peer_identity *expected)
{
    char cluster[RESIDENCY_NAME_MAX + 1], statement[32];
    json_init(&p->json);
    buf_init(&p->text, RESIDENCY_BYTES_MAX);
    int err = get_bytes(&r->json, envelope, "report", &p->text);
    if (err == ERR_OK)
        err =
            json_parse(&p->json, content(&p->text), RESIDENCY_BYTES_MAX, NULL);
    if (err != ERR_OK)
        return err;
    const struct json *j = &p->json;
    p->catalog_lsn = residency_number(j, 0, "catalog_lsn", -1);
    bool ok =
        json_type(j, 0) == JSON_OBJECT && json_members_unique(j, 0) &&
        residency_text(j, 0, "statement", statement, sizeof(statement)) ==
            ERR_OK &&
        strcmp(statement, HOLDINGS_STATEMENT) == 0 &&
        residency_text(j, 0, "cluster", cluster, sizeof(cluster)) == ERR_OK &&
        residency_text(j, 0, "region", p->region, sizeof(p->region)) ==
            ERR_OK &&
        residency_text(j, 0, "node", p->node, sizeof(p->node)) == ERR_OK &&
        peer_identity_set(expected, cluster, p->region, p->node) == ERR_OK &&
        p->catalog_lsn >= 0;
    return ok ? ERR_OK : ERR_MALFORMED;
}

static int check_signature(struct residency *r, json_ref envelope,
                           const struct residency_report *p,
                           const struct peer_identity *expected,
                           struct bytes ca_pem, struct err_msg *msg)
{
    struct buf base64, signature, cert;
    char uri[CERT_URI_MAX + 1], reason[PEER_REASON_MAX];
    int64_t at = residency_number(&p->json, 0, "at_us", -1);
    buf_init(&base64, 2 * SIGN_SIGNATURE_MAX);
    buf_init(&signature, SIGN_SIGNATURE_MAX);
    buf_init(&cert, SIGN_PEM_MAX);
    int err = get_bytes(&r->json, envelope, "signature", &base64);
    if (err == ERR_OK)
        err = text_base64_decode(content(&base64), &signature);
    if (err == ERR_OK)
        err = get_bytes(&r->json, envelope, "certificate", &cert);
    if (err == ERR_OK && at < 0)
        err = ERR_MALFORMED;
    err_set(msg, err, "%s", err_text(err));
    if (err == ERR_OK)
        err = node_verify(ca_pem, content(&cert), at / USEC_PER_SEC,
                          content(&p->text), content(&signature), uri, msg);
    if (err == ERR_OK && peer_uri_check(expected, uri, reason) != ERR_OK)
        err = err_set(msg, ERR_IDENTITY, "%s", reason);
    buf_free(&base64);
    buf_free(&signature);
    buf_free(&cert);
    return err;
}

/* Asked for by who made the statement, and then. */
static int check_occasion(const struct residency *r,
                          const struct residency_report *p, struct err_msg *msg)
{
    char nonce[RESIDENCY_NONCE_MAX + 1];
    int64_t at = residency_number(&p->json, 0, "at_us", -1);
    if (residency_text(&p->json, 0, "nonce", nonce, sizeof(nonce)) != ERR_OK ||
        strcmp(nonce, r->nonce) != 0)
        return err_set(msg, ERR_STALE,
                       "it was made for another question (nonce)");
    if (at < r->made_us - RESIDENCY_SPAN_US ||
        at > r->made_us + RESIDENCY_SKEW_US)
        return err_set(msg, ERR_STALE,
                       "its time is not that of the statement: is the clock "
                       "right?");
    return ERR_OK;
}

/* Whether it is of the cluster of those that are believed already. */
static int check_cluster(const struct residency *r,
                         const struct residency_report *p, struct err_msg *msg)
{
    char id[RESIDENCY_NAME_MAX + 1], first[RESIDENCY_NAME_MAX + 1];
    if (residency_text(&p->json, 0, "cluster_id", id, sizeof(id)) != ERR_OK)
        return err_set(msg, ERR_MALFORMED, "it names no cluster");
    if (r->report_count == 0)
        return ERR_OK;
    CHECK(residency_text(&r->reports[0].json, 0, "cluster_id", first,
                         sizeof(first)) == ERR_OK);
    return strcmp(id, first) == 0
               ? ERR_OK
               : err_set(msg, ERR_IDENTITY, "it is of another cluster");
}

static void take_report(struct residency *r, json_ref envelope, size_t number,
                        struct bytes ca_pem)
{
    struct residency_report p = {.catalog_lsn = 0};
    struct peer_identity expected;
    struct err_msg msg = {""};
    int err = read_report(r, envelope, &p, &expected);
    if (err != ERR_OK) {
        residency_add_problem(r, "report %zu cannot be read", number);
        report_free(&p);
        return;
    }
    err = check_signature(r, envelope, &p, &expected, ca_pem, &msg);
    if (err == ERR_OK)
        err = check_occasion(r, &p, &msg);
    if (err == ERR_OK)
        err = check_cluster(r, &p, &msg);
    if (err != ERR_OK) {
        residency_add_problem(r,
                              "a report in the name of %s is not believed: %s",
                              p.node, msg.text);
        report_free(&p);
        return;
    }
    r->reports[r->report_count++] = p;
}

static int take_reports(struct residency *r, struct bytes ca_pem,
                        struct err_msg *msg)
{
    json_ref list = residency_list(&r->json, 0, "reports");
    size_t number = 0;
    if (list == JSON_NONE || json_count(&r->json, list) > RESIDENCY_REPORTS_MAX)
        return err_set(msg, ERR_MALFORMED,
                       "the statement has no list of reports, or one of more "
                       "than %d",
                       RESIDENCY_REPORTS_MAX);
    r->reports =
        mem_zalloc((json_count(&r->json, list) + 1) * sizeof(*r->reports));
    RESIDENCY_EACH(&r->json, list, v)
    take_report(r, v, ++number, ca_pem);
    for (size_t i = 0; i < r->report_count; i++)
        if (r->authority == NULL ||
            r->reports[i].catalog_lsn > r->authority->catalog_lsn)
            r->authority = &r->reports[i];
    return ERR_OK;
}

/* The CA to judge by; what the statement says of it must be so. */
static int choose_ca(struct residency *r, struct bytes given, struct buf *out,
                     struct err_msg *msg)
{
    char own[SIGN_FINGERPRINT_LEN + 1], fingerprint[SIGN_FINGERPRINT_LEN + 1];
    int err = get_bytes(&r->json, 0, "ca", out);
    if (err != ERR_OK || cert_fingerprint(content(out), own) != ERR_OK)
        return err_set(msg, ERR_MALFORMED, "the statement has no CA");
    if (strcmp(own, r->ca_sha256) != 0)
        residency_add_problem(r,
                              "the CA's fingerprint is not that of the CA in "
                              "the statement");
    r->own_ca = given.len == 0;
    if (r->own_ca)
        return ERR_OK;
    if (cert_fingerprint(given, fingerprint) != ERR_OK)
        return err_set(msg, ERR_INVALID, "the CA file has no certificate");
    if (strcmp(fingerprint, r->ca_sha256) != 0)
        residency_add_problem(
            r,
            "the statement was made with another CA (%.16s...) "
            "than the one given (%.16s...)",
            r->ca_sha256, fingerprint);
    buf_clear(out);
    return buf_append(out, given.data, given.len);
}

static int read_all(struct residency *r, struct bytes ca_pem,
                    struct err_msg *msg)
{
    struct buf ca;
    int err =
        json_parse(&r->json, content(&r->text), RESIDENCY_BYTES_MAX, NULL);
    if (err != ERR_OK || json_type(&r->json, 0) != JSON_OBJECT)
        return err_set(msg, ERR_MALFORMED, "this is not a JSON object");
    buf_init(&ca, RESIDENCY_BYTES_MAX);
    err = read_head(r, msg);
    if (err == ERR_OK)
        err = choose_ca(r, ca_pem, &ca, msg);
    if (err == ERR_OK)
        err = take_reports(r, content(&ca), msg);
    buf_free(&ca);
    return err;
}

int residency_open(struct bytes text, struct bytes ca_pem,
                   struct residency **out, struct err_msg *msg)
{
    if (text.len > RESIDENCY_BYTES_MAX)
        return err_set(msg, ERR_LIMIT, "longer than any statement: %zu bytes",
                       text.len);
    if (check_seal(text) != ERR_OK)
        return err_set(msg, ERR_MALFORMED,
                       "not a residency statement, or one that was changed: "
                       "its checksum is not that of its bytes");
    struct residency *r = mem_zalloc(sizeof(*r));
    json_init(&r->json);
    buf_init(&r->text, RESIDENCY_BYTES_MAX);
    int err = buf_append(&r->text, text.data, text.len);
    if (err == ERR_OK)
        err = read_all(r, ca_pem, msg);
    if (err != ERR_OK) {
        residency_free(r);
        return err;
    }
    residency_judge(r);
    *out = r;
    return ERR_OK;
}

void residency_free(struct residency *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->report_count; i++)
        report_free(&r->reports[i]);
    for (size_t i = 0; i < r->problem_count; i++)
        mem_free(r->problems[i]);
    mem_free(r->reports);
    mem_free(r->shards);
    json_free(&r->json);
    buf_free(&r->text);
    mem_free(r);
}

size_t residency_problem_count(const struct residency *r)
{
    return r->problem_count;
}

const char *residency_problem(const struct residency *r, size_t i)
{
    CHECK(i < r->problem_count);
    return r->problems[i];
}

void residency_each_open(const struct residency *r,
                         void (*each)(void *user, uint32_t shard), void *user)
{
    for (size_t i = 0; i < r->shard_count; i++)
        if (r->shards[i].again)
            each(user, r->shards[i].id);
}
