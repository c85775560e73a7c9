/* Messages into a worker's loop from other threads.
 *
 * Any thread may post; the owner's loop calls `deliver` for each message, in
 * the order of posting, before it sleeps again. The queue is bounded: a post
 * beyond the maximum answers ERR_FULL and the sender decides what that means
 * (a request is refused, a tick is dropped). Messages that must never be
 * refused (results of work the receiver itself began) use inbox_post_reserved:
 * their number is bounded by the number of requests, which is.
 */
#ifndef BASTIDE_SERVER_INBOX_H
#define BASTIDE_SERVER_INBOX_H

#include <ev.h>
#include <pthread.h>
#include <stdint.h>

#include "node/base/list.h"

/* Requests from other workers that wait for one worker at most. */
#define INBOX_MAX 16384

/* Embedded first in every message. */
struct inbox_message {
    struct list node;
    void (*deliver)(struct inbox_message *m, void *owner);
};

struct inbox {
    pthread_mutex_t lock;
    struct list queue; /* under lock */
    uint32_t length;   /* under lock */
    struct ev_loop *loop;
    struct ev_async wake;
    void *owner; /* given to deliver */
};

/* On the owner's thread, before its loop runs. */
void inbox_init(struct inbox *in, struct ev_loop *loop, void *owner);

/* Hands `m` over; it belongs to the inbox until delivered. ERR_FULL: it still
 * belongs to the caller. */
int inbox_post(struct inbox *in, struct inbox_message *m);
void inbox_post_reserved(struct inbox *in, struct inbox_message *m);

#endif
