#include "node/server/control_impl.h"

#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"

static int change_priority(void *user, const struct govern_record *now,
                           struct govern_record *next_out, struct err_msg *msg)
{
    const struct control_order *o = user;
    bool failback = o->failback_given ? o->failback : now->failback;
    int err = govern_set_priority(
        now, o->order, o->n_order, failback, o->move, clock_wall_us(),
        "an administrator set the priority list", next_out);
    return err == ERR_OK
               ? ERR_OK
               : err_set(msg, err,
                         "order must name each of the group's %u regions once",
                         now->n_regions);
}

static bool parse_failback(const struct json *j, struct control_order *o)
{
    char storage[64];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    int err = json_get_string(j, 0, "failback", &scratch, &text);
    if (err == ERR_NOT_FOUND)
        return true;
    o->failback_given = true;
    o->failback = err == ERR_OK && bytes_equal(text, bytes_str("automatic"));
    return o->failback ||
           (err == ERR_OK && bytes_equal(text, bytes_str("manual")));
}

void control_priority_post(struct worker *w, struct http_request *r,
                           const struct json *j)
{
    struct control_order *o = control_order_new(w, r, j);
    json_ref list = json_get_str(j, 0, "order");
    if (o == NULL)
        return;
    bool legal = list != JSON_NONE && json_type(j, list) == JSON_ARRAY &&
                 json_count(j, list) <= GROUP_REGIONS_MAX;
    if (legal)
        for (json_ref v = json_first(j, list); v != JSON_NONE && legal;
             v = json_next(j, list, v))
            legal =
                control_read_region(w, j, v, &o->order[o->n_order++]) == ERR_OK;
    if (!legal || !parse_failback(j, o) ||
        control_read_flag(j, "move", &o->move) != ERR_OK) {
        control_refuse(r, 400, "BadRequest",
                       "order must be the regions' names, each once; failback "
                       "\"automatic\" or \"manual\"; move true or false");
        mem_free(o);
        return;
    }
    control_order_begin(o, "set priority", change_priority);
}
