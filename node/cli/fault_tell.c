#include "node/cli/fault_tell.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"

void fault_tell_write(const struct inject_fault *f, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    inject_write(&w, f);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
}

/* A node has answered (`err` of reach_ask), and says that it did something. */
static void note(struct fault_tell *t, unsigned node, int err,
                 const struct reach_answer *a, const struct err_msg *why,
                 bool done)
{
    struct fault_told *told = &t->nodes[node];
    if (err == ERR_OK)
        told->how = done ? FAULT_TOLD_DONE : FAULT_TOLD_NOTHING;
    else
        told->how = a->status != 0 ? FAULT_TOLD_REFUSED : FAULT_TOLD_UNHEARD;
    told->why = *why;
    t->done += told->how == FAULT_TOLD_DONE;
}

static void heard_add(void *user, unsigned node, int err,
                      const struct reach_answer *a, const struct err_msg *why)
{
    bool applies = false;
    if (err == ERR_OK)
        (void)json_get_bool(&a->json, 0, "applies", &applies);
    note(user, node, err, a, why, applies);
}

void fault_tell_add(struct reach *r, const char *request,
                    struct fault_tell *tell_out)
{
    *tell_out = (struct fault_tell){.done = 0};
    reach_each(r, "POST", "faults", request, REACH_ASK_TIMEOUT_US, heard_add,
               tell_out);
}

static void heard_clear(void *user, unsigned node, int err,
                        const struct reach_answer *a, const struct err_msg *why)
{
    int64_t removed = 0;
    if (err == ERR_OK)
        (void)json_get_int64(&a->json, 0, "removed", &removed);
    note(user, node, err, a, why, removed > 0);
}

void fault_tell_clear(struct reach *r, const char *id,
                      struct fault_tell *tell_out)
{
    char path[16 + INJECT_ID_MAX];
    snprintf(path, sizeof(path), "faults%s%s", id != NULL ? "/" : "",
             id != NULL ? id : "");
    *tell_out = (struct fault_tell){.done = 0};
    reach_each(r, "DELETE", path, NULL, REACH_ASK_TIMEOUT_US, heard_clear,
               tell_out);
}

const char *fault_tell_node(const struct reach *r, unsigned node)
{
    const struct reach_node *n = &r->nodes[node];
    return n->name[0] != '\0' ? n->name : n->admin;
}

static bool all_refuse_alike(const struct reach *r, const struct fault_tell *t)
{
    for (unsigned i = 0; i < r->node_count; i++)
        if (t->nodes[i].how != FAULT_TOLD_REFUSED ||
            strcmp(t->nodes[i].why.text, t->nodes[0].why.text) != 0)
            return false;
    return true;
}

void fault_tell_complain(const char *command, const struct reach *r,
                         const struct fault_tell *t)
{
    if (all_refuse_alike(r, t)) {
        fprintf(stderr, "bastide %s: %s\n", command, t->nodes[0].why.text);
        return;
    }
    for (unsigned i = 0; i < r->node_count; i++) {
        const struct fault_told *told = &t->nodes[i];
        if (told->how == FAULT_TOLD_REFUSED)
            fprintf(stderr, "bastide %s: %s refuses: %s\n", command,
                    fault_tell_node(r, i), told->why.text);
        else if (told->how == FAULT_TOLD_UNHEARD)
            fprintf(stderr, "bastide %s: %s cannot be reached: %s\n", command,
                    fault_tell_node(r, i), told->why.text);
    }
}
