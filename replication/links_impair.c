/* What impair.h does to the frames of a link: they wait in its delay line, or
 * it is cut. */
#include <errno.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "replication/links_impl.h"

bool link_is_cut(const struct link *l)
{
    return l->out.cut || l->in.cut;
}

/* Distances are imitated to a fraction of a millisecond, which the loop's own
 * timers are too coarse for. */
static int alarm_open(struct link *l)
{
    if (l->alarm_fd >= 0)
        return ERR_OK;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    l->alarm_fd = fd;
    l->alarm_us = USEC_NEVER;
    ev_io_set(&l->alarm, fd, EV_READ);
    ev_io_start(chan_loop_ev(l->links->cl), &l->alarm);
    return ERR_OK;
}

void link_alarm_close(struct link *l)
{
    ev_io_stop(chan_loop_ev(l->links->cl), &l->alarm);
    if (l->alarm_fd >= 0)
        close(l->alarm_fd);
    l->alarm_fd = -1;
}

/* Wakes when the first waiting frame is due (while the way out is cut, none
 * is), or the end of the connection is to be noticed. */
static void alarm_set(struct link *l)
{
    usec_t due = l->out.cut ? USEC_NEVER : delay_line_next(&l->line);
    if (l->late_us < due)
        due = l->late_us;
    if (l->alarm_fd < 0 || due == l->alarm_us)
        return;
    struct itimerspec spec = {.it_value = {0, 0}};
    if (due != USEC_NEVER) {
        /* From now on, not at a time: the process's clock may be made to run
         * differently from the system's (clock.h). Zero would never ring. */
        usec_t now = clock_mono_us();
        usec_t left = due > now ? due - now : 0;
        spec.it_value.tv_sec = left / USEC_PER_SEC;
        spec.it_value.tv_nsec = left % USEC_PER_SEC * 1000 + (left == 0);
    }
    CHECK(timerfd_settime(l->alarm_fd, 0, &spec, NULL) == 0);
    l->alarm_us = due;
}

void link_release(struct link *l, struct bytes frames)
{
    if (frames.len == 0)
        return;
    CHECK(l->chan != NULL);
    /* It has room: the line and the channel together keep to its limit. A
     * channel that is closed tells its handler soon. */
    int err = chan_write(l->chan, frames.data, frames.len);
    CHECK(err == ERR_OK || err == ERR_CLOSED);
    delay_line_take(&l->line, frames.len);
}

int link_put_delayed(struct link *l, const void *data, size_t len)
{
    int err = impair_send(&l->out, &l->line, &l->free_us, clock_mono_us(),
                          &l->links->prng, data, len);
    alarm_set(l);
    return err == ERR_LIMIT ? ERR_FULL : err;
}

bool link_delays(const struct link *l)
{
    return l->out.delay_us > 0 || l->out.jitter_us > 0 ||
           l->out.kbit_per_second > 0 || l->out.cut ||
           delay_line_len(&l->line) > 0;
}

size_t link_unsent(const struct link *l)
{
    return l->chan != NULL ? chan_output_len(l->chan) + delay_line_len(&l->line)
                           : 0;
}

/* -- refused handshakes -----------------------------------------------------
 */

static enum chan_verdict verdict_of(struct link *l)
{
    switch (l->in.certificate) {
    case IMPAIR_CERT_EXPIRED:
        return CHAN_CERT_EXPIRED;
    case IMPAIR_CERT_REVOKED:
        return CHAN_CERT_REVOKED;
    case IMPAIR_CERT_WRONG_REGION: /* link_uri sees to it */
    case IMPAIR_CERT_GOOD:
        break;
    }
    return impairment_fails_handshake(&l->in, &l->links->prng)
               ? CHAN_CERT_REFUSED
               : CHAN_CERT_ACCEPTED;
}

/* The side that accepts learns nothing of a handshake that failed but its
 * reason, so it is noted here. */
static enum chan_verdict judge(void *user, const char *uri)
{
    struct links *links = user;
    struct peer_identity id;
    if (uri == NULL || peer_uri_parse(uri, &id) != ERR_OK)
        return CHAN_CERT_ACCEPTED; /* as far as faults go */
    struct link *l = link_find_node(links, id.node);
    if (l == NULL)
        return CHAN_CERT_ACCEPTED;
    enum chan_verdict verdict = verdict_of(l);
    if (verdict != CHAN_CERT_ACCEPTED) {
        l->stats.last_err = ERR_AUTH;
        snprintf(l->last_reason, sizeof(l->last_reason), "%s",
                 chan_verdict_reason(verdict));
    }
    return verdict;
}

void links_judge_init(struct links *links)
{
    links->judge = (struct chan_judge){.judge = judge, .user = links};
}

const char *link_uri(struct link *l, const char *uri,
                     char storage[PEER_URI_MAX + 1])
{
    struct peer_identity id;
    if (l->in.certificate != IMPAIR_CERT_WRONG_REGION || uri == NULL ||
        peer_uri_parse(uri, &id) != ERR_OK)
        return uri;
    snprintf(id.region, sizeof(id.region), "elsewhere");
    peer_uri(&id, storage);
    return storage;
}

/* Has the handshake of an open connection fail after the fact. */
static void expel(struct link *l)
{
    char uri[PEER_URI_MAX + 1], reason[PEER_REASON_MAX];
    struct peer_identity id = l->peer.expected;
    if (l->in.certificate == IMPAIR_CERT_WRONG_REGION) {
        snprintf(id.region, sizeof(id.region), "elsewhere");
        peer_uri(&id, uri);
        int err = peer_uri_check(&l->peer.expected, uri, reason);
        if (err != ERR_OK)
            link_failed(l, PEER_EVENT_VIOLATION, err, reason);
        return;
    }
    enum chan_verdict verdict = l->in.certificate != IMPAIR_CERT_GOOD
                                    ? verdict_of(l)
                                    : CHAN_CERT_REFUSED;
    link_failed(l, PEER_EVENT_LOST, ERR_AUTH, chan_verdict_reason(verdict));
}

/* -- ends that are noticed late ---------------------------------------------
 */

void link_ended(struct link *l, enum peer_event_type type, int err,
                const char *reason)
{
    /* Who is not connected yet hears at once that nobody is there. */
    if (l->in.close_delay_us == 0 || !link_streaming(l)) {
        link_failed(l, type, err, reason);
        return;
    }
    if (link_is_late(l))
        return; /* the first end counts */
    l->late_us = clock_mono_us() + l->in.close_delay_us;
    l->late_event = type;
    l->late_err = err;
    snprintf(l->late_reason, sizeof(l->late_reason), "%s", reason);
    alarm_set(l);
}

void link_impair_reset(struct link *l)
{
    l->late_us = USEC_NEVER;
    l->expel = false;
    l->free_us = 0;
}

/* -- the loop ---------------------------------------------------------------
 */

/* Ends the connection if that is due. */
static bool end_due(struct link *l)
{
    if (l->expel && !link_is_late(l))
        expel(l);
    else if (l->late_us <= clock_mono_us() || l->expel)
        link_failed(l, l->late_event, l->late_err, l->late_reason);
    else
        return false;
    return true;
}

/* What waited is due, or can be read again. */
static void on_alarm(struct ev_loop *ev, ev_io *w, int revents)
{
    (void)ev;
    struct link *l = w->data;
    CHECK_OBJ(l, LINK_MAGIC);
    uint64_t count;
    if ((revents & EV_READ) != 0 &&
        read(l->alarm_fd, &count, sizeof(count)) == sizeof(count))
        l->alarm_us = USEC_NEVER;
    if (l->chan == NULL || end_due(l))
        return;
    if (!l->out.cut)
        link_release(l, delay_line_due(&l->line, clock_mono_us()));
    alarm_set(l);
    if (l->peer.state >= PEER_PROVING && buf_len(chan_input(l->chan)) > 0)
        link_read(l);
}

void link_impair_init(struct link *l)
{
    l->alarm_fd = -1;
    ev_io_init(&l->alarm, on_alarm, -1, EV_READ);
    l->alarm.data = l;
    link_impair_reset(l);
    delay_line_init(&l->line, LINKS_OUTPUT_MAX);
}

/* A direction has changed from `before`. */
static void changed(struct link *l, enum impair_direction direction,
                    const struct impairment *before)
{
    const struct impairment *now = direction == IMPAIR_OUT ? &l->out : &l->in;
    if (now->certificate != before->certificate ||
        now->handshake_permille > before->handshake_permille)
        l->expel = l->chan != NULL &&
                   (now->certificate != IMPAIR_CERT_GOOD ||
                    now->handshake_permille > before->handshake_permille);
    if (link_is_late(l) && now->close_delay_us < before->close_delay_us)
        l->late_us = clock_mono_us();
    if (before->kbit_per_second > 0 &&
        now->kbit_per_second != before->kbit_per_second) {
        l->free_us = 0;
        delay_line_hurry(&l->line, clock_mono_us() + now->delay_us);
    }
}

int links_impair(struct links *links, links_peer peer,
                 enum impair_direction direction,
                 const struct impairment *impairment)
{
    struct link *l = link_find(links, peer);
    if (l == NULL)
        return ERR_NOT_FOUND;
    if (!impairment_ok(direction, impairment))
        return ERR_INVALID;
    int err = impairment_none(impairment) ? ERR_OK : alarm_open(l);
    if (err != ERR_OK)
        return err;
    bool was_cut = link_is_cut(l);
    struct impairment *slot = direction == IMPAIR_OUT ? &l->out : &l->in;
    struct impairment before = *slot;
    *slot = *impairment;
    changed(l, direction, &before);
    /* The hello takes its time, too. */
    l->peer.timing.connect_us =
        links->timing.connect_us + 2 * (l->out.delay_us + l->out.jitter_us);
    if (l->chan != NULL && l->in.cut)
        chan_read_stop(l->chan);
    else if (l->chan != NULL)
        chan_read_start(l->chan);
    else if (was_cut && l->peer.state == PEER_DIALING)
        link_dial(l);
    /* The rest may call back, so it is the loop's. */
    ev_feed_event(chan_loop_ev(links->cl), &l->alarm, EV_CUSTOM);
    return ERR_OK;
}
