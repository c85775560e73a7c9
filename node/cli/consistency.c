/* bastide consistency: shows and changes the account's level. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement.h"
#include "node/cli/topology.h"
#include "node/cli/wait.h"
#include "node/json/json.h"

#define SETTLE_TIMEOUT_S 15
#define APPLY_POLL_US (20 * USEC_PER_MS)
#define OUTPUT_MAX (1 << 20)

static const char help[] =
    "Usage: bastide consistency show [--dir DIR] [-o text|json]\n"
    "       bastide consistency set LEVEL [options]\n"
    "\n"
    "Shows or changes the account's default consistency level, at run time. "
    "Every\n"
    "node applies it at once; clients need not reconnect, and may still ask "
    "for a\n"
    "weaker level per request.\n"
    "\n"
    "LEVEL, from strongest to cheapest:\n"
    "  strong             a write waits for a majority of all nodes; reads "
    "see\n"
    "                     every write that was acknowledged before. Losing a\n"
    "                     region loses nothing\n"
    "  bounded-staleness  a write waits for the write region only, but no\n"
    "                     region falls behind more than K entries or T "
    "seconds:\n"
    "                     before that, new writes get 429\n"
    "  session            a client always sees its own writes\n"
    "  consistent-prefix  a client never sees writes out of order\n"
    "  eventual           nothing more than that writes arrive\n"
    "With all but strong, losing the write region can lose the last moments;\n"
    "bastide status says at any time how much that would be.\n"
    "\n"
    "  --max-staleness-entries K   with bounded-staleness: 1 or more\n"
    "  --max-staleness-seconds T   with bounded-staleness: 1 to 86400\n"
    "  --timeout SECONDS           how long to wait until it holds (default "
    "15)\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "Examples:\n"
    "  bastide consistency show --dir demo\n"
    "  bastide consistency set session --dir demo\n"
    "  bastide consistency set bounded-staleness --max-staleness-entries 1000 "
    "\\\n"
    "      --max-staleness-seconds 5\n";

struct consistency_flags {
    /* Of the account; without a text, it is only shown. */
    struct placement_level wish;
    enum consistency_level level; /* the wish's */
    unsigned timeout_s;
    bool json;
};

/* ---- show ------------------------------------------------------------------
 */

/* What there is to say of a level, in either form. */
static void print_policy(const struct topology *t, bool json)
{
    char text[TOPOLOGY_POLICY_MAX];
    if (!json) {
        topology_policy_text(t->level, t->prefix, t->interval, text);
        printf("%s%s\n", text,
               t->settled ? "" : ", not yet in force everywhere");
        return;
    }
    printf("{\"level\":\"%s\",\"max_staleness_prefix\":%lld,"
           "\"max_staleness_interval\":%lld,\"epoch\":%lld,\"settled\":%s}\n",
           consistency_name(t->level), (long long)t->prefix,
           (long long)t->interval, (long long)t->epoch,
           t->settled ? "true" : "false");
}

static int show(struct reach *r, const struct consistency_flags *f)
{
    struct topology t;
    struct err_msg msg;
    if (topology_get(r, NULL, &t, &msg) != ERR_OK)
        return options_failed("consistency show", msg.text);
    print_policy(&t, f->json);
    return CMD_OK;
}

/* ---- set -------------------------------------------------------------------
 */

struct wish {
    const struct consistency_flags *flags;
    int64_t epoch;
};

static bool same_policy(const struct consistency_flags *f,
                        enum consistency_level level, int64_t prefix,
                        int64_t interval)
{
    return level == f->level &&
           (level != CONSISTENCY_BOUNDED ||
            (prefix == f->wish.entries && interval == f->wish.seconds));
}

static bool is_settled(const struct topology *t, void *user)
{
    const struct wish *w = user;
    return t->settled && t->epoch >= w->epoch &&
           same_policy(w->flags, t->level, t->prefix, t->interval);
}

/* Whether a node's status says that it applies the wish. */
static bool node_applies(const struct reach_answer *a,
                         const struct consistency_flags *f)
{
    struct buf scratch;
    struct bytes text;
    enum consistency_level level;
    int64_t prefix = 0, interval = 0;
    json_ref account = json_get_str(&a->json, 0, "account");
    if (account == JSON_NONE)
        return false;
    buf_init(&scratch, 256);
    bool known = json_get_string(&a->json, account, "level", &scratch, &text) ==
                     ERR_OK &&
                 consistency_parse(text, &level) == ERR_OK;
    buf_free(&scratch);
    (void)json_get_int64(&a->json, account, "max_staleness_prefix", &prefix);
    (void)json_get_int64(&a->json, account, "max_staleness_interval",
                         &interval);
    return known && same_policy(f, level, prefix, interval);
}

enum applied { APPLIED, NOT_YET, SILENT };

/* Asks one node until it applies the wish, does not answer, or time is up. */
static enum applied wait_node(struct reach *r, unsigned node,
                              const struct consistency_flags *f,
                              usec_t deadline_us)
{
    struct reach_answer a;
    enum applied result = NOT_YET;
    reach_answer_init(&a);
    while (result == NOT_YET) {
        if (reach_ask(r, node, "status", NULL, REACH_ASK_TIMEOUT_US, &a,
                      NULL) != ERR_OK)
            result = SILENT;
        else if (node_applies(&a, f))
            result = APPLIED;
        else if (clock_mono_us() >= deadline_us)
            break;
        else
            usleep(APPLY_POLL_US);
    }
    reach_answer_free(&a);
    return result;
}

static const char *node_label(const struct reach_node *n)
{
    return n->name[0] != '\0' ? n->name : n->admin;
}

static void print_list(struct json_writer *w, const char *key,
                       const struct reach *r, const enum applied *states,
                       enum applied wanted)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (unsigned i = 0; i < r->node_count; i++)
        if (states[i] == wanted)
            json_write_str(w, node_label(&r->nodes[i]));
    json_write_array_end(w);
}

static void print_json(const struct reach *r, const struct topology *t,
                       const enum applied *states, usec_t took_us)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, OUTPUT_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "level", consistency_name(t->level));
    json_write_member_int64(&w, "max_staleness_prefix", t->prefix);
    json_write_member_int64(&w, "max_staleness_interval", t->interval);
    json_write_member_int64(&w, "epoch", t->epoch);
    json_write_member_int64(&w, "took_ms", took_us / USEC_PER_MS);
    print_list(&w, "applied", r, states, APPLIED);
    print_list(&w, "not_yet", r, states, NOT_YET);
    print_list(&w, "silent", r, states, SILENT);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    printf("%s\n", buf_cstr(&b));
    buf_free(&b);
}

/* Which nodes apply it; CMD_FAILED if one answers and does not. */
static int report(struct reach *r, const struct consistency_flags *f,
                  const struct topology *t, usec_t began_us)
{
    enum applied states[LAYOUT_NODES_MAX];
    char text[TOPOLOGY_POLICY_MAX];
    unsigned applied = 0, behind = 0;
    usec_t deadline_us = began_us + (usec_t)f->timeout_s * USEC_PER_SEC;
    usec_t took_us = 0;
    for (unsigned i = 0; i < r->node_count; i++) {
        states[i] = wait_node(r, i, f, deadline_us);
        if (states[i] == APPLIED) {
            applied++;
            took_us = clock_mono_us() - began_us;
        }
        behind += states[i] == NOT_YET;
    }
    topology_policy_text(t->level, t->prefix, t->interval, text);
    if (f->json)
        print_json(r, t, states, took_us);
    else
        printf("Consistency is %s on %u of %u nodes after %.2f s\n", text,
               applied, r->node_count, (double)took_us / USEC_PER_SEC);
    for (unsigned i = 0; i < r->node_count; i++)
        if (states[i] != APPLIED)
            fprintf(stderr, "bastide consistency set: %s %s\n",
                    node_label(&r->nodes[i]),
                    states[i] == SILENT
                        ? "does not answer; it learns it when it is back"
                        : "has not applied it; see bastide status");
    return behind == 0 ? CMD_OK : CMD_FAILED;
}

static void write_request(const struct consistency_flags *f, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    placement_level_write(&f->wish, &w);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
}

static int set(struct reach *r, const struct consistency_flags *f)
{
    struct reach_answer a;
    struct topology t;
    struct err_msg msg;
    struct buf request;
    usec_t began_us = clock_mono_us();
    struct wish wish = {.flags = f};
    struct wait wait = {.reach = r,
                        .what = "the new level",
                        .timeout_us = (usec_t)f->timeout_s * USEC_PER_SEC,
                        .quiet = f->json,
                        .done = is_settled,
                        .user = &wish};
    buf_init(&request, HTTPS_REQUEST_MAX);
    reach_answer_init(&a);
    write_request(f, &request);
    int err = reach_any(r, "consistency", buf_cstr(&request),
                        REACH_CHANGE_TIMEOUT_US, &a, &msg);
    if (err == ERR_OK)
        (void)json_get_int64(&a.json, 0, "epoch", &wish.epoch);
    buf_free(&request);
    reach_answer_free(&a);
    if (err == ERR_OK)
        err = wait_for_topology(&wait, &t, &msg);
    if (err != ERR_OK)
        return options_failed("consistency set", msg.text);
    return report(r, f, &t, began_us);
}

/* ---- flags -----------------------------------------------------------------
 */

static int check(void *flags, char **words, unsigned count)
{
    struct consistency_flags *f = flags;
    bool bounds = f->wish.entries != 0 || f->wish.seconds != 0;
    if (count == 0)
        return options_refuse("consistency", "expected show, or set LEVEL");
    bool sets = strcmp(words[0], "set") == 0;
    if (!sets && strcmp(words[0], "show") != 0)
        return options_refuse("consistency",
                              "\"%s\": expected show, or set LEVEL", words[0]);
    if (sets && count < 2)
        return options_refuse("consistency", "set needs a LEVEL");
    if (!sets && (count > 1 || bounds))
        return options_refuse("consistency", "show takes neither a level nor "
                                             "bounds; did you mean set?");
    f->wish.text = sets ? words[1] : NULL;
    int code = placement_level_check("consistency", &f->wish);
    if (code == CMD_OK && sets)
        CHECK(topology_read_level(words[1], &f->level) == ERR_OK);
    return code;
}

static int run(struct reach *r, void *flags)
{
    const struct consistency_flags *f = flags;
    return f->wish.text != NULL ? set(r, f) : show(r, f);
}

int cmd_consistency(int argc, char **argv)
{
    struct consistency_flags f = {.timeout_s = SETTLE_TIMEOUT_S};
    const struct option_spec options[] = {PLACEMENT_BOUNDS_OPTIONS(&f.wish),
                                          {.name = "timeout",
                                           .kind = OPTION_NUMBER,
                                           .value = &f.timeout_s,
                                           .min = 1,
                                           .max = 3600}};
    const struct reach_command command = {.name = "consistency",
                                          .help = help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .words_max = 2,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = check,
                                          .run = run};
    return reach_run(&command, argc, argv);
}
