#include "node/cli/bench_wire.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/text.h"

/* -- what requests share --------------------------------------------------- */

static bool is_plain_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= BENCH_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789-_.") == len;
}

int bench_wire_init(struct bench_wire *w, const char *database,
                    const char *container, size_t document_bytes,
                    const char *payload, struct err_msg *msg)
{
    CHECK(document_bytes >= BENCH_DOCUMENT_MIN &&
          document_bytes <= BENCH_DOCUMENT_MAX);
    if (!is_plain_name(database) || !is_plain_name(container))
        return err_set(msg, ERR_INVALID,
                       "names of database and container must be letters, "
                       "digits, '-', '_' and '.'");
    snprintf(w->database, sizeof w->database, "%s", database);
    snprintf(w->container, sizeof w->container, "%s", container);
    snprintf(w->container_link, sizeof w->container_link, "dbs/%s/colls/%s",
             database, container);
    w->document_bytes = document_bytes;
    w->payload = payload;
    return ERR_OK;
}

void bench_set_date(struct bench_wire *w, int64_t wall_sec)
{
    clock_http_date(wall_sec, w->date);
}

/* -- requests -------------------------------------------------------------- */

struct request {
    const char *method;
    const char *type;    /* as it is signed */
    const char *link;    /* as it is signed */
    const char *path;    /* without the leading slash */
    const char *headers; /* further lines */
    size_t body_bytes;
};

static int append_head(const struct bench_wire *w, const char *host,
                       const struct request *r, struct buf *out)
{
    char signature[AUTH_HEADER_MAX];
    int err = auth_sign(&w->key, bytes_str(r->method), bytes_str(r->type),
                        bytes_str(r->link), bytes_str(w->date), signature);
    if (err != ERR_OK)
        return err;
    return buf_printf(out,
                      "%s /%s HTTP/1.1\r\n"
                      "Host: %s\r\n"
                      "authorization: %s\r\n"
                      "x-ms-date: %s\r\n"
                      "x-ms-version: 2020-07-15\r\n"
                      "Accept: application/json\r\n"
                      "User-Agent: bastide-bench\r\n"
                      "%s%s"
                      "Content-Length: %zu\r\n\r\n",
                      r->method, r->path, host, signature, w->date, r->headers,
                      w->more != NULL ? w->more : "", r->body_bytes);
}

static int append_with_body(const struct bench_wire *w, const char *host,
                            struct request r, const char *body, struct buf *out)
{
    r.body_bytes = strlen(body);
    int err = append_head(w, host, &r, out);
    return err != ERR_OK ? err : buf_append_str(out, body);
}

#define JSON_HEADER "Content-Type: application/json\r\n"

int bench_create_database(const struct bench_wire *w, const char *host,
                          struct buf *out)
{
    char body[BENCH_NAME_MAX + 32];
    snprintf(body, sizeof body, "{\"id\":\"%s\"}", w->database);
    const struct request r = {.method = "POST",
                              .type = "dbs",
                              .link = "",
                              .path = "dbs",
                              .headers = JSON_HEADER};
    return append_with_body(w, host, r, body, out);
}

int bench_create_container(const struct bench_wire *w, const char *host,
                           struct buf *out)
{
    char body[BENCH_NAME_MAX + 128];
    char link[BENCH_NAME_MAX + 16], path[BENCH_NAME_MAX + 32];
    snprintf(body, sizeof body,
             "{\"id\":\"%s\",\"partitionKey\":{\"paths\":[\"/pk\"],"
             "\"kind\":\"Hash\",\"version\":2}}",
             w->container);
    snprintf(link, sizeof link, "dbs/%s", w->database);
    snprintf(path, sizeof path, "dbs/%s/colls", w->database);
    const struct request r = {.method = "POST",
                              .type = "colls",
                              .link = link,
                              .path = path,
                              .headers = JSON_HEADER};
    return append_with_body(w, host, r, body, out);
}

/* Every key is a partition of its own, so that the load spreads over the
 * shards. */
static void format_key(uint64_t key, char out[32])
{
    snprintf(out, 32, "k%010llu", (unsigned long long)key);
}

int bench_upsert(const struct bench_wire *w, const char *host, uint64_t key,
                 uint64_t value, struct buf *out)
{
    char id[32], headers[256], path[sizeof w->container_link + 8];
    char start[BENCH_DOCUMENT_MIN * 2];
    format_key(key, id);
    int n = snprintf(start, sizeof start,
                     "{\"id\":\"%s\",\"pk\":\"%s\",\"n\":%lu,\"text\":\"", id,
                     id, (unsigned long)(uint32_t)value);
    CHECK(n > 0 && (size_t)n < sizeof start);
    size_t around = (size_t)n + 2;
    size_t text = w->document_bytes > around ? w->document_bytes - around : 0;
    snprintf(headers, sizeof headers,
             JSON_HEADER "x-ms-documentdb-partitionkey: [\"%s\"]\r\n"
                         "x-ms-documentdb-is-upsert: true\r\n",
             id);
    snprintf(path, sizeof path, "%s/docs", w->container_link);
    const struct request r = {.method = "POST",
                              .type = "docs",
                              .link = w->container_link,
                              .path = path,
                              .headers = headers,
                              .body_bytes = around + text};
    int err = append_head(w, host, &r, out);
    if (err == ERR_OK)
        err = buf_append(out, start, (size_t)n);
    if (err == ERR_OK)
        err = buf_append(out, w->payload, text);
    return err != ERR_OK ? err : buf_append(out, "\"}", 2);
}

/* A document by its name, without a body. */
static int append_point(const struct bench_wire *w, const char *host,
                        const char *method, uint64_t key, struct buf *out)
{
    char id[32], headers[128], link[sizeof w->container_link + 48];
    format_key(key, id);
    snprintf(headers, sizeof headers,
             "x-ms-documentdb-partitionkey: [\"%s\"]\r\n", id);
    snprintf(link, sizeof link, "%s/docs/%s", w->container_link, id);
    const struct request r = {.method = method,
                              .type = "docs",
                              .link = link,
                              .path = link,
                              .headers = headers};
    return append_head(w, host, &r, out);
}

int bench_read(const struct bench_wire *w, const char *host, uint64_t key,
               struct buf *out)
{
    return append_point(w, host, "GET", key, out);
}

int bench_delete(const struct bench_wire *w, const char *host, uint64_t key,
                 struct buf *out)
{
    return append_point(w, host, "DELETE", key, out);
}

int bench_get_account(const struct bench_wire *w, const char *host,
                      struct buf *out)
{
    const struct request r = {
        .method = "GET", .type = "", .link = "", .path = "", .headers = ""};
    return append_head(w, host, &r, out);
}

int bench_read_conflicts(const struct bench_wire *w, const char *host,
                         struct bytes continuation, struct buf *out)
{
    char path[sizeof w->container_link + 16];
    char headers[BENCH_HEAD_MAX];
    snprintf(path, sizeof path, "%s/conflicts", w->container_link);
    int n = snprintf(headers, sizeof headers,
                     "x-ms-max-item-count: 1000\r\n%s%.*s%s",
                     continuation.len > 0 ? "x-ms-continuation: " : "",
                     (int)continuation.len, (const char *)continuation.data,
                     continuation.len > 0 ? "\r\n" : "");
    if (n < 0 || (size_t)n >= sizeof headers)
        return ERR_LIMIT;
    const struct request r = {.method = "GET",
                              .type = "conflicts",
                              .link = w->container_link,
                              .path = path,
                              .headers = headers};
    return append_head(w, host, &r, out);
}

int bench_delete_container(const struct bench_wire *w, const char *host,
                           struct buf *out)
{
    const struct request r = {.method = "DELETE",
                              .type = "colls",
                              .link = w->container_link,
                              .path = w->container_link,
                              .headers = ""};
    return append_head(w, host, &r, out);
}

/* -- responses ------------------------------------------------------------- */

/* The value of a header line when it has this name. */
static bool header_value(struct bytes line, const char *name,
                         struct bytes *value_out)
{
    size_t len = strlen(name);
    if (line.len <= len || line.data[len] != ':' ||
        !text_equal_nocase(bytes_of(line.data, len), name))
        return false;
    struct bytes value = bytes_of(line.data + len + 1, line.len - len - 1);
    while (value.len > 0 && value.data[0] == ' ')
        value = bytes_of(value.data + 1, value.len - 1);
    *value_out = value;
    return true;
}

static int parse_lines(struct bytes head, struct bench_response *r,
                       uint64_t *length_out)
{
    bool has_length = r->status == 204 || r->status == 304;
    *length_out = 0;
    const uint8_t *at = head.data, *end = head.data + head.len;
    while (at < end) {
        const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
        CHECK(lf != NULL);
        struct bytes value, line = bytes_of(at, (size_t)(lf - at));
        if (line.len > 0 && line.data[line.len - 1] == '\r')
            line.len--;
        if (header_value(line, "content-length", &value)) {
            if (text_parse_u64(value, UINT32_MAX, length_out) != ERR_OK)
                return ERR_PROTOCOL;
            has_length = true;
        } else if (header_value(line, "connection", &value)) {
            r->close = text_equal_nocase(value, "close");
        } else if (header_value(line, "x-ms-session-token", &value)) {
            r->session = value;
        } else if (header_value(line, "x-ms-continuation", &value)) {
            r->continuation = value;
        } else if (header_value(line, "x-ms-substatus", &value)) {
            uint64_t n;
            if (text_parse_u64(value, UINT32_MAX, &n) == ERR_OK)
                r->substatus = (unsigned)n;
        }
        at = lf + 1;
    }
    return has_length ? ERR_OK : ERR_PROTOCOL;
}

int bench_parse_response(struct bytes in, struct bench_response *response_out)
{
    static const char version[] = "HTTP/1.1 ";
    const uint8_t *blank =
        in.len > 0 ? memmem(in.data, in.len, "\r\n\r\n", 4) : NULL;
    if (blank == NULL)
        return in.len < BENCH_HEAD_MAX ? ERR_AGAIN : ERR_PROTOCOL;
    size_t head = (size_t)(blank - in.data) + 4;
    struct bench_response r = {0};
    uint64_t status, length;
    if (head < 16 || memcmp(in.data, version, sizeof version - 1) != 0 ||
        text_parse_u64(bytes_of(in.data + 9, 3), 999, &status) != ERR_OK)
        return ERR_PROTOCOL;
    r.status = (int)status;
    int err = parse_lines(bytes_of(in.data, head), &r, &length);
    if (err != ERR_OK)
        return err;
    if (in.len - head < length)
        return ERR_AGAIN;
    r.body = bytes_of(in.data + head, (size_t)length);
    r.bytes = head + (size_t)length;
    *response_out = r;
    return ERR_OK;
}

static void move(struct bytes *b, const uint8_t *from, const uint8_t *to)
{
    if (b->data != NULL)
        b->data = to + (b->data - from);
}

void bench_response_move(struct bench_response *r, const uint8_t *from,
                         const uint8_t *to)
{
    move(&r->body, from, to);
    move(&r->session, from, to);
    move(&r->continuation, from, to);
}
