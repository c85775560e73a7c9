#include "node/server/control_impl.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/base/text.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/worker.h"

#define AUDIT_DEFAULT 50
#define AUDIT_MAX 1000

struct audit_read {
    struct worker *worker;
    struct http_request *request;
    uint32_t max;
    struct op op;
    uint8_t after[OP_KEY_MAX];
    struct buf *rows; /* a ring of the newest */
    uint64_t count;
};

static void audit_answer(struct audit_read *a)
{
    struct buf body;
    struct json_writer out;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_key(&out, "records");
    json_write_array_begin(&out);
    uint64_t n = a->count < a->max ? a->count : a->max;
    for (uint64_t i = 1; i <= n; i++) {
        const struct buf *row = &a->rows[(a->count - i) % a->max];
        json_write_raw(&out, bytes_of(buf_bytes(row), buf_len(row)));
    }
    json_write_array_end(&out);
    json_write_object_end(&out);
    control_respond(a->request, 200, &body);
}

static void audit_end(struct audit_read *a)
{
    for (uint32_t i = 0; i < a->max; i++)
        buf_free(&a->rows[i]);
    mem_free(a->rows);
    mem_free(a);
}

static void audit_page(struct audit_read *a, struct bytes after);

static void audit_scanned(void *user, struct op_result *result)
{
    struct audit_read *a = user;
    size_t offset = 0;
    struct bytes row;
    if (result->err != ERR_OK) {
        control_refuse_err(a->request, result->err, err_text(result->err));
        audit_end(a);
        return;
    }
    while (op_result_next_row(result, &offset, &row)) {
        struct buf *slot = &a->rows[a->count++ % a->max];
        buf_clear(slot);
        CHECK(buf_append(slot, row.data, row.len) == ERR_OK);
    }
    if (result->more) {
        memcpy(a->after, result->next, result->next_len);
        audit_page(a, bytes_of(a->after, result->next_len));
        return;
    }
    audit_answer(a);
    audit_end(a);
}

static void audit_page(struct audit_read *a, struct bytes after)
{
    a->op = (struct op){.kind = OP_SCAN,
                        .shard = SHARD_META,
                        .after = after,
                        .max_items = AUDIT_MAX,
                        .max_bytes = OP_PAGE_MAX};
    rng_fill(a->op.id, OP_ID_LEN);
    a->op.at.container = CONTAINER_AUDIT;
    backend_submit(&a->worker->router.backend, &a->op, CONTROL_TIMEOUT_US,
                   audit_scanned, a);
}

void control_audit_get(struct worker *w, struct http_request *r,
                       struct bytes query)
{
    uint64_t max = AUDIT_DEFAULT;
    struct bytes key = bytes_str("max=");
    if (query.len > key.len && memcmp(query.data, key.data, key.len) == 0)
        if (text_parse_u64(bytes_of(query.data + key.len, query.len - key.len),
                           AUDIT_MAX, &max) != ERR_OK ||
            max < 1) {
            control_refuse(r, 400, "BadRequest", "max must be 1 to 1000");
            return;
        }
    struct audit_read *a = mem_zalloc(sizeof(*a));
    a->worker = w;
    a->request = r;
    a->max = (uint32_t)max;
    a->rows = mem_alloc(a->max * sizeof(*a->rows));
    for (uint32_t i = 0; i < a->max; i++)
        buf_init(&a->rows[i], OP_BODY_MAX);
    audit_page(a, bytes_of(NULL, 0));
}
