/* What goes on in the cluster while a scenario plays: a thread asks every node
 * for the topology, again and again, and writes down what changes.
 *
 * A node that is cut off believes what it last heard, so the newest decision
 * that any node knows counts; "well" is the cluster only if every node says
 * so. */
#ifndef BASTIDE_CLI_FAULT_WATCH_H
#define BASTIDE_CLI_FAULT_WATCH_H

#include "node/cli/reach.h"
#include "node/cli/topology.h"
#include "node/history/observed.h"

#define FAULT_NOTES_MAX 256
#define FAULT_NOTE_MAX 360

/* Something that happened. */
struct fault_note {
    usec_t us; /* since the load began */
    int step;  /* of the scenario; -1: nobody's doing */
    char text[FAULT_NOTE_MAX];
};

struct fault_view {
    struct topology newest; /* of the node that knows the latest decision */
    bool known;
    bool well; /* all nodes answer, and all say that all is up */
    /* All nodes answer, none is cut off, and every replica has nearly all that
     * was written. A region that was lost before may not be trusted again yet
     * (timeouts.region_up_ms, doubled by each loss). */
    bool rejoined;
    usec_t asked_us;          /* monotonic: when the asking began */
    char why[FAULT_NOTE_MAX]; /* not well: what is missing */
};

struct fault_watch;

/* `reach` is copied, its trust is borrowed; `start_us` is the monotonic time
 * that notes count from. */
struct fault_watch *fault_watch_start(const struct reach *reach,
                                      usec_t start_us);
void fault_watch_stop(struct fault_watch *w);
void fault_watch_free(struct fault_watch *w); /* NULL is allowed */

/* The newest view; `known` is false before the first. */
void fault_watch_view(struct fault_watch *w, struct fault_view *out);
/* Adds a note of the caller's; beyond FAULT_NOTES_MAX they are dropped. */
void fault_watch_note(struct fault_watch *w, usec_t us, int step,
                      const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The time now, as notes count it. */
usec_t fault_watch_now(const struct fault_watch *w);

/* After the stop: by time. */
const struct fault_note *fault_watch_notes(struct fault_watch *w,
                                           size_t *count_out);

#endif
