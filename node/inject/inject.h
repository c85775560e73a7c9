/* Faults on request: what there is, how it is asked for, what is active. Pure.
 *
 * A fault is asked for as a JSON object, which is the body of POST /faults, a
 * step of a scenario file, and what the flags of `bastide fault add` become:
 *
 *     {"kind":"cut","from":"eastus","to":"*","both":true,"for":"10s"}
 *     {"kind":"respond","status":429,"retry_after_ms":50,"operation":"create",
 *      "container":"orders","percent":20,"for":"30s"}
 *
 * Three families, by where they are:
 *
 *     link     between nodes, per direction: `from`, `to`, `both`
 *     node     on the nodes of `at`
 *     client   facing the clients of the nodes of `at` ("*" unless given),
 *              with filters
 *
 * `from`, `to` and `at` are a region, a node, or "*". Every node is asked for
 * every fault; each keeps and applies those that concern it. `for` ends it by
 * itself; without, it stays until it is cleared or the process ends. Faults
 * that happen at once (`kill`, `pause`, `bit-flip`, `clock-jump`) are done when
 * they are added; of these only `clock-jump` stays in the list.
 *
 * The list is data: server/faults.c derives from all of it what each link, the
 * disk, the clock and the front shall do, so that faults add up, and clearing
 * one leaves the others. */
#ifndef BASTIDE_INJECT_INJECT_H
#define BASTIDE_INJECT_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/err.h"
#include "node/base/prng.h"
#include "node/json/json.h"

#define INJECT_ID_MAX 32        /* bytes of a fault's id: a-z, 0-9 and '-' */
#define INJECT_NAME_MAX 63      /* bytes of a region or node name */
#define INJECT_RESOURCE_MAX 255 /* bytes of a database or container id */
#define INJECT_LIST_MAX 64      /* active faults of one node */
#define INJECT_BODY_MAX 4096    /* bytes of a request */
#define INJECT_DELAY_MAX_MS 60000
#define INJECT_KBIT_MAX 10000000
#define INJECT_OFFSET_MAX_MS (24 * 3600 * 1000) /* of a clock, either way */
#define INJECT_PPM_MAX 500000                   /* either way */
#define INJECT_COUNT_MAX 1000000
#define INJECT_FOR_MAX_US (24 * 3600 * USEC_PER_SEC)
#define INJECT_PAUSE_MAX_US (60 * USEC_PER_SEC)

enum inject_family { INJECT_LINK, INJECT_NODE, INJECT_CLIENT };

/* X(name, word, family, what it does) */
#define INJECT_KIND_LIST(X)                                                    \
    X(CUT, "cut", LINK, "nothing gets through, connections are not made")      \
    X(DELAY, "delay", LINK,                                                    \
      "frames arrive later by delay_ms, and up to "                            \
      "jitter_ms more")                                                        \
    X(LOSS, "loss", LINK, "percent of the Raft messages are lost")             \
    X(DUPLICATE, "duplicate", LINK,                                            \
      "percent of the Raft messages are sent "                                 \
      "twice")                                                                 \
    X(BANDWIDTH, "bandwidth", LINK, "at most kbit_per_second get through")     \
    X(SLOW_CLOSE, "slow-close", LINK,                                          \
      "the end of a connection is noticed "                                    \
      "delay_ms late")                                                         \
    X(HANDSHAKE, "handshake-failure", LINK,                                    \
      "percent of the TLS handshakes "                                         \
      "fail; open connections end once")                                       \
    X(CERTIFICATE, "certificate", NODE,                                        \
      "its peers find its certificate "                                        \
      "expired, revoked or wrong-region "                                      \
      "(problem)")                                                             \
    X(DOWN, "down", NODE,                                                      \
      "links and clients are cut off at once, only the "                       \
      "admin listener answers")                                                \
    X(KILL, "kill", NODE,                                                      \
      "SIGKILL; with `for` it starts again only "                              \
      "after that")                                                            \
    X(PAUSE, "pause", NODE, "SIGSTOP, and SIGCONT after `for`")                \
    X(SLOW_LOOP, "slow-loop", NODE,                                            \
      "each turn of each event loop takes "                                    \
      "delay_ms longer")                                                       \
    X(CLOCK_JUMP, "clock-jump", NODE, "the wall clock is off by offset_ms")    \
    X(CLOCK_DRIFT, "clock-drift", NODE,                                        \
      "both clocks run fast (or slow) by "                                     \
      "ppm millionths")                                                        \
    X(DISK_FULL, "disk-full", NODE, "writes and new files fail with ENOSPC")   \
    X(DISK_SLOW, "disk-slow", NODE, "each sync takes delay_ms longer")         \
    X(DISK_HANG, "disk-hang", NODE, "writes and syncs do not return")          \
    X(DISK_ERROR, "disk-error", NODE,                                          \
      "reads, writes or syncs (disk) fail "                                    \
      "with EIO")                                                              \
    X(TORN_WRITE, "torn-write", NODE,                                          \
      "the next crash by `kill` loses what "                                   \
      "was not synced and tears the last "                                     \
      "write")                                                                 \
    X(BIT_FLIP, "bit-flip", NODE,                                              \
      "one bit of a file (log or store) is "                                   \
      "flipped")                                                               \
    X(ALLOCATION, "allocation-failure", NODE,                                  \
      "percent of the larger "                                                 \
      "allocations fail")                                                      \
    X(RESPOND, "respond", CLIENT,                                              \
      "answer with a status, before or after the "                             \
      "request was carried out (when)")                                        \
    X(RESET, "reset", CLIENT,                                                  \
      "reset the connection before or after the "                              \
      "request was carried out (when)")                                        \
    X(ANSWER_DELAY, "answer-delay", CLIENT, "answer delay_ms later")           \
    X(TRUNCATE, "truncate", CLIENT,                                            \
      "send half of the answer, then end the "                                 \
      "connection")                                                            \
    X(KEY_ROTATED, "key-rotated", CLIENT,                                      \
      "401 for requests signed with this "                                     \
      "key, as after its rotation")

enum inject_kind {
#define INJECT_KIND_ENUM(name, word, family, what) INJECT_##name,
    INJECT_KIND_LIST(INJECT_KIND_ENUM)
#undef INJECT_KIND_ENUM
        INJECT_KIND_COUNT
};

enum inject_problem { INJECT_EXPIRED, INJECT_REVOKED, INJECT_WRONG_REGION };
enum inject_disk { INJECT_READ, INJECT_WRITE, INJECT_SYNC };
enum inject_file { INJECT_LOG, INJECT_STORE };
enum inject_when { INJECT_BEFORE, INJECT_AFTER };
enum inject_key {
    INJECT_PRIMARY,
    INJECT_SECONDARY,
    INJECT_PRIMARY_READONLY,
    INJECT_SECONDARY_READONLY
};

/* What a client asks for, as filters name it. `write` as a filter means the
 * four that write. */
enum inject_operation {
    INJECT_OP_ANY, /* filter only */
    INJECT_OP_READ,
    INJECT_OP_QUERY, /* feeds, too */
    INJECT_OP_CREATE,
    INJECT_OP_UPSERT,
    INJECT_OP_REPLACE,
    INJECT_OP_DELETE,
    INJECT_OP_WRITE,   /* filter only */
    INJECT_OP_ACCOUNT, /* GET / */
    INJECT_OP_METADATA /* databases, containers, partition key ranges */
};

/* Members that a kind does not have are zero. */
struct inject_fault {
    enum inject_kind kind;
    char id[INJECT_ID_MAX + 1]; /* "": the list chooses one */
    char from[INJECT_NAME_MAX + 1], to[INJECT_NAME_MAX + 1]; /* link */
    bool both;
    char at[INJECT_NAME_MAX + 1]; /* node, client */
    usec_t for_us;                /* 0: until cleared */

    uint32_t delay_ms, jitter_ms;
    uint32_t permille; /* `percent`, of 1000; 1000 unless given */
    uint32_t kbit_per_second;
    int32_t offset_ms; /* clock-jump */
    int32_t ppm;       /* clock-drift */
    enum inject_problem problem;
    enum inject_disk disk;
    enum inject_file file;

    uint32_t status, substatus, retry_after_ms; /* respond */
    enum inject_when when;
    enum inject_key key;
    enum inject_operation operation;
    char database[INJECT_RESOURCE_MAX + 1];  /* "": any */
    char container[INJECT_RESOURCE_MAX + 1]; /* "": any */
    uint32_t count; /* ends after that many hits; 0: does not */
};

const char *inject_word(enum inject_kind kind);
enum inject_family inject_family_of(enum inject_kind kind);
const char *inject_what(enum inject_kind kind);
/* Whether it is done when it is added, and not kept in the list. */
bool inject_is_instant(enum inject_kind kind);
/* "from (needed), to (needed), both, for, id": the members that a kind takes,
 * for help and messages. `names` is what they are called, by their index, such
 * as flags; NULL: as in JSON. Errors of the buffer are ignored. */
void inject_members(enum inject_kind kind, const char *const *names,
                    struct buf *out);
/* ERR_NOT_FOUND. */
int inject_find_kind(struct bytes word, enum inject_kind *kind_out);

/* All members but `kind`, for flags and help. */
struct inject_member {
    const char *name;     /* "delay_ms" */
    const char *expected; /* "a number from 1 to 60000", for messages */
    bool is_bool;         /* as a flag it takes no value */
};
/* NULL after the last. */
const struct inject_member *inject_member(size_t i);
bool inject_takes_member(enum inject_kind kind, size_t i);
/* What holds when a fault of this kind is asked for without the member, for
 * help; NULL: it has to be given, or nothing does. */
const char *inject_default(enum inject_kind kind, size_t i);
/* Writes a member whose value is known as text only, as flags and scenario
 * files have it, into an open object: as JSON number or boolean where the
 * member is one and the text looks like it, else as a string. Members that do
 * not exist are written, too: inject_read says what is wrong. */
void inject_put_member(struct json_writer *out, const char *name,
                       const char *text);

/* Reads a fault. ERR_INVALID, with a message that names the member and what was
 * expected: no object, an unknown or doubled member, one that the kind does not
 * take, one that it needs and is missing, a value out of range. Names are not
 * looked up: the caller knows which regions and nodes there are. */
int inject_read(const struct json *j, json_ref ref,
                struct inject_fault *fault_out, struct err_msg *msg);
/* The same; messages call the members by `names`, as inject_members does. */
int inject_read_named(const struct json *j, json_ref ref,
                      const char *const *names, struct inject_fault *fault_out,
                      struct err_msg *msg);
/* Writes the members that count, as inject_read reads them, into an open
 * object. */
void inject_write(struct json_writer *out, const struct inject_fault *fault);
/* "cut eastus -> *, both ways", "respond at *: status 429, 20%": a sentence
 * without its end, for people; cut to `size`. */
#define INJECT_SENTENCE_MAX 256
void inject_describe(const struct inject_fault *fault, char *out, size_t size);

/* Whether `who` ("*", a region or a node) means this node. */
bool inject_means(const char *who, const char *region, const char *node);

/* -- the list of a node -----------------------------------------------------
 */

struct inject_active {
    struct inject_fault fault;
    usec_t since_us; /* monotonic */
    usec_t until_us; /* USEC_NEVER: until cleared */
    uint64_t hits;   /* client faults: requests that it struck */
};

struct inject_list {
    struct inject_active active[INJECT_LIST_MAX];
    size_t count; /* oldest first */
    uint64_t serial;
};

/* Adds a copy; an empty id becomes "f<serial>". ERR_EXISTS: the id is there
 * already (the same request twice is not two faults). ERR_FULL. */
int inject_list_add(struct inject_list *l, const struct inject_fault *fault,
                    usec_t now, const struct inject_active **added_out);
/* ERR_NOT_FOUND. */
int inject_list_remove(struct inject_list *l, const char *id);
/* Removes what has ended by time or by count. Whether anything was. */
bool inject_list_expire(struct inject_list *l, usec_t now);
/* When inject_list_expire has something to do; USEC_NEVER. A moment that is
 * over when a fault is used up. */
usec_t inject_list_next(const struct inject_list *l);

/* A request of a client, as the filters see it. */
struct inject_request {
    enum inject_operation operation;
    struct bytes database, container; /* "" where the path names none */
    enum inject_key key;              /* it was signed with */
    bool verified;                    /* false: `key` is not known yet */
};

/* Whether the fault strikes the request: the filters fit, the dice (`prng`) say
 * so, and it is not used up. Counts it if so. A fault of another family never
 * does. */
bool inject_strikes(struct inject_active *a, const struct inject_request *r,
                    struct prng *prng);

#endif
