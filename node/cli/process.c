#include "node/cli/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/base/text.h"
#include "node/cli/layout.h"

#define LOG_TAIL_BYTES 8192

/* In the child, between fork and exec: only async-signal-safe calls. */
_Noreturn static void become_node(int log_fd, const char *config,
                                  enum process_how how, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    char *const argv[] = {(char *)"bastide",
                          (char *)"node",
                          (char *)"--config",
                          (char *)config,
                          how != PROCESS_AS_IT_IS ? (char *)"--rebuild" : NULL,
                          how == PROCESS_REBUILD_SURE ? (char *)"--yes" : NULL,
                          NULL};
    int null = open("/dev/null", O_RDONLY);
    bool ready = null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
                 dup2(log_fd, STDOUT_FILENO) >= 0 &&
                 dup2(log_fd, STDERR_FILENO) >= 0 && setpgid(0, 0) == 0 &&
                 prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 &&
                 sigprocmask(SIG_SETMASK, &none, NULL) == 0;
    /* The parent may have died before prctl: then nobody would send it. */
    if (ready && getppid() == parent)
        execv("/proc/self/exe", argv);
    static const char text[] = "bastide demo: cannot start the node process\n";
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        _exit(126);
    _exit(127);
}

int process_start_node(const char *dir, const char *node, enum process_how how,
                       pid_t *pid_out, struct err_msg *msg)
{
    char log[PATH_MAX], config[PATH_MAX];
    int err = layout_path(dir, node, PROCESS_LOG, log, msg);
    if (err == ERR_OK)
        err = layout_path(dir, node, "node.yaml", config, msg);
    if (err != ERR_OK)
        return err;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(msg, err_from_errno(errno), "%s: cannot write it: %s",
                       log, strerror(errno));
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become_node(fd, config, how, parent);
    int saved = errno;
    close(fd);
    if (pid < 0)
        return err_set(msg, err_from_errno(saved), "cannot start a process: %s",
                       strerror(saved));
    *pid_out = pid;
    return ERR_OK;
}

/* Whether the command line of `pid` is the one become_node gives. */
static bool runs_config(pid_t pid, const char *config)
{
    char path[64], command[2 * PATH_MAX];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, command, sizeof(command) - 1);
    close(fd);
    if (len <= 0)
        return false; /* gone, or a zombie */
    /* Arguments are separated by NULs. */
    static const char head[] = "bastide\0node\0--config";
    command[len] = '\0';
    return (size_t)len > sizeof(head) &&
           memcmp(command, head, sizeof(head)) == 0 &&
           strcmp(command + sizeof(head), config) == 0;
}

pid_t process_find_node(const char *dir, const char *node)
{
    char config[PATH_MAX];
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return 0;
    pid_t found = 0;
    if (layout_path(dir, node, "node.yaml", config, NULL) == ERR_OK)
        for (struct dirent *e; found == 0 && (e = readdir(proc)) != NULL;) {
            uint64_t pid;
            if (text_parse_u64(bytes_str(e->d_name), INT32_MAX, &pid) ==
                    ERR_OK &&
                runs_config((pid_t)pid, config))
                found = (pid_t)pid;
        }
    closedir(proc);
    return found;
}

void process_describe_exit(int status, char *out, size_t len)
{
    if (WIFSIGNALED(status))
        snprintf(out, len, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(out, len, "exited with code %d", WEXITSTATUS(status));
}

void process_print_log_tail(FILE *to, const char *dir, const char *node,
                            int lines)
{
    char path[PATH_MAX], text[LOG_TAIL_BYTES + 1];
    if (layout_path(dir, node, PROCESS_LOG, path, NULL) != ERR_OK)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > LOG_TAIL_BYTES ? size - LOG_TAIL_BYTES : 0;
    ssize_t len = pread(fd, text, LOG_TAIL_BYTES, from);
    close(fd);
    if (len <= 0)
        return;
    text[len] = '\0';
    char *start = text + len;
    for (int seen = 0; start > text; start--)
        if (start[-1] == '\n' && start != text + len && ++seen == lines)
            break;
    fprintf(to, "  last lines of %s:\n", path);
    for (char *rest = start, *line; (line = strsep(&rest, "\n")) != NULL;)
        if (line[0] != '\0')
            fprintf(to, "    %s\n", line);
}
