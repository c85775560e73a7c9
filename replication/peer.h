/* The life of one link to one peer, as a move table. Pure: events with their
 * time go in, obligations come out; the shell (links.c) owns channels and
 * timers and does what it is told.
 *
 *             START (we dial)          CONNECTED
 *     IDLE ------------------> DIALING ---------> PROVING
 *      | ^                      |  ^                 |   \  HELLO accepted
 *      | | (the other dials)    |  | TICK            |    \
 *      | | LOST, refused        v  | (backoff over)  |     v
 *      | +--------------------- BACKOFF <------------+-- STREAMING
 *      |                              LOST, refused, silent
 *      +-- ACCEPTED (the other dials) --> PROVING
 *
 *     any state -- STOP --> STOPPED (final)
 *
 * Rules
 *  1. Of two nodes, the one whose name sorts lower (strcmp) dials; the other
 *     only accepts. So there is one connection per pair, and no duel.
 *  2. The one who dials knows best: a new accepted connection replaces the one
 *     we still hold, which is then a dead one we have not noticed.
 *  3. Nothing but HELLO and BYE is exchanged before both have said HELLO. HELLO
 *     must name the peer we expect, its region, our cluster and a version range
 *     that overlaps ours; the highest version that both speak is the link's.
 *     The certificate must say the same (peer_uri_check). A peer that supports
 *     less than the cluster's feature level is refused, also later
 *     (peer_require); so is one that knows of a higher level than we support,
 *     and one that should have proved its region and has not.
 *  4. A peer that is silent for `silence_us` is gone, unless our own TICK came
 *     so late that it says more about us than about the peer.
 *  5. Each failed attempt doubles the pause, up to `backoff_max_us`; the pause
 *     is drawn from its upper half. A link that streamed for longer than
 *     `backoff_max_us` begins anew. The maximum is short, because it is what a
 *     region that comes back waits for. A refusal (our or theirs) pauses for
 *     `refused_us`: it needs a person.
 */
#ifndef BASTIDE_REPLICATION_PEER_H
#define BASTIDE_REPLICATION_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/prng.h"

/* Protocol versions this build speaks. */
#define PEER_VERSION_MIN 1
#define PEER_VERSION_MAX 1

/* Longest cluster, region or node name. */
#define PEER_NAME_MAX 63
#define PEER_REASON_MAX 160
/* What shows, on one connection, that its sender holds its region's key: how it
 * is made is the links' user's business (node/crypt/region_key.h). */
#define PEER_PROOF_LEN 32

struct peer_identity {
    char cluster[PEER_NAME_MAX + 1];
    char region[PEER_NAME_MAX + 1];
    char node[PEER_NAME_MAX + 1];
};

/* Fills it. ERR_INVALID when a name is empty, longer than PEER_NAME_MAX, or has
 * a byte outside [A-Za-z0-9._-] (they appear in URIs and logs). */
int peer_identity_set(struct peer_identity *id, const char *cluster,
                      const char *region, const char *node);
/* "spiffe://<cluster>/region/<region>/node/<node>". */
#define PEER_URI_MAX (9 + 8 + 6 + 3 * PEER_NAME_MAX)
void peer_uri(const struct peer_identity *id, char out[PEER_URI_MAX + 1]);
/* Takes a URI apart. ERR_MALFORMED when it is not of that form. */
int peer_uri_parse(const char *uri, struct peer_identity *id_out);
/* Compares a certificate's URI (may be NULL) with who we expect. ERR_OK, or
 * ERR_IDENTITY with the difference in words: which of cluster, region, node. */
int peer_uri_check(const struct peer_identity *expected, const char *uri,
                   char reason_out[PEER_REASON_MAX]);

/* What the two sides tell each other first. */
struct peer_hello {
    uint32_t version_min;
    uint32_t version_max;
    struct peer_identity id;
    uint64_t incarnation; /* of the process; higher after each start */
    /* Levels of node/base/feature.h: supported; the cluster's, as far as it
     * knows; agreed to. 0: an older release, which does not say. */
    uint32_t feature_level;
    uint32_t feature_active;
    uint32_t feature_wanted;
    bool proves_region; /* `region_proof` is there; of no concern to peer.c */
    uint8_t region_proof[PEER_PROOF_LEN];
};

struct peer_timing {
    usec_t connect_us;     /* lookup, TCP, TLS and HELLO together */
    usec_t ping_us;        /* between two pings while streaming */
    usec_t silence_us;     /* without a byte for that long: lost */
    usec_t backoff_min_us; /* first pause */
    usec_t backoff_max_us;
    usec_t refused_us; /* pause after a refusal */
};
extern const struct peer_timing peer_timing_default;

enum peer_state {
    PEER_IDLE,
    PEER_DIALING,
    PEER_PROVING,
    PEER_STREAMING,
    PEER_BACKOFF,
    PEER_STOPPED
};
const char *peer_state_name(enum peer_state state);

struct peer {
    struct peer_hello own;
    struct peer_identity expected;
    struct peer_timing timing;
    struct prng prng;
    bool dials; /* rule 1 */
    enum peer_state state;
    uint32_t attempts;      /* failed ones in a row */
    uint32_t version;       /* agreed; 0 before */
    uint64_t incarnation;   /* the peer's, of its last valid HELLO */
    uint32_t feature_level; /* as it said */
    uint32_t feature_wanted;
    uint32_t feature_heard; /* the highest level that it said the cluster is at,
                             * also when refused */
    uint64_t refusals;      /* times that one of the two refused the other */
    usec_t streaming_since_us;
    usec_t heard_us;    /* last byte from the peer */
    usec_t deadline_us; /* dialing, proving: give up; backoff: try again */
    usec_t ping_due_us;
};

/* `own` and `expected` are copied; they must differ in the node's name. `seed`
 * makes the jitter. */
void peer_init(struct peer *p, const struct peer_hello *own,
               const struct peer_identity *expected,
               const struct peer_timing *timing, uint64_t seed);

enum peer_event_type {
    PEER_EVENT_START,     /* IDLE only */
    PEER_EVENT_CONNECTED, /* our dial finished its handshake; `uri` */
    PEER_EVENT_ACCEPTED,  /* a connection whose certificate names this peer */
    PEER_EVENT_HELLO,     /* `hello` */
    PEER_EVENT_HEARD,     /* bytes arrived */
    PEER_EVENT_LOST,      /* the channel closed: `err`, `reason` */
    PEER_EVENT_REFUSED,   /* the peer said BYE: `err`, `reason` */
    PEER_EVENT_VIOLATION, /* it broke the protocol: `err`, `reason` */
    PEER_EVENT_TICK,      /* peer_deadline has passed */
    PEER_EVENT_STOP
};

struct peer_event {
    enum peer_event_type type;
    usec_t now_us;
    const char *uri;                /* CONNECTED; may be NULL */
    const struct peer_hello *hello; /* HELLO */
    bool unproved; /* HELLO: it had to prove its region, and does not */
    int err;       /* LOST, REFUSED, VIOLATION */
    const char *reason;
};

/* What the shell must do, in this order. Filled by peer_step. */
struct peer_update {
    bool down; /* the link was streaming and is not any more: `err`, `reason` */
    bool bye;  /* tell the peer why (`err`, `reason`), if it can still hear */
    bool close; /* close the channel we held before this event */
    bool adopt; /* ACCEPTED: take the new channel. Without it: close that one,
                 * with `err` and `reason` */
    bool dial;
    bool hello; /* send our HELLO on the (new) channel */
    bool up;    /* streaming from now on */
    bool ping;
    int err; /* why; 0 when nothing went wrong */
    char reason[PEER_REASON_MAX];
};

/* An event that makes no sense in the state (HELLO twice, for example) is a
 * violation by the peer and handled as one; one that only a wrong shell can
 * cause (CONNECTED while IDLE) is a programming error. */
void peer_step(struct peer *p, const struct peer_event *event,
               struct peer_update *update_out);

/* The cluster's feature level has risen: a peer that supports less is refused
 * from now on, one that streams with the next TICK. */
void peer_require(struct peer *p, uint32_t feature_active);

/* Whether an error means that a link was refused rather than lost: it needs a
 * person. */
bool peer_is_refusal(int err);

/* When TICK is due; USEC_NEVER when nothing is. */
usec_t peer_deadline(const struct peer *p);

#endif
