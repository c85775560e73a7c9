#include "failover/report.h"

#include "node/base/check.h"
#include "node/base/err.h"

#define MESSAGE_VERSION 1
#define FLAG_NO_SPACE 1
#define FLAG_DRAINING 2

/* -- pulse ----------------------------------------------------------------- */

struct failover_beat failover_pulse_send(struct failover_pulse *p, usec_t now)
{
    p->sent++;
    p->sent_us[p->sent % FAILOVER_PULSES] = now;
    return (struct failover_beat){.number = p->sent,
                                  .echo_incarnation = p->peer_incarnation,
                                  .echo = p->peer_number};
}

/* Ours, not heard of before, and not too old to know when it left. */
static bool proves(const struct failover_pulse *p,
                   const struct failover_beat *beat, uint64_t own)
{
    return beat->echo_incarnation == own && beat->echo > p->echoed &&
           beat->echo <= p->sent && p->sent - beat->echo < FAILOVER_PULSES;
}

void failover_pulse_heard(struct failover_pulse *p,
                          const struct failover_beat *beat,
                          uint64_t peer_incarnation, uint64_t own, usec_t now)
{
    CHECK(own != 0 && peer_incarnation != 0);
    if (peer_incarnation != p->peer_incarnation) {
        p->peer_incarnation = peer_incarnation;
        p->peer_number = 0;
    }
    if (beat->number > p->peer_number)
        p->peer_number = beat->number;
    if (proves(p, beat, own)) {
        p->echoed = beat->echo;
        p->proved_us = now;
        p->rtt_us = now - p->sent_us[beat->echo % FAILOVER_PULSES];
    }
    CHECK(p->echoed <= p->sent);
}

static uint16_t to_ms(usec_t us)
{
    CHECK(us >= 0);
    usec_t ms = us / USEC_PER_MS;
    return ms < FAILOVER_NEVER_MS ? (uint16_t)ms : FAILOVER_NEVER_MS;
}

void failover_pulse_way(const struct failover_pulse *p, usec_t now,
                        struct failover_way *way_out)
{
    bool proved = p->echoed > 0;
    way_out->age_ms = proved ? to_ms(now - p->proved_us) : FAILOVER_NEVER_MS;
    way_out->rtt_ms = proved ? to_ms(p->rtt_us) : FAILOVER_NEVER_MS;
}

/* -- the message ----------------------------------------------------------- */

static bool report_valid(const struct failover_report *r)
{
    if (r->node == 0 || r->node > FAILOVER_NODES_MAX || r->incarnation == 0 ||
        r->seq == 0 || r->n > FAILOVER_NODES_MAX)
        return false;
    uint32_t last = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t node = r->ways[i].node;
        if (node <= last || node > FAILOVER_NODES_MAX || node == r->node)
            return false;
        last = node;
    }
    return true;
}

static void put_u16(uint8_t **at, uint16_t v)
{
    put_u16_le(*at, v);
    *at += 2;
}
static void put_u32(uint8_t **at, uint32_t v)
{
    put_u32_le(*at, v);
    *at += 4;
}
static void put_u64(uint8_t **at, uint64_t v)
{
    put_u64_le(*at, v);
    *at += 8;
}

int failover_message_encode(const struct failover_report *report,
                            const struct failover_beat *beat, struct buf *out)
{
    const struct failover_self *self = &report->self;
    uint8_t *start;
    CHECK(report_valid(report));
    int rc = buf_reserve(out, FAILOVER_MESSAGE_MAX, &start);
    if (rc != ERR_OK)
        return rc;
    uint8_t *at = start;
    *at++ = MESSAGE_VERSION;
    put_u16(&at, (uint16_t)report->node);
    put_u64(&at, report->incarnation);
    put_u64(&at, report->seq);
    put_u64(&at, beat->number);
    put_u64(&at, beat->echo_incarnation);
    put_u64(&at, beat->echo);
    put_u32(&at, self->disk_stall_ms);
    *at++ = (uint8_t)((self->no_space ? FLAG_NO_SPACE : 0) |
                      (self->draining ? FLAG_DRAINING : 0));
    put_u32(&at, self->behind_ms);
    put_u64(&at, self->behind_entries);
    put_u32(&at, self->led);
    *at++ = (uint8_t)report->n;
    for (uint32_t i = 0; i < report->n; i++) {
        *at++ = (uint8_t)report->ways[i].node;
        put_u16(&at, report->ways[i].age_ms);
        put_u16(&at, report->ways[i].rtt_ms);
    }
    CHECK(at - start <= FAILOVER_MESSAGE_MAX);
    buf_commit(out, (size_t)(at - start));
    return ERR_OK;
}

static void read_self(struct cursor *c, struct failover_self *self)
{
    self->disk_stall_ms = cursor_u32_le(c);
    uint8_t flags = cursor_u8(c);
    if (flags & ~(FLAG_NO_SPACE | FLAG_DRAINING))
        c->failed = true;
    self->no_space = flags & FLAG_NO_SPACE;
    self->draining = flags & FLAG_DRAINING;
    self->behind_ms = cursor_u32_le(c);
    self->behind_entries = cursor_u64_le(c);
    self->led = cursor_u32_le(c);
}

int failover_message_decode(struct bytes in, struct failover_report *report_out,
                            struct failover_beat *beat_out)
{
    struct cursor c = cursor_of(in.data, in.len);
    struct failover_report r = {0};
    struct failover_beat beat;
    uint8_t version = cursor_u8(&c);
    if (cursor_ok(&c) && version != MESSAGE_VERSION)
        return ERR_UNSUPPORTED;
    r.node = cursor_u16_le(&c);
    r.incarnation = cursor_u64_le(&c);
    r.seq = cursor_u64_le(&c);
    beat.number = cursor_u64_le(&c);
    beat.echo_incarnation = cursor_u64_le(&c);
    beat.echo = cursor_u64_le(&c);
    read_self(&c, &r.self);
    r.n = cursor_u8(&c);
    for (uint32_t i = 0; i < r.n; i++) {
        r.ways[i].node = cursor_u8(&c);
        r.ways[i].age_ms = cursor_u16_le(&c);
        r.ways[i].rtt_ms = cursor_u16_le(&c);
    }
    if (!cursor_done(&c) || !report_valid(&r))
        return ERR_MALFORMED;
    *report_out = r;
    *beat_out = beat;
    return ERR_OK;
}
