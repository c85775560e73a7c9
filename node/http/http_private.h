/* What the files of node/http share among themselves. Not for others.
 *
 *     front.c      the front: options, counters, timeouts, drain
 *     listener.c   ports
 *     conn.c       one connection: reading requests, order of responses
 *     exchange.c   one request with its response: memory, reply headers,
 * sending head.c, chunked.c   the syntax, pure
 *
 * A connection, by what it is reading (`phase`):
 *
 *     OPENING -> IDLE <-> HEAD -> BODY -> IDLE ...
 *                  \______ \_______\____-> LAST -> LINGER -> CLOSING
 *
 *   IDLE     between two requests; others may be with the handler
 *   HEAD     some bytes of a head have arrived
 *   BODY     the head is complete, the body is not
 *   LAST     no further request will be read; answers are still owed
 *   LINGER   the last answer is queued; what the client still sends is thrown
 *            away for a moment, so that a reset does not overtake the answer
 *   CLOSING  the channel has been told to close; its on_close frees us
 */
#ifndef BASTIDE_NODE_HTTP_HTTP_PRIVATE_H
#define BASTIDE_NODE_HTTP_HTTP_PRIVATE_H

#include <ev.h>

#include "node/base/check.h"
#include "node/base/list.h"
#include "node/http/chunked.h"
#include "node/http/head.h"
#include "node/http/http.h"

/* Exchanges kept for reuse, and the most storage one may keep in each buffer.
 */
#define HTTP_POOL_MAX 256
#define HTTP_POOL_KEEP (16 * 1024)
/* How channels of listeners are made. The output must hold any response head
 * and one slice of a body; more of a body waits in the exchange. */
#define HTTP_INPUT_MAX (64 * 1024)
#define HTTP_OUTPUT_MAX (512 * 1024)
#define HTTP_SLICE (32 * 1024)
/* What a client may still send after its last answer before it is cut off: the
 * rest of a body it announced, at most this much and this long. */
#define HTTP_LINGER_BYTES (32 * 1024 * 1024)
#define HTTP_LINGER_US (5 * USEC_PER_SEC)
/* The same for a client whose bytes have no meaning any more. */
#define HTTP_LINGER_SHORT_BYTES (256 * 1024)
#define HTTP_LINGER_SHORT_US (500 * USEC_PER_MS)
/* Status line and the headers that the front adds itself. */
#define HTTP_STATUS_LINE_MAX 256

#define HTTP_CONN_MAGIC MAGIC('h', 't', 'c', 'o')
#define HTTP_EXCHANGE_MAGIC MAGIC('h', 't', 'e', 'x')
#define HTTP_FRONT_MAGIC MAGIC('h', 't', 'f', 'r')

/* A request and its response. `pub` is what the handler holds. */
struct http_exchange {
    struct http_request pub; /* first, so that it can be cast back */
    uint32_t magic;
    enum http_exchange_state {
        EXCHANGE_FREE,    /* in the pool */
        EXCHANGE_READING, /* head or body incomplete */
        EXCHANGE_RUNNING, /* with the handler */
        EXCHANGE_DELAYED, /* answered, waits in front.delayed */
        EXCHANGE_DONE,    /* answered, to be sent in its turn */
    } state;
    struct list node; /* in conn.exchanges, or in front.pool */
    struct http_front *front;
    struct http_conn *conn; /* NULL when the client has gone */
    char peer_addr[64];     /* outlives the channel */
    struct buf raw_head;
    struct http_head head; /* points into raw_head */
    struct buf body;
    bool send_continue;    /* 100 Continue is owed */
    bool close;            /* the connection ends after this response */
    enum http_cut cut;     /* what is sent of it */
    usec_t delay_us;       /* until DONE, once answered; then: */
    usec_t delay_until_us; /* while DELAYED */
    struct list delayed;   /* in front.delayed while DELAYED */
    int status;            /* once DONE */
    struct buf reply;      /* header lines made by the handler */
    struct buf reply_body; /* once DONE: not yet queued to the channel */
    size_t reply_body_len; /* once DONE: Content-Length */
    bool reply_head_sent;
    bool starved; /* there was no memory for one of the reply's headers */
    /* Of http_request_make: where the answer goes; else NULL. */
    http_answer_cb *answer;
    void *answer_user;
};

/* Which clock of the front a connection runs against. */
enum http_wait {
    HTTP_WAIT_NONE,
    HTTP_WAIT_IDLE,
    HTTP_WAIT_RETIRE, /* IDLE of a connection that shall end soon */
    HTTP_WAIT_HEAD,
    HTTP_WAIT_BODY,
    HTTP_WAIT_LINGER,
    HTTP_WAIT_LINGER_SHORT,
    HTTP_WAIT_COUNT,
};

struct http_conn {
    uint32_t magic;
    struct http_front *front;
    struct http_listener *listener; /* NULL: adopted, or the listener closed */
    void *tag;
    struct chan *chan;
    struct list node; /* in front.conns */
    enum http_phase {
        PHASE_OPENING,
        PHASE_IDLE,
        PHASE_HEAD,
        PHASE_BODY,
        PHASE_LAST,
        PHASE_LINGER,
        PHASE_CLOSING,
    } phase;
    struct list exchanges; /* in the order of the requests */
    size_t exchange_count;
    struct http_exchange *reading; /* in HEAD and BODY; the last of the list */
    struct http_scan scan;         /* in HEAD */
    struct chunked chunked;        /* in BODY */
    uint64_t body_left;            /* in BODY, unless chunked */
    uint64_t linger_left;
    size_t body_progress; /* bytes of the body since its clock was wound */
    enum http_wait linger_wait; /* NONE: close without lingering */
    bool blank_seen;            /* the empty line tolerated before a request */
    bool in_progress;           /* conn_progress is on the stack */
    bool reading_stopped;       /* chan_read_stop was called */
    bool blocked;               /* a chan_write answered ERR_FULL */
    bool retire;                /* to be closed at the next good moment */
    bool doomed;                /* to be freed by the front, soon */
    struct list soon;           /* in front.soon */
    enum http_wait wait;
    struct list wait_node;
    usec_t wait_until_us;
    struct list write_node; /* in front.writing while output may be unsent */
    usec_t write_until_us;
    uint64_t queued_total; /* bytes ever given to the channel */
    uint64_t sent_mark; /* of these, known as sent when the clock was wound */
};

struct http_listener {
    struct http_front *front;
    struct list node;
    void *tag;
    struct chan_listener *chan_listener;
};

struct http_front {
    uint32_t magic;
    struct http_front_options options;
    struct http_counters counters;
    struct list listeners;
    struct list conns;
    struct list pool;
    size_t pool_count;
    /* Connections by clock. Every list has one duration, so its first element
     * is the next to run out. */
    struct list waiting[HTTP_WAIT_COUNT];
    usec_t wait_us[HTTP_WAIT_COUNT];
    struct list writing;
    /* Connections to go on with from the loop, not from inside http_respond. */
    struct list soon;
    /* Exchanges that wait for their time, the next one first. */
    struct list delayed;
    ev_timer delay_timer;
    ev_timer soon_timer;
    ev_timer tick_timer;
    bool draining;
    usec_t drain_until_us;
    void (*on_drained)(struct http_front *f, void *user);
    void *on_drained_user;
    int64_t date_sec; /* of `date` */
    char date[CLOCK_HTTP_DATE_LEN + 1];
};

/* -- front.c --------------------------------------------------------------- */

usec_t front_now(struct http_front *f);
/* The value of a Date header for now. */
const char *front_date(struct http_front *f);
/* Makes the front call conn_soon from the loop. */
void front_schedule(struct http_front *f, struct http_conn *c);
/* Winds the clock `wait`, or none. */
void front_wait(struct http_front *f, struct http_conn *c, enum http_wait wait);
/* A connection was freed; a drain may be over. */
void front_conn_gone(struct http_front *f);
/* Keeps an answered exchange for its delay_us, then calls conn_release. False,
 * and nothing was done, when too many are kept already or the front drains. */
bool front_delay(struct http_front *f, struct http_exchange *x);
/* Forgets a DELAYED exchange. */
void front_undelay(struct http_front *f, struct http_exchange *x);
/* Watches that the output of `c` moves. */
void front_watch_output(struct http_front *f, struct http_conn *c);

/* -- conn.c ---------------------------------------------------------------- */

/* Takes `chan` over. */
struct http_conn *conn_new(struct http_front *f, struct chan *chan,
                           struct http_listener *l, void *tag);
void conn_free(struct http_conn *c);
/* The clock that front_wait wound has run out. May free `c`. */
void conn_timeout(struct http_conn *c);
/* What front_schedule asked for. May free `c`. */
void conn_soon(struct http_conn *c);
/* Lets it end at the next good moment. */
void conn_retire(struct http_conn *c);
/* A DELAYED exchange has waited long enough: it is DONE. */
void conn_release(struct http_conn *c, struct http_exchange *x);

/* -- exchange.c ------------------------------------------------------------ */

/* `c` is NULL for a request without a connection. */
struct http_exchange *exchange_new(struct http_front *f, struct http_conn *c);
/* Lets the handler see what of head and body is there. */
void exchange_show_head(struct http_exchange *x);
void exchange_show_body(struct http_exchange *x);
/* Ends the life of an exchange that has `answer`, and calls it. */
void exchange_answer(struct http_exchange *x, int status, struct bytes body);
/* Back to the pool. It must be in no list. */
void exchange_release(struct http_exchange *x);
void exchange_free(struct http_exchange *x);
/* Turns it into the answer to a bad request, DONE. */
void exchange_reject(struct http_exchange *x, const struct http_fault *fault);
/* Queues the response of a DONE exchange to its channel, with `body` or, when
 * that is empty, what reply_body still holds. ERR_FULL when the channel is
 * full: what is left of `body` was kept, call again after on_writable.
 * ERR_CLOSED, ERR_NO_MEMORY. */
int exchange_send(struct http_exchange *x, struct bytes body);

static inline struct http_exchange *exchange_of(struct http_request *r)
{
    struct http_exchange *x = (struct http_exchange *)r;
    CHECK_OBJ(x, HTTP_EXCHANGE_MAGIC);
    return x;
}

#endif
