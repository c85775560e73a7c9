#include "node/server/control_impl.h"

#include "node/server/control_reply.h"
#include "node/server/reload.h"
#include "node/server/worker.h"

static void reloaded(struct worker *w, void *user, int err, const char *reason)
{
    struct http_request *r = user;
    if (err != ERR_OK) {
        control_refuse(r, 409, "Conflict", reason);
        return;
    }
    char until[CLOCK_ISO_LEN + 1];
    struct buf body;
    clock_iso(tls_ctx_not_after(w->node->tls_front) * USEC_PER_SEC, until);
    buf_init(&body, CONTROL_ANSWER_MAX);
    (void)buf_printf(&body, "{\"node\":\"%s\",\"certificate_expires\":\"%s\"}",
                     w->node->config->node, until);
    control_respond(r, 200, &body);
}

void control_reload_post(struct worker *w, struct http_request *r,
                         const struct json *body)
{
    (void)body;
    reload_begin(w, reloaded, r);
}
