#include "node/server/faults_node.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/prng.h"
#include "node/base/rng.h"
#include "node/server/hold.h"
#include "node/server/worker.h"

#define POLL_MS 2
#define KILLED_CODE (128 + SIGKILL) /* as a shell would say it */

/* ---- what the list says ----------------------------------------------------
 */

/* What a place in the code does with the disk. */
enum disk_use { READS = 1, WRITES = 2, SYNCS = 4 };
static const struct {
    const char *point;
    unsigned use;
} places[] = {
    {"log.append.before", WRITES},    {"log.segment.before", WRITES},
    {"store.snapshot.write", WRITES}, {"store.commit.before", WRITES | SYNCS},
    {"log.sync.before", SYNCS},       {"store.read", READS},
};

/* What a point is to do. */
struct point_state {
    enum fault_action action;
    uint32_t delay_ms;
};

struct node_state {
    struct point_state places[ARRAY_LEN(places)];
    struct point_state turn;
    usec_t wall_offset_us;
    int32_t ppm;
    uint32_t allocation_permille;
    bool torn_write;
};

/* As it was made last: points, clocks and memory are the process's, so this is,
 * too. What did not change is not touched, so that what BASTIDE_FAULTS armed
 * stays. */
static struct node_state made;

static uint32_t add_up(uint32_t a, uint32_t b, uint32_t max)
{
    return a < max && b < max - a ? a + b : max;
}

/* Who hangs does not fail; of two errors the older fault's counts. */
static void add_action(struct node_state *s, unsigned use,
                       enum fault_action action)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        enum fault_action *a = &s->places[i].action;
        if ((places[i].use & use) != 0 &&
            (*a == FAULT_NONE || action == FAULT_HANG))
            *a = action;
    }
}

static void add_delay(struct node_state *s, unsigned use, uint32_t ms)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        uint32_t *delay = &s->places[i].delay_ms;
        if ((places[i].use & use) != 0)
            *delay = add_up(*delay, ms, FAULT_DELAY_MAX_MS);
    }
}

static void add_drift(struct node_state *s, int32_t ppm)
{
    int64_t sum = (int64_t)s->ppm + ppm;
    if (sum >= CLOCK_PPM_MAX)
        sum = CLOCK_PPM_MAX - 1;
    if (sum <= -CLOCK_PPM_MAX)
        sum = 1 - CLOCK_PPM_MAX;
    s->ppm = (int32_t)sum;
}

static unsigned use_of(enum inject_disk disk)
{
    switch (disk) {
    case INJECT_READ:
        return READS;
    case INJECT_WRITE:
        return WRITES;
    case INJECT_SYNC:
        return SYNCS;
    }
    CHECK_UNREACHABLE();
}

static void add_fault(struct node_state *s, const struct inject_fault *f)
{
    switch (f->kind) {
    case INJECT_SLOW_LOOP:
        s->turn.delay_ms =
            add_up(s->turn.delay_ms, f->delay_ms, FAULT_DELAY_MAX_MS);
        break;
    case INJECT_CLOCK_JUMP:
        s->wall_offset_us += f->offset_ms * USEC_PER_MS;
        break;
    case INJECT_CLOCK_DRIFT:
        add_drift(s, f->ppm);
        break;
    case INJECT_DISK_FULL:
        add_action(s, WRITES, FAULT_NO_SPACE);
        break;
    case INJECT_DISK_SLOW:
        add_delay(s, SYNCS, f->delay_ms);
        break;
    case INJECT_DISK_HANG:
        add_action(s, WRITES | SYNCS, FAULT_HANG);
        break;
    case INJECT_DISK_ERROR:
        add_action(s, use_of(f->disk), FAULT_EIO);
        break;
    case INJECT_TORN_WRITE:
        s->torn_write = true;
        break;
    case INJECT_ALLOCATION:
        s->allocation_permille =
            add_up(s->allocation_permille, f->permille, MEM_PERMILLE);
        break;
    default: /* of others, or done at once */
        break;
    }
}

/* ---- making it so ----------------------------------------------------------
 */

static void make_point(const char *point, const struct point_state *was,
                       const struct point_state *is)
{
    if (is->action != was->action)
        fault_set(point, is->action);
    if (is->delay_ms != was->delay_ms)
        fault_set_delay(point, is->delay_ms);
}

void faults_node_apply(struct worker *w, const struct inject_list *l)
{
    CHECK(w->index == 0);
    struct node_state is = {.ppm = 0};
    for (size_t i = 0; i < l->count; i++)
        add_fault(&is, &l->active[i].fault);
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        make_point(places[i].point, &made.places[i], &is.places[i]);
    make_point("loop.turn", &made.turn, &is.turn);
    if (is.wall_offset_us != made.wall_offset_us || is.ppm != made.ppm)
        clock_adjust(is.wall_offset_us, is.ppm);
    if (is.allocation_permille != made.allocation_permille)
        mem_fail(is.allocation_permille);
    made = is;
}

/* ---- kill and pause --------------------------------------------------------
 */

/* The one that is about to happen. */
static struct {
    struct ev_timer timer;
    struct inject_fault fault;
    struct worker *worker;
    usec_t torn_by_us; /* real: when a torn write has waited long enough */
} soon;

_Noreturn static void die(struct worker *w, usec_t hold_us)
{
    struct err_msg msg;
    if (hold_us > 0 &&
        hold_write(w->node->config->data_dir, hold_us, &msg) != ERR_OK)
        log_error("the node will not be held down",
                  LOG_STR("reason", msg.text));
    log_warn("killed on request",
             LOG_UINT("hold_ms", (uint64_t)(hold_us / USEC_PER_MS)));
    raise(SIGKILL);
    _exit(KILLED_CODE); /* the first process of a container */
}

static bool any_caught(const struct node *n)
{
    for (uint32_t i = 0; i < n->worker_count; i++)
        if (wal_caught(n->workers[i].log.wal))
            return true;
    return false;
}

static void tear_logs(struct node *n)
{
    struct prng prng;
    prng_seed(&prng, rng_u64());
    for (uint32_t i = 0; i < n->worker_count; i++) {
        uint64_t bytes = 0;
        int err = wal_tear(n->workers[i].log.wal, &prng, &bytes);
        log_warn("power fails on request", LOG_UINT("worker", i),
                 LOG_UINT("torn_bytes", bytes),
                 LOG_STR("result", err_text(err)));
    }
}

/* The logs stand still; the loops go on, so that there is something to tear. */
static void on_dark(struct ev_loop *loop, struct ev_timer *t, int events)
{
    (void)loop;
    (void)t;
    (void)events;
    struct node *n = soon.worker->node;
    if (!any_caught(n) && clock_real_mono_us() < soon.torn_by_us)
        return;
    tear_logs(n);
    die(soon.worker, soon.fault.for_us);
}

static void lose_power(struct worker *w)
{
    for (uint32_t i = 0; i < w->node->worker_count; i++)
        wal_power_fails(w->node->workers[i].log.wal);
    soon.torn_by_us = clock_real_mono_us() + FAULTS_NODE_CATCH_US;
    ev_timer_init(&soon.timer, on_dark, POLL_MS / 1000.0, POLL_MS / 1000.0);
    ev_timer_start(w->loop, &soon.timer);
}

/* In the child, which holds nothing and calls only what may be called between
 * fork and exec. The kernel ends it with its parent. */
_Noreturn static void stop_parent(pid_t parent, usec_t for_us)
{
    struct timespec left = {.tv_sec = for_us / USEC_PER_SEC,
                            .tv_nsec = for_us % USEC_PER_SEC * 1000};
    close_range(0, ~0U, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || kill(parent, SIGSTOP) != 0)
        _exit(1);
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    if (getppid() == parent)
        kill(parent, SIGCONT);
    _exit(0);
}

static void stop_for(usec_t for_us)
{
    pid_t parent = getpid();
    log_warn("stopped on request",
             LOG_UINT("for_ms", (uint64_t)(for_us / USEC_PER_MS)));
    pid_t child = fork();
    if (child == 0)
        stop_parent(parent, for_us);
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (child < 0 || status != 0)
        log_error("the process could not be stopped",
                  LOG_STR("reason", strerror(child < 0 ? errno : ECHILD)));
    else
        log_warn("goes on after a stop on request");
}

static void on_soon(struct ev_loop *loop, struct ev_timer *t, int events)
{
    (void)loop;
    (void)t;
    (void)events;
    if (soon.fault.kind == INJECT_KILL && made.torn_write) {
        lose_power(soon.worker);
        return;
    }
    struct worker *w = TAKE(soon.worker);
    if (soon.fault.kind == INJECT_KILL)
        die(w, soon.fault.for_us);
    stop_for(soon.fault.for_us);
}

static int do_soon(struct worker *w, const struct inject_fault *f,
                   struct err_msg *msg)
{
    if (soon.worker != NULL)
        return err_set(msg, ERR_BUSY, "a %s is about to happen already",
                       inject_word(soon.fault.kind));
    soon.worker = w;
    soon.fault = *f;
    ev_timer_init(&soon.timer, on_soon, FAULTS_NODE_SOON_MS / 1000.0, 0);
    ev_timer_start(w->loop, &soon.timer);
    return ERR_OK;
}

static int pause_soon(struct worker *w, const struct inject_fault *f,
                      struct err_msg *msg)
{
    if (f->for_us <= 0 || f->for_us > INJECT_PAUSE_MAX_US)
        return err_set(msg, ERR_INVALID, "a pause needs `for`, at most %d s",
                       (int)(INJECT_PAUSE_MAX_US / USEC_PER_SEC));
    if (getpid() == 1)
        return err_set(msg, ERR_UNSUPPORTED,
                       "the first process of a container cannot be stopped; "
                       "run the container with an init (init: true)");
    return do_soon(w, f, msg);
}

/* ---- bit-flip --------------------------------------------------------------
 */

static int flip_log(struct worker *w, struct err_msg *msg)
{
    struct wal_flip flip;
    char path[DATADIR_PATH_MAX] = "";
    int err = ERR_NOT_FOUND;
    for (uint32_t i = 0; i < w->node->worker_count && err != ERR_OK; i++) {
        err = wal_flip_bit(w->node->workers[i].log.wal, &flip);
        if (err == ERR_OK &&
            datadir_wal_path(w->node->datadir, i, path) == ERR_OK)
            log_warn("a bit of the log is flipped on request",
                     LOG_STR("folder", path), LOG_STR("file", flip.file),
                     LOG_UINT("offset", flip.offset),
                     LOG_UINT("bit", flip.bit));
    }
    return err == ERR_OK
               ? ERR_OK
               : err_set(msg, ERR_NOT_FOUND, "there is no log to damage yet");
}

/* One worker after the other, on its own loop: in a store of a group, or, with
 * no worker left, in the meta shard's. */
static void flip_store(struct worker *w, void *arg)
{
    bool meta = arg != NULL;
    struct engine_flip flip;
    for (uint32_t i = 0; i < w->replica_count; i++) {
        const struct replica *r = w->replicas[i];
        if ((r->id == SHARD_META) != meta ||
            engine_flip_bit(r->engine, &flip) != ERR_OK)
            continue;
        log_warn("a bit of the store is flipped on request",
                 LOG_UINT("shard", r->id), LOG_STR("folder", r->path),
                 LOG_STR("file", "data.mdb"), LOG_UINT("offset", flip.offset),
                 LOG_UINT("bit", flip.bit));
        return;
    }
    struct node *n = w->node;
    if (meta)
        log_warn("no bit is flipped: nothing is in the store yet");
    else if (w->index + 1 < n->worker_count)
        worker_run(&n->workers[w->index + 1], flip_store, NULL);
    else
        worker_run(node_shard_worker(n, SHARD_META), flip_store, n);
}

int faults_node_now(struct worker *w, const struct inject_fault *f,
                    struct err_msg *msg)
{
    CHECK(w->index == 0);
    switch (f->kind) {
    case INJECT_KILL:
        return do_soon(w, f, msg);
    case INJECT_PAUSE:
        return pause_soon(w, f, msg);
    case INJECT_BIT_FLIP:
        if (f->file == INJECT_LOG)
            return flip_log(w, msg);
        worker_run(w, flip_store, NULL);
        return ERR_OK;
    default:
        CHECK_UNREACHABLE();
    }
}
