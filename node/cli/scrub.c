/* bastide scrub: have replicas compared now, and see what was found. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/base/clock.h"
#include "node/base/mem.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/reach.h"
#include "node/server/worker.h"

/* A large shard is read at `scrub.rate_bytes`, which takes its time. */
#define WAIT_US (15 * 60 * USEC_PER_SEC)
#define POLL_US (200 * USEC_PER_MS)
#define SHARDS_ALL UINT32_MAX

static const char help[] =
    "Usage: bastide scrub [--shard N] [--show] [--no-wait] [options]\n"
    "\n"
    "Has the replicas of every shard read through and compared, now and not "
    "only\n"
    "every scrub.interval_s, waits, and shows what was found. A replica that "
    "is\n"
    "damaged, or is not what a majority has, is made anew from the others, or "
    "gets a\n"
    "new store from the leader if it cannot be spared; then this exits with 1, "
    "as it\n"
    "does when nobody can tell who is right.\n"
    "\n"
    "  --shard N       this shard alone\n"
    "  --show          ask for nothing; show what the last rounds found\n"
    "  --no-wait       ask, and do not wait\n" REACH_HELP
    "  -o text|json    how to show it\n"
    "\n"
    "Examples:\n"
    "  bastide scrub --dir demo\n"
    "  bastide scrub --show -o json | jq '.shards[].last.outcome'\n";

/* What one shard's leader says. */
struct found {
    bool asked, seen;
    bool leads;
    uint64_t rounds, wanted; /* of the node that was asked */
    unsigned node;
    struct buf json; /* its last round */
};

struct scrub {
    struct reach *reach;
    uint32_t shard; /* SHARDS_ALL */
    struct found of[NODE_SHARDS_MAX];
    unsigned answered, started;
    struct err_msg why; /* the last node that did not answer */
};

static void note_replica(struct scrub *s, unsigned node, const struct json *j,
                         json_ref r, struct bytes text)
{
    int64_t id, rounds;
    bool leads = false;
    if (json_get_int64(j, r, "shard", &id) != ERR_OK || id < 0 ||
        id >= NODE_SHARDS_MAX ||
        json_get_int64(j, r, "rounds", &rounds) != ERR_OK ||
        json_get_bool(j, r, "leads", &leads) != ERR_OK)
        return;
    struct found *f = &s->of[id];
    bool wanted = s->shard == SHARDS_ALL || s->shard == (uint32_t)id;
    if (!wanted || (f->asked ? f->node != node : !leads))
        return;
    if (!leads && (uint64_t)rounds < f->wanted)
        f->asked = false; /* it will not come to its end */
    f->seen = true;
    f->node = node;
    f->rounds = (uint64_t)rounds;
    buf_clear(&f->json);
    CHECK(buf_append(&f->json, text.data, text.len) == ERR_OK);
}

/* An answer to GET /scrub. */
static void heard(void *user, unsigned node, int err,
                  const struct reach_answer *a, const struct err_msg *why)
{
    struct scrub *s = user;
    if (err != ERR_OK) {
        s->why = *why;
        for (uint32_t i = 0; i < NODE_SHARDS_MAX; i++)
            s->of[i].asked &= s->of[i].node != node;
        return;
    }
    s->answered++;
    const struct json *j = &a->json;
    json_ref list = json_get_str(j, 0, "replicas");
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY)
        return;
    for (json_ref r = json_first(j, list); r != JSON_NONE;
         r = json_next(j, list, r))
        note_replica(s, node, j, r, json_raw(j, r));
}

/* An answer to POST /scrub: the shards that this node leads. */
static void heard_started(void *user, unsigned node, int err,
                          const struct reach_answer *a,
                          const struct err_msg *why)
{
    struct scrub *s = user;
    const struct json *j = &a->json;
    if (err != ERR_OK) {
        s->why = *why;
        return;
    }
    json_ref list = json_get_str(j, 0, "started");
    for (json_ref r = list == JSON_NONE ? JSON_NONE : json_first(j, list);
         r != JSON_NONE; r = json_next(j, list, r)) {
        int64_t id;
        if (json_int64(j, r, &id) != ERR_OK || id < 0 || id >= NODE_SHARDS_MAX)
            continue;
        struct found *f = &s->of[id];
        f->wanted = (f->node == node ? f->rounds : 0) + 1;
        f->node = node;
        f->asked = true;
        s->started++;
    }
}

static void look(struct scrub *s)
{
    s->answered = 0;
    reach_each(s->reach, "GET", "scrub", NULL, REACH_ASK_TIMEOUT_US, heard, s);
}

static bool waits(const struct scrub *s)
{
    for (uint32_t i = 0; i < NODE_SHARDS_MAX; i++)
        if (s->of[i].asked && s->of[i].rounds < s->of[i].wanted)
            return true;
    return false;
}

static int ask(struct scrub *s, bool wait, struct err_msg *msg)
{
    char request[64] = "{}";
    if (s->shard != SHARDS_ALL)
        snprintf(request, sizeof(request), "{\"shard\":%" PRIu32 "}", s->shard);
    reach_each(s->reach, "POST", "scrub", request, REACH_CHANGE_TIMEOUT_US,
               heard_started, s);
    if (s->started == 0)
        return err_set(msg, ERR_UNAVAILABLE,
                       "no leader of such a shard "
                       "answered%s%.200s",
                       s->why.text[0] ? ": " : "", s->why.text);
    usec_t until = clock_mono_us() + WAIT_US;
    while (wait && waits(s)) {
        if (clock_mono_us() > until)
            return err_set(msg, ERR_TIMEOUT,
                           "a round has not ended; see bastide scrub --show");
        usleep(POLL_US);
        look(s);
    }
    return ERR_OK;
}

/* ---- showing ---------------------------------------------------------------
 */

static bool is_bad(const struct json *j, json_ref last)
{
    json_ref o = json_get_str(j, last, "outcome");
    return o != JSON_NONE && !json_string_equal(j, o, bytes_str("agree")) &&
           !json_string_equal(j, o, bytes_str("incomplete"));
}

static void print_member(const struct json *j, json_ref of, const char *key,
                         const char *form)
{
    char storage[256];
    struct buf scratch = buf_over(storage, sizeof(storage));
    struct bytes text;
    if (json_get_string(j, of, key, &scratch, &text) == ERR_OK)
        printf(form, (int)text.len, (const char *)text.data);
}

static void print_replica(const struct json *j, json_ref r)
{
    int64_t records = 0, damaged = 0;
    print_member(j, r, "node", "    %-24.*s");
    print_member(j, r, "verdict", " %-10.*s");
    if (json_get_int64(j, r, "records", &records) == ERR_OK)
        printf(" %" PRId64 " records", records);
    if (json_get_int64(j, r, "damaged", &damaged) == ERR_OK && damaged > 0)
        printf(", %" PRId64 " damaged", damaged);
    print_member(j, r, "error", " %.*s");
    putchar('\n');
}

static void print_shard(uint32_t id, const struct json *j, json_ref last)
{
    int64_t lsn = 0;
    printf("shard %" PRIu32 "  ", id);
    if (last == JSON_NONE) {
        puts("not compared yet by its leader");
        return;
    }
    (void)json_get_int64(j, last, "lsn", &lsn);
    print_member(j, last, "outcome", "%.*s");
    printf(", LSN %" PRId64, lsn);
    print_member(j, last, "ended", ", %.*s");
    print_member(j, last, "replaced", ", node %.*s is made anew");
    print_member(j, last, "renewed", ", node %.*s gets a new store");
    print_member(j, last, "kept", ", node %.*s cannot be spared and stays");
    putchar('\n');
    json_ref list = json_get_str(j, last, "replicas");
    for (json_ref r = list == JSON_NONE ? JSON_NONE : json_first(j, list);
         r != JSON_NONE; r = json_next(j, list, r))
        print_replica(j, r);
}

/* Of one shard; true: something is wrong. */
static bool show_one(uint32_t id, const struct found *f, bool json, bool first)
{
    struct json j;
    struct bytes text = bytes_of(buf_bytes(&f->json), buf_len(&f->json));
    json_init(&j);
    CHECK(json_parse(&j, text, HTTPS_ANSWER_MAX, NULL) == ERR_OK);
    json_ref last = json_get_str(&j, 0, "last");
    bool bad = last != JSON_NONE && is_bad(&j, last);
    if (json)
        printf("%s%.*s", first ? "" : ",", (int)text.len,
               (const char *)text.data);
    else
        print_shard(id, &j, last);
    json_free(&j);
    return bad;
}

static int show(const struct scrub *s, bool json)
{
    bool bad = false, first = true;
    if (json)
        fputs("{\"shards\":[", stdout);
    for (uint32_t i = 0; i < NODE_SHARDS_MAX; i++) {
        if (!s->of[i].seen)
            continue;
        bad |= show_one(i, &s->of[i], json, first);
        first = false;
    }
    if (json)
        puts("]}");
    return bad ? CMD_FAILED : CMD_OK;
}

struct scrub_flags {
    unsigned shard;
    bool only_show, no_wait, json;
};

static int ask_and_show(struct scrub *s, const struct scrub_flags *f)
{
    struct err_msg msg;
    look(s);
    if (s->answered == 0)
        return options_failed("scrub", s->why.text);
    if (!f->only_show && ask(s, !f->no_wait, &msg) != ERR_OK)
        return options_failed("scrub", msg.text);
    return f->only_show || !f->no_wait ? show(s, f->json) : CMD_OK;
}

static int run(struct reach *r, void *flags)
{
    const struct scrub_flags *f = flags;
    struct scrub *s = mem_zalloc(sizeof(*s));
    s->reach = r;
    s->shard = f->shard;
    for (uint32_t i = 0; i < NODE_SHARDS_MAX; i++)
        buf_init(&s->of[i].json, HTTPS_ANSWER_MAX);
    int code = ask_and_show(s, f);
    for (uint32_t i = 0; i < NODE_SHARDS_MAX; i++)
        buf_free(&s->of[i].json);
    mem_free(s);
    return code;
}

int cmd_scrub(int argc, char **argv)
{
    struct scrub_flags f = {.shard = SHARDS_ALL};
    const struct option_spec options[] = {
        {.name = "shard",
         .kind = OPTION_NUMBER,
         .value = &f.shard,
         .max = NODE_SHARDS_MAX - 1},
        {.name = "show", .kind = OPTION_FLAG, .value = &f.only_show},
        {.name = "no-wait", .kind = OPTION_FLAG, .value = &f.no_wait}};
    const struct reach_command command = {.name = "scrub",
                                          .help = help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .json = &f.json,
                                          .flags = &f,
                                          .run = run};
    return reach_run(&command, argc, argv);
}
