/* Named fault points in the shells (log, store, links, front).
 *
 * A point is a place where the outside world can fail: `fault_hit("log.sync")`
 * right before the system call it stands for. With nothing armed it costs one
 * load. Armed (by the environment variable BASTIDE_FAULTS at start, or at run
 * time where the node allows fault injection) it returns what to pretend.
 *
 *     BASTIDE_FAULTS="log.sync.before=crash@3,store.commit.before=eio,
 *                     log.append.before=delay:50"
 *
 * arms the third hit of one point and every hit of two others. The list of
 * points is in fault_points.h; arming an unknown name is an error.
 *
 * A point can be slow and broken at once: it waits, then does what it is armed
 * with. Both end at once when the point is disarmed.
 */
#ifndef BASTIDE_BASE_FAULT_H
#define BASTIDE_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"

enum fault_action {
    FAULT_NONE,
    FAULT_CRASH,    /* never returned: the process exits as by SIGKILL */
    FAULT_EIO,      /* fail with ERR_IO */
    FAULT_NO_SPACE, /* fail with ERR_NO_SPACE */
    FAULT_SHORT,    /* do a part of it, then crash (torn write) */
    FAULT_HANG,     /* never returned: the call sleeps until the point is
                     * disarmed, then none */
};

/* How long "delay" without a time waits. */
#define FAULT_DELAY_DEFAULT_MS 200
#define FAULT_DELAY_MAX_MS 60000

extern bool fault_any_armed;
enum fault_action fault_hit_slow(const char *point);

static inline enum fault_action fault_hit(const char *point)
{
    if (__builtin_expect(!__atomic_load_n(&fault_any_armed, __ATOMIC_RELAXED),
                         1))
        return FAULT_NONE;
    return fault_hit_slow(point);
}

/* The error a fault stands for; ERR_OK for FAULT_NONE. */
int fault_err(enum fault_action action);

/* Parses and arms a list as above; replaces what was armed. NULL or "" disarms
 * everything. ERR_INVALID with a message that names the bad part. */
int fault_arm(const char *spec, struct err_msg *msg);

/* What every hit of one point does from now on, while other threads may be at
 * it; FAULT_NONE and 0 disarm. Other points stay as they are. The point must
 * exist, and the delay be at most FAULT_DELAY_MAX_MS. One thread at a time. */
void fault_set(const char *point, enum fault_action action);
void fault_set_delay(const char *point, uint32_t ms);
/* What a point is armed with. */
enum fault_action fault_get(const char *point);

#endif
