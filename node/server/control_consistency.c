#include "node/server/control_impl.h"

#include "node/base/mem.h"
#include "node/config/config.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"

static int change_level(void *user, const struct govern_record *now,
                        struct govern_record *next_out, struct err_msg *msg)
{
    const struct control_order *o = user;
    struct consistency_policy level =
        consistency_over(&now->consistency, &o->level);
    int err = govern_set_level(now, &level, clock_wall_us(),
                               "an administrator set the level", next_out);
    if (err == ERR_EXISTS) { /* asked for twice is made once */
        *next_out = *now;
        return ERR_OK;
    }
    return err == ERR_OK ? ERR_OK
                         : err_set(msg, err,
                                   "bounded staleness needs "
                                   "max_staleness_prefix and "
                                   "max_staleness_interval of at least 1");
}

static int parse_bound(const struct json *j, const char *key, int64_t max,
                       int32_t *out)
{
    int64_t v = 0;
    int err = json_get_int64(j, 0, key, &v);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err != ERR_OK || v < 1 || v > max)
        return ERR_INVALID;
    *out = (int32_t)v;
    return ERR_OK;
}

void control_consistency_post(struct worker *w, struct http_request *r,
                              const struct json *j)
{
    char storage[128];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    struct control_order *o = control_order_new(w, r, j);
    if (o == NULL)
        return;
    if (json_get_string(j, 0, "level", &scratch, &text) != ERR_OK ||
        consistency_parse(text, &o->level.level) != ERR_OK) {
        control_refuse(r, 400, "BadRequest",
                       "level must be Strong, BoundedStaleness, Session, "
                       "ConsistentPrefix or Eventual");
        mem_free(o);
        return;
    }
    if (parse_bound(j, "max_staleness_prefix", CONFIG_STALENESS_PREFIX_MAX,
                    &o->level.max_staleness_prefix) != ERR_OK ||
        parse_bound(j, "max_staleness_interval", CONFIG_STALENESS_INTERVAL_MAX,
                    &o->level.max_staleness_interval) != ERR_OK) {
        control_refuse(r, 400, "BadRequest",
                       "max_staleness_prefix must be 1 to 2147483647 entries, "
                       "max_staleness_interval 1 to 86400 seconds");
        mem_free(o);
        return;
    }
    control_order_begin(o, "set consistency", change_level);
}
