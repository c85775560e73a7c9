#include "replication/peer.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"

const struct peer_timing peer_timing_default = {
    .connect_us = 1500 * USEC_PER_MS,
    .ping_us = 200 * USEC_PER_MS,
    .silence_us = 1 * USEC_PER_SEC,
    .backoff_min_us = 50 * USEC_PER_MS,
    .backoff_max_us = 500 * USEC_PER_MS,
    .refused_us = 2 * USEC_PER_SEC,
};

const char *peer_state_name(enum peer_state state)
{
    switch (state) {
    case PEER_IDLE:
        return "idle";
    case PEER_DIALING:
        return "dialing";
    case PEER_PROVING:
        return "proving";
    case PEER_STREAMING:
        return "streaming";
    case PEER_BACKOFF:
        return "backoff";
    case PEER_STOPPED:
        return "stopped";
    }
    CHECK_UNREACHABLE();
}

/* -- identity ---------------------------------------------------------------
 */

static bool name_ok(const char *name, size_t len)
{
    if (len == 0 || len > PEER_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!ok)
            return false;
    }
    return true;
}

int peer_identity_set(struct peer_identity *id, const char *cluster,
                      const char *region, const char *node)
{
    if (!name_ok(cluster, strlen(cluster)) ||
        !name_ok(region, strlen(region)) || !name_ok(node, strlen(node)))
        return ERR_INVALID;
    struct peer_identity out = {.cluster = ""};
    memcpy(out.cluster, cluster, strlen(cluster));
    memcpy(out.region, region, strlen(region));
    memcpy(out.node, node, strlen(node));
    *id = out;
    return ERR_OK;
}

void peer_uri(const struct peer_identity *id, char out[PEER_URI_MAX + 1])
{
    int len = snprintf(out, PEER_URI_MAX + 1, "spiffe://%s/region/%s/node/%s",
                       id->cluster, id->region, id->node);
    CHECK(len > 0 && len <= PEER_URI_MAX);
}

/* Copies the name between `from` and `until` into `out`. */
static bool cut_name(const char *from, const char *until, char *out)
{
    if (until == NULL || !name_ok(from, (size_t)(until - from)))
        return false;
    memcpy(out, from, (size_t)(until - from));
    return true;
}

int peer_uri_parse(const char *uri, struct peer_identity *id_out)
{
    static const char scheme[] = "spiffe://";
    static const char region[] = "/region/";
    static const char node[] = "/node/";
    struct peer_identity id = {.cluster = ""};
    if (strncmp(uri, scheme, sizeof(scheme) - 1) != 0)
        return ERR_MALFORMED;
    const char *at = uri + sizeof(scheme) - 1;
    const char *end = strstr(at, region);
    if (!cut_name(at, end, id.cluster))
        return ERR_MALFORMED;
    at = end + sizeof(region) - 1;
    end = strstr(at, node);
    if (!cut_name(at, end, id.region))
        return ERR_MALFORMED;
    at = end + sizeof(node) - 1;
    if (!cut_name(at, at + strlen(at), id.node))
        return ERR_MALFORMED;
    *id_out = id;
    return ERR_OK;
}

/* The first of cluster, region, node in which two identities differ. */
static int identity_check(const struct peer_identity *expected,
                          const struct peer_identity *found,
                          char reason_out[PEER_REASON_MAX])
{
    const char *what = NULL, *want = NULL, *got = NULL;
    if (strcmp(expected->cluster, found->cluster) != 0) {
        what = "cluster";
        want = expected->cluster;
        got = found->cluster;
    } else if (strcmp(expected->region, found->region) != 0) {
        what = "region";
        want = expected->region;
        got = found->region;
    } else if (strcmp(expected->node, found->node) != 0) {
        what = "node";
        want = expected->node;
        got = found->node;
    }
    if (what == NULL)
        return ERR_OK;
    snprintf(reason_out, PEER_REASON_MAX, "%s is %s, expected %s", what, got,
             want);
    return ERR_IDENTITY;
}

int peer_uri_check(const struct peer_identity *expected, const char *uri,
                   char reason_out[PEER_REASON_MAX])
{
    struct peer_identity found;
    if (uri == NULL || peer_uri_parse(uri, &found) != ERR_OK) {
        snprintf(reason_out, PEER_REASON_MAX,
                 "the certificate names no node of a cluster");
        return ERR_IDENTITY;
    }
    return identity_check(expected, &found, reason_out);
}

/* -- the table --------------------------------------------------------------
 */

void peer_init(struct peer *p, const struct peer_hello *own,
               const struct peer_identity *expected,
               const struct peer_timing *timing, uint64_t seed)
{
    int order = strcmp(own->id.node, expected->node);
    CHECK(order != 0);
    CHECK(timing->connect_us > 0 && timing->ping_us > 0);
    CHECK(timing->silence_us > timing->ping_us);
    CHECK(timing->backoff_min_us > 0 &&
          timing->backoff_min_us <= timing->backoff_max_us &&
          timing->refused_us > 0);
    *p = (struct peer){
        .own = *own,
        .expected = *expected,
        .timing = *timing,
        .dials = order < 0, /* rule 1 */
        .state = PEER_IDLE,
        .deadline_us = USEC_NEVER,
        .ping_due_us = USEC_NEVER,
    };
    prng_seed(&p->prng, seed);
}

static void set_reason(struct peer_update *u, int err, const char *reason)
{
    CHECK(err != ERR_OK);
    u->err = err;
    snprintf(u->reason, sizeof(u->reason), "%s",
             reason != NULL ? reason : err_text(err));
}

bool peer_is_refusal(int err)
{
    return err == ERR_IDENTITY || err == ERR_AUTH || err == ERR_PROTOCOL ||
           err == ERR_UNSUPPORTED || err == ERR_FORBIDDEN ||
           err == ERR_MALFORMED || err == ERR_LIMIT;
}

static void begin_dial(struct peer *p, usec_t now, struct peer_update *u)
{
    CHECK(p->dials);
    p->state = PEER_DIALING;
    p->deadline_us = now + p->timing.connect_us;
    u->dial = true;
}

static void begin_proving(struct peer *p, usec_t now, struct peer_update *u)
{
    p->state = PEER_PROVING;
    p->deadline_us = now + p->timing.connect_us;
    p->heard_us = now;
    u->hello = true;
}

static void begin_streaming(struct peer *p, const struct peer_hello *hello,
                            usec_t now, struct peer_update *u)
{
    p->state = PEER_STREAMING;
    p->deadline_us = USEC_NEVER;
    p->incarnation = hello->incarnation;
    p->feature_level = hello->feature_level;
    p->feature_wanted = hello->feature_wanted;
    p->streaming_since_us = now;
    p->heard_us = now;
    p->ping_due_us = now + p->timing.ping_us;
    u->up = true;
    u->ping = true; /* the first round trip is measured at once */
}

/* Rule 5: how long to wait before the next attempt. */
static usec_t backoff(struct peer *p, int err)
{
    usec_t pause = p->timing.refused_us;
    if (!peer_is_refusal(err)) {
        pause = p->timing.backoff_min_us;
        for (uint32_t i = 1;
             i < p->attempts && pause < p->timing.backoff_max_us; i++)
            pause *= 2;
        if (pause > p->timing.backoff_max_us)
            pause = p->timing.backoff_max_us;
    }
    return (usec_t)prng_range(&p->prng, (uint64_t)pause / 2, (uint64_t)pause);
}

/* The link, in whatever state, is over; u->err and u->reason say why. */
static void lose(struct peer *p, usec_t now, struct peer_update *u)
{
    CHECK(u->err != ERR_OK);
    if (p->state == PEER_STREAMING) {
        u->down = true;
        if (now - p->streaming_since_us > p->timing.backoff_max_us)
            p->attempts = 0;
    }
    p->version = 0;
    p->attempts++;
    p->refusals += peer_is_refusal(u->err);
    p->ping_due_us = USEC_NEVER;
    if (p->dials) {
        p->state = PEER_BACKOFF;
        p->deadline_us = now + backoff(p, u->err);
    } else {
        p->state = PEER_IDLE;
        p->deadline_us = USEC_NEVER;
    }
}

/* We end it and say so. */
static void refuse(struct peer *p, usec_t now, int err, const char *reason,
                   struct peer_update *u)
{
    set_reason(u, err, reason);
    u->bye = true;
    u->close = true;
    lose(p, now, u);
}

static bool has_channel(const struct peer *p)
{
    return p->state == PEER_DIALING || p->state == PEER_PROVING ||
           p->state == PEER_STREAMING;
}

/* -- one function per event -------------------------------------------------
 */

static void on_connected(struct peer *p, const struct peer_event *e,
                         struct peer_update *u)
{
    CHECK(p->state == PEER_DIALING);
    char reason[PEER_REASON_MAX];
    int err = peer_uri_check(&p->expected, e->uri, reason);
    if (err != ERR_OK)
        refuse(p, e->now_us, err, reason, u);
    else
        begin_proving(p, e->now_us, u);
}

static void on_accepted(struct peer *p, const struct peer_event *e,
                        struct peer_update *u)
{
    if (p->state == PEER_STOPPED) {
        set_reason(u, ERR_UNAVAILABLE, "this node is stopping");
        return;
    }
    if (p->dials) {
        set_reason(u, ERR_PROTOCOL, "of the two of us, I dial");
        return;
    }
    if (has_channel(p)) { /* rule 2 */
        set_reason(u, ERR_IO, "replaced by a newer connection");
        u->close = true;
        lose(p, e->now_us, u);
    }
    u->adopt = true;
    begin_proving(p, e->now_us, u);
}

/* Rule 3: neither works in a cluster that it does not understand. */
static int feature_compare(const struct peer *p, uint32_t supported,
                           uint32_t active, char reason[PEER_REASON_MAX])
{
    if (supported < p->own.feature_active)
        snprintf(reason, PEER_REASON_MAX,
                 "supports feature level %u, the cluster is at %u: start it "
                 "with a newer release",
                 supported, p->own.feature_active);
    else if (active > p->own.feature_level)
        snprintf(reason, PEER_REASON_MAX,
                 "knows the cluster at feature level %u, this node supports "
                 "%u: start this node with a newer release",
                 active, p->own.feature_level);
    else
        return ERR_OK;
    return ERR_UNSUPPORTED;
}

/* Rule 3. */
static int terms_check(const struct peer *p, const struct peer_hello *h,
                       char reason[PEER_REASON_MAX])
{
    if (h->version_min > h->version_max ||
        h->version_max < p->own.version_min ||
        h->version_min > p->own.version_max) {
        snprintf(reason, PEER_REASON_MAX,
                 "speaks protocol versions %u to %u, this node %u to %u",
                 h->version_min, h->version_max, p->own.version_min,
                 p->own.version_max);
        return ERR_UNSUPPORTED;
    }
    return feature_compare(p, h->feature_level, h->feature_active, reason);
}

/* Nothing that it says is believed. */
static int refuse_unproved(const struct peer *p, char reason[PEER_REASON_MAX])
{
    snprintf(reason, PEER_REASON_MAX,
             "has a certificate of region %s, but does not show that it holds "
             "the region's key (region.key)",
             p->expected.region);
    return ERR_IDENTITY;
}

static void on_hello(struct peer *p, const struct peer_event *e,
                     struct peer_update *u)
{
    char reason[PEER_REASON_MAX];
    if (p->state == PEER_STREAMING) {
        refuse(p, e->now_us, ERR_PROTOCOL, "said hello twice", u);
        return;
    }
    CHECK(p->state == PEER_PROVING);
    int err = identity_check(&p->expected, &e->hello->id, reason);
    if (err == ERR_OK && e->unproved)
        err = refuse_unproved(p, reason);
    if (err == ERR_OK && e->hello->feature_active > p->feature_heard)
        p->feature_heard = e->hello->feature_active;
    if (err == ERR_OK)
        err = terms_check(p, e->hello, reason);
    if (err != ERR_OK) {
        refuse(p, e->now_us, err, reason, u);
        return;
    }
    p->version = e->hello->version_max < p->own.version_max
                     ? e->hello->version_max
                     : p->own.version_max;
    begin_streaming(p, e->hello, e->now_us, u);
}

static void on_lost(struct peer *p, const struct peer_event *e,
                    struct peer_update *u)
{
    CHECK(has_channel(p));
    set_reason(u, e->err, e->reason);
    u->close = true;
    lose(p, e->now_us, u);
}

static void on_violation(struct peer *p, const struct peer_event *e,
                         struct peer_update *u)
{
    CHECK(has_channel(p));
    refuse(p, e->now_us, e->err, e->reason, u);
}

/* Rule 4. */
static void check_silence(struct peer *p, usec_t now, struct peer_update *u)
{
    usec_t silence_ends = p->heard_us + p->timing.silence_us;
    if (now < silence_ends)
        return;
    /* A tick that comes half a silence late means that this process slept:
     * what the peer sent meanwhile has not been read yet. */
    if (now - silence_ends > p->timing.silence_us / 2) {
        p->heard_us = now - p->timing.silence_us / 2;
        return;
    }
    char reason[PEER_REASON_MAX];
    snprintf(reason, sizeof(reason), "silent for %lld ms",
             (long long)((now - p->heard_us) / USEC_PER_MS));
    set_reason(u, ERR_TIMEOUT, reason);
    u->close = true;
    lose(p, now, u);
}

/* The level rose after HELLO. */
static void check_level(struct peer *p, usec_t now, struct peer_update *u)
{
    char reason[PEER_REASON_MAX];
    int err = feature_compare(p, p->feature_level, 0, reason);
    if (err != ERR_OK)
        refuse(p, now, err, reason, u);
}

static void on_tick(struct peer *p, usec_t now, struct peer_update *u)
{
    switch (p->state) {
    case PEER_BACKOFF:
        if (now >= p->deadline_us)
            begin_dial(p, now, u);
        return;
    case PEER_DIALING:
    case PEER_PROVING:
        if (now < p->deadline_us)
            return;
        set_reason(u, ERR_TIMEOUT,
                   p->state == PEER_DIALING ? "could not connect in time"
                                            : "no hello in time");
        u->close = true;
        lose(p, now, u);
        return;
    case PEER_STREAMING:
        check_level(p, now, u);
        if (p->state == PEER_STREAMING)
            check_silence(p, now, u);
        if (p->state == PEER_STREAMING && now >= p->ping_due_us) {
            p->ping_due_us = now + p->timing.ping_us;
            u->ping = true;
        }
        return;
    case PEER_IDLE:
    case PEER_STOPPED:
        return;
    }
}

static void on_stop(struct peer *p, struct peer_update *u)
{
    if (p->state == PEER_STOPPED)
        return;
    u->down = p->state == PEER_STREAMING;
    u->close = has_channel(p);
    u->bye = p->state == PEER_PROVING || p->state == PEER_STREAMING;
    set_reason(u, ERR_EOF, "this node is stopping");
    p->state = PEER_STOPPED;
    p->deadline_us = USEC_NEVER;
    p->ping_due_us = USEC_NEVER;
}

void peer_step(struct peer *p, const struct peer_event *event,
               struct peer_update *update_out)
{
    *update_out = (struct peer_update){.err = ERR_OK};
    switch (event->type) {
    case PEER_EVENT_START:
        CHECK(p->state == PEER_IDLE);
        if (p->dials)
            begin_dial(p, event->now_us, update_out);
        break;
    case PEER_EVENT_CONNECTED:
        on_connected(p, event, update_out);
        break;
    case PEER_EVENT_ACCEPTED:
        on_accepted(p, event, update_out);
        break;
    case PEER_EVENT_HELLO:
        on_hello(p, event, update_out);
        break;
    case PEER_EVENT_HEARD:
        CHECK(has_channel(p));
        p->heard_us = event->now_us;
        break;
    case PEER_EVENT_LOST:
    case PEER_EVENT_REFUSED:
        on_lost(p, event, update_out);
        break;
    case PEER_EVENT_VIOLATION:
        on_violation(p, event, update_out);
        break;
    case PEER_EVENT_TICK:
        on_tick(p, event->now_us, update_out);
        break;
    case PEER_EVENT_STOP:
        on_stop(p, update_out);
        break;
    }
    CHECK_IMPLIES(update_out->up, p->state == PEER_STREAMING);
    CHECK_IMPLIES(update_out->down, p->state != PEER_STREAMING ||
                                        event->type == PEER_EVENT_ACCEPTED);
}

void peer_require(struct peer *p, uint32_t feature_active)
{
    CHECK(feature_active >= p->own.feature_active);
    p->own.feature_active = feature_active;
}

usec_t peer_deadline(const struct peer *p)
{
    if (p->state != PEER_STREAMING)
        return p->deadline_us;
    usec_t silence_ends = p->heard_us + p->timing.silence_us;
    return silence_ends < p->ping_due_us ? silence_ends : p->ping_due_us;
}
