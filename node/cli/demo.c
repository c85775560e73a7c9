/* bastide demo: a local cluster, one process per node. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/cli/cluster_file.h"
#include "node/cli/cmd.h"
#include "node/cli/create.h"
#include "node/cli/demo_text.h"
#include "node/cli/options.h"
#include "node/cli/ports.h"
#include "node/cli/process.h"
#include "node/cli/supervise.h"

#define CLUSTER_NAME "demo"
#define DEFAULT_REGIONS "eastus,westeurope,southeastasia"
#define LOG_NAME "demo.log"
#define CLUSTER_FILE_MAX (1 << 20)
#define POLL_US (20 * 1000)
#define OUTSIDE_POLL_US (500 * USEC_PER_MS)

struct demo_flags {
    const char *dir, *regions, *start, *latency, *consistency;
    unsigned nodes_per_region, shards, base_port; /* 0 = not given */
    bool base_auto, detach, stop, rebuild, yes, json, help;
};

/* A folder that is locked, made, and loaded. */
struct demo {
    const struct demo_flags *flags;
    char dir[PATH_MAX]; /* absolute */
    struct layout layout;
    struct config_account_keys keys;
    int lock_fd;
    int done_fd; /* detached: where the launcher waits for a word; else -1 */
};

/* ---- flags ------------------------------------------------------------------
 */

static int check_flags(const struct demo_flags *f)
{
    bool makes = f->regions != NULL || f->nodes_per_region != 0 ||
                 f->shards != 0 || f->base_port != 0 || f->base_auto ||
                 f->detach || f->latency != NULL || f->consistency != NULL;
    if (f->stop && f->start != NULL)
        return options_refuse("demo", "--stop and --start exclude each other");
    if (f->rebuild && f->start == NULL)
        return options_refuse("demo", "--rebuild goes with --start NODE");
    if (f->yes && !f->rebuild)
        return options_refuse("demo", "--yes goes with --rebuild");
    if (makes && (f->stop || f->start != NULL))
        return options_refuse("demo", "%s takes only --dir and -o",
                              f->stop ? "--stop" : "--start");
    return CMD_OK;
}

static bool read_base_port(const char *text, void *value)
{
    struct demo_flags *f = value;
    f->base_auto = strcmp(text, "auto") == 0;
    return f->base_auto ||
           options_number(text, 1, LAYOUT_BASE_PORT_MAX, &f->base_port);
}

static bool read_latency(const char *text, void *value)
{
    struct demo_flags *f = value;
    struct config_latencies list = {.count = 0};
    f->latency = text;
    bool ok = config_parse_latencies(text, &list, NULL) == ERR_OK;
    config_latencies_free(&list);
    return ok;
}

static bool read_consistency(const char *text, void *value)
{
    struct demo_flags *f = value;
    struct config_consistency level;
    f->consistency = text;
    return config_parse_consistency(text, &level, NULL) == ERR_OK;
}

static int parse_flags(int argc, char **argv, struct demo_flags *f)
{
    const struct option_spec specs[] = {
        {.name = "dir", .kind = OPTION_TEXT, .value = &f->dir},
        {.name = "regions", .kind = OPTION_TEXT, .value = &f->regions},
        {.name = "nodes-per-region",
         .kind = OPTION_NUMBER,
         .value = &f->nodes_per_region,
         .min = 1,
         .max = LAYOUT_NODES_PER_REGION_MAX},
        {.name = "shards",
         .kind = OPTION_NUMBER,
         .value = &f->shards,
         .min = 1,
         .max = CONFIG_SHARDS_MAX},
        {.name = "base-port",
         .kind = OPTION_OTHER,
         .value = f,
         .read = read_base_port,
         .expected = "a port with room above it, or auto"},
        {.name = "detach", .kind = OPTION_FLAG, .value = &f->detach},
        {.name = "start", .kind = OPTION_TEXT, .value = &f->start},
        {.name = "stop", .kind = OPTION_FLAG, .value = &f->stop},
        {.name = "rebuild", .kind = OPTION_FLAG, .value = &f->rebuild},
        {.name = "yes", .kind = OPTION_FLAG, .value = &f->yes},
        {.name = "latency",
         .kind = OPTION_OTHER,
         .value = f,
         .read = read_latency,
         .expected = "round trip times as region:region=80ms,..., or 80ms for "
                     "all, up to 10s, or world, with commas between them"},
        {.name = "consistency",
         .kind = OPTION_OTHER,
         .value = f,
         .read = read_consistency,
         .expected = "strong, bounded[,K=entries][,T=seconds], session, prefix "
                     "or eventual"},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &f->json},
        {.name = "help", .kind = OPTION_FLAG, .value = &f->help}};
    int code = options_parse("demo", argc, argv, specs, ARRAY_LEN(specs), 0,
                             NULL, NULL);
    if (code != CMD_OK)
        return code;
    return check_flags(f);
}

/* ---- the folder -------------------------------------------------------------
 */

/* Makes the folder if need be and its path absolute, so that process titles
 * and cluster.json are the same wherever the user stands. */
static int open_folder(const char *dir, char out[PATH_MAX], struct err_msg *msg)
{
    int err = file_make_folder(dir, 0755, msg);
    if (err == ERR_OK && realpath(dir, out) == NULL)
        err =
            err_set(msg, err_from_errno(errno), "%s: %s", dir, strerror(errno));
    return err;
}

static int make_cluster(struct demo *d, struct err_msg *msg)
{
    const struct demo_flags *f = d->flags;
    struct layout_options options = {
        .cluster = CLUSTER_NAME,
        .regions = f->regions != NULL ? f->regions : DEFAULT_REGIONS,
        .nodes_per_region = f->nodes_per_region != 0 ? f->nodes_per_region : 1,
        .base_port = f->base_port != 0 ? f->base_port : LAYOUT_BASE_PORT,
        .host = "127.0.0.1",
        .shards = f->shards != 0 ? f->shards : 2,
        .fault_injection = true};
    int err = ERR_OK;
    if (f->consistency != NULL)
        err =
            config_parse_consistency(f->consistency, &options.consistency, msg);
    if (err == ERR_OK)
        err = layout_make(&options, &d->layout, msg);
    if (err == ERR_OK && f->latency != NULL)
        err = layout_set_latency(&d->layout, f->latency, msg);
    if (err == ERR_OK)
        err = create_discard_unfinished(d->dir, msg);
    if (err == ERR_OK)
        err = create_cluster(&d->layout, d->dir, msg);
    return err;
}

/* What the flags ask for must be what the folder holds. */
static int compare_cluster(const struct demo *d, struct err_msg *msg)
{
    const struct demo_flags *f = d->flags;
    const struct layout *l = &d->layout;
    char regions[LAYOUT_REGIONS_MAX * (CONFIG_NAME_MAX + 1) + 1] = "";
    unsigned region_count = 0, node_count = 0;
    for (unsigned i = 0; i < l->node_count; i++) {
        bool begins =
            node_count == 0 || l->nodes[i - 1].region != l->nodes[i].region;
        if (l->nodes[i].added)
            continue; /* came later than the flags */
        if (begins) {
            strcat(regions, region_count++ > 0 ? "," : "");
            strcat(regions, l->regions[l->nodes[i].region].name);
        }
        node_count++;
    }
    unsigned per_region = node_count / region_count;
    bool same =
        (f->regions == NULL || strcmp(f->regions, regions) == 0) &&
        (f->nodes_per_region == 0 || f->nodes_per_region == per_region) &&
        (f->shards == 0 || f->shards == l->shards);
    return same ? ERR_OK
                : err_set(msg, ERR_IDENTITY,
                          "%.200s holds a cluster with regions %.100s, %u "
                          "node(s) each and %u shards; choose another --dir "
                          "or leave these flags out",
                          d->dir, regions, per_region, l->shards);
}

/* The level belongs to the account, which knows it better than the files. */
static int compare_level(const struct demo *d, struct err_msg *msg)
{
    struct config_consistency level;
    char asked[CONFIG_CONSISTENCY_TEXT_MAX], held[CONFIG_CONSISTENCY_TEXT_MAX];
    if (d->flags->consistency == NULL)
        return ERR_OK;
    int err = config_parse_consistency(d->flags->consistency, &level, msg);
    if (err != ERR_OK)
        return err;
    config_format_consistency(&level, asked);
    config_format_consistency(&d->layout.consistency, held);
    return strcmp(asked, held) == 0
               ? ERR_OK
               : err_set(msg, ERR_IDENTITY,
                         "%.200s holds a cluster that was made with level %s; "
                         "leave --consistency out, and set another level with "
                         "`bastide consistency set` while it runs",
                         d->dir, held);
}

static int write_configs(const struct demo *d, struct err_msg *msg)
{
    int err = ERR_OK;
    for (unsigned i = 0; i < d->layout.node_count && err == ERR_OK; i++)
        err = layout_write_config(&d->layout, &d->layout.nodes[i], d->dir, msg);
    return err;
}

/* An existing cluster gets other latencies. */
static int change_latency(struct demo *d, struct err_msg *msg)
{
    if (d->flags->latency == NULL)
        return ERR_OK;
    int err = layout_set_latency(&d->layout, d->flags->latency, msg);
    return err == ERR_OK ? write_configs(d, msg) : err;
}

static int set_base_port(struct demo *d, unsigned base, struct err_msg *msg)
{
    if (base == d->layout.port)
        return ERR_OK;
    layout_set_ports(&d->layout, base);
    return write_configs(d, msg);
}

static int settle_ports(struct demo *d, struct err_msg *msg)
{
    const struct demo_flags *f = d->flags;
    struct err_msg busy;
    int err = ERR_OK;
    if (f->base_port != 0)
        err = set_base_port(d, f->base_port, msg);
    if (err != ERR_OK || ports_check(&d->layout, &busy) == ERR_OK)
        return err;
    unsigned base = ports_find_base(&d->layout, LAYOUT_BASE_PORT);
    if (f->base_auto && base != 0)
        return set_base_port(d, base, msg);
    return err_set(msg, ERR_BUSY,
                   "%.200s; end the program that uses it, or choose other "
                   "ports: --base-port %u",
                   busy.text, base != 0 ? base : LAYOUT_BASE_PORT);
}

/* Nodes of an earlier supervisor that was killed: the kernel has asked them to
 * end, they may need a moment or a push. */
static void end_leftovers(const struct layout *l, const char *dir)
{
    usec_t deadline_us = clock_mono_us() + SUPERVISE_STOP_TIMEOUT_US;
    for (unsigned i = 0; i < l->node_count; i++) {
        pid_t pid, asked = 0;
        while ((pid = process_find_node(dir, l->nodes[i].name)) > 0) {
            bool late = clock_mono_us() > deadline_us;
            if (pid != asked || late)
                kill(pid, late ? SIGKILL : SIGTERM);
            asked = pid;
            usleep(POLL_US);
        }
    }
}

static int adopt_cluster(struct demo *d, struct err_msg *msg)
{
    int err = create_settle(d->dir, msg);
    if (err == ERR_OK)
        err = compare_cluster(d, msg);
    if (err == ERR_OK)
        err = compare_level(d, msg);
    if (err == ERR_OK)
        err = change_latency(d, msg);
    return err;
}

static int prepare(struct demo *d, struct err_msg *msg)
{
    int err = layout_load(d->dir, &d->layout, msg);
    if (err == ERR_NOT_FOUND)
        err = make_cluster(d, msg);
    else if (err == ERR_OK)
        err = adopt_cluster(d, msg);
    if (err != ERR_OK)
        return err;
    end_leftovers(&d->layout, d->dir);
    err = layout_account_keys(d->dir, &d->keys, msg);
    if (err == ERR_OK)
        err = settle_ports(d, msg);
    return err;
}

/* ---- running ----------------------------------------------------------------
 */

static void print_cluster_file(const char *dir)
{
    char path[PATH_MAX];
    struct buf b;
    buf_init(&b, CLUSTER_FILE_MAX);
    if (layout_path(dir, "cluster.json", NULL, path, NULL) == ERR_OK &&
        file_read(path, false, &b, NULL) == ERR_OK)
        fwrite(buf_bytes(&b), 1, buf_len(&b), stdout);
    fflush(stdout);
    buf_wipe(&b);
}

static void announce(const struct supervise *s, usec_t took_us,
                     const pid_t *pids, void *user)
{
    const struct demo *d = user;
    if (d->flags->json)
        print_cluster_file(s->dir);
    else
        demo_print_account(stdout, s->layout, s->dir, s->keys, pids, took_us,
                           d->done_fd < 0);
    if (d->done_fd < 0)
        return;
    /* Detached: the account was the last word to the user's terminal. */
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(null);
    }
    if (write(d->done_fd, "ok", 2) != 2)
        return; /* the launcher was killed: the cluster runs all the same */
    close(d->done_fd);
}

static int run(struct demo *d, FILE *out)
{
    struct err_msg msg;
    const struct supervise s = {.layout = &d->layout,
                                .dir = d->dir,
                                .keys = &d->keys,
                                .lock_fd = d->lock_fd,
                                .out = out,
                                .ready = announce,
                                .user = d};
    int err = supervise_run(&s, &msg);
    config_account_keys_wipe(&d->keys);
    if (err == ERR_CANCELLED)
        return CMD_FAILED;
    if (err != ERR_OK)
        return options_failed("demo", msg.text);
    fprintf(out, "Cluster %s is stopped; its data stays in %s\n",
            d->layout.cluster, d->dir);
    return CMD_OK;
}

/* The supervisor becomes a process of its own session; this one waits until
 * the cluster is ready or has failed, which it learns from a pipe. */
static int run_detached(struct demo *d)
{
    char path[PATH_MAX], word[2];
    int fds[2], status = 0;
    if (layout_path(d->dir, LOG_NAME, NULL, path, NULL) != ERR_OK ||
        pipe2(fds, O_CLOEXEC) != 0)
        return options_failed("demo", "cannot start a process");
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return options_failed("demo", "cannot start a process");
    if (pid == 0) {
        close(fds[0]);
        d->done_fd = fds[1];
        FILE *out = fopen(path, "ae");
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (out == NULL || setsid() < 0 || null < 0 ||
            dup2(null, STDIN_FILENO) < 0)
            _exit(options_failed("demo", "cannot detach"));
        int code = run(d, out);
        fclose(out);
        _exit(code);
    }
    close(fds[1]);
    close(d->lock_fd);
    config_account_keys_wipe(&d->keys);
    ssize_t got;
    do
        got = read(fds[0], word, sizeof(word));
    while (got < 0 && errno == EINTR);
    close(fds[0]);
    if (got == (ssize_t)sizeof(word))
        return CMD_OK;
    waitpid(pid, &status, 0); /* it failed and has said why */
    return CMD_FAILED;
}

static int start_cluster(const struct demo_flags *f)
{
    struct demo d = {.flags = f, .lock_fd = -1, .done_fd = -1};
    struct err_msg msg;
    pid_t holder = 0;
    int err = open_folder(f->dir, d.dir, &msg);
    if (err == ERR_OK)
        err = supervise_lock(d.dir, &d.lock_fd, &holder, &msg);
    if (err == ERR_BUSY) {
        fprintf(stderr,
                "bastide demo: %s. Stop it first:\n  %s demo --dir %s "
                "--stop\n",
                msg.text, program_invocation_name, d.dir);
        return CMD_FAILED;
    }
    if (err == ERR_OK)
        err = prepare(&d, &msg);
    if (err != ERR_OK)
        return options_failed("demo", msg.text);
    if (f->detach)
        return run_detached(&d);
    if (!f->json)
        printf("Starting %u nodes in %s ...\n", d.layout.node_count, d.dir);
    fflush(stdout);
    return run(&d, stdout);
}

/* ---- --stop -----------------------------------------------------------------
 */

static int wait_unlocked(const char *dir, pid_t holder)
{
    struct err_msg msg;
    usec_t deadline_us = clock_mono_us() + 2 * SUPERVISE_STOP_TIMEOUT_US;
    int fd;
    while (clock_mono_us() < deadline_us) {
        pid_t now = 0;
        int err = supervise_lock(dir, &fd, &now, &msg);
        if (err == ERR_OK) {
            close(fd);
            return CMD_OK;
        }
        if (holder == 0 && now > 0) { /* it had only just started */
            holder = now;
            kill(holder, SIGTERM);
        }
        usleep(POLL_US);
    }
    fprintf(stderr,
            "bastide demo: process %d does not stop; kill -9 %d ends it\n",
            (int)holder, (int)holder);
    return CMD_FAILED;
}

static int stop_cluster(const struct demo_flags *f)
{
    char dir[PATH_MAX];
    struct layout layout;
    struct err_msg msg;
    pid_t holder = 0;
    int fd;
    if (realpath(f->dir, dir) == NULL || layout_load(dir, &layout, &msg) != 0)
        return options_failed("demo", "there is no cluster in that folder");
    int err = supervise_lock(dir, &fd, &holder, &msg);
    bool running = err == ERR_BUSY;
    if (running) {
        if (holder > 1)
            kill(holder, SIGTERM);
        if (wait_unlocked(dir, holder) != CMD_OK)
            return CMD_FAILED;
    } else if (err == ERR_OK) {
        end_leftovers(&layout, dir);
        cluster_file_remove(dir);
        close(fd);
    } else {
        return options_failed("demo", msg.text);
    }
    if (f->json)
        printf("{\"stopped\":%s}\n", running ? "true" : "false");
    else
        printf(running ? "Cluster %s is stopped; its data stays in %s\n"
                       : "Cluster %s was not running (%s)\n",
               layout.cluster, dir);
    return CMD_OK;
}

/* ---- --start ----------------------------------------------------------------
 */

static bool list_has(const char *list, const char *name)
{
    if (strcmp(list, "all") == 0)
        return true;
    size_t len = strlen(name);
    for (const char *at = list;; at++) {
        size_t part = strcspn(at, ",");
        if (part == len && memcmp(at, name, len) == 0)
            return true;
        at += part;
        if (*at == '\0')
            return false;
    }
}

/* Every name of the list must be a node. */
static int check_list(const struct layout *l, const char *list)
{
    char name[CONFIG_NAME_MAX + 2];
    for (const char *at = list;; at++) {
        size_t len = strcspn(at, ",");
        bool known = strcmp(list, "all") == 0;
        snprintf(name, sizeof(name), "%.*s", (int)(len < 64 ? len : 64), at);
        for (unsigned i = 0; i < l->node_count; i++)
            known = known || strcmp(l->nodes[i].name, name) == 0;
        if (!known) {
            fprintf(stderr, "bastide demo: there is no node \"%s\"; there are",
                    name);
            for (unsigned i = 0; i < l->node_count; i++)
                fprintf(stderr, " %s", l->nodes[i].name);
            fputc('\n', stderr);
            return CMD_USAGE;
        }
        at += len;
        if (*at == '\0')
            return CMD_OK;
    }
}

/* Waits until a node that was asked for is there, and ready if it is a member.
 */
static int wait_ready(struct https *https, const char *dir,
                      const struct layout *l, const struct layout_node *node,
                      bool *outside_out)
{
    struct err_msg why = {"it did not start"};
    usec_t asked_us = clock_mono_us();
    usec_t deadline_us = asked_us + SUPERVISE_START_TIMEOUT_US;
    bool seen = false;
    while (clock_mono_us() < deadline_us) {
        bool there = process_find_node(dir, node->name) > 0;
        if (there && supervise_node_ready(https, node, &why))
            return CMD_OK;
        if (seen && !there)
            break;
        seen = there;
        if (there && clock_mono_us() - asked_us >= OUTSIDE_POLL_US) {
            asked_us = clock_mono_us();
            *outside_out = supervise_node_outside(https, l, node);
            if (*outside_out)
                return CMD_OK;
        }
        usleep(POLL_US);
    }
    fprintf(stderr, "bastide demo: node %s is not ready: %s\n", node->name,
            why.text);
    process_print_log_tail(stderr, dir, node->name, 5);
    return CMD_FAILED;
}

static int start_nodes(const struct demo_flags *f)
{
    char dir[PATH_MAX];
    struct layout l;
    struct err_msg msg;
    struct https *https = NULL;
    bool asked[LAYOUT_NODES_MAX] = {false};
    if (realpath(f->dir, dir) == NULL || layout_load(dir, &l, &msg) != 0)
        return options_failed("demo", "there is no cluster in that folder");
    enum process_how how = f->yes       ? PROCESS_REBUILD_SURE
                           : f->rebuild ? PROCESS_REBUILD
                                        : PROCESS_AS_IT_IS;
    int code = check_list(&l, f->start);
    for (unsigned i = 0; i < l.node_count && code == CMD_OK; i++) {
        const char *name = l.nodes[i].name;
        if (!list_has(f->start, name))
            continue;
        pid_t pid = process_find_node(dir, name);
        if (pid > 0)
            fprintf(stderr, "node %s is running already (pid %d)\n", name,
                    (int)pid);
        else if (supervise_ask_start(dir, name, how, &msg) == ERR_OK)
            asked[i] = true;
        else
            code = options_failed("demo", msg.text);
    }
    if (code == CMD_OK && supervise_https(dir, &https, &msg) != ERR_OK)
        code = options_failed("demo", msg.text);
    for (unsigned i = 0; i < l.node_count && code == CMD_OK; i++)
        if (asked[i]) {
            bool outside = false;
            code = wait_ready(https, dir, &l, &l.nodes[i], &outside);
            if (code == CMD_OK && !f->json)
                printf(outside ? "node %s runs, and is no member of the "
                                 "cluster\n"
                               : "node %s is ready\n",
                       l.nodes[i].name);
        }
    https_free(https);
    if (code == CMD_OK && f->json)
        print_cluster_file(dir);
    return code;
}

int cmd_demo(int argc, char **argv)
{
    struct demo_flags f = {.dir = "demo"};
    int code = parse_flags(argc, argv, &f);
    if (code != CMD_OK)
        return code;
    if (f.help) {
        fputs(demo_help, stdout);
        return CMD_OK;
    }
    return f.stop            ? stop_cluster(&f)
           : f.start != NULL ? start_nodes(&f)
                             : start_cluster(&f);
}
