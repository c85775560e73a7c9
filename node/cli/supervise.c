#include "node/cli/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/text.h"
#include "node/cli/cluster_file.h"
#include "node/cli/members.h"
#include "node/cli/process.h"
#include "node/server/hold.h"

#define READY_POLL_MS 10
#define READY_REQUEST_TIMEOUT_US (USEC_PER_SEC)
#define OUTSIDE_POLL_US (500 * USEC_PER_MS)
#define LOG_TAIL_LINES 5
#define COMMAND_MAX 256 /* a line of the control pipe */

struct supervised {
    pid_t pid; /* the last process; 0: none yet */
    bool alive, ready;
    bool outside;         /* no member: there is nothing to be ready for */
    bool wanted;          /* to be started once it has ended */
    enum process_how how; /* the next start */
    int died_status;      /* of waitpid, when not alive */
};

struct state {
    const struct supervise *s;
    struct layout layout;                      /* grows when nodes join */
    struct supervised nodes[LAYOUT_NODES_MAX]; /* in the layout's order */
    int signal_fd, control_fd;
    unsigned stop_signals; /* SIGINT and SIGTERM seen */
    usec_t outside_us;     /* when it was asked last who is no member */
    struct https *https;
};

/* ---- lock and control pipe --------------------------------------------------
 */

int supervise_lock(const char *dir, int *fd_out, pid_t *pid_out,
                   struct err_msg *msg)
{
    char path[PATH_MAX], text[16] = "";
    uint64_t holder = 0;
    int err = layout_path(dir, SUPERVISE_LOCK, NULL, path, msg);
    if (err != ERR_OK)
        return err;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set(msg, err_from_errno(errno), "%s: cannot open it: %s",
                       path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *fd_out = fd;
        return ERR_OK;
    }
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
    close(fd);
    if (len <= 0 || text_parse_u64(bytes_of(text, strcspn(text, "\n")),
                                   INT32_MAX, &holder) != ERR_OK)
        holder = 0; /* it has just taken the lock */
    if (pid_out != NULL)
        *pid_out = (pid_t)holder;
    return err_set(msg, ERR_BUSY,
                   "a cluster is running in %s already (process %llu)", dir,
                   (unsigned long long)holder);
}

static int note_pid(int lock_fd, struct err_msg *msg)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(lock_fd, 0) != 0 ||
        pwrite(lock_fd, text, (size_t)len, 0) != len)
        return err_set(msg, err_from_errno(errno), "%s: cannot write it: %s",
                       SUPERVISE_LOCK, strerror(errno));
    return ERR_OK;
}

static int open_control(struct state *st, struct err_msg *msg)
{
    char path[PATH_MAX];
    int err = layout_path(st->s->dir, SUPERVISE_CONTROL, NULL, path, msg);
    if (err != ERR_OK)
        return err;
    unlink(path); /* we hold the lock: a left-over is nobody's */
    /* Read and write, so that it never reports the end of the file. */
    if (mkfifo(path, 0600) != 0 ||
        (st->control_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0)
        return err_set(msg, err_from_errno(errno), "%s: cannot make it: %s",
                       path, strerror(errno));
    return ERR_OK;
}

/* What the pipe is told. */
static const char *const commands[] = {[PROCESS_AS_IT_IS] = "start",
                                       [PROCESS_REBUILD] = "rebuild",
                                       [PROCESS_REBUILD_SURE] = "rebuild-yes"};

/* Alone on a line: the account's keys have changed. */
#define COMMAND_KEYS "keys"

static int ask(const char *dir, const char *line, struct err_msg *msg)
{
    char path[PATH_MAX];
    int err = layout_path(dir, SUPERVISE_CONTROL, NULL, path, msg);
    if (err != ERR_OK)
        return err;
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t len = (ssize_t)strlen(line);
    ssize_t wrote = fd >= 0 ? write(fd, line, (size_t)len) : -1;
    if (fd >= 0)
        close(fd);
    return wrote == len ? ERR_OK
                        : err_set(msg, ERR_UNAVAILABLE,
                                  "no cluster is running in %s", dir);
}

int supervise_ask_start(const char *dir, const char *node, enum process_how how,
                        struct err_msg *msg)
{
    char line[COMMAND_MAX];
    snprintf(line, sizeof(line), "%s %s\n", commands[how], node);
    return ask(dir, line, msg);
}

int supervise_ask_keys(const char *dir, struct err_msg *msg)
{
    return ask(dir, COMMAND_KEYS "\n", msg);
}

/* ---- nodes ------------------------------------------------------------------
 */

__attribute__((format(printf, 2, 3))) static void tell(const struct state *st,
                                                       const char *format, ...)
{
    char when[16];
    time_t now = (time_t)(clock_wall_us() / USEC_PER_SEC);
    struct tm tm;
    localtime_r(&now, &tm);
    strftime(when, sizeof(when), "%H:%M:%S", &tm);
    fprintf(st->s->out, "%s ", when);
    va_list args;
    va_start(args, format);
    vfprintf(st->s->out, format, args);
    va_end(args);
    fputc('\n', st->s->out);
    fflush(st->s->out);
}

static int start_node(struct state *st, unsigned i, struct err_msg *msg)
{
    int err = process_start_node(st->s->dir, st->layout.nodes[i].name,
                                 st->nodes[i].how, &st->nodes[i].pid, msg);
    st->nodes[i].how = PROCESS_AS_IT_IS;
    if (err == ERR_OK) {
        st->nodes[i].alive = true;
        st->nodes[i].ready = false;
    }
    return err;
}

static unsigned alive_count(const struct state *st)
{
    unsigned count = 0;
    for (unsigned i = 0; i < st->layout.node_count; i++)
        count += st->nodes[i].alive;
    return count;
}

static void copy_pids(const struct state *st, pid_t out[LAYOUT_NODES_MAX])
{
    for (unsigned i = 0; i < st->layout.node_count; i++)
        out[i] = st->nodes[i].pid;
}

static void write_cluster_file(const struct state *st)
{
    struct err_msg msg;
    pid_t pids[LAYOUT_NODES_MAX];
    copy_pids(st, pids);
    if (cluster_file_write(&st->layout, st->s->dir, pids, &msg) != ERR_OK)
        tell(st, "%s", msg.text);
}

bool supervise_node_ready(struct https *https, const struct layout_node *node,
                          struct err_msg *why)
{
    char url[LAYOUT_URL_MAX + 1];
    int status = 0;
    struct buf body;
    layout_url(node->host, node->admin_port, url);
    buf_init(&body, HTTPS_ANSWER_MAX);
    int err = https_get(https, url, "readyz?verbose", READY_REQUEST_TIMEOUT_US,
                        &status, &body, why);
    if (err == ERR_OK && status != 200)
        err_set(why, ERR_UNAVAILABLE, "%s", buf_cstr(&body));
    buf_free(&body);
    return err == ERR_OK && status == 200;
}

/* What a node that is ready says of who is in the cluster. */
static int ask_members(struct https *https, const struct layout_node *node,
                       struct members *out)
{
    char url[LAYOUT_URL_MAX + 1];
    int status = 0;
    struct err_msg ignored;
    struct buf body;
    struct json j;
    layout_url(node->host, node->admin_port, url);
    buf_init(&body, HTTPS_ANSWER_MAX);
    json_init(&j);
    int err = https_get(https, url, "placement", READY_REQUEST_TIMEOUT_US,
                        &status, &body, &ignored);
    if (err == ERR_OK)
        err = json_parse(&j, bytes_of(buf_bytes(&body), buf_len(&body)),
                         HTTPS_ANSWER_MAX, NULL);
    if (err == ERR_OK && json_type(&j, 0) == JSON_OBJECT)
        err = members_parse(&j, out, &ignored);
    json_free(&j);
    buf_free(&body);
    return err == ERR_OK && status != 200 ? ERR_UNAVAILABLE : err;
}

bool supervise_node_outside(struct https *https, const struct layout *l,
                            const struct layout_node *node)
{
    struct members m;
    struct err_msg ignored;
    for (unsigned i = 0; i < l->node_count; i++)
        if (&l->nodes[i] != node &&
            supervise_node_ready(https, &l->nodes[i], &ignored) &&
            ask_members(https, &l->nodes[i], &m) == ERR_OK)
            return !members_has(&m.nodes, node->name);
    return false;
}

int supervise_https(const char *dir, struct https **https_out,
                    struct err_msg *msg)
{
    char ca[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
    int err = layout_path(dir, "ca.pem", NULL, ca, msg);
    if (err == ERR_OK)
        err = layout_path(dir, "admin.pem", NULL, cert, msg);
    if (err == ERR_OK)
        err = layout_path(dir, "admin.key", NULL, key, msg);
    return err == ERR_OK ? https_new(ca, cert, key, https_out, msg) : err;
}

/* ---- events -----------------------------------------------------------------
 */

static void restart_node(struct state *st, unsigned i)
{
    const char *name = st->layout.nodes[i].name;
    struct err_msg msg;
    st->nodes[i].wanted = false;
    if (start_node(st, i, &msg) == ERR_OK) {
        write_cluster_file(st);
        tell(st, "node %s started again (pid %d)", name, (int)st->nodes[i].pid);
    } else {
        tell(st, "node %s: %s", name, msg.text);
    }
}

/* A node that was killed on request and is to come back: it waits by itself
 * until it may (node/server/hold.h). */
static bool is_held(const struct state *st, unsigned i)
{
    char data[PATH_MAX];
    return WIFSIGNALED(st->nodes[i].died_status) &&
           layout_path(st->s->dir, st->layout.nodes[i].name, "data", data,
                       NULL) == ERR_OK &&
           hold_left_us(data) > 0;
}

static void tell_death(const struct state *st, unsigned i)
{
    const char *name = st->layout.nodes[i].name;
    char how[80];
    process_describe_exit(st->nodes[i].died_status, how, sizeof(how));
    tell(st, "node %s (pid %d) %s; the others go on", name,
         (int)st->nodes[i].pid, how);
    if (!WIFSIGNALED(st->nodes[i].died_status))
        process_print_log_tail(st->s->out, st->s->dir, name, LOG_TAIL_LINES);
    if (is_held(st, i))
        fprintf(st->s->out, "  it is held down on request, and comes back\n");
    else
        fprintf(st->s->out, "  start it again: %s demo --dir %s --start %s\n",
                program_invocation_name, st->s->dir, name);
    fflush(st->s->out);
}

/* Notes which nodes have ended; in the running state says so, and starts those
 * again that somebody asked for meanwhile. */
static void reap(struct state *st, bool running)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (unsigned i = 0; i < st->layout.node_count; i++) {
            if (st->nodes[i].pid != pid || !st->nodes[i].alive)
                continue;
            st->nodes[i].alive = st->nodes[i].ready = false;
            st->nodes[i].died_status = status;
            if (!running)
                continue;
            tell_death(st, i);
            if (st->nodes[i].wanted || is_held(st, i))
                restart_node(st, i);
        }
}

static void take_signals(struct state *st, bool running)
{
    struct signalfd_siginfo info;
    while (read(st->signal_fd, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo != SIGCHLD)
            st->stop_signals++;
    reap(st, running);
}

static unsigned find_node(const struct layout *l, const char *name)
{
    unsigned i = 0;
    while (i < l->node_count && strcmp(l->nodes[i].name, name) != 0)
        i++;
    return i;
}

/* Nodes have joined since (join.h): those that run stay what they are. */
static bool read_layout(struct state *st)
{
    struct layout l;
    struct err_msg msg;
    struct supervised nodes[LAYOUT_NODES_MAX] = {{.pid = 0}};
    if (layout_load(st->s->dir, &l, &msg) != ERR_OK) {
        tell(st, "%s", msg.text);
        return false;
    }
    for (unsigned i = 0; i < st->layout.node_count; i++) {
        unsigned to = find_node(&l, st->layout.nodes[i].name);
        if (to == l.node_count) {
            tell(st, "%s: node %s is no longer listed; nothing was changed",
                 st->s->dir, st->layout.nodes[i].name);
            return false;
        }
        nodes[to] = st->nodes[i];
    }
    st->layout = l;
    memcpy(st->nodes, nodes, sizeof(nodes));
    return true;
}

static void obey(struct state *st, const char *line)
{
    const char *node = strchr(line, ' ');
    unsigned how = 0;
    if (strcmp(line, COMMAND_KEYS) == 0)
        write_cluster_file(st);
    if (node == NULL)
        return;
    size_t len = (size_t)(node - line);
    while (how < ARRAY_LEN(commands) && (strlen(commands[how]) != len ||
                                         memcmp(commands[how], line, len) != 0))
        how++;
    if (how == ARRAY_LEN(commands))
        return;
    unsigned i = find_node(&st->layout, node + 1);
    if (i == st->layout.node_count && read_layout(st))
        i = find_node(&st->layout, node + 1);
    if (i == st->layout.node_count)
        return;
    st->nodes[i].how = (enum process_how)how;
    if (!st->nodes[i].alive)
        restart_node(st, i);
    else /* it may be ending just now, and not be reaped yet */
        st->nodes[i].wanted = process_find_node(st->s->dir, node + 1) == 0;
}

/* Writes to a pipe of up to PIPE_BUF bytes arrive whole, so a read never ends
 * in the middle of a line unless the buffer does. */
static void take_commands(struct state *st)
{
    char text[COMMAND_MAX];
    ssize_t len;
    while ((len = read(st->control_fd, text, sizeof(text) - 1)) > 0) {
        text[len] = '\0';
        for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;)
            obey(st, line);
    }
}

static void wait_events(struct state *st, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = st->signal_fd, .events = POLLIN},
                           {.fd = st->control_fd, .events = POLLIN}};
    poll(fds, ARRAY_LEN(fds), timeout_ms);
}

/* ---- the three states
 * --------------------------------------------------------
 */

static int describe_failed_start(const struct state *st, unsigned i,
                                 struct err_msg *msg)
{
    const char *name = st->layout.nodes[i].name;
    char how[80];
    process_describe_exit(st->nodes[i].died_status, how, sizeof(how));
    fprintf(st->s->out, "node %s %s while starting\n", name, how);
    process_print_log_tail(st->s->out, st->s->dir, name, LOG_TAIL_LINES);
    fflush(st->s->out);
    return err_set(msg, ERR_UNAVAILABLE,
                   "node %s %s while starting; its log is %s/%s/%s", name, how,
                   st->s->dir, name, PROCESS_LOG);
}

/* Asked now and then: others have to be ready to know. */
static bool is_outside(struct state *st, unsigned i)
{
    usec_t now = clock_mono_us();
    if (!st->nodes[i].outside && now - st->outside_us >= OUTSIDE_POLL_US) {
        st->outside_us = now;
        st->nodes[i].outside = supervise_node_outside(st->https, &st->layout,
                                                      &st->layout.nodes[i]);
    }
    return st->nodes[i].outside;
}

/* ERR_AGAIN while a node is not ready yet. */
static int check_ready(struct state *st, usec_t started_us, struct err_msg *msg)
{
    struct err_msg why;
    for (unsigned i = 0; i < st->layout.node_count; i++) {
        const struct layout_node *node = &st->layout.nodes[i];
        if (!st->nodes[i].alive)
            return describe_failed_start(st, i, msg);
        if (!st->nodes[i].ready)
            st->nodes[i].ready = supervise_node_ready(st->https, node, &why);
        if (st->nodes[i].ready || is_outside(st, i))
            continue;
        if (clock_mono_us() - started_us < SUPERVISE_START_TIMEOUT_US)
            return ERR_AGAIN;
        return err_set(msg, ERR_TIMEOUT,
                       "node %s was not ready after %lld s: %.200s; its log "
                       "is %s/%s/%s",
                       node->name,
                       (long long)(SUPERVISE_START_TIMEOUT_US / USEC_PER_SEC),
                       why.text, st->s->dir, node->name, PROCESS_LOG);
    }
    return ERR_OK;
}

static int run_starting(struct state *st, struct err_msg *msg)
{
    usec_t started_us = clock_mono_us();
    int err = ERR_OK;
    st->outside_us = started_us;
    for (unsigned i = 0; i < st->layout.node_count && err == ERR_OK; i++)
        err = start_node(st, i, msg);
    if (err != ERR_OK)
        return err;
    do {
        wait_events(st, READY_POLL_MS);
        take_signals(st, false);
        if (st->stop_signals > 0)
            return err_set(msg, ERR_CANCELLED, "stopped before it was ready");
        err = check_ready(st, started_us, msg);
    } while (err == ERR_AGAIN);
    if (err != ERR_OK)
        return err;
    pid_t pids[LAYOUT_NODES_MAX];
    copy_pids(st, pids);
    err = cluster_file_write(&st->layout, st->s->dir, pids, msg);
    if (err == ERR_OK)
        st->s->ready(st->s, clock_mono_us() - started_us, pids, st->s->user);
    return err;
}

static void run_running(struct state *st)
{
    while (st->stop_signals == 0) {
        wait_events(st, -1);
        take_signals(st, true);
        take_commands(st);
    }
}

static void signal_all(const struct state *st, int signal)
{
    for (unsigned i = 0; i < st->layout.node_count; i++)
        if (st->nodes[i].alive)
            kill(st->nodes[i].pid, signal);
}

/* Asks the nodes to end, and makes those end that do not, after a time or when
 * the user asks once more. */
static void run_stopping(struct state *st)
{
    usec_t deadline_us = clock_mono_us() + SUPERVISE_STOP_TIMEOUT_US;
    unsigned asked = st->stop_signals;
    bool forced = false;
    signal_all(st, SIGTERM);
    take_signals(st, false);
    while (alive_count(st) > 0) {
        if (!forced &&
            (clock_mono_us() >= deadline_us || st->stop_signals > asked)) {
            for (unsigned i = 0; i < st->layout.node_count; i++)
                if (st->nodes[i].alive)
                    tell(st, "node %s does not stop, it is killed",
                         st->layout.nodes[i].name);
            signal_all(st, SIGKILL);
            forced = true;
        }
        wait_events(st, READY_POLL_MS);
        take_signals(st, false);
    }
}

static int open_signals(struct state *st, struct err_msg *msg)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    st->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return st->signal_fd >= 0 ? ERR_OK
                              : err_set(msg, err_from_errno(errno),
                                        "signalfd: %s", strerror(errno));
}

static void close_state(struct state *st)
{
    char path[PATH_MAX];
    cluster_file_remove(st->s->dir);
    if (layout_path(st->s->dir, SUPERVISE_CONTROL, NULL, path, NULL) == ERR_OK)
        unlink(path);
    if (st->control_fd >= 0)
        close(st->control_fd);
    if (st->signal_fd >= 0)
        close(st->signal_fd);
    https_free(st->https);
}

int supervise_run(const struct supervise *s, struct err_msg *msg)
{
    CHECK(s->dir[0] == '/');
    CHECK(s->ready != NULL);
    struct state st = {
        .s = s, .layout = *s->layout, .signal_fd = -1, .control_fd = -1};
    cluster_file_remove(s->dir);
    int err = note_pid(s->lock_fd, msg);
    if (err == ERR_OK)
        err = supervise_https(s->dir, &st.https, msg);
    if (err == ERR_OK)
        err = open_signals(&st, msg);
    if (err == ERR_OK)
        err = open_control(&st, msg);
    if (err == ERR_OK)
        err = run_starting(&st, msg);
    if (err == ERR_OK)
        run_running(&st);
    run_stopping(&st);
    close_state(&st);
    return err;
}
