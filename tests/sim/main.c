/* The simulator's command line. Speaks TAP.
 *
 *   sim [--seeds N] [--from S]      N seeds of each shape, from S on
 *   sim --seed S [--shape NAME]     one seed
 *   sim --replica shard             whole shards in place of the bare core
 *   sim -v                          with the trace
 *   sim --canary N                  succeeds if a violation is found within N
 *                                   seeds of each shape (for planted bugs)
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/check.h"
#include "tests/sim/world.h"

static const struct sim_shape shapes[] = {
    {.name = "3x1", .regions = 1, .per_region = 3},
    {.name = "3x1-storm", .regions = 1, .per_region = 3, .turbulent = true},
    {.name = "3x1-loss", .regions = 1, .per_region = 3, .forgetful = true},
    {.name = "3x1+2", .regions = 1, .per_region = 3, .spare = 2},
    {.name = "5x1+1", .regions = 1, .per_region = 5, .spare = 1},
    {.name = "1x3+3", .regions = 3, .per_region = 1, .spare = 3},
    {.name = "3x3", .regions = 3, .per_region = 3},
    {.name = "3x3+3", .regions = 3, .per_region = 3, .spare = 3},
};

/* How many of 100 seeds each shape gets: small ones are quick. */
static const unsigned share[ARRAY_LEN(shapes)] = {20, 18, 12, 12, 12, 10, 8, 8};

struct arguments {
    unsigned long long seeds;
    unsigned long long from;
    const char *shape;
    const char *replica;
    bool one;
    bool verbose;
    bool canary;
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
            "usage: sim [--seeds N] [--from S] [--seed S] "
            "[--shape NAME] [--replica raft|shard] [--canary N] [-v]\n");
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

static struct arguments parse(int argc, char **argv)
{
    struct arguments a = {.seeds = 100, .from = 1, .replica = "raft"};
    for (int i = 1; i < argc; i++) {
        const char *opt = argv[i];
        if (strcmp(opt, "-v") == 0) {
            a.verbose = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : NULL;
        if (strcmp(opt, "--shape") == 0 && value != NULL)
            a.shape = value;
        else if (strcmp(opt, "--replica") == 0 && value != NULL &&
                 (strcmp(value, "raft") == 0 || strcmp(value, "shard") == 0))
            a.replica = value;
        else if (strcmp(opt, "--seeds") == 0)
            a.seeds = number(value);
        else if (strcmp(opt, "--from") == 0)
            a.from = number(value);
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
    return a;
}

static bool run_one(const struct arguments *a, const struct sim_shape *shape,
                    unsigned long long seed, struct sim_result *total)
{
    struct sim_result r;
    snprintf(running, sizeof(running),
             "# a check aborted; rerun: make sim SEED=%llu SHAPE=%s "
             "REPLICA=%s V=1\nnot ok - aborted\n",
             seed, shape->name, a->replica);
    sim_run(strcmp(a->replica, "shard") == 0 ? &sim_replica_shard
                                             : &sim_replica_raft,
            shape, seed, a->verbose, &r);
    total->events += r.events;
    total->acked += r.acked;
    total->reads += r.reads;
    total->elections += r.elections;
    if (!r.ok)
        printf("# seed %llu of %s: %s\n# rerun: make sim SEED=%llu SHAPE=%s "
               "REPLICA=%s V=1\n",
               seed, shape->name, r.text, seed, shape->name, a->replica);
    return r.ok;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned long long seeds_of(const struct arguments *a, size_t shape)
{
    if (a->one || a->shape != NULL || a->canary)
        return a->seeds;
    return (a->seeds * share[shape] + 99) / 100;
}

/* Runs the shape's seeds; the number of violations. */
static unsigned run_shape(const struct arguments *a, size_t i, unsigned nr)
{
    const struct sim_shape *shape = &shapes[i];
    struct sim_result total = {.ok = true};
    unsigned bad = 0;
    unsigned long long n = seeds_of(a, i);
    unsigned long long done = 0;
    double start = seconds();
    for (; done < n && !(a->canary && bad > 0); done++)
        bad += !run_one(a, shape, a->from + done, &total);
    if (a->canary)
        return bad;
    double took = seconds() - start;
    printf("%s %u - %s %s: seeds %llu to %llu (%llu events, %llu acks, %llu "
           "reads, %llu elections, %.0f seeds/s)\n",
           bad == 0 ? "ok" : "not ok", nr, a->replica, shape->name, a->from,
           a->from + n - 1, (unsigned long long)total.events,
           (unsigned long long)total.acked, (unsigned long long)total.reads,
           (unsigned long long)total.elections,
           took > 0 ? (double)n / took : 0.0);
    fflush(stdout);
    return bad;
}

int main(int argc, char **argv)
{
    struct arguments a = parse(argc, argv);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    unsigned bad = 0;
    unsigned nr = 0;
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        if (a.shape != NULL && strcmp(a.shape, shapes[i].name) != 0)
            continue;
        bad += run_shape(&a, i, ++nr);
        if (a.canary && bad > 0)
            return 0;
    }
    if (nr == 0)
        usage();
    if (a.canary) {
        printf("# nothing found within %llu seeds of each shape\n", a.seeds);
        return 1;
    }
    printf("1..%u\n", nr);
    return bad == 0 ? 0 : 1;
}
