/* Scripted scenarios with what the controller makes of them: the .txt files of
 * tests/data/failover.
 *
 * A script is a sequence of blocks: command lines, a line "----", what was seen
 * and decided meanwhile, an empty line. With BASTIDE_REWRITE=1 the second part
 * is written anew; review it as a diff.
 *
 * A world of nodes, each with its own controller, gossips over links that can
 * be slow or cut, one direction at a time. One node, the observer, stands for
 * the meta shard's leader: its view is printed whenever it changes, and (unless
 * "obey no") its plans are carried out 50 ms later and settle after 300 ms.
 *
 *   cluster a=3 b=3+1 c=1     voters and learners per region, in this order of
 *                             priority; nodes are a1, a2, ... The first region
 *                             writes. It has run for 8 s, without a word.
 *   cold a=3 b=3+1 c=1        the same, just started
 *   observe N                 default: the first node of the second region
 *   priority c a b            as an operator changes it
 *   group rule=commit failback=yes pinned=yes settle=MS|never obey=no
 *   voters X..                who votes from now on
 *   switch R [force]          as an operator does it, if it is possible
 *   run SECONDS
 *   kill X.. | start X..      X: a node, or all of a region
 *   pause X.. | resume X..    the process stands still; what arrives waits
 *   cut X Y | oneway X Y | heal     oneway: from X to Y nothing arrives
 *   slow X Y MS JITTER        each direction takes MS to MS + JITTER
 *   stall X MS | full X | drain X | behind X MS | well X    says X of itself
 *   status                    the observer's view of regions and group
 *   ways                      who has proof of whom, in each node's own eyes
 *   rank forced|planned|failback
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failover/failover.h"
#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/base/prng.h"

#define NODES_MAX 20
#define MAIL_MAX 8192
#define WORDS_MAX 12
#define OUT_MAX (1u << 20)
#define DATA_DIR "tests/data/failover"
#define STEP_US (10 * USEC_PER_MS)

struct node {
    uint32_t id; /* place in the world, plus one */
    char name[24];
    failover_region region;
    bool voter;
    struct failover *f; /* NULL: not running */
    bool paused;
    uint64_t incarnation;
    struct failover_self self;
    usec_t skew_us; /* its clock began elsewhere */
};

struct way {
    bool cut;
    usec_t delay_us;
    usec_t jitter_us;
    usec_t last_us; /* bytes stay in order */
};

struct letter {
    usec_t at_us;
    uint32_t from, to;
    size_t len;
    uint8_t bytes[FAILOVER_MESSAGE_MAX];
};

struct world {
    usec_t now_us;
    struct prng prng;
    uint32_t n;
    struct node nodes[NODES_MAX];
    struct way ways[NODES_MAX][NODES_MAX];
    struct letter mail[MAIL_MAX];
    uint32_t n_mail;
    struct failover_topology topology;
    struct failover_group group; /* committed; changed_us is the world's */
    bool obey;
    usec_t settle_us;    /* USEC_NEVER: never */
    usec_t carry_out_us; /* USEC_NEVER: nothing to do */
    struct failover_plan to_do;
    struct node *observer;
    enum failover_state seen[FAILOVER_REGIONS_MAX]; /* last printed */
    struct failover_plan told;                      /* likewise */
    bool unavailable;                               /* likewise */
    struct buf out;
};

__attribute__((format(printf, 2, 3))) static void say(struct world *w,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    CHECK(buf_vprintf(&w->out, format, args) == ERR_OK);
    va_end(args);
}

static void say_time(struct world *w)
{
    say(w, "%6.2f ", (double)w->now_us / USEC_PER_SEC);
}

static failover_region region_of(const struct world *w, const char *word)
{
    for (uint32_t i = 0; word != NULL && i < w->topology.n_regions; i++)
        if (strcmp(w->topology.regions[i].name, word) == 0)
            return w->topology.regions[i].number;
    fail_msg("no region '%s'", word != NULL ? word : "");
    return 0;
}

static const char *name_of(const struct world *w, failover_region r)
{
    return r == 0 ? "-" : w->topology.regions[r - 1].name;
}

/* Whether the node is what a word names: itself or its region. */
static bool is_named(const struct world *w, const struct node *n,
                     const char *word)
{
    return strcmp(n->name, word) == 0 ||
           strcmp(name_of(w, n->region), word) == 0;
}

/* ---- the observer's view ------------------------------------------------- */

static struct failover_plan plan_of(const struct world *w, const struct node *n)
{
    struct failover_plan plan;
    struct failover_group g = w->group;
    g.changed_us += n->skew_us;
    failover_plan(n->f, &g, &plan);
    return plan;
}

static void print_states(struct world *w)
{
    const struct failover_health *h = failover_health(w->observer->f);
    char why[FAILOVER_REASON_MAX];
    for (uint32_t i = 0; i < w->topology.n_regions; i++) {
        failover_region r = w->topology.regions[i].number;
        enum failover_state state = failover_health_region(h, r)->state;
        if (state == w->seen[i])
            continue;
        w->seen[i] = state;
        failover_health_reason(h, r, why);
        say_time(w);
        say(w, "%s %s: %s\n", name_of(w, r), failover_state_name(state), why);
    }
}

static void print_plan(struct world *w, const struct failover_plan *p)
{
    struct failover_plan *told = &w->told;
    if (p->action == told->action && p->situation == told->situation &&
        p->to == told->to && (p->reason[0] == 0) == (told->reason[0] == 0) &&
        (p->unavailable[0] == 0) == (told->unavailable[0] == 0))
        return;
    *told = *p;
    say_time(w);
    say(w, "-> %s", failover_situation_name(p->situation));
    if (p->action != FAILOVER_NONE) {
        say(w, ": %s", failover_action_name(p->action));
        if (p->to != 0)
            say(w, " to %s", name_of(w, p->to));
        say(w, ", down:");
        for (uint32_t i = 0; i < p->n_down; i++)
            say(w, " %s", name_of(w, p->down[i]));
    }
    say(w, "\n");
    if (p->reason[0] != 0)
        say(w, "          %s\n", p->reason);
    if (p->unavailable[0] != 0)
        say(w, "        ! %s\n", p->unavailable);
}

static void commit(struct world *w, const struct failover_plan *p)
{
    struct failover_group *g = &w->group;
    if (p->expected_epoch != g->epoch)
        return;
    memcpy(g->down, p->down, sizeof(g->down));
    g->n_down = p->n_down;
    if (p->to == 0)
        return;
    g->from_region =
        p->to != g->write_region ? g->write_region : g->from_region;
    g->write_region = p->to;
    g->epoch++;
    g->forced = p->action == FAILOVER_FORCE || p->action == FAILOVER_ESCALATE;
    g->pinned = p->pinned;
    g->settled = false;
    g->changed_us = w->now_us;
    say_time(w);
    say(w, "== epoch %u: %s writes\n", g->epoch, name_of(w, p->to));
}

static void decide(struct world *w)
{
    struct failover_group *g = &w->group;
    if (!g->settled && w->settle_us != USEC_NEVER &&
        w->now_us >= g->changed_us + w->settle_us)
        g->settled = true;
    if (w->observer->f == NULL || w->observer->paused)
        return;
    print_states(w);
    struct failover_plan plan = plan_of(w, w->observer);
    print_plan(w, &plan);
    if (w->now_us >= w->carry_out_us) {
        w->carry_out_us = USEC_NEVER;
        commit(w, &w->to_do);
    } else if (w->obey && w->carry_out_us == USEC_NEVER &&
               plan.action != FAILOVER_NONE) {
        w->to_do = plan;
        w->carry_out_us = w->now_us + 50 * USEC_PER_MS;
    }
}

/* ---- the world turns ----------------------------------------------------- */

static void post(struct world *w, struct node *from, struct node *to)
{
    struct way *way = &w->ways[from->id - 1][to->id - 1];
    uint8_t storage[FAILOVER_MESSAGE_MAX];
    struct buf b = buf_over(storage, sizeof(storage));
    assert_int_equal(
        failover_gossip(from->f, to->id, w->now_us + from->skew_us, &b),
        ERR_OK);
    if (way->cut)
        return;
    usec_t at = w->now_us + way->delay_us;
    if (way->jitter_us > 0)
        at += (usec_t)prng_below(&w->prng, (uint64_t)way->jitter_us);
    way->last_us = at = at > way->last_us ? at : way->last_us;
    assert_true(w->n_mail < MAIL_MAX);
    struct letter *l = &w->mail[w->n_mail++];
    *l = (struct letter){.at_us = at, .from = from->id, .to = to->id};
    l->len = buf_len(&b);
    memcpy(l->bytes, buf_bytes(&b), l->len);
}

/* In the order they were sent: `mail` is in that order, and so are the times of
 * each direction. */
static void deliver(struct world *w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->n_mail; i++) {
        struct letter *l = &w->mail[i];
        struct node *to = &w->nodes[l->to - 1];
        if (l->at_us > w->now_us || (to->f != NULL && to->paused)) {
            if (kept != i)
                w->mail[kept] = *l;
            kept++;
            continue;
        }
        if (to->f == NULL || w->ways[l->from - 1][l->to - 1].cut)
            continue;
        int rc = failover_heard(to->f, l->from, bytes_of(l->bytes, l->len),
                                w->now_us + to->skew_us);
        assert_true(rc == ERR_OK || rc == ERR_STALE);
    }
    w->n_mail = kept;
}

static bool is_due(const struct world *w, const struct node *n, usec_t every)
{
    return (w->now_us + n->id * STEP_US) % every == 0;
}

static void step(struct world *w)
{
    w->now_us += STEP_US;
    deliver(w);
    for (uint32_t i = 0; i < w->n; i++) {
        struct node *n = &w->nodes[i];
        if (n->f == NULL || n->paused || !is_due(w, n, FAILOVER_TICK_US))
            continue;
        failover_tick(n->f, &n->self, w->now_us + n->skew_us);
        for (uint32_t j = 0; j < w->n && is_due(w, n, FAILOVER_GOSSIP_US); j++)
            if (j != i)
                post(w, n, &w->nodes[j]);
        if (n == w->observer)
            decide(w);
    }
}

static void start(struct world *w, struct node *n)
{
    if (n->f != NULL)
        return;
    n->f = failover_new(n->id, ++n->incarnation, NULL, w->now_us + n->skew_us);
    n->paused = false;
    assert_int_equal(
        failover_set_topology(n->f, &w->topology, w->now_us + n->skew_us),
        ERR_OK);
}

static void stop(struct world *w, struct node *n)
{
    (void)w;
    failover_free(n->f);
    n->f = NULL;
}

/* ---- commands ------------------------------------------------------------ */

typedef void command_fn(struct world *w, char **words);

static void add_region(struct world *w, char *word)
{
    struct failover_topology *t = &w->topology;
    uint32_t r = t->n_regions++;
    uint32_t voters = (uint32_t)atoi(strchr(word, '=') + 1);
    const char *plus = strchr(word, '+');
    uint32_t learners = plus != NULL ? (uint32_t)atoi(plus + 1) : 0;
    *strchr(word, '=') = 0;
    t->regions[r].number = (failover_region)(r + 1);
    snprintf(t->regions[r].name, sizeof(t->regions[r].name), "%s", word);
    w->group.regions[w->group.n_regions++] = t->regions[r].number;
    for (uint32_t i = 0; i < voters + learners; i++) {
        assert_true(w->n < NODES_MAX);
        struct node *n = &w->nodes[w->n++];
        *n = (struct node){.id = w->n, .region = t->regions[r].number};
        n->voter = i < voters;
        n->skew_us = w->n * 1234567;
        snprintf(n->name, sizeof(n->name), "%.4s%u", word, i + 1);
        struct failover_node *in = &t->nodes[t->n_nodes++];
        *in = (struct failover_node){n->id, n->region, n->voter, ""};
        memcpy(in->name, n->name, sizeof(n->name));
    }
}

static void do_cold(struct world *w, char **words)
{
    for (; *words != NULL; words++)
        add_region(w, *words);
    w->group.name = "default";
    w->group.write_region = 1;
    w->group.epoch = 1;
    w->group.settled = true;
    for (uint32_t i = 0; i < w->n; i++) {
        start(w, &w->nodes[i]);
        if (w->observer == NULL && w->nodes[i].region == 2)
            w->observer = &w->nodes[i];
    }
    if (w->observer == NULL)
        w->observer = &w->nodes[0];
}

static void do_cluster(struct world *w, char **words)
{
    do_cold(w, words);
    while (w->now_us < 8 * USEC_PER_SEC)
        step(w);
    buf_clear(&w->out);
}

static void do_observe(struct world *w, char **words)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (strcmp(w->nodes[i].name, words[0]) == 0)
            w->observer = &w->nodes[i];
}

static void do_priority(struct world *w, char **words)
{
    w->group.n_regions = 0;
    w->group.pinned = false;
    for (; *words != NULL; words++)
        w->group.regions[w->group.n_regions++] = region_of(w, *words);
}

static void do_group(struct world *w, char **words)
{
    for (; *words != NULL; words++) {
        char *value = strchr(*words, '=') + 1;
        bool yes = strcmp(value, "yes") == 0;
        if (strncmp(*words, "rule", 4) == 0)
            w->group.commit_rule = strcmp(value, "commit") == 0;
        else if (strncmp(*words, "failback", 8) == 0)
            w->group.failback = yes;
        else if (strncmp(*words, "pinned", 6) == 0)
            w->group.pinned = yes;
        else if (strncmp(*words, "obey", 4) == 0)
            w->obey = yes;
        else if (strncmp(*words, "settle", 6) == 0)
            w->settle_us = strcmp(value, "never") == 0
                               ? USEC_NEVER
                               : atoi(value) * USEC_PER_MS;
        else
            fail_msg("group %s", *words);
    }
}

static void do_voters(struct world *w, char **words)
{
    for (uint32_t i = 0; i < w->n; i++) {
        bool votes = false;
        for (char **word = words; *word != NULL; word++)
            votes |= is_named(w, &w->nodes[i], *word);
        w->topology.nodes[i].voter = votes;
    }
    for (uint32_t i = 0; i < w->n; i++)
        if (w->nodes[i].f != NULL)
            assert_int_equal(
                failover_set_topology(w->nodes[i].f, &w->topology,
                                      w->now_us + w->nodes[i].skew_us),
                ERR_OK);
}

static void do_switch(struct world *w, char **words)
{
    enum failover_verdict verdict;
    char why[FAILOVER_REASON_MAX];
    bool force = words[1] != NULL;
    failover_region to = region_of(w, words[0]);
    int rc = failover_check_switch(failover_health(w->observer->f), &w->group,
                                   to, force, &verdict, why);
    if (rc != ERR_OK) {
        say(w, "refused: %s: %s\n", failover_verdict_name(verdict), why);
        return;
    }
    struct failover_plan plan = {.action =
                                     force ? FAILOVER_FORCE : FAILOVER_MOVE,
                                 .to = to,
                                 .expected_epoch = w->group.epoch,
                                 .pinned = true,
                                 .n_down = w->group.n_down};
    memcpy(plan.down, w->group.down, sizeof(plan.down));
    commit(w, &plan);
}

static void do_run(struct world *w, char **words)
{
    usec_t end = w->now_us + (usec_t)(atof(words[0]) * USEC_PER_SEC);
    while (w->now_us < end)
        step(w);
}

typedef void node_fn(struct world *w, struct node *n);

static void each(struct world *w, char **words, node_fn *fn)
{
    for (; *words != NULL; words++)
        for (uint32_t i = 0; i < w->n; i++)
            if (is_named(w, &w->nodes[i], *words))
                fn(w, &w->nodes[i]);
}

static void pause_node(struct world *w, struct node *n)
{
    (void)w;
    n->paused = true;
}
static void resume_node(struct world *w, struct node *n)
{
    (void)w;
    n->paused = false;
}

static void do_kill(struct world *w, char **words)
{
    each(w, words, stop);
}
static void do_start(struct world *w, char **words)
{
    each(w, words, start);
}
static void do_pause(struct world *w, char **words)
{
    each(w, words, pause_node);
}
static void do_resume(struct world *w, char **words)
{
    each(w, words, resume_node);
}

/* Every way from a node named `from` to one named `to`. */
static void set_ways(struct world *w, const char *from, const char *to,
                     struct way value)
{
    for (uint32_t i = 0; i < w->n; i++)
        for (uint32_t j = 0; j < w->n; j++)
            if (is_named(w, &w->nodes[i], from) &&
                is_named(w, &w->nodes[j], to)) {
                value.last_us = w->ways[i][j].last_us;
                w->ways[i][j] = value;
            }
}

static void do_cut(struct world *w, char **words)
{
    set_ways(w, words[0], words[1], (struct way){.cut = true});
    set_ways(w, words[1], words[0], (struct way){.cut = true});
}
static void do_oneway(struct world *w, char **words)
{
    set_ways(w, words[0], words[1], (struct way){.cut = true});
}
static void do_slow(struct world *w, char **words)
{
    struct way way = {.delay_us = atoi(words[2]) * USEC_PER_MS,
                      .jitter_us = atoi(words[3]) * USEC_PER_MS};
    set_ways(w, words[0], words[1], way);
    set_ways(w, words[1], words[0], way);
}
static void do_heal(struct world *w, char **words)
{
    (void)words;
    for (uint32_t i = 0; i < w->n; i++)
        for (uint32_t j = 0; j < w->n; j++)
            w->ways[i][j] = (struct way){.last_us = w->ways[i][j].last_us};
}

static void set_self(struct world *w, const char *word,
                     struct failover_self self)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (is_named(w, &w->nodes[i], word))
            w->nodes[i].self = self;
}

static void do_stall(struct world *w, char **words)
{
    set_self(w, words[0],
             (struct failover_self){.disk_stall_ms = (uint32_t)atoi(words[1])});
}
static void do_full(struct world *w, char **words)
{
    set_self(w, words[0], (struct failover_self){.no_space = true});
}
static void do_drain(struct world *w, char **words)
{
    set_self(w, words[0], (struct failover_self){.draining = true});
}
static void do_behind(struct world *w, char **words)
{
    set_self(w, words[0],
             (struct failover_self){.behind_ms = (uint32_t)atoi(words[1])});
}
static void do_well(struct world *w, char **words)
{
    set_self(w, words[0], (struct failover_self){0});
}

static void do_status(struct world *w, char **words)
{
    const struct failover_health *h = failover_health(w->observer->f);
    struct failover_plan plan = plan_of(w, w->observer);
    char why[FAILOVER_REASON_MAX];
    (void)words;
    for (uint32_t i = 0; i < w->topology.n_regions; i++) {
        failover_region r = w->topology.regions[i].number;
        failover_health_reason(h, r, why);
        say(w, "%s %s: %s\n", name_of(w, r),
            failover_state_name(failover_health_region(h, r)->state), why);
    }
    say(w, "%s writes, epoch %u%s; down:", name_of(w, w->group.write_region),
        w->group.epoch, w->group.settled ? "" : ", not settled");
    for (uint32_t i = 0; i < w->group.n_down; i++)
        say(w, " %s", name_of(w, w->group.down[i]));
    say(w, "\n");
    if (plan.unavailable[0] != 0)
        say(w, "! %s\n", plan.unavailable);
}

static void do_ways(struct world *w, char **words)
{
    (void)words;
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->nodes[i].f == NULL)
            continue;
        const struct failover_health *h = failover_health(w->nodes[i].f);
        struct failover_node_health node;
        say(w, "%s:", w->nodes[i].name);
        for (uint32_t j = 0; failover_health_node(h, j, &node); j++) {
            bool fresh = node.age_ms * USEC_PER_MS <=
                         failover_health_timing(h)->reach_us;
            if (j != i)
                say(w, " %s%s%s", node.heard ? "" : "(", w->nodes[j].name,
                    fresh ? "" : "?");
            if (j != i && !node.heard)
                say(w, ")");
        }
        say(w, "\n");
    }
}

static void do_rank(struct world *w, char **words)
{
    static const char *const purposes[] = {"forced", "planned", "failback"};
    struct failover_ranking r;
    uint32_t purpose = 0;
    while (strcmp(purposes[purpose], words[0]) != 0)
        purpose++;
    failover_rank(failover_health(w->observer->f), &w->group,
                  (enum failover_purpose)purpose, &r);
    for (uint32_t i = 0; i < r.n; i++)
        say(w, "%s %s: %s\n", name_of(w, r.regions[i].region),
            failover_verdict_name(r.regions[i].verdict), r.regions[i].reason);
    if (r.chosen == 0)
        say(w, "%s\n", r.wait ? "wait" : "none");
}

static const struct {
    const char *name;
    command_fn *fn;
} commands[] = {
    {"cluster", do_cluster}, {"voters", do_voters}, {"cold", do_cold},
    {"observe", do_observe}, {"group", do_group},   {"priority", do_priority},
    {"switch", do_switch},   {"run", do_run},       {"kill", do_kill},
    {"start", do_start},     {"pause", do_pause},   {"resume", do_resume},
    {"cut", do_cut},         {"oneway", do_oneway}, {"slow", do_slow},
    {"heal", do_heal},       {"stall", do_stall},   {"full", do_full},
    {"drain", do_drain},     {"behind", do_behind}, {"well", do_well},
    {"status", do_status},   {"ways", do_ways},     {"rank", do_rank},
};

static void do_line(struct world *w, const char *line)
{
    char copy[256], *words[WORDS_MAX + 1] = {NULL}, *rest = copy;
    int n = 0;
    snprintf(copy, sizeof(copy), "%s", line);
    while (n < WORDS_MAX && (words[n] = strtok_r(rest, " ", &rest)) != NULL)
        n++;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, words[0]) == 0) {
            commands[i].fn(w, words + 1);
            return;
        }
    fail_msg("no command '%s'", line);
}

/* ---- files --------------------------------------------------------------- */

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot open %s; run it from the project's folder", path);
    char *text = mem_zalloc(OUT_MAX);
    size_t len = fread(text, 1, OUT_MAX - 1, f);
    fclose(f);
    text[len] = 0;
    return text;
}

/* Runs the script; appends it with what came of it to `as_run`. */
static void play(struct world *w, char *text, struct buf *as_run)
{
    bool expected = false; /* within the part after ---- */
    for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;) {
        if (expected && line[0] != 0)
            continue;
        if (rest == NULL && line[0] == 0)
            break;
        if (strcmp(line, "----") == 0) {
            expected = true;
            CHECK(buf_printf(as_run, "----\n%s", buf_cstr(&w->out)) == ERR_OK);
            buf_clear(&w->out);
            continue;
        }
        expected = false;
        CHECK(buf_printf(as_run, "%s\n", line) == ERR_OK);
        if (line[0] != 0 && line[0] != '#')
            do_line(w, line);
    }
}

static void scenario(void **state)
{
    char path[128];
    snprintf(path, sizeof(path), DATA_DIR "/%s", (const char *)*state);
    struct world *w = mem_zalloc(sizeof(*w));
    struct buf as_run;
    buf_init(&as_run, OUT_MAX);
    buf_init(&w->out, OUT_MAX);
    prng_seed(&w->prng, 1);
    w->obey = true;
    w->settle_us = 300 * USEC_PER_MS;
    w->carry_out_us = USEC_NEVER;

    char *text = read_text(path), *original = mem_strdup(text);
    play(w, text, &as_run);
    for (uint32_t i = 0; i < w->n; i++)
        stop(w, &w->nodes[i]);
    if (getenv("BASTIDE_REWRITE") != NULL) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(buf_cstr(&as_run), f);
        assert_int_equal(fclose(f), 0);
    } else if (strcmp(original, buf_cstr(&as_run)) != 0) {
        fail_msg("%s: the outcome changed; review with\n"
                 "  BASTIDE_REWRITE=1 <this program> && git diff %s",
                 path, DATA_DIR);
    }
    mem_free(text);
    mem_free(original);
    buf_free(&as_run);
    buf_free(&w->out);
    mem_free(w);
}

#define SCENARIO(file)                                                         \
    {                                                                          \
        .name = file, .test_func = scenario, .initial_state = (void *)file     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENARIO("region_lost.txt"),
        SCENARIO("several_lost.txt"),
        SCENARIO("several_lost_apart.txt"),
        SCENARIO("majority_lost.txt"),
        SCENARIO("one_way.txt"),
        SCENARIO("slow_region.txt"),
        SCENARIO("slow_single.txt"),
        SCENARIO("slow_all.txt"),
        SCENARIO("one_cannot_reach.txt"),
        SCENARIO("one_cannot_reach_9.txt"),
        SCENARIO("minority.txt"),
        SCENARIO("cold_start.txt"),
        SCENARIO("cold_start_without.txt"),
        SCENARIO("new_leader.txt"),
        SCENARIO("paused_controller.txt"),
        SCENARIO("paused_region.txt"),
        SCENARIO("restart.txt"),
        SCENARIO("flapping.txt"),
        SCENARIO("ill_disk.txt"),
        SCENARIO("escalation.txt"),
        SCENARIO("escalation_dies.txt"),
        SCENARIO("slow_switch.txt"),
        SCENARIO("planned_target_dies.txt"),
        SCENARIO("failback.txt"),
        SCENARIO("manual_switch.txt"),
        SCENARIO("split_region.txt"),
        SCENARIO("stopping.txt"),
        SCENARIO("strong.txt"),
        SCENARIO("learners.txt"),
        SCENARIO("two_regions.txt"),
        SCENARIO("fence.txt"),
        SCENARIO("recovered.txt"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
