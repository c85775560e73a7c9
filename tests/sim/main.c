/* The simulator's command line. Speaks TAP.
 *
 *   sim [--seeds N] [--from S]      N seeds of each shape, from S on
 *   sim --seed S [--shape NAME]     one seed
 *   sim --replica raft|shard|site   the bare core; whole shards; whole sites
 *   sim --jobs N                    that many processes share the seeds
 *   sim -v, -vv                     with the story; with every decision
 *
 * Where it is built with planted bugs (plant.h):
 *   sim --plants                    names them
 *   sim --plant NAME --canary N --expect TEXT
 *                                   with that bug; succeeds if a violation that
 *                                   matches the regular expression is found
 *                                   within N seeds of each shape
 */
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node/base/check.h"
#include "tests/sim/main.h"
#include "tests/sim/site/site.h"
#include "tests/sim/world.h"

/* A shape's name is regions x voters in each; + spare nodes, or learners. */
struct shape {
    const char *name;
    unsigned share; /* how many of 100 seeds it gets: small ones are quick */
    struct sim_shape group;
    struct site_shape site;
};

#define GROUP(text, percent, ...)                                              \
    {                                                                          \
        .name = text, .share = percent, .group = {.name = text, __VA_ARGS__ }  \
    }
static const struct shape group_shapes[] = {
    GROUP("1x3", 20, .regions = 1, .per_region = 3),
    GROUP("1x3-storm", 18, .regions = 1, .per_region = 3, .turbulent = true),
    GROUP("1x3-loss", 12, .regions = 1, .per_region = 3, .forgetful = true),
    GROUP("2x1-loss", 8, .regions = 2, .per_region = 1, .forgetful = true),
    GROUP("1x3+2", 8, .regions = 1, .per_region = 3, .spare = 2),
    GROUP("1x3+2-loss", 4, .regions = 1, .per_region = 3, .spare = 2,
          .forgetful = true),
    GROUP("1x5+1", 12, .regions = 1, .per_region = 5, .spare = 1),
    GROUP("3x1+3", 10, .regions = 3, .per_region = 1, .spare = 3),
    GROUP("3x3", 8, .regions = 3, .per_region = 3),
    GROUP("3x3+3", 8, .regions = 3, .per_region = 3, .spare = 3),
    GROUP("2x1+w", 8, .regions = 2, .per_region = 1, .witness = true),
    GROUP("2x3+w", 6, .regions = 2, .per_region = 3, .witness = true),
    GROUP("3x1+w", 6, .regions = 3, .per_region = 1, .witness = true),
    GROUP("2x1+lw", 5, .regions = 2, .per_region = 1, .witness = true,
          .late = true),
    GROUP("2x3+lw", 3, .regions = 2, .per_region = 3, .witness = true,
          .late = true),
};

#define SITE(text, percent, ...)                                               \
    {                                                                          \
        .name = text, .share = percent, .site = {.name = text, __VA_ARGS__ }   \
    }
static const struct shape site_shapes[] = {
    SITE("3x1", 60, .regions = 3, .voters = 1),
    SITE("5x1", 16, .regions = 5, .voters = 1),
    SITE("3x3", 12, .regions = 3, .voters = 3),
    SITE("2x3+2", 12, .regions = 2, .voters = 3, .learners = 1),
    SITE("2x1+w", 16, .regions = 2, .voters = 1, .witness = true),
    SITE("2x3+w", 8, .regions = 2, .voters = 3, .witness = true),
};

struct arguments {
    unsigned long long seeds;
    unsigned long long from;
    const char *shape;
    const char *replica;
    unsigned jobs;
    bool one;
    int loud;
    bool canary;
    regex_t expect;
};

static char running[160];

/* A contract check in the code under test aborts, or worse: say which seed it
 * was. */
static void on_abort(int sig)
{
    (void)sig;
    ssize_t n = write(STDOUT_FILENO, running, strlen(running));
    (void)n;
    _exit(3);
}

static void usage(void)
{
    fprintf(stderr,
            "usage: sim [--seeds N] [--from S] [--seed S] [--shape NAME] "
            "[--replica raft|shard|site] [--jobs N] [--canary N] [-v|-vv]\n");
    exit(2);
}

static unsigned long long number(const char *text)
{
    char *end = NULL;
    unsigned long long v = text != NULL ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || end == text)
        usage();
    return v;
}

static bool is_site(const struct arguments *a)
{
    return strcmp(a->replica, "site") == 0;
}

#ifndef SIM_PLANTS
bool sim_plant(const char *name)
{
    (void)name;
    return false;
}

void sim_print_plants(void)
{
}
#endif

static void check_replica(const char *name)
{
    if (strcmp(name, "raft") != 0 && strcmp(name, "shard") != 0 &&
        strcmp(name, "site") != 0)
        usage();
}

static struct arguments parse(int argc, char **argv)
{
    struct arguments a = {
        .seeds = 100, .from = 1, .replica = "raft", .jobs = 1};
    const char *expect = ".";
    for (int i = 1; i < argc; i++) {
        const char *opt = argv[i];
        if (strcmp(opt, "-v") == 0 || strcmp(opt, "-vv") == 0) {
            a.loud = opt[2] == 'v' ? 2 : 1;
            continue;
        }
        if (strcmp(opt, "--plants") == 0) {
            sim_print_plants();
            exit(0);
        }
        const char *value = i + 1 < argc ? argv[++i] : NULL;
        if (strcmp(opt, "--shape") == 0 && value != NULL)
            a.shape = value;
        else if (strcmp(opt, "--replica") == 0 && value != NULL)
            a.replica = value;
        else if (strcmp(opt, "--plant") == 0 && value != NULL &&
                 sim_plant(value))
            continue;
        else if (strcmp(opt, "--expect") == 0 && value != NULL)
            expect = value;
        else if (strcmp(opt, "--seeds") == 0)
            a.seeds = number(value);
        else if (strcmp(opt, "--from") == 0)
            a.from = number(value);
        else if (strcmp(opt, "--jobs") == 0)
            a.jobs = (unsigned)number(value);
        else if (strcmp(opt, "--seed") == 0) {
            a.from = number(value);
            a.seeds = 1;
            a.one = true;
        } else if (strcmp(opt, "--canary") == 0) {
            a.seeds = number(value);
            a.canary = true;
        } else
            usage();
    }
    check_replica(a.replica);
    if (regcomp(&a.expect, expect, REG_EXTENDED | REG_NOSUB) != 0 ||
        a.jobs == 0 || a.jobs > 256)
        usage();
    return a;
}

/* ---- running ----------------------------------------------------------------
 */

struct total {
    unsigned long long bad, events, acked, reads, elections, drills, conflicts;
    unsigned long long failovers, late;
    long long failover_us; /* the longest */
};

/* Of a hundred failovers, one may take longer. */
#define FAILOVER_P99_US (5 * USEC_PER_SEC)

static void add(struct total *t, const struct total *more)
{
    t->bad += more->bad;
    t->events += more->events;
    t->acked += more->acked;
    t->reads += more->reads;
    t->elections += more->elections;
    t->drills += more->drills;
    t->conflicts += more->conflicts;
    t->failovers += more->failovers;
    t->late += more->late;
    if (more->failover_us > t->failover_us)
        t->failover_us = more->failover_us;
}

static void run_one(const struct arguments *a, const struct shape *shape,
                    unsigned long long seed, struct total *total)
{
    struct sim_result r;
    snprintf(running, sizeof(running),
             "# a check aborted; rerun: make sim SEED=%llu SHAPE=%s "
             "REPLICA=%s V=1\nnot ok - aborted\n",
             seed, shape->name, a->replica);
    if (is_site(a))
        site_run(&shape->site, seed, a->loud, &r);
    else
        sim_run(strcmp(a->replica, "shard") == 0 ? &sim_replica_shard
                                                 : &sim_replica_raft,
                &shape->group, seed, a->loud > 0, &r);
    if (a->canary && !r.ok && regexec(&a->expect, r.text, 0, NULL, 0) != 0)
        return; /* something else */
    add(total, &(struct total){.bad = !r.ok,
                               .events = r.events,
                               .acked = r.acked,
                               .reads = r.reads,
                               .elections = r.elections,
                               .drills = r.drills,
                               .conflicts = r.conflicts,
                               .failovers = r.failed_over,
                               .late = r.failover_us > FAILOVER_P99_US,
                               .failover_us = r.failover_us});
    if (r.failover_us > FAILOVER_P99_US && !a->canary)
        printf("# seed %llu of %s: writes were possible again after %.2f s\n",
               seed, shape->name, (double)r.failover_us / 1e6);
    if (!r.ok)
        printf("# seed %llu of %s: %s\n# rerun: make sim SEED=%llu SHAPE=%s "
               "REPLICA=%s V=1\n",
               seed, shape->name, r.text, seed, shape->name, a->replica);
}

/* Every `jobs`-th seed. */
static struct total run_part(const struct arguments *a,
                             const struct shape *shape, unsigned long long n,
                             unsigned part)
{
    struct total t = {0};
    for (unsigned long long i = part; i < n; i += a->jobs) {
        run_one(a, shape, a->from + i, &t);
        if (a->canary && t.bad > 0)
            break;
    }
    return t;
}

/* A process for each part; their totals come through pipes. One that ends
 * without has said why. */
static struct total run_parts(const struct arguments *a,
                              const struct shape *shape, unsigned long long n)
{
    int pipes[256];
    pid_t children[256];
    fflush(stdout);
    for (unsigned i = 0; i < a->jobs; i++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            struct total t = run_part(a, shape, n, i);
            fflush(stdout);
            _exit(write(ends[1], &t, sizeof(t)) == sizeof(t) ? 0 : 1);
        }
        close(ends[1]);
        pipes[i] = ends[0];
    }
    struct total all = {0};
    for (unsigned i = 0; i < a->jobs; i++) {
        struct total t;
        if (read(pipes[i], &t, sizeof(t)) == sizeof(t))
            add(&all, &t);
        else
            all.bad++;
        close(pipes[i]);
        waitpid(children[i], NULL, 0);
    }
    return all;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned long long seeds_of(const struct arguments *a,
                                   const struct shape *shape)
{
    if (a->one || a->shape != NULL || a->canary)
        return a->seeds;
    return (a->seeds * shape->share + 99) / 100;
}

/* Runs the shape's seeds; the number of violations. */
static unsigned long long run_shape(const struct arguments *a,
                                    const struct shape *shape, unsigned nr)
{
    unsigned long long n = seeds_of(a, shape);
    double start = seconds();
    struct total t =
        a->jobs == 1 ? run_part(a, shape, n, 0) : run_parts(a, shape, n);
    if (a->canary)
        return t.bad;
    t.bad += t.late > (t.failovers + 99) / 100;
    double took = seconds() - start;
    printf("%s %u - %s %s: seeds %llu to %llu (%llu events, %llu acks, %llu "
           "reads, %llu elections",
           t.bad == 0 ? "ok" : "not ok", nr, a->replica, shape->name, a->from,
           a->from + n - 1, t.events, t.acked, t.reads, t.elections);
    if (shape->group.witness)
        printf(", %llu regions done without", t.drills);
    if (is_site(a))
        printf(", %llu conflicts, %llu failovers, %llu of them in more than "
               "5 s, longest %.2f s",
               t.conflicts, t.failovers, t.late, (double)t.failover_us / 1e6);
    printf(", %.0f seeds/s)\n", took > 0 ? (double)n / took : 0.0);
    fflush(stdout);
    return t.bad;
}

int main(int argc, char **argv)
{
    struct arguments a = parse(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    const struct shape *shapes = is_site(&a) ? site_shapes : group_shapes;
    size_t n = is_site(&a) ? ARRAY_LEN(site_shapes) : ARRAY_LEN(group_shapes);
    unsigned long long bad = 0;
    unsigned nr = 0;
    for (size_t i = 0; i < n; i++) {
        if (a.shape != NULL && strcmp(a.shape, shapes[i].name) != 0)
            continue;
        bad += run_shape(&a, &shapes[i], ++nr);
        if (a.canary && bad > 0)
            break;
    }
    regfree(&a.expect);
    if (nr == 0)
        usage();
    if (a.canary && bad > 0)
        return 0;
    if (a.canary) {
        printf("# nothing found within %llu seeds of each shape\n", a.seeds);
        return 1;
    }
    printf("1..%u\n", nr);
    return bad == 0 ? 0 : 1;
}
