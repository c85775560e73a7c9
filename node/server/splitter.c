#include "node/server/splitter.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/catalog/spread.h"
#include "node/server/group_edit.h"
#include "node/server/mover.h"
#include "node/server/worker.h"

#define SPLITTER_CHECK_US (500 * USEC_PER_MS)
#define SPLITTER_OP_TIMEOUT_US (10 * USEC_PER_SEC)
/* Beyond the longest request, before the old shards are retired. */
#define SPLITTER_MARGIN_US (5 * USEC_PER_SEC)
#define SPLITTER_PAGE 64

/* What is under way: one container is looked at and ordered to move, or, when
 * none is left in the old shards, all are looked at once more and the old
 * shards retired. */
struct split_step {
    struct worker *worker;
    uint16_t group; /* its number */
    char name[CATALOG_NAME_MAX + 1];
    uint16_t layout; /* of the old shards */
    struct catalog_span old;
    bool retires;
    bool looked;   /* at all containers, before the old shards are retired */
    uint64_t *lsn; /* then: of each old shard when that began; owned */
    void (*next)(struct split_step *s); /* when the answer is there */
    struct container_def *def;          /* the container that is looked at */
    uint32_t mover;
    uint32_t index; /* of the old shard that is looked at */
    struct op op;
    struct buf text;
};

/* ---- what there is ---------------------------------------------------------
 */

/* Calls `each` with every container of the cluster. */
static void each_container(const struct worker *w,
                           void (*each)(void *user, struct container_def *def),
                           void *user)
{
    struct container_def *list[SPLITTER_PAGE];
    uint32_t after = 0;
    size_t n;
    do {
        n = catalog_list_all(w->catalog, after, list, SPLITTER_PAGE);
        for (size_t i = 0; i < n; i++)
            each(user, list[i]);
        after = n > 0 ? list[n - 1]->number : 0;
    } while (n == SPLITTER_PAGE);
}

struct survey {
    const struct worker *worker;
    const struct catalog_group *group;
    uint32_t left, moving, moved;
    uint32_t given[CONFIG_NODES_MAX + 1]; /* containers, by mover */
    uint32_t after; /* the next candidate is sought behind this one */
    struct container_def *next, *first; /* candidates; NULL: none */
};

/* Whether the old shards have, or may get, something of a container that moves.
 */
static bool touches_old(const struct survey *s, const struct container_def *def)
{
    return def->move.phase != CONTAINER_STAYS &&
           catalog_move_other(s->worker->catalog, def) == s->group &&
           def->move.other_layout < catalog_group_layout(s->group);
}

static void look_at(void *user, struct container_def *def)
{
    struct survey *s = user;
    bool own = container_placed_in(def, bytes_str(s->group->name));
    bool old = own && catalog_container_layout(s->group, def) <
                          catalog_group_layout(s->group);
    bool stays = def->move.phase == CONTAINER_STAYS;
    s->left += old;
    s->moved += own && !old && stays;
    s->moving += (old && !stays) || touches_old(s, def);
    if (!stays && def->move.mover <= CONFIG_NODES_MAX)
        s->given[def->move.mover]++;
    if (!old || !stays)
        return;
    if (s->first == NULL)
        s->first = def;
    if (s->next == NULL && def->number > s->after)
        s->next = def;
}

/* One after the other, so that one that has to wait does not stop the rest. */
static struct container_def *candidate(const struct survey *s)
{
    return s->next != NULL ? s->next : s->first;
}

static bool is_member(const struct catalog_group *g, uint32_t node)
{
    return g->member_count > 0
               ? memchr(g->members, (int)node, g->member_count) != NULL
               : memchr(g->first_members, (int)node, g->first_count) != NULL;
}

static uint32_t member_after(const struct worker *w, uint32_t after,
                             const struct catalog_group *g)
{
    do
        after = mover_after(w, after, g, g);
    while (after != 0 && !is_member(g, after));
    return after;
}

/* The member that has the fewest containers to move, the next one behind `last`
 * if there are several; 0: all have enough. */
static uint32_t free_mover(const struct survey *s, uint32_t last)
{
    uint32_t best = 0, first = member_after(s->worker, last, s->group);
    if (first == 0)
        first = member_after(s->worker, 0, s->group);
    for (uint32_t id = first; id != 0;) {
        if (s->given[id] < SPLITTER_PER_NODE &&
            (best == 0 || s->given[id] < s->given[best]))
            best = id;
        id = member_after(s->worker, id, s->group);
        if (id == 0)
            id = member_after(s->worker, 0, s->group);
        if (id == first)
            break;
    }
    return best;
}

static struct splitter_group *known(struct splitter *s, size_t index,
                                    const struct catalog_group *g)
{
    struct splitter_group *k = &s->groups[index];
    uint16_t layout = catalog_group_layout(g);
    if (k->number != g->number || k->layout != layout)
        *k = (struct splitter_group){.number = g->number, .layout = layout};
    return k;
}

static struct splitter_group *known_of(struct worker *w, uint16_t number)
{
    for (size_t i = 0; i < GROUPS_MAX; i++)
        if (w->splitter.groups[i].layout > 0 &&
            w->splitter.groups[i].number == number)
            return &w->splitter.groups[i];
    return NULL;
}

/* ---- a step ----------------------------------------------------------------
 */

static void step_end(struct split_step *s, const char *reason)
{
    struct worker *w = s->worker;
    struct splitter_group *k = known_of(w, s->group);
    CHECK(w->splitter.running == s);
    if (k != NULL)
        snprintf(k->reason, sizeof(k->reason), "%s", reason);
    w->splitter.running = NULL;
    container_def_unref(s->def);
    buf_free(&s->text);
    mem_free(s->lsn);
    mem_free(s);
}

static void step_fail(struct split_step *s, int err, const char *what)
{
    char reason[SPLITTER_REASON_MAX];
    snprintf(reason, sizeof(reason), "%s: %s; it will be tried again", what,
             err_text(err));
    step_end(s, reason);
}

static void submit(struct split_step *s, op_done_cb *done)
{
    rng_fill(s->op.id, OP_ID_LEN);
    backend_submit(&s->worker->router.backend, &s->op, SPLITTER_OP_TIMEOUT_US,
                   done, s);
}

static void ordered(void *user, struct op_result *result)
{
    struct split_step *s = user;
    if (result->err != ERR_OK && result->err != ERR_PRECONDITION &&
        result->err != ERR_NOT_FOUND) {
        step_fail(s, result->err, "a container's record");
    } else {
        s->worker->splitter.next_us = 0; /* there may be another one */
        step_end(s, "");
    }
}

/* Whether the container can use what it would have then; false after saying so.
 */
static bool fits(struct split_step *s)
{
    struct spread now;
    char reason[SPLITTER_REASON_MAX];
    const struct catalog_group *g =
        catalog_group_number(s->worker->catalog, s->group);
    if (s->def->map == NULL)
        return true;
    if (g == NULL || spread_of(s->worker->catalog, s->def, &now) != ERR_OK) {
        step_fail(s, ERR_UNAVAILABLE, "a container's groups");
        return false;
    }
    uint32_t sum = now.slots + g->shard_count - s->old.count;
    if (sum <= SPREAD_SHARDS_MAX)
        return true;
    snprintf(reason, sizeof(reason),
             "container %.*s is placed by partition key and would be in %u "
             "shards, and can use %u: it keeps the old ones until it is "
             "deleted",
             (int)(s->def->name.len < 100 ? s->def->name.len : 100),
             (const char *)s->def->name.data, sum, SPREAD_SHARDS_MAX);
    step_end(s, reason);
    return false;
}

/* Has the container, or its part, moved to the newest shards. */
static void order(struct split_step *s)
{
    const struct container_place place = container_place(s->def);
    struct container_move move = s->def->move;
    struct etag etag;
    move.phase = CONTAINER_COPYING;
    move.emptied = false;
    catalog_note_gone(s->worker->catalog, s->def, &move);
    move.other =
        s->group == GROUP_DEFAULT ? bytes_of("", 0) : bytes_str(s->name);
    move.other_number = s->group;
    move.other_layout = (uint16_t)(s->layout + 1);
    move.part = (uint8_t)container_find_part(s->def, move.other);
    move.mover = s->mover;
    move.since = clock_wall_us() / USEC_PER_SEC;
    int err = etag_parse(s->def->etag, &etag);
    if (err == ERR_OK)
        err = mover_record_op(s->worker, s->def, &etag, &place, &move, &s->text,
                              &s->op);
    if (err == ERR_OK)
        submit(s, ordered);
    else
        step_fail(s, err, "making a container's record");
}

/* ---- the end of a split ----------------------------------------------------
 */

static int change_retire(void *user, struct catalog_group *g,
                         struct err_msg *msg)
{
    const struct split_step *s = user;
    if (g->emptied.count == 0 || g->emptied.first != s->old.first)
        return err_set(msg, ERR_EXISTS, "somebody else has done it");
    catalog_group_retire(g);
    return ERR_OK;
}

static void retired(void *user, int err, const struct govern_record *record,
                    const struct err_msg *msg)
{
    struct split_step *s = user;
    (void)record;
    (void)msg;
    if (err == ERR_OK)
        log_info("the split of a placement group is done; its old shards go",
                 LOG_STR("group", s->name), LOG_UINT("first", s->old.first),
                 LOG_UINT("shards", s->old.count));
    if (err == ERR_OK || err == ERR_EXISTS)
        step_end(s, "");
    else
        step_fail(s, err, "the group's record");
}

static void retire(struct split_step *s)
{
    struct group_edit edit = {.change_group = change_retire,
                              .done = retired,
                              .user = s,
                              .timeout_us = SPLITTER_OP_TIMEOUT_US};
    (void)fault_hit("split.retire");
    snprintf(edit.group, sizeof(edit.group), "%s", s->name);
    snprintf(edit.who, sizeof(edit.who), "splitter on %s",
             s->worker->node->config->node);
    snprintf(edit.what, sizeof(edit.what),
             "end split of placement group %s: shards %u to %u go", s->name,
             s->old.first, s->old.first + s->old.count - 1u);
    group_edit_begin(s->worker, &edit);
}

/* ---- conflicts -------------------------------------------------------------
 */

static void name_conflict(const struct split_step *s, char *out, size_t size)
{
    struct catalog_database *db;
    struct bytes database = bytes_str("?");
    if (catalog_list_databases(s->worker->catalog, s->def->database - 1, &db,
                               1) == 1)
        database = db->name;
    snprintf(out, size,
             "container %.*s/%.*s has conflicts, which do not move: look at "
             "its conflicts feed and delete them",
             (int)(database.len < 60 ? database.len : 60),
             (const char *)database.data,
             (int)(s->def->name.len < 60 ? s->def->name.len : 60),
             (const char *)s->def->name.data);
}

static void resumed(struct worker *w, void *arg)
{
    struct split_step *s = arg;
    CHECK(w->splitter.running == s);
    /* A group that was removed meanwhile has nothing to be looked at. */
    if (w->stopping || catalog_group_number(w->catalog, s->group) == NULL)
        step_end(s, "");
    else
        s->next(s);
}

/* In a turn of its own, at the next of the old shards. */
static void go_on(struct split_step *s)
{
    s->index++;
    worker_run(s->worker, resumed, s);
}

static void conflicts_seen(void *user, struct op_result *result)
{
    struct split_step *s = user;
    struct bytes row;
    size_t offset = 0;
    char reason[SPLITTER_REASON_MAX];
    if (result->err != ERR_OK) {
        step_fail(s, result->err, "looking for conflicts");
    } else if (op_result_next_row(result, &offset, &row) || result->more) {
        name_conflict(s, reason, sizeof(reason));
        step_end(s, reason);
    } else {
        go_on(s);
    }
}

static void noted(void *user, struct op_result *result)
{
    struct split_step *s = user;
    uint64_t *lsn = &s->lsn[s->index];
    if (result->err != ERR_OK) {
        step_fail(s, result->err, "asking the old shards");
    } else if (s->looked && *lsn != result->lsn) {
        step_end(s, ""); /* all of it again at the next check */
    } else {
        *lsn = result->lsn;
        go_on(s);
    }
}

static void look_next(struct split_step *s);

/* Notes how far each of the old shards is before the last look for conflicts;
 * after it, makes sure that nothing has come there meanwhile. */
static void note_next(struct split_step *s)
{
    s->next = note_next;
    if (s->index < s->old.count) {
        s->op = (struct op){.kind = OP_BARRIER,
                            .shard = (uint16_t)(s->old.first + s->index),
                            .level = CONSISTENCY_STRONG};
        submit(s, noted);
    } else if (s->looked) {
        retire(s);
    } else {
        look_next(s);
    }
}

/* The next container of the group; false: there is none. */
static bool next_container(struct split_step *s)
{
    struct container_def *list[SPLITTER_PAGE];
    uint32_t after = s->def != NULL ? s->def->number : 0;
    size_t n;
    container_def_unref(TAKE(s->def));
    s->index = 0;
    do {
        n = catalog_list_all(s->worker->catalog, after, list, SPLITTER_PAGE);
        for (size_t i = 0; i < n; i++)
            if (container_placed_in(list[i], bytes_str(s->name))) {
                s->def = container_def_ref(list[i]);
                return true;
            }
        after = n > 0 ? list[n - 1]->number : 0;
    } while (n == SPLITTER_PAGE);
    return false;
}

/* Looks at the container in each of the old shards, then goes on. */
static void look_next(struct split_step *s)
{
    s->next = look_next;
    while (s->def == NULL || s->index == s->old.count) {
        if (!s->retires) {
            order(s);
            return;
        }
        if (!next_container(s)) {
            s->looked = true;
            note_next(s);
            return;
        }
    }
    s->op = (struct op){
        .kind = OP_SCAN,
        .shard = (uint16_t)(s->old.first + s->index),
        .at.container = s->def->number | CONTAINER_CONFLICTS,
        .level = CONSISTENCY_STRONG,
        .max_items = 1,
        .max_bytes = OP_PAGE_MAX,
    };
    submit(s, conflicts_seen);
}

/* ---- when ------------------------------------------------------------------
 */

static void begin(struct worker *w, const struct catalog_group *g,
                  struct container_def *def, uint32_t mover)
{
    struct split_step *s = mem_zalloc(sizeof(*s));
    s->worker = w;
    s->group = g->number;
    snprintf(s->name, sizeof(s->name), "%s", g->name);
    s->layout = (uint16_t)(catalog_group_layout(g) - 1);
    s->old = g->emptied;
    s->retires = def == NULL;
    s->def = def != NULL ? container_def_ref(def) : NULL;
    s->mover = mover;
    buf_init(&s->text, OP_BODY_MAX);
    w->splitter.running = s;
    if (s->retires) {
        s->lsn = mem_zalloc(s->old.count * sizeof(*s->lsn));
        note_next(s);
    } else if (fits(s)) { /* else it need not be searched, time after time */
        look_next(s);
    }
}

/* Whether nothing has been left in the old shards for so long that nobody asks
 * them for anything. */
static bool rested(const struct worker *w, const struct survey *s,
                   struct splitter_group *k, usec_t now)
{
    usec_t rest =
        w->node->config->timeouts.request_ms * USEC_PER_MS + SPLITTER_MARGIN_US;
    if (s->left + s->moving > 0)
        k->empty_us = 0;
    else if (k->empty_us == 0)
        k->empty_us = now;
    return k->empty_us > 0 && now - k->empty_us > rest;
}

static void consider(struct worker *w, const struct catalog_group *g,
                     struct splitter_group *k, usec_t now)
{
    const struct config *c = w->node->config;
    struct survey s = {.worker = w, .group = g, .after = k->after};
    if (member_after(w, 0, g) != c->id) {
        k->empty_us = 0; /* another node's */
        k->reason[0] = '\0';
        return;
    }
    each_container(w, look_at, &s);
    struct container_def *next = candidate(&s);
    uint32_t mover = next != NULL ? free_mover(&s, k->mover) : 0;
    bool over = rested(w, &s, k, now);
    if (mover != 0) {
        k->after = next->number;
        k->mover = mover;
        begin(w, g, next, mover);
    } else if (over) {
        begin(w, g, NULL, 0);
    }
}

void splitter_check(struct worker *w)
{
    struct splitter *s = &w->splitter;
    const struct catalog_group *g;
    usec_t now = clock_mono_us();
    if (w->stopping || s->running != NULL || now < s->next_us)
        return;
    s->next_us = now + SPLITTER_CHECK_US;
    for (size_t i = 0; i < GROUPS_MAX && s->running == NULL; i++) {
        size_t at = s->turn++ % GROUPS_MAX;
        g = catalog_group_at(w->catalog, at);
        if (g != NULL && g->emptied.count > 0)
            consider(w, g, known(s, at, g), now);
    }
}

void splitter_progress(const struct worker *w, const struct catalog_group *g,
                       struct split_progress *out)
{
    struct survey s = {.worker = w, .group = g};
    double taken = (double)(clock_wall_us() - g->split_us) / USEC_PER_SEC;
    each_container(w, look_at, &s);
    *out = (struct split_progress){
        .left = s.left, .moving = s.moving, .moved = s.moved, .eta_s = -1};
    if (s.moved > 0 && taken > 0)
        out->eta_s = taken * s.left / s.moved;
    for (size_t i = 0; i < GROUPS_MAX; i++) {
        const struct splitter_group *k = &w->splitter.groups[i];
        if (k->layout > 0 && k->number == g->number && k->reason[0] != '\0')
            out->reason = k->reason;
    }
}
