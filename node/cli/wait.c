#include "node/cli/wait.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/interrupt.h"
#include "node/cli/options.h"

#define POLL_US (100 * USEC_PER_MS)
#define POLL_MAX_US (2 * USEC_PER_SEC)
#define POLL_PARTS 10 /* of the time waited until then */
#define TELL_TERMINAL_US (200 * USEC_PER_MS)
#define TELL_LOG_US (5 * USEC_PER_SEC)
#define LINE_MAX_LEN 160
#define PROGRESS_MAX (ERR_MSG_MAX + 256)
#define COLUMNS 80 /* of a terminal that does not say */

/* ---- looking ---------------------------------------------------------------
 */

struct progress {
    const struct wait_until *wait;
    usec_t began_us, told_us;
    bool terminal, open; /* a line stands on the terminal, unfinished */
};

/* How many bytes of it fit into one line: one that wraps cannot be written
 * anew. No character is cut in two. */
static size_t fit(const char *line)
{
    struct winsize size = {.ws_col = 0};
    size_t len = strlen(line), max = COLUMNS - 1;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        max = size.ws_col - 1u;
    if (len <= max)
        return len;
    while (max > 0 && ((unsigned char)line[max] & 0xc0) == 0x80)
        max--;
    return max;
}

static void tell(struct progress *p, const char *seen, usec_t now)
{
    char line[PROGRESS_MAX];
    usec_t every = p->terminal ? TELL_TERMINAL_US : TELL_LOG_US;
    if (p->wait->quiet || now - p->told_us < every)
        return;
    p->told_us = now;
    snprintf(line, sizeof(line), "Waiting for %s, %lld of at most %lld s: %s",
             p->wait->what, (long long)((now - p->began_us) / USEC_PER_SEC),
             (long long)(p->wait->timeout_us / USEC_PER_SEC), seen);
    if (p->terminal)
        fprintf(stderr, "\r\033[K%.*s", (int)fit(line), line);
    else
        fprintf(stderr, "%s\n", line);
    fflush(stderr);
    p->open = p->terminal;
}

/* Each look may be a connection to every node, and a handshake costs each as
 * much as several writes: what takes long is looked at less often. */
static usec_t pause_us(const struct wait_until *w, usec_t waited)
{
    usec_t pause =
        waited / POLL_PARTS < POLL_MAX_US ? waited / POLL_PARTS : POLL_MAX_US;
    return pause > w->poll_us ? pause : w->poll_us;
}

static int look_on(struct progress *p, struct err_msg *msg)
{
    const struct wait_until *w = p->wait;
    struct err_msg seen = {""};
    for (;;) {
        int err = w->look(w->user, &seen);
        if (err == ERR_OK)
            return ERR_OK;
        if (err != ERR_AGAIN)
            return err_set(msg, err, "%s", seen.text);
        usec_t now = clock_mono_us();
        if (interrupt_seen())
            return err_set(msg, ERR_CANCELLED,
                           "the cluster goes on with it (%.300s); %s",
                           seen.text, w->then);
        if (now - p->began_us >= w->timeout_us)
            return err_set(msg, ERR_TIMEOUT,
                           "%s is recorded but does not hold after %lld s "
                           "(%.300s). The cluster goes on with it; %s",
                           w->what, (long long)(w->timeout_us / USEC_PER_SEC),
                           seen.text, w->then);
        tell(p, seen.text, now);
        usleep((useconds_t)pause_us(w, now - p->began_us));
    }
}

int wait_until(const struct wait_until *w, struct err_msg *msg)
{
    usec_t now = clock_mono_us();
    struct progress p = {.wait = w,
                         .began_us = now,
                         .told_us = now,
                         .terminal = isatty(STDERR_FILENO) == 1};
    if (!p.terminal)
        p.told_us -= TELL_LOG_US; /* a log says at once what goes on */
    int err = look_on(&p, msg);
    if (p.open)
        fputs("\r\033[K", stderr);
    return err;
}

/* ---- the topology ----------------------------------------------------------
 */

struct topology_look {
    const struct wait *wait;
    struct topology *last;
};

static int look_at_topology(void *user, struct err_msg *seen)
{
    const struct topology_look *l = user;
    const struct wait *w = l->wait;
    const struct topology *t = l->last;
    if (topology_get(w->reach, w->group, l->last, seen) != ERR_OK)
        return ERR_AGAIN;
    if (w->done(t, w->user))
        return ERR_OK;
    return err_set(seen, ERR_AGAIN, "writes go to %.63s, epoch %lld%s",
                   t->write_region[0] != '\0' ? t->write_region : "?",
                   (long long)t->epoch, t->settled ? "" : ", not settled yet");
}

int wait_for_topology(const struct wait *w, struct topology *last,
                      struct err_msg *msg)
{
    struct topology_look look = {.wait = w, .last = last};
    const struct wait_until until = {.what = w->what,
                                     .then = "see: bastide status",
                                     .timeout_us = w->timeout_us,
                                     .poll_us = POLL_US,
                                     .quiet = w->quiet,
                                     .look = look_at_topology,
                                     .user = &look};
    return wait_until(&until, msg);
}

/* ---- asking ----------------------------------------------------------------
 */

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
