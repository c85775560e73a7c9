/* bastide region switch: moves the writes on purpose.
 *
 *     plan --shown--> asked (forced only) --yes--> requested --settled--> told
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement_group.h"
#include "node/cli/region.h"
#include "node/cli/topology.h"
#include "node/cli/wait.h"
#include "node/json/json.h"

#define COMMAND "region switch"
#define SWITCH_TIMEOUT_S 30
#define PATIENCE 12 /* questions */
#define PATIENCE_POLL_US (250 * USEC_PER_MS)
#define PAUSE_KNOWN_US USEC_PER_SEC
#define NAME_MAX_SHOWN 128
#define CONTAINERS_MAX 1000 /* shown; the others are left out */

static const char help[] =
    "Usage: bastide region switch REGION [--dry-run]\n"
    "       bastide region switch REGION --force [--yes]\n"
    "\n"
    "Moves the writes to REGION. They stay there, whatever the priority list "
    "says,\n"
    "until REGION is lost or somebody moves them.\n"
    "\n"
    "Without --force it is a planned switch: REGION catches up first, new "
    "writes\n"
    "wait for a fraction of a second, no request fails and nothing is lost. "
    "The\n"
    "write region must be alive for that.\n"
    "\n"
    "With --force the write region is given up: for one that is lost. What it\n"
    "acknowledged and REGION has not got is taken back; it is shown before, "
    "and\n"
    "comes to /conflicts of its container when the old region returns. "
    "Usually the\n"
    "cluster does this by itself within seconds.\n"
    "\n"
    "  --dry-run          only show the plan: what would be lost, which "
    "regions\n"
    "                     cannot take the writes and why\n"
    "  --force            without the write region\n"
    "  --yes              do not ask before a forced switch\n"
    "  --group NAME       the writes of a placement group\n"
    "  --timeout SECONDS  how long to wait until it is done (default "
    "30)\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "Examples:\n"
    "  bastide region switch westeurope --dir demo --dry-run\n"
    "  bastide region switch westeurope --dir demo\n"
    "  bastide region switch southeastasia --force --yes\n";

struct switch_flags {
    const char *to;
    const char *group; /* NULL: default */
    unsigned timeout_s;
    bool force, yes, dry_run, json;
};

struct loss {
    char database[NAME_MAX_SHOWN], container[NAME_MAX_SHOWN];
    int64_t entries;
};

/* What the cluster says it would do, and what the leaders of shards say would
 * be lost. */
struct plan {
    char from[CONFIG_NAME_MAX + 1];
    bool forced;
    int64_t shards, led; /* how many there are; whose leaders answered */
    double seconds;      /* the longest that anybody says */
    struct loss list[CONTAINERS_MAX];
    unsigned count;
};

/* ---- the loss --------------------------------------------------------------
 */

static void add_loss(struct plan *p, const struct json *j, json_ref object)
{
    struct loss l = {.entries = 0};
    topology_get_text(j, object, "database", l.database, sizeof(l.database));
    topology_get_text(j, object, "container", l.container, sizeof(l.container));
    (void)json_get_int64(j, object, "entries", &l.entries);
    for (unsigned i = 0; i < p->count; i++)
        if (strcmp(p->list[i].database, l.database) == 0 &&
            strcmp(p->list[i].container, l.container) == 0) {
            p->list[i].entries += l.entries;
            return;
        }
    if (p->count < CONTAINERS_MAX)
        p->list[p->count++] = l;
}

/* Every node knows it of the shards it leads. */
static void ask_loss(struct reach *r, const char *group, struct plan *p)
{
    struct reach_answer a;
    char path[TOPOLOGY_PATH_MAX];
    int64_t led, shards;
    topology_path("regions/at-risk", group, path);
    reach_answer_init(&a);
    for (unsigned i = 0; i < r->node_count; i++) {
        if (reach_ask(r, i, path, NULL, REACH_ASK_TIMEOUT_US, &a, NULL) !=
            ERR_OK)
            continue;
        json_ref list = json_get_str(&a.json, 0, "containers");
        json_ref seconds = json_get_str(&a.json, 0, "seconds");
        /* A node outside a group's fence has none of its shards. */
        if (json_get_int64(&a.json, 0, "shards", &shards) == ERR_OK &&
            shards > p->shards)
            p->shards = shards;
        if (json_get_int64(&a.json, 0, "led", &led) == ERR_OK)
            p->led += led;
        if (seconds != JSON_NONE &&
            json_type(&a.json, seconds) == JSON_NUMBER &&
            json_number(&a.json, seconds) > p->seconds)
            p->seconds = json_number(&a.json, seconds);
        if (list == JSON_NONE)
            continue;
        for (json_ref c = json_first(&a.json, list); c != JSON_NONE;
             c = json_next(&a.json, list, c))
            add_loss(p, &a.json, c);
    }
    reach_answer_free(&a);
}

static bool loss_is_known(const struct plan *p)
{
    return p->shards > 0 && p->led >= p->shards;
}

static int64_t loss_entries(const struct plan *p)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < p->count; i++)
        sum += p->list[i].entries;
    return sum;
}

static void print_loss(const struct plan *p)
{
    if (loss_is_known(p))
        printf("  would lose: %lld entries, the last %.1f s of writes\n",
               (long long)loss_entries(p), p->seconds);
    else
        printf("  would lose: not known exactly, the leaders of %lld of %lld "
               "shards do not answer;\n"
               "    at last word %.1f s of writes\n",
               (long long)(p->shards - p->led), (long long)p->shards,
               p->seconds);
    for (unsigned i = 0; i < p->count; i++)
        printf("    %s/%s: %lld entries\n", p->list[i].database,
               p->list[i].container, (long long)p->list[i].entries);
    puts("  What is lost comes to /conflicts of its container when the old "
         "region is back.");
}

/* ---- the plan --------------------------------------------------------------
 */

static void print_rejected(const struct json *j)
{
    char region[CONFIG_NAME_MAX + 1], reason[TOPOLOGY_TEXT_MAX + 1];
    json_ref list = json_get_str(j, 0, "rejected");
    if (list == JSON_NONE)
        return;
    for (json_ref r = json_first(j, list); r != JSON_NONE;
         r = json_next(j, list, r)) {
        topology_get_text(j, r, "region", region, sizeof(region));
        topology_get_text(j, r, "reason", reason, sizeof(reason));
        printf("  not %s: %s\n", region, reason);
    }
}

static void print_plan(const struct json *j, const struct plan *p,
                       const char *to)
{
    printf("Plan: %s switch of the writes from %s to %s\n",
           p->forced ? "a forced" : "a planned", p->from, to);
    if (p->forced)
        print_loss(p);
    else
        printf("  loses nothing: %s catches up first, writes wait for a "
               "moment\n",
               to);
    print_rejected(j);
    fflush(stdout);
}

static void print_plan_json(const struct json *j, const struct plan *p,
                            const char *to)
{
    struct buf b;
    struct json_writer w;
    json_ref rejected = json_get_str(j, 0, "rejected");
    buf_init(&b, HTTPS_ANSWER_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "from", p->from);
    json_write_member_str(&w, "to", to);
    json_write_member_str(&w, "kind", p->forced ? "forced" : "planned");
    json_write_member_int64(&w, "entries", p->forced ? loss_entries(p) : 0);
    json_write_key(&w, "seconds");
    json_write_number(&w, p->forced ? p->seconds : 0);
    json_write_member_bool(&w, "known", !p->forced || loss_is_known(p));
    json_write_key(&w, "would_lose");
    json_write_array_begin(&w);
    for (unsigned i = 0; i < p->count && p->forced; i++) {
        json_write_object_begin(&w);
        json_write_member_str(&w, "database", p->list[i].database);
        json_write_member_str(&w, "container", p->list[i].container);
        json_write_member_int64(&w, "entries", p->list[i].entries);
        json_write_object_end(&w);
    }
    json_write_array_end(&w);
    json_write_member_raw(&w, "rejected",
                          rejected == JSON_NONE ? bytes_str("[]")
                                                : json_raw(j, rejected));
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    printf("%s\n", buf_cstr(&b));
    buf_free(&b);
}

/* ---- requests --------------------------------------------------------------
 */

static int request(struct reach *r, const struct switch_flags *f, bool dry_run,
                   struct reach_answer *a, struct err_msg *msg)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "to", f->to);
    json_write_member_bool(&w, "force", f->force);
    json_write_member_bool(&w, "dry_run", dry_run);
    if (f->group != NULL)
        json_write_member_str(&w, "group", f->group);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    int err = reach_any(r, "regions/switch", buf_cstr(&b),
                        REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&b);
    return err;
}

static int ask_plan(struct reach *r, const struct switch_flags *f,
                    struct plan *p, struct err_msg *msg)
{
    char kind[16];
    struct reach_answer a;
    reach_answer_init(&a);
    if (f->force)
        ask_loss(r, f->group, p);
    int err = request(r, f, true, &a, msg);
    /* Nodes that started a moment ago do not know yet who is well, and say so
     * in one way or the other. */
    for (unsigned i = 0;
         i < PATIENCE && !f->dry_run &&
         (err == ERR_UNAVAILABLE || (err == ERR_PRECONDITION && !f->force));
         i++) {
        usleep(PATIENCE_POLL_US);
        err = request(r, f, true, &a, msg);
    }
    if (err == ERR_OK) {
        topology_get_text(&a.json, 0, "from", p->from, sizeof(p->from));
        topology_get_text(&a.json, 0, "kind", kind, sizeof(kind));
        p->forced = strcmp(kind, "forced") == 0;
        if (f->json && f->dry_run)
            print_plan_json(&a.json, p, f->to);
        else if (!f->json && strcmp(p->from, f->to) != 0)
            print_plan(&a.json, p, f->to);
    } else if (err == ERR_PRECONDITION && f->force && !f->json) {
        puts("A forced switch now");
        print_loss(p);
        fflush(stdout);
    }
    reach_answer_free(&a);
    return err;
}

/* CMD_OK to go on. */
static int confirm(const struct switch_flags *f, const struct plan *p)
{
    if (!p->forced || f->yes)
        return CMD_OK;
    if (!wait_can_ask())
        return options_refuse(COMMAND,
                              "a forced switch gives up what %s alone has, "
                              "and nobody is there to be asked; add --yes, "
                              "nothing was changed",
                              p->from);
    if (wait_confirm("Type yes to switch without the write region: ", "yes"))
        return CMD_OK;
    return options_failed(COMMAND, "not confirmed, nothing was changed");
}

/* ---- waiting and telling ---------------------------------------------------
 */

struct target {
    const char *to;
    int64_t epoch;
};

/* Also when a later decision has overtaken this one. */
static bool is_settled(const struct topology *t, void *user)
{
    const struct target *w = user;
    return t->settled && t->epoch >= w->epoch &&
           (strcmp(t->write_region, w->to) == 0 || t->epoch > w->epoch);
}

/* The nodes tell each other of the pause a moment later. */
static bool is_told(const struct topology *t, void *user)
{
    (void)user;
    return t->last_switch.known && t->last_switch.pause_ms != TOPOLOGY_UNKNOWN;
}

static void learn_pause(struct reach *r, const char *group, struct topology *t)
{
    struct err_msg ignored;
    struct topology later;
    struct wait wait = {.reach = r,
                        .group = group,
                        .what = "the pause",
                        .timeout_us = PAUSE_KNOWN_US,
                        .quiet = true,
                        .done = is_told};
    if (!is_told(t, NULL) &&
        wait_for_topology(&wait, &later, &ignored) == ERR_OK &&
        later.epoch == t->epoch)
        *t = later;
}

static void put_known(struct json_writer *w, const char *key, int64_t value)
{
    if (value == TOPOLOGY_UNKNOWN)
        json_write_member_raw(w, key, bytes_str("null"));
    else
        json_write_member_int64(w, key, value);
}

static void tell_json(const struct switch_flags *f, const struct plan *p,
                      const struct topology *t)
{
    struct buf b;
    struct json_writer w;
    const struct topology_switch *s = &t->last_switch;
    buf_init(&b, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "from", p->from);
    json_write_member_str(&w, "to", f->to);
    json_write_member_str(&w, "kind", p->forced ? "forced" : "planned");
    json_write_member_int64(&w, "epoch", t->epoch);
    put_known(&w, "pause_ms", s->known ? s->pause_ms : TOPOLOGY_UNKNOWN);
    put_known(&w, "lost_entries",
              s->known ? s->lost_entries : TOPOLOGY_UNKNOWN);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    printf("%s\n", buf_cstr(&b));
    buf_free(&b);
}

static void tell_text(const struct switch_flags *f, const struct topology *t)
{
    const struct topology_switch *s = &t->last_switch;
    printf("Writes go to %s (epoch %lld).", f->to, (long long)t->epoch);
    if (s->known && s->pause_ms != TOPOLOGY_UNKNOWN)
        printf(" They paused for %lld ms.", (long long)s->pause_ms);
    if (s->known && s->lost_entries > 0)
        printf(" %lld entries were lost; see /conflicts when %s is back.",
               (long long)s->lost_entries, s->from);
    else if (s->known && s->lost_entries == 0)
        printf(" Nothing was lost.");
    putchar('\n');
}

static int carry_out(struct reach *r, const struct switch_flags *f,
                     const struct plan *p, struct err_msg *msg)
{
    struct reach_answer a;
    struct topology t;
    char what[NAME_MAX_SHOWN];
    struct target target = {.to = f->to};
    struct wait wait = {.reach = r,
                        .group = f->group,
                        .what = what,
                        .timeout_us = (usec_t)f->timeout_s * USEC_PER_SEC,
                        .quiet = f->json,
                        .done = is_settled,
                        .user = &target};
    snprintf(what, sizeof(what), "the switch to %.63s", f->to);
    reach_answer_init(&a);
    int err = request(r, f, false, &a, msg);
    if (err == ERR_OK)
        (void)json_get_int64(&a.json, 0, "epoch", &target.epoch);
    reach_answer_free(&a);
    if (err == ERR_OK)
        err = wait_for_topology(&wait, &t, msg);
    if (err == ERR_OK && strcmp(t.write_region, f->to) != 0)
        err = err_set(msg, ERR_CANCELLED,
                      "a later decision has overtaken it: writes go to %s "
                      "(epoch %lld); see bastide audit",
                      t.write_region, (long long)t.epoch);
    if (err != ERR_OK)
        return err;
    if (!p->forced)
        learn_pause(r, f->group, &t);
    if (f->json)
        tell_json(f, p, &t);
    else
        tell_text(f, &t);
    return ERR_OK;
}

static int run(struct reach *r, void *flags)
{
    const struct switch_flags *f = flags;
    struct plan *p = mem_zalloc(sizeof(*p));
    struct err_msg msg;
    int code = CMD_OK, err = ask_plan(r, f, p, &msg);
    if (err == ERR_OK && !f->dry_run) {
        code = confirm(f, p);
        if (code == CMD_OK && strcmp(p->from, f->to) == 0 && !f->json)
            printf("Writes go to %s already.\n", f->to);
        else if (code == CMD_OK)
            err = carry_out(r, f, p, &msg);
    }
    mem_free(p);
    return err == ERR_OK ? code : options_failed(COMMAND, msg.text);
}

static int check(void *flags, char **words, unsigned count)
{
    struct switch_flags *f = flags;
    if (count == 0)
        return options_refuse(COMMAND, "to which region?");
    f->to = words[0];
    return CMD_OK;
}

int region_switch(int argc, char **argv)
{
    struct switch_flags f = {.timeout_s = SWITCH_TIMEOUT_S};
    const struct option_spec options[] = {
        PLACEMENT_GROUP_OPTION(&f.group),
        {.name = "force", .kind = OPTION_FLAG, .value = &f.force},
        {.name = "yes", .kind = OPTION_FLAG, .value = &f.yes},
        {.name = "dry-run", .kind = OPTION_FLAG, .value = &f.dry_run},
        {.name = "timeout",
         .kind = OPTION_NUMBER,
         .value = &f.timeout_s,
         .min = 1,
         .max = 3600}};
    const struct reach_command command = {.name = COMMAND,
                                          .help = help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .words_max = 1,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = check,
                                          .run = run};
    return reach_run(&command, argc, argv);
}
