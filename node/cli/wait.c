#include "node/cli/wait.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"

#define POLL_US (100 * USEC_PER_MS)
#define TELL_TERMINAL_US (200 * USEC_PER_MS)
#define TELL_LOG_US (5 * USEC_PER_SEC)
#define LINE_MAX_LEN 160

struct progress {
    const struct wait *wait;
    usec_t began_us, told_us;
    bool terminal, open; /* a line stands on the terminal, unfinished */
};

static void describe(const struct topology *t, char out[LINE_MAX_LEN])
{
    snprintf(out, LINE_MAX_LEN, "writes go to %.63s, epoch %lld%s",
             t->write_region[0] != '\0' ? t->write_region : "?",
             (long long)t->epoch, t->settled ? "" : ", not settled yet");
}

static void tell(struct progress *p, const char *seen, usec_t now)
{
    usec_t every = p->terminal ? TELL_TERMINAL_US : TELL_LOG_US;
    if (p->wait->quiet || now - p->told_us < every)
        return;
    p->told_us = now;
    fprintf(stderr, "%sWaiting for %s, %lld of at most %lld s: %s%s",
            p->terminal ? "\r\033[K" : "", p->wait->what,
            (long long)((now - p->began_us) / USEC_PER_SEC),
            (long long)(p->wait->timeout_us / USEC_PER_SEC), seen,
            p->terminal ? "" : "\n");
    fflush(stderr);
    p->open = p->terminal;
}

static void end_line(struct progress *p)
{
    if (p->open)
        fputs("\r\033[K", stderr);
    p->open = false;
}

int wait_for_topology(const struct wait *w, struct topology *last,
                      struct err_msg *msg)
{
    usec_t now = clock_mono_us();
    struct progress p = {.wait = w,
                         .began_us = now,
                         .told_us = now,
                         .terminal = isatty(STDERR_FILENO) == 1};
    struct err_msg why = {""};
    char seen[ERR_MSG_MAX];
    for (;;) {
        int err = topology_get(w->reach, w->group, last, &why);
        if (err == ERR_OK && w->done(last, w->user)) {
            end_line(&p);
            return ERR_OK;
        }
        if (err == ERR_OK)
            describe(last, seen);
        else
            snprintf(seen, sizeof(seen), "%s", why.text);
        now = clock_mono_us();
        if (now - p.began_us >= w->timeout_us)
            break;
        tell(&p, seen, now);
        usleep(POLL_US);
    }
    end_line(&p);
    return err_set(msg, ERR_TIMEOUT,
                   "%s is recorded but does not hold after %lld s (%.300s). "
                   "The cluster goes on with it; see: bastide status",
                   w->what, (long long)(w->timeout_us / USEC_PER_SEC), seen);
}

bool wait_can_ask(void)
{
    return isatty(STDIN_FILENO) == 1;
}

int wait_approval(const char *command, bool yes)
{
    if (yes)
        return CMD_OK;
    if (!wait_can_ask())
        return options_refuse(command,
                              "nobody is there to be asked; add --yes, "
                              "nothing was changed");
    if (wait_confirm("Type yes to have this done: ", "yes"))
        return CMD_OK;
    return options_failed(command, "not confirmed, nothing was changed");
}

bool wait_confirm(const char *question, const char *expected)
{
    char line[LINE_MAX_LEN];
    fputs(question, stderr);
    fflush(stderr);
    if (fgets(line, sizeof(line), stdin) == NULL)
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return strcasecmp(line, expected) == 0;
}
