/* What impair.h does to the frames of a link: they wait in its delay line, or
 * it is cut. */
#include <errno.h>
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

/* Wakes when the first waiting frame is due; while the way out is cut, none is.
 */
static void alarm_set(struct link *l)
{
    usec_t due = l->out.cut ? USEC_NEVER : delay_line_next(&l->line);
    if (l->alarm_fd < 0 || due == l->alarm_us)
        return;
    struct itimerspec spec = {.it_value = {0, 0}};
    if (due != USEC_NEVER) {
        spec.it_value.tv_sec = due / USEC_PER_SEC;
        spec.it_value.tv_nsec = due % USEC_PER_SEC * 1000;
    }
    CHECK(timerfd_settime(l->alarm_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0);
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
    usec_t due = impairment_due(&l->out, clock_mono_us(), &l->links->prng);
    int err = delay_line_put(&l->line, due, data, len);
    alarm_set(l);
    return err == ERR_LIMIT ? ERR_FULL : err;
}

bool link_delays(const struct link *l)
{
    return l->out.delay_us > 0 || l->out.jitter_us > 0 || l->out.cut ||
           delay_line_len(&l->line) > 0;
}

size_t link_unsent(const struct link *l)
{
    return l->chan != NULL ? chan_output_len(l->chan) + delay_line_len(&l->line)
                           : 0;
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
    if (l->chan == NULL)
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
    delay_line_init(&l->line, LINKS_OUTPUT_MAX);
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
    *(direction == IMPAIR_OUT ? &l->out : &l->in) = *impairment;
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
