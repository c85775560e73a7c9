/* bastide fault run: plays a scenario against a running cluster, under its own
 * load, and judges what its clients saw.
 *
 *     read --> set up --> load and steps --> heal --> read everything --> judge
 *                               '--failure, Ctrl-C--^
 */
#include "node/cli/fault_run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/cli/cmd.h"
#include "node/cli/fault_judge.h"
#include "node/cli/fault_play.h"
#include "node/cli/fault_report.h"
#include "node/cli/fault_setup.h"
#include "node/cli/options.h"
#include "node/cli/shipped.h"

#define COMMAND "fault run"
#define SETUP_TIMEOUT_US (20 * USEC_PER_SEC)
/* A region that was lost several times in ten minutes is trusted late. */
#define WELL_PATIENCE_US (3 * USEC_PER_SEC)
#define WELL_TIMEOUT_US (300 * USEC_PER_SEC)
#define REJOINED_TIMEOUT_US (60 * USEC_PER_SEC)
#define LEVEL_TIMEOUT_US (15 * USEC_PER_SEC)
#define READ_TIMEOUT_US (30 * USEC_PER_SEC)
/* How long a lost write may take to come to the conflict feed. */
#define FEED_TIMEOUT_US (15 * USEC_PER_SEC)
#define FEED_POLL_US (300 * USEC_PER_MS)
#define AUDIT_PATH "audit?max=200"

static const char help[] =
    "Usage: bastide fault run SCENARIO [flags]\n"
    "       bastide fault run --list\n"
    "\n"
    "Plays a scenario against a running cluster: what is to fail, when, and "
    "what is\n"
    "expected of the cluster meanwhile. Clients of all regions read and write "
    "while\n"
    "it plays; in the end every acknowledged write is looked for, and what "
    "each read\n"
    "saw is checked against the rules of the consistency level. Whatever "
    "happens,\n"
    "the faults are cleared at the end, also after Ctrl-C.\n"
    "\n"
    "SCENARIO is a YAML file (docs/scenarios.md), or the name of one that "
    "comes with\n"
    "this program (--list). The nodes need the setting fault_injection: true. "
    "The\n"
    "load uses a container of its own in the database " FAULT_DATABASE ".\n"
    "\n"
    "  --dir DIR          a folder made by `bastide demo` or `bastide init` "
    "(default\n"
    "                     ./demo)\n"
    "  --list             the scenarios that come with this program\n"
    "  --dry-run          only print what would be done and expected\n"
    "  --print            only print the scenario's file\n"
    "  --duration SECONDS how long the load runs at least\n"
    "  --seed N           of the load (default: another each time)\n"
    "  --junit FILE       also write the verdicts as JUnit XML\n"
    "  --history FILE     also write everything that clients asked and heard, "
    "as JSON\n"
    "                     lines\n"
    "  -o text|json       how to print the result\n"
    "\n"
    "Examples:\n"
    "  bastide fault run lose-write-region\n"
    "  bastide fault run ./mine.yaml --dir demo --junit result.xml\n"
    "\n"
    "Exit code 0 when all expectations held, 1 when not.\n";

struct run_flags {
    const char *dir, *junit, *history;
    unsigned seed, duration_s;
    bool list, dry_run, print, json, help;
};

/* One run. Zeroed at first; release() accepts every stage. */
struct run {
    const struct run_flags *flags;
    struct scenario scenario;
    struct reach reach;
    struct fault_cluster cluster;
    struct bench_wire wire;
    char payload[FAULT_DOCUMENT_BYTES];
    char container[BENCH_NAME_MAX + 1];
    struct fault_ask *ask;
    struct fault_load_options load_options;
    struct fault_play play;
    struct topology before;
    struct consistency_policy policy; /* when the load begins */
    bool level_ordered;               /* that policy, of the account */
    struct fault_result result;
    /* "": nothing went wrong. */
    struct err_msg play_error, heal_error, read_error;
    const char *unwilling; /* a node without fault_injection */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* ---- the scenario -----------------------------------------------------------
 */

static const struct shipped_scenario *find_shipped(const char *name)
{
    for (const struct shipped_scenario *s = shipped_scenarios; s->name != NULL;
         s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

/* A name without a slash is one of ours; a file of that name comes second. */
static int read_scenario(const char *name, struct buf *text,
                         char path[PATH_MAX], struct err_msg *msg)
{
    const struct shipped_scenario *s =
        strchr(name, '/') == NULL ? find_shipped(name) : NULL;
    snprintf(path, PATH_MAX, s != NULL ? "%s.yaml" : "%s", name);
    if (s != NULL)
        return buf_append_str(text, s->text);
    int err = file_read(path, false, text, msg);
    return err == ERR_NOT_FOUND && strchr(name, '/') == NULL
               ? err_set(msg, err,
                         "there is no scenario and no file \"%s\"; bastide "
                         "fault run --list names the scenarios",
                         name)
               : err;
}

static int list(void)
{
    for (const struct shipped_scenario *s = shipped_scenarios; s->name != NULL;
         s++) {
        struct scenario scenario;
        struct err_msg msg;
        if (scenario_parse(s->name, bytes_str(s->text), &scenario, &msg) !=
            ERR_OK)
            return options_failed(COMMAND, msg.text);
        printf("%-22s %s\n", s->name, scenario.description);
        scenario_free(&scenario);
    }
    return CMD_OK;
}

static void print_plan(const struct scenario *s)
{
    char text[SCENARIO_SENTENCE_MAX];
    printf("%s: %s\nneeds %u regions, %u nodes in each%s%s\n"
           "%u clients, %u writes/s, %u reads/s, %u documents\n\nSteps\n",
           s->name, s->description, s->regions, s->nodes_per_region,
           s->has_policy ? ", level " : "",
           s->has_policy ? consistency_name(s->policy.level) : "", s->clients,
           s->writes_per_second, s->reads_per_second, s->documents);
    for (size_t i = 0; i < s->step_count; i++) {
        const struct scenario_step *t = &s->steps[i];
        scenario_describe_step(t, NULL, text);
        printf("  %s%6.2f s  %s\n", t->relative ? "+" : " ",
               (double)t->at_us / USEC_PER_SEC, text);
        if (t->writes_within_us > 0)
            printf("             writes succeed within %.2f s\n",
                   (double)t->writes_within_us / USEC_PER_SEC);
        if (t->reads_within_us > 0)
            printf("             reads succeed within %.2f s\n",
                   (double)t->reads_within_us / USEC_PER_SEC);
    }
    puts("\nExpectations");
    for (size_t i = 0; i < s->expect_count; i++) {
        scenario_describe_expect(&s->expects[i], NULL, text);
        printf("  %s\n", text);
    }
}

/* ---- setting up -------------------------------------------------------------
 */

static int check_needs(const struct run *r, struct err_msg *msg)
{
    const struct scenario *s = &r->scenario;
    unsigned least = UINT_MAX;
    for (unsigned i = 0; i < r->cluster.region_count; i++) {
        unsigned nodes = 0;
        for (unsigned k = 0; k < r->reach.node_count; k++)
            nodes += strcmp(r->reach.nodes[k].region,
                            r->cluster.regions[i].name) == 0;
        least = nodes < least ? nodes : least;
    }
    if (r->cluster.region_count < s->regions || least < s->nodes_per_region)
        return err_set(msg, ERR_PRECONDITION,
                       "it needs %u regions of %u nodes; the cluster has %u "
                       "of %u",
                       s->regions, s->nodes_per_region, r->cluster.region_count,
                       least);
    return ERR_OK;
}

static void hear_permission(void *user, unsigned node, int err,
                            const struct reach_answer *a,
                            const struct err_msg *why)
{
    (void)why;
    struct run *r = user;
    bool allowed = true;
    if (err == ERR_OK &&
        json_get_bool(&a->json, 0, "fault_injection", &allowed) == ERR_OK &&
        !allowed)
        r->unwilling = r->reach.nodes[node].name;
}

/* Not every step is a fault that the nodes would refuse: switches, levels,
 * renewals are no less for clusters of tests only. */
static int check_permission(struct run *r, struct err_msg *msg)
{
    reach_each(&r->reach, "GET", "faults", NULL, REACH_ASK_TIMEOUT_US,
               hear_permission, r);
    return r->unwilling == NULL
               ? ERR_OK
               : err_set(msg, ERR_FORBIDDEN,
                         "%s has no fault_injection: true, so this cluster is "
                         "not one to play scenarios on; nothing was done",
                         r->unwilling);
}

/* Names that no run before has used, so that every document is missing at
 * first. */
static int make_wire(struct run *r, struct err_msg *msg)
{
    uint32_t random;
    memset(r->payload, 'x', sizeof(r->payload));
    rng_fill(&random, sizeof(random));
    snprintf(r->container, sizeof(r->container), "%s-%08x", r->scenario.name,
             random);
    snprintf(r->play.run, sizeof(r->play.run), "run-%08x", random);
    return bench_wire_init(&r->wire, FAULT_DATABASE, r->container,
                           FAULT_DOCUMENT_BYTES, r->payload, msg);
}

/* Every region has to be up before anything is done to it. */
static int wait_for_rest(struct run *r, struct err_msg *msg)
{
    struct err_msg why;
    int err = fault_play_wait_well(&r->play, WELL_PATIENCE_US, &why);
    if (err != ERR_TIMEOUT)
        return err == ERR_OK ? ERR_OK : err_set(msg, err, "%s", why.text);
    fprintf(stderr,
            "bastide " COMMAND ": waiting for at most %lld s until %s\n",
            (long long)(WELL_TIMEOUT_US / USEC_PER_SEC), why.text);
    return fault_play_wait_well(&r->play, WELL_TIMEOUT_US, msg);
}

/* What the scenario needs, or what there is. */
static int set_policy(struct run *r, struct err_msg *msg)
{
    struct consistency_policy now = fault_play_policy_of(&r->before);
    r->policy = r->scenario.has_policy
                    ? consistency_over(&now, &r->scenario.policy)
                    : now;
    r->level_ordered = !consistency_same(&r->policy, &now);
    return r->level_ordered
               ? fault_play_level(&r->play, &r->policy, LEVEL_TIMEOUT_US, msg)
               : ERR_OK;
}

static int set_up(struct run *r, struct err_msg *msg)
{
    const char *dir = r->flags->dir != NULL ? r->flags->dir : "demo";
    const struct reach_flags reach = {.dir = dir};
    int err = make_wire(r, msg);
    if (err == ERR_OK)
        err = fault_setup_read(dir, &r->cluster, &r->wire.key, msg);
    if (err == ERR_OK)
        err = reach_open(&reach, &r->reach, msg);
    if (err == ERR_OK)
        err = check_needs(r, msg);
    if (err == ERR_OK)
        err = check_permission(r, msg);
    if (err == ERR_OK)
        err = fault_ask_new(r->cluster.ca, &r->ask, msg);
    if (err != ERR_OK)
        return err;
    r->play.scenario = &r->scenario;
    r->play.dir = dir;
    r->play.key = &r->wire.key;
    r->play.reach = &r->reach;
    r->play.stop = &interrupted;
    r->play.watch = fault_watch_start(&r->reach, clock_mono_us());
    err = wait_for_rest(r, msg);
    if (err == ERR_OK)
        err = topology_get(&r->reach, NULL, &r->before, msg);
    if (err == ERR_OK)
        err = set_policy(r, msg);
    if (err == ERR_OK)
        err = fault_setup_make(r->ask, &r->cluster, &r->wire, SETUP_TIMEOUT_US,
                               msg);
    if (err == ERR_OK)
        fault_play_names(&r->reach, &r->before, &r->play.names);
    return err;
}

/* ---- playing ----------------------------------------------------------------
 */

static int start_load(struct run *r, struct err_msg *msg)
{
    const struct scenario *s = &r->scenario;
    r->load_options.cluster = &r->cluster;
    r->load_options.wire = &r->wire;
    r->load_options.clients = s->clients;
    r->load_options.documents = s->documents;
    r->load_options.writes_per_second = s->writes_per_second;
    r->load_options.reads_per_second = s->reads_per_second;
    r->load_options.level = r->policy.level;
    int err = fault_load_start(&r->load_options, &r->play.load, msg);
    if (err != ERR_OK)
        return err;
    /* From here on notes count from the load's beginning. */
    fault_watch_free(r->play.watch);
    r->play.watch = fault_watch_start(
        &r->reach, clock_mono_us() - fault_load_now(r->play.load));
    fault_play_promise_first(&r->play, &r->policy);
    return ERR_OK;
}

static const char *address_of(const struct run *r, const char *region)
{
    for (unsigned i = 0; i < r->cluster.region_count; i++)
        if (strcmp(r->cluster.regions[i].name, region) == 0)
            return r->cluster.regions[i].address;
    return r->cluster.account;
}

/* Every change of the write region that the audit knows of: "epoch 7, write
 * region b, ..., forced". */
static int learn_switches(struct run *r, struct observed *h,
                          struct err_msg *msg)
{
    struct reach_answer a;
    char text[512];
    unsigned epoch;
    reach_answer_init(&a);
    int err = reach_any(&r->reach, AUDIT_PATH, NULL, REACH_CHANGE_TIMEOUT_US,
                        &a, msg);
    json_ref list =
        err == ERR_OK ? json_get_str(&a.json, 0, "records") : JSON_NONE;
    for (json_ref c = list != JSON_NONE ? json_first(&a.json, list) : JSON_NONE;
         c != JSON_NONE; c = json_next(&a.json, list, c)) {
        topology_get_text(&a.json, c, "after", text, sizeof(text));
        if (sscanf(text, "epoch %u,", &epoch) == 1)
            observed_switch(h, &(struct hist_switch){
                                   .epoch = epoch,
                                   .forced = strstr(text, ", forced") != NULL});
    }
    reach_answer_free(&a);
    return err;
}

/* Reads the feed until it has all that was lost, or time is up. */
static int read_feed(struct run *r, const char *address, struct observed *h,
                     struct err_msg *msg)
{
    usec_t until_us = clock_mono_us() + FEED_TIMEOUT_US;
    struct observed_loss loss;
    char why[VERDICT_TEXT_MAX];
    for (;;) {
        int err = fault_setup_read_conflicts(r->ask, address, &r->wire, h, msg);
        if (err == ERR_OK) {
            (void)observed_survival(h, &loss, why);
            if (loss.in_feed >= loss.entries)
                return ERR_OK;
        }
        if (clock_mono_us() > until_us)
            return err;
        usleep(FEED_POLL_US);
    }
}

static void read_end(struct run *r, struct topology *now)
{
    struct observed *h = fault_load_history(r->play.load);
    struct buf tokens;
    struct err_msg why = {""}; /* of an attempt that was repeated, perhaps */
    const char *address = address_of(r, now->write_region);
    buf_init(&tokens, FAULT_RANGES_MAX * 128);
    for (size_t i = 0; i < r->play.promise_count; i++)
        observed_promise(h, &r->play.promises[i]);
    int err = learn_switches(r, h, &why);
    fault_load_tokens(r->play.load, &tokens);
    if (err == ERR_OK)
        err =
            fault_setup_read_ends(r->ask, address, &r->wire,
                                  buf_len(&tokens) > 0 ? buf_cstr(&tokens) : "",
                                  READ_TIMEOUT_US, h, &why);
    if (err == ERR_OK)
        err = read_feed(r, address, h, &why);
    if (err != ERR_OK)
        r->read_error = why;
    buf_free(&tokens);
}

/* Undoes what was done; the cluster must then come to rest by itself. What was
 * interrupted is healed all the same. */
static void heal(struct run *r)
{
    struct err_msg why = {""};
    bool was_interrupted = interrupted;
    interrupted = 0;
    int err = fault_play_heal(&r->play, &why);
    if (err == ERR_OK)
        err = fault_play_wait_rejoined(&r->play, REJOINED_TIMEOUT_US, &why);
    if (err != ERR_OK)
        r->heal_error = why;
    interrupted = interrupted || was_interrupted;
}

/* Bounds can only be changed at the level that uses them. */
static int restore_policy(struct run *r, struct consistency_policy now,
                          struct err_msg *msg)
{
    struct consistency_policy before = fault_play_policy_of(&r->before);
    struct consistency_policy had = now, bounds = before;
    int err = ERR_OK;
    had.level = bounds.level = CONSISTENCY_BOUNDED;
    if (!consistency_same(&had, &bounds)) {
        err = fault_play_level(&r->play, &bounds, LEVEL_TIMEOUT_US, msg);
        now = bounds;
    }
    return err != ERR_OK || consistency_same(&now, &before)
               ? err
               : fault_play_level(&r->play, &before, LEVEL_TIMEOUT_US, msg);
}

static void tell_left(int err, const struct err_msg *why)
{
    if (err != ERR_OK)
        fprintf(stderr, "bastide " COMMAND ": not all is as before: %s\n",
                why->text);
}

/* Level and write region as they were before. */
static void restore(struct run *r)
{
    struct fault_view v;
    struct err_msg why = {""};
    int err = ERR_OK;
    fault_watch_view(r->play.watch, &v);
    r->play.load = NULL; /* no promises any more */
    interrupted = 0;
    if (r->play.moved && v.known &&
        strcmp(v.newest.write_region, r->before.write_region) != 0)
        err = fault_play_switch(&r->play, r->before.write_region,
                                LEVEL_TIMEOUT_US, &why);
    fault_watch_view(r->play.watch, &v);
    if (err == ERR_OK && v.known)
        err = restore_policy(r, fault_play_policy_of(&v.newest), &why);
    tell_left(err, &why);
}

/* After a set-up that failed: the level was ordered and may come to hold any
 * moment, so what can be seen now does not count. */
static void undo_set_up(struct run *r)
{
    struct err_msg why = {""};
    interrupted = 0;
    if (r->level_ordered)
        tell_left(restore_policy(r, r->policy, &why), &why);
}

/* ---- telling ----------------------------------------------------------------
 */

static int write_files(const struct run *r, const struct fault_report *report,
                       struct err_msg *msg)
{
    int err = ERR_OK;
    if (r->flags->junit != NULL)
        err = fault_report_junit(r->flags->junit, report, msg);
    if (err == ERR_OK && r->flags->history != NULL)
        err = fault_report_history(r->flags->history, report, msg);
    return err;
}

static int tell(struct run *r, struct fault_load *load, usec_t end_us,
                const struct topology *now)
{
    char where[2 * BENCH_NAME_MAX + 2];
    struct err_msg msg;
    struct fault_record record = {
        .scenario = &r->scenario,
        .names = &r->play.names,
        .cluster = &r->cluster,
        .clients = r->scenario.clients,
        .step_us = r->play.step_us,
        .end_us = end_us,
        .history = fault_load_history(load),
        .play_error = r->play_error.text,
        .heal_error = r->heal_error.text,
        .read_error = r->read_error.text,
    };
    struct fault_report report = {.record = &record,
                                  .result = &r->result,
                                  .seed = r->load_options.seed,
                                  .container = where};
    record.failures = fault_load_failures(load, &record.failure_count);
    strcpy(record.write_region, now->write_region);
    snprintf(where, sizeof(where), "%s/%s", FAULT_DATABASE, r->container);
    fault_watch_stop(r->play.watch);
    report.notes = fault_watch_notes(r->play.watch, &report.note_count);
    fault_judge(&record, &r->result);
    if (r->flags->json)
        fault_report_json(stdout, &report);
    else
        fault_report_text(stdout, &report);
    if (write_files(r, &report, &msg) != ERR_OK)
        return options_failed(COMMAND, msg.text);
    return r->result.held ? CMD_OK : CMD_FAILED;
}

static int play(struct run *r)
{
    struct err_msg msg;
    struct fault_load *load = r->play.load;
    struct fault_view end;
    r->play_error.text[0] = '\0';
    if (fault_play_run(&r->play, &msg) != ERR_OK)
        r->play_error = msg;
    usec_t end_us = fault_load_now(load);
    fault_load_stop(load);
    heal(r);
    fault_watch_view(r->play.watch, &end);
    read_end(r, &end.newest);
    restore(r);
    int code = tell(r, load, end_us, &end.newest);
    if (code == CMD_OK)
        fault_setup_drop(r->ask, &r->cluster, &r->wire);
    fault_load_free(load);
    return code;
}

static void release(struct run *r)
{
    fault_watch_free(r->play.watch);
    fault_ask_free(r->ask);
    reach_close(&r->reach);
    scenario_free(&r->scenario);
    mem_wipe(&r->wire.key, sizeof(r->wire.key));
    mem_free(r);
}

static void catch_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    struct sigaction hangup;
    CHECK(sigaction(SIGINT, &action, NULL) == 0);
    CHECK(sigaction(SIGTERM, &action, NULL) == 0);
    CHECK(sigaction(SIGHUP, NULL, &hangup) == 0);
    if (hangup.sa_handler != SIG_IGN) /* as nohup wants it */
        CHECK(sigaction(SIGHUP, &action, NULL) == 0);
}

static int run_scenario(const struct run_flags *f, struct scenario *s)
{
    struct run *r = mem_zalloc(sizeof(*r));
    struct err_msg msg;
    uint32_t random;
    rng_fill(&random, sizeof(random));
    r->flags = f;
    r->scenario = *s;
    r->load_options.seed = f->seed != 0 ? f->seed : random;
    if (f->duration_s * USEC_PER_SEC > r->scenario.duration_us)
        r->scenario.duration_us = f->duration_s * USEC_PER_SEC;
    catch_signals();
    int code;
    if (set_up(r, &msg) == ERR_OK && start_load(r, &msg) == ERR_OK)
        code = play(r);
    else {
        code = options_failed(COMMAND, msg.text);
        undo_set_up(r);
    }
    release(r);
    return code;
}

static int run_named(const struct run_flags *f, const char *name)
{
    struct buf text;
    struct scenario scenario;
    struct err_msg msg;
    char path[PATH_MAX];
    buf_init(&text, SCENARIO_FILE_MAX + 1);
    int err = read_scenario(name, &text, path, &msg);
    if (err == ERR_OK && f->print)
        fputs(buf_cstr(&text), stdout);
    else if (err == ERR_OK)
        err = scenario_parse(path, bytes_of(buf_bytes(&text), buf_len(&text)),
                             &scenario, &msg);
    buf_free(&text);
    if (err != ERR_OK) {
        options_failed(COMMAND, msg.text);
        return CMD_USAGE;
    }
    if (f->print)
        return CMD_OK;
    if (!f->dry_run)
        return run_scenario(f, &scenario);
    print_plan(&scenario);
    scenario_free(&scenario);
    return CMD_OK;
}

int fault_run(int argc, char **argv)
{
    struct run_flags f = {.dir = NULL};
    const struct option_spec specs[] = {
        {.name = "dir", .kind = OPTION_TEXT, .value = &f.dir},
        {.name = "list", .kind = OPTION_FLAG, .value = &f.list},
        {.name = "dry-run", .kind = OPTION_FLAG, .value = &f.dry_run},
        {.name = "print", .kind = OPTION_FLAG, .value = &f.print},
        {.name = "duration",
         .kind = OPTION_NUMBER,
         .value = &f.duration_s,
         .min = 1,
         .max = 3600},
        {.name = "seed",
         .kind = OPTION_NUMBER,
         .value = &f.seed,
         .min = 1,
         .max = UINT_MAX},
        {.name = "junit", .kind = OPTION_TEXT, .value = &f.junit},
        {.name = "history", .kind = OPTION_TEXT, .value = &f.history},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &f.json},
        {.name = "help", .kind = OPTION_FLAG, .value = &f.help}};
    char **words;
    unsigned count;
    int code = options_parse(COMMAND, argc, argv, specs, ARRAY_LEN(specs), 1,
                             &words, &count);
    if (code != CMD_OK)
        return code;
    if (f.help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    if (f.list)
        return count == 0 ? list()
                          : options_refuse(COMMAND, "--list takes no scenario");
    if (count == 0)
        return options_refuse(COMMAND, "which scenario? --list names those "
                                       "that come with this program");
    return run_named(&f, words[0]);
}
