/* Scripted scenarios with expected traces: the .txt files of
 * tests/data/consensus.
 *
 * A script is a sequence of blocks: command lines, a line "----", the trace
 * records (trace.h) and answers that they cause, an empty line. With
 * BASTIDE_REWRITE=1 the expected part is written anew; review it as a diff.
 *
 * Nodes live in one process on one clock. Messages queue up until delivered;
 * disks are quick unless held. Commands:
 *
 *   cluster N [region=R,R,..] [ack=REGION] [spare=K] [batch=ENTRIES]
 *             [witness=ID]
 *   campaign N            the hint              tick N    its next deadline
 *   timeout N             ticks until its election timeout has struck
 *   elapse MS             time passes, nobody ticks
 *   beat N K              K times: tick N, settle
 *   settle                deliver and sync until nothing is under way
 *   deliver A B           what is under way from A to B
 *   drop A B              likewise, but lost
 *   cut N.. | join N..    takes nodes off the network and back
 *   hold N | sync N       keeps its disk from syncing; syncs and releases it
 *   crash N | restart N   with what was synced
 *   wipe N LSN            a restart, with the log cut after LSN
 *   forget N              a crash that leaves nothing: amnesiac until cured
 *   propose N [COUNT]     read N ID     transfer N TO
 *   members N ID[l]..     rule N REGION [EPOCH]   (REGION 0: commit)
 *   epoch N E REGION [RECOVERED]        a forced decision
 *   recover N E REGION ID[l]..          an operator's
 *   down N REGION..       those, and no others, are declared down
 *   log N                 terms of its log    status
 *   fresh N               how long ago everything acknowledged was visible
 *   peer N ID             what leader N knows of ID
 *   awaits N REGION       whether witnesses wait for its payload
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus/raft.h"
#include "consensus/trace.h"
#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"

#define NODES_MAX 9
#define LOG_MAX 256
#define MSGS_MAX 4096
#define OUT_MAX (1u << 20)
#define WORDS_MAX 12
#define DATA_DIR "tests/data/consensus"

/* What a disk holds. */
struct image {
    uint64_t term;
    raft_id vote;
    size_t n;
    struct raft_entry log[LOG_MAX];
    struct raft_config configs[LOG_MAX];
};

struct letter {
    struct raft_msg msg;
    struct raft_entry entries[LOG_MAX];
    struct raft_config configs[LOG_MAX];
    uint64_t held_seq; /* waits for the sender's sync; 0: under way */
    bool gone;
};

struct node {
    struct world *world;
    struct raft *raft; /* NULL: crashed */
    struct image now;
    struct image synced;
    uint64_t seq;
    bool held;
    bool cut;
    bool founder;
    bool amnesiac;
    uint32_t lives;
    usec_t deadline_us;
    enum raft_role role;
};

struct world {
    usec_t now_us;
    uint32_t n;
    uint32_t batch;  /* entries per append; 0: many */
    raft_id witness; /* 0: none */
    struct node nodes[NODES_MAX + 1];
    struct raft_config config;
    struct letter **letters;
    size_t n_letters;
    struct buf out;
};

static void say(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    CHECK(buf_vprintf(&w->out, format, args) == ERR_OK);
    va_end(args);
    CHECK(buf_append_str(&w->out, "\n") == ERR_OK);
}

static void trace(void *ctx, const struct raft_trace *t)
{
    char text[RAFT_TRACE_TEXT_MAX];
    raft_trace_format(t, text);
    say(((struct node *)ctx)->world, "%s", text);
}

static struct node *node_of(struct world *w, const char *word)
{
    uint32_t id = word != NULL ? (uint32_t)atoi(word) : 0;
    CHECK(id >= 1 && id <= w->n);
    return &w->nodes[id];
}

static raft_id id_of(const struct node *n)
{
    return (raft_id)(n - n->world->nodes);
}

/* ---- carrying out updates
 * ---------------------------------------------------- */

static void image_add(struct image *im, const struct raft_entry *e)
{
    CHECK(im->n < LOG_MAX);
    im->log[im->n] = *e;
    if (e->config != NULL)
        im->configs[im->n] = *e->config;
    im->n++;
}

static void post(struct node *n, const struct raft_msg *m, uint64_t seq)
{
    struct world *w = n->world;
    CHECK(w->n_letters < MSGS_MAX);
    struct letter *l = mem_zalloc(sizeof(*l));
    l->msg = *m;
    l->held_seq = m->after_persist ? seq : 0;
    if (m->type == RAFT_MSG_APPEND) {
        for (uint32_t i = 0; i < m->append.n; i++) {
            struct raft_entry e;
            CHECK(raft_entry_at(n->raft, m->append.prev_lsn + 1 + i, &e) ==
                  ERR_OK);
            if (e.type == RAFT_ENTRY_DATA && m->to == w->witness)
                e.size = 0;
            l->entries[i] = e;
            if (e.config != NULL)
                l->configs[i] = *e.config;
        }
    }
    w->letters[w->n_letters++] = l;
}

static void carry_out(struct node *n, const struct raft_update *u)
{
    CHECK(!u->reset);
    if (u->truncate)
        n->now.n = u->truncate_lsn - 1;
    for (uint32_t i = 0; i < u->n_entries; i++)
        image_add(&n->now, &u->entries[i]);
    if (u->hard_state) {
        n->now.term = u->term;
        n->now.vote = u->vote;
    }
    for (size_t i = 0; i < u->n_messages; i++)
        post(n, &u->messages[i], u->seq);
    for (size_t i = 0; i < u->n_reads; i++)
        say(n->world, "n%u read %" PRIu64 ": %s lsn=%" PRIu64, id_of(n),
            u->reads[i].id, err_name(u->reads[i].result), u->reads[i].lsn);
    if (u->lost_leadership)
        say(n->world, "n%u lost leadership", id_of(n));
    n->seq = u->seq;
    if (raft_amnesiac(n->raft) == RAFT_AMNESIA_NONE)
        n->amnesiac = false;
    n->deadline_us = u->deadline_us;
    n->role = u->role;
}

static int step(struct node *n, struct raft_event *ev)
{
    CHECK(n->raft != NULL);
    ev->now_us = n->world->now_us;
    struct raft_update u;
    int rc = raft_step(n->raft, ev, &u);
    carry_out(n, &u);
    return rc;
}

/* Makes everything written so far durable. True if that was news. */
static bool sync_disk(struct node *n)
{
    bool waiting = false;
    for (size_t i = 0; i < n->world->n_letters; i++) {
        struct letter *l = n->world->letters[i];
        if (!l->gone && l->msg.from == id_of(n) && l->held_seq != 0)
            waiting = true;
    }
    bool news = waiting || n->synced.n != n->now.n ||
                n->synced.term != n->now.term ||
                n->synced.vote != n->now.vote ||
                memcmp(n->synced.log, n->now.log, sizeof(n->now.log)) != 0;
    if (!news)
        return false;
    n->synced = n->now;
    for (size_t i = 0; i < n->world->n_letters; i++) {
        struct letter *l = n->world->letters[i];
        if (l->msg.from == id_of(n))
            l->held_seq = 0;
    }
    struct raft_event ev = {.type = RAFT_EV_PERSISTED};
    ev.persisted.seq = n->seq;
    step(n, &ev);
    return true;
}

/* ---- the network
 * ---------------------------------------------------------------- */

static void hand_over(struct world *w, struct letter *l)
{
    struct node *to = &w->nodes[l->msg.to];
    l->gone = true;
    if (to->raft == NULL || to->cut || w->nodes[l->msg.from].cut)
        return;
    for (uint32_t i = 0; i < l->msg.append.n; i++) {
        if (l->msg.type == RAFT_MSG_APPEND && l->entries[i].config != NULL)
            l->entries[i].config = &l->configs[i];
    }
    if (l->msg.type == RAFT_MSG_APPEND)
        l->msg.append.entries = l->entries;
    struct raft_event ev = {.type = RAFT_EV_MESSAGE, .message = &l->msg};
    step(to, &ev);
}

static void forget_letters(struct world *w)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->n_letters; i++) {
        if (w->letters[i]->gone)
            mem_free(w->letters[i]);
        else
            w->letters[kept++] = w->letters[i];
    }
    w->n_letters = kept;
}

static void settle(struct world *w)
{
    bool busy = true;
    while (busy) {
        busy = false;
        for (uint32_t i = 1; i <= w->n; i++) {
            struct node *n = &w->nodes[i];
            if (n->raft != NULL && !n->held)
                busy |= sync_disk(n);
        }
        size_t n_letters = w->n_letters;
        for (size_t i = 0; i < n_letters; i++) {
            if (w->letters[i]->gone || w->letters[i]->held_seq != 0)
                continue;
            hand_over(w, w->letters[i]);
            busy = true;
        }
        forget_letters(w);
    }
}

static void deliver(struct world *w, raft_id from, raft_id to, bool lose)
{
    size_t n_letters = w->n_letters;
    for (size_t i = 0; i < n_letters; i++) {
        struct letter *l = w->letters[i];
        if (l->gone || l->held_seq != 0 || l->msg.from != from ||
            l->msg.to != to)
            continue;
        if (lose)
            l->gone = true;
        else
            hand_over(w, l);
    }
    forget_letters(w);
}

/* ---- life cycle
 * ------------------------------------------------------------------- */

static void start(struct node *n)
{
    struct raft_config none = {0};
    for (size_t i = 0; i < n->now.n; i++) {
        if (n->now.log[i].config != NULL)
            n->now.log[i].config = &n->now.configs[i];
    }
    struct raft_restored s = {
        .term = n->now.term,
        .vote = n->now.vote,
        .base_config = n->founder ? &n->world->config : &none,
        .entries = n->now.log,
        .n_entries = n->now.n,
        .amnesia = n->amnesiac,
    };
    struct raft_options o;
    raft_options_default(&o);
    o.self = id_of(n);
    o.seed = id_of(n) + 100 * n->lives++;
    o.commit_notice_us = 0;
    o.witness = id_of(n) == n->world->witness;
    if (n->world->batch > 0) {
        o.append_entries_max = n->world->batch;
        o.inflight_messages_max = 1;
    }
    o.trace = trace;
    o.trace_ctx = n;
    CHECK(raft_open(&o, &s, n->world->now_us, &n->raft) == ERR_OK);
    struct raft_event ev = {.type = RAFT_EV_TICK};
    step(n, &ev);
}

static void crash(struct node *n)
{
    raft_free(TAKE(n->raft));
    n->now = n->synced;
    for (size_t i = 0; i < n->world->n_letters; i++) {
        struct letter *l = n->world->letters[i];
        if (l->msg.from == id_of(n) && l->held_seq != 0)
            l->gone = true;
    }
    forget_letters(n->world);
}

/* Words of the form key=value; NULL when there is none. */
static const char *option(char **words, const char *key)
{
    size_t len = strlen(key);
    for (; *words != NULL; words++) {
        if (strncmp(*words, key, len) == 0 && (*words)[len] == '=')
            return *words + len + 1;
    }
    return NULL;
}

static void make_cluster(struct world *w, char **words)
{
    uint32_t founders = (uint32_t)atoi(words[1]);
    const char *spare = option(words, "spare");
    const char *regions = option(words, "region");
    const char *ack = option(words, "ack");
    const char *batch = option(words, "batch");
    const char *witness = option(words, "witness");
    w->witness = witness != NULL ? (raft_id)atoi(witness) : 0;
    w->batch = batch != NULL ? (uint32_t)atoi(batch) : 0;
    w->n = founders + (spare != NULL ? (uint32_t)atoi(spare) : 0);
    CHECK(w->n <= NODES_MAX);
    for (uint32_t i = 1; i <= w->n; i++) {
        struct raft_member m = {
            .id = i, .region = 1, .voter = true, .witness = i == w->witness};
        if (regions != NULL && *regions != '\0') {
            m.region = (raft_region)strtoul(regions, (char **)&regions, 10);
            regions += *regions == ',';
        }
        w->nodes[i].world = w;
        w->nodes[i].founder = i <= founders;
        if (i <= founders)
            CHECK(raft_config_add(&w->config, m) == ERR_OK);
    }
    if (ack != NULL) {
        w->config.ack = RAFT_ACK_REGION;
        w->config.write_region = (raft_region)atoi(ack);
    }
    for (uint32_t i = 1; i <= w->n; i++)
        start(&w->nodes[i]);
}

/* ---- commands
 * --------------------------------------------------------------------- */

static void do_tick(struct node *n)
{
    struct world *w = n->world;
    if (n->deadline_us > w->now_us)
        w->now_us = n->deadline_us;
    struct raft_event ev = {.type = RAFT_EV_TICK};
    step(n, &ev);
}

static void do_timeout(struct node *n)
{
    enum raft_role before = n->role;
    do
        do_tick(n);
    while (n->role == before && before == RAFT_FOLLOWER);
}

static void do_propose(struct node *n, const char *count)
{
    uint32_t sizes[LOG_MAX];
    for (size_t i = 0; i < LOG_MAX; i++)
        sizes[i] = 1;
    struct raft_event ev = {.type = RAFT_EV_PROPOSE};
    ev.propose.sizes = sizes;
    ev.propose.n = count != NULL ? (uint32_t)atoi(count) : 1;
    CHECK(ev.propose.n <= LOG_MAX);
    int rc = step(n, &ev);
    if (rc != ERR_OK)
        say(n->world, "n%u: %s", id_of(n), err_name(rc));
}

static void say_error(struct node *n, int rc)
{
    if (rc != ERR_OK)
        say(n->world, "n%u: %s", id_of(n), err_name(rc));
}

static struct raft_config members_of(struct node *n, char **words)
{
    struct raft_config target = *raft_config(n->raft);
    target.joint = false;
    target.n = 0;
    memset(target.members, 0, sizeof(target.members));
    for (; *words != NULL; words++) {
        char *end = NULL;
        struct raft_member m = {.region = 1};
        m.id = (raft_id)strtoul(*words, &end, 10);
        m.voter = *end != 'l';
        const struct raft_member *old =
            raft_config_find(raft_config(n->raft), m.id);
        if (old != NULL)
            m.region = old->region;
        m.witness = m.id == n->world->witness;
        CHECK(raft_config_add(&target, m) == ERR_OK);
    }
    return target;
}

static void do_members(struct node *n, char **words)
{
    struct raft_config target = members_of(n, words);
    struct raft_event ev = {.type = RAFT_EV_CHANGE};
    ev.change.target = &target;
    say_error(n, step(n, &ev));
}

static void do_rule(struct node *n, const char *region, const char *epoch)
{
    struct raft_config target = *raft_config(n->raft);
    if (epoch != NULL)
        target.epoch = (uint32_t)atoi(epoch);
    target.write_region = (raft_region)atoi(region);
    target.ack = target.write_region != 0 ? RAFT_ACK_REGION : RAFT_ACK_COMMIT;
    struct raft_event ev = {.type = RAFT_EV_CHANGE};
    ev.change.target = &target;
    say_error(n, step(n, &ev));
}

static void do_recover(struct node *n, char **words)
{
    struct raft_config target = members_of(n, words + 2);
    target.epoch = (uint32_t)atoi(words[0]);
    target.write_region = (raft_region)atoi(words[1]);
    target.ack = target.write_region != 0 ? RAFT_ACK_REGION : RAFT_ACK_COMMIT;
    struct raft_event ev = {.type = RAFT_EV_RECOVER};
    ev.recover.config = &target;
    say_error(n, step(n, &ev));
}

static void do_down(struct node *n, char **words)
{
    raft_region regions[WORDS_MAX];
    struct raft_event ev = {.type = RAFT_EV_DOWN};
    for (; words[ev.down.n] != NULL; ev.down.n++)
        regions[ev.down.n] = (raft_region)atoi(words[ev.down.n]);
    ev.down.regions = regions;
    say_error(n, step(n, &ev));
}

static void do_awaits(struct node *n, const char *region)
{
    say(n->world, "n%u awaits region %s: %s", id_of(n), region,
        raft_awaits(n->raft, (raft_region)atoi(region)) ? "yes" : "no");
}

static void do_fresh(struct node *n)
{
    usec_t now = n->world->now_us;
    usec_t since = raft_fresh_since(n->raft, now);
    if (since == 0)
        say(n->world, "n%u fresh: unknown", id_of(n));
    else
        say(n->world, "n%u fresh %" PRId64 " ms ago", id_of(n),
            (now - since) / USEC_PER_MS);
}

static void do_peer(struct node *n, const char *word)
{
    raft_id id = (raft_id)atoi(word);
    struct raft_peer_info info;
    int rc = raft_peer(n->raft, id, &info);
    if (rc != ERR_OK) {
        say_error(n, rc);
        return;
    }
    say(n->world,
        "n%u peer=n%u region=%u match=%" PRIu64 " seen=%" PRIu64
        " heard %" PRId64 " ms ago%s",
        id_of(n), id, info.region, info.match_lsn, info.seen_lsn,
        (n->world->now_us - info.heard_us) / USEC_PER_MS,
        info.forgot ? " forgot" : "");
}

static void do_epoch(struct node *n, const char *epoch, const char *region,
                     const char *recovered)
{
    struct raft_event ev = {.type = RAFT_EV_EPOCH};
    ev.epoch.epoch = (uint32_t)atoi(epoch);
    ev.epoch.write_region = (raft_region)atoi(region);
    ev.epoch.ack = RAFT_ACK_REGION;
    if (recovered != NULL)
        ev.epoch.recovered = (uint32_t)atoi(recovered);
    say_error(n, step(n, &ev));
}

static void do_log(struct node *n)
{
    char text[LOG_MAX * 8] = "";
    size_t at = 0;
    for (uint64_t lsn = 1; lsn <= raft_last_lsn(n->raft); lsn++) {
        struct raft_entry e;
        CHECK(raft_entry_at(n->raft, lsn, &e) == ERR_OK);
        at +=
            (size_t)snprintf(text + at, sizeof(text) - at, " %u.%u%s",
                             RAFT_TERM_EPOCH(e.term), RAFT_TERM_COUNTER(e.term),
                             e.type == RAFT_ENTRY_CONFIG ? "c"
                             : e.type == RAFT_ENTRY_NOOP ? "n"
                                                         : "");
    }
    say(n->world, "n%u log%s", id_of(n), text);
}

static void do_status(struct world *w)
{
    static const char *const roles[] = {"follower", "pre-candidate",
                                        "candidate", "leader"};
    for (uint32_t i = 1; i <= w->n; i++) {
        const struct node *n = &w->nodes[i];
        if (n->raft == NULL) {
            say(w, "n%u down", i);
            continue;
        }
        uint64_t term = raft_term(n->raft);
        char visible[32] = "";
        if (raft_visible_lsn(n->raft) != raft_commit_lsn(n->raft))
            snprintf(visible, sizeof(visible), " visible=%" PRIu64,
                     raft_visible_lsn(n->raft));
        say(w,
            "n%u %s t%u.%u leader=n%u last=%" PRIu64 " commit=%" PRIu64 "%s%s",
            i, roles[raft_role(n->raft)], RAFT_TERM_EPOCH(term),
            RAFT_TERM_COUNTER(term), raft_leader(n->raft),
            raft_last_lsn(n->raft), raft_commit_lsn(n->raft), visible,
            raft_overruled(n->raft) ? " overruled" : "");
    }
}

static void set_cut(struct world *w, char **words, bool cut)
{
    for (; *words != NULL; words++)
        node_of(w, *words)->cut = cut;
}

/* Commands about one node. False: no such command. */
static bool node_command(struct world *w, char **words)
{
    const char *verb = words[0];
    struct node *n = node_of(w, words[1]);
    struct raft_event ev = {0};
    if (strcmp(verb, "campaign") == 0) {
        ev.type = RAFT_EV_CAMPAIGN;
        step(n, &ev);
    } else if (strcmp(verb, "tick") == 0) {
        do_tick(n);
    } else if (strcmp(verb, "timeout") == 0) {
        do_timeout(n);
    } else if (strcmp(verb, "beat") == 0) {
        for (int i = atoi(words[2]); i > 0; i--) {
            do_tick(n);
            settle(w);
        }
    } else if (strcmp(verb, "hold") == 0) {
        n->held = true;
    } else if (strcmp(verb, "sync") == 0) {
        n->held = false;
        sync_disk(n);
    } else if (strcmp(verb, "crash") == 0) {
        crash(n);
    } else if (strcmp(verb, "forget") == 0) {
        n->synced = (struct image){0};
        n->amnesiac = true;
        crash(n);
    } else if (strcmp(verb, "wipe") == 0) {
        n->synced.n = (size_t)atoi(words[2]);
        crash(n);
        start(n);
    } else if (strcmp(verb, "restart") == 0) {
        start(n);
    } else if (strcmp(verb, "propose") == 0) {
        do_propose(n, words[2]);
    } else if (strcmp(verb, "read") == 0) {
        ev.type = RAFT_EV_READ;
        ev.read.id = (uint64_t)atoi(words[2]);
        say_error(n, step(n, &ev));
    } else if (strcmp(verb, "transfer") == 0) {
        ev.type = RAFT_EV_TRANSFER;
        ev.transfer.to = (raft_id)atoi(words[2]);
        say_error(n, step(n, &ev));
    } else if (strcmp(verb, "epoch") == 0) {
        do_epoch(n, words[2], words[3], words[4]);
    } else if (strcmp(verb, "recover") == 0) {
        do_recover(n, words + 2);
    } else if (strcmp(verb, "fresh") == 0) {
        do_fresh(n);
    } else if (strcmp(verb, "down") == 0) {
        do_down(n, words + 2);
    } else if (strcmp(verb, "awaits") == 0) {
        do_awaits(n, words[2]);
    } else if (strcmp(verb, "peer") == 0) {
        do_peer(n, words[2]);
    } else if (strcmp(verb, "members") == 0) {
        do_members(n, words + 2);
    } else if (strcmp(verb, "rule") == 0) {
        do_rule(n, words[2], words[3]);
    } else if (strcmp(verb, "log") == 0) {
        do_log(n);
    } else {
        return false;
    }
    return true;
}

static void command(struct world *w, char *line)
{
    char *words[WORDS_MAX + 1] = {NULL};
    size_t n = 0;
    char *save = NULL;
    for (char *t = strtok_r(line, " \n", &save); t != NULL && n < WORDS_MAX;
         t = strtok_r(NULL, " \n", &save))
        words[n++] = t;
    if (n == 0 || words[0][0] == '#')
        return;
    if (strcmp(words[0], "cluster") == 0)
        make_cluster(w, words);
    else if (strcmp(words[0], "settle") == 0)
        settle(w);
    else if (strcmp(words[0], "elapse") == 0)
        w->now_us += atoi(words[1]) * USEC_PER_MS;
    else if (strcmp(words[0], "deliver") == 0)
        deliver(w, (raft_id)atoi(words[1]), (raft_id)atoi(words[2]), false);
    else if (strcmp(words[0], "drop") == 0)
        deliver(w, (raft_id)atoi(words[1]), (raft_id)atoi(words[2]), true);
    else if (strcmp(words[0], "cut") == 0)
        set_cut(w, words + 1, true);
    else if (strcmp(words[0], "join") == 0)
        set_cut(w, words + 1, false);
    else if (strcmp(words[0], "status") == 0)
        do_status(w);
    else if (!node_command(w, words))
        fail_msg("no such command: %s", words[0]);
}

/* ---- scripts
 * -------------------------------------------------------------------------- */

/* Runs the script; `as_run` gets its text with the trace as it is now. */
static void run_script(const char *text, struct buf *as_run)
{
    struct world *w = mem_zalloc(sizeof(*w));
    w->now_us = USEC_PER_SEC;
    w->letters = mem_alloc(MSGS_MAX * sizeof(struct letter *));
    buf_init(&w->out, OUT_MAX);
    bool expected = false; /* skipping the old trace */
    for (const char *at = text; *at != '\0';) {
        const char *end = strchr(at, '\n');
        size_t len = end != NULL ? (size_t)(end - at) : strlen(at);
        char line[256];
        snprintf(line, sizeof(line), "%.*s", (int)len, at);
        at += len + (end != NULL);
        if (strcmp(line, "----") == 0) {
            CHECK(buf_append_str(as_run, "----\n") == ERR_OK);
            CHECK(buf_append(as_run, buf_bytes(&w->out), buf_len(&w->out)) ==
                  ERR_OK);
            buf_clear(&w->out);
            expected = true;
            continue;
        }
        if (expected && line[0] != '\0')
            continue;
        expected = false;
        CHECK(buf_printf(as_run, "%s\n", line) == ERR_OK);
        command(w, line);
    }
    assert_int_equal(buf_len(&w->out), 0); /* commands without "----" */
    for (uint32_t i = 1; i <= w->n; i++)
        raft_free(w->nodes[i].raft);
    for (size_t i = 0; i < w->n_letters; i++)
        mem_free(w->letters[i]);
    mem_free(w->letters);
    buf_free(&w->out);
    mem_free(w);
}

static void read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("cannot read %s; run from the top of the repository", path);
    uint8_t *room = NULL;
    size_t n = 0;
    do {
        CHECK(buf_reserve(out, 4096, &room) == ERR_OK);
        n = fread(room, 1, 4096, f);
        buf_commit(out, n);
    } while (n > 0);
    fclose(f);
}

static void rewrite(const char *path, const struct buf *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(buf_bytes(text), 1, buf_len(text), f),
                     buf_len(text));
    assert_int_equal(fclose(f), 0);
}

static void scenario(void **state)
{
    char path[512];
    snprintf(path, sizeof(path), DATA_DIR "/%s", (const char *)*state);
    struct buf text;
    struct buf as_run;
    buf_init(&text, OUT_MAX);
    buf_init(&as_run, OUT_MAX);
    read_file(path, &text);
    run_script(buf_cstr(&text), &as_run);
    if (getenv("BASTIDE_REWRITE") != NULL)
        rewrite(path, &as_run);
    else if (strcmp(buf_cstr(&text), buf_cstr(&as_run)) != 0)
        fail_msg("%s: the trace changed; review with\n"
                 "  BASTIDE_REWRITE=1 <this program> && git diff %s",
                 path, DATA_DIR);
    buf_free(&text);
    buf_free(&as_run);
}

#define SCENARIO(file)                                                         \
    {                                                                          \
        .name = file, .test_func = scenario, .initial_state = (void *)file     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENARIO("first_election.txt"),
        SCENARIO("election_restriction.txt"),
        SCENARIO("figure_7_log_repair.txt"),
        SCENARIO("figure_8_d.txt"),
        SCENARIO("figure_8_e.txt"),
        SCENARIO("pre_vote_partition.txt"),
        SCENARIO("joint_consensus.txt"),
        SCENARIO("leaving_leader.txt"),
        SCENARIO("leaving_newcomer.txt"),
        SCENARIO("transfer.txt"),
        SCENARIO("reads.txt"),
        SCENARIO("region_quorum.txt"),
        SCENARIO("forced_failover.txt"),
        SCENARIO("vote_survives_crash.txt"),
        SCENARIO("amnesia.txt"),
        SCENARIO("amnesia_stale_leader.txt"),
        SCENARIO("amnesia_same_term.txt"),
        SCENARIO("amnesia_votes.txt"),
        SCENARIO("amnesia_votes_behind.txt"),
        SCENARIO("amnesia_longer_log.txt"),
        SCENARIO("amnesia_ahead.txt"),
        SCENARIO("amnesia_asks_twice.txt"),
        SCENARIO("amnesia_sole.txt"),
        SCENARIO("visible_prefix.txt"),
        SCENARIO("freshness.txt"),
        SCENARIO("seen_overwritten.txt"),
        SCENARIO("forced_truncation.txt"),
        SCENARIO("forced_longer_log.txt"),
        SCENARIO("planned_switch.txt"),
        SCENARIO("adopted_decision.txt"),
        SCENARIO("recovery.txt"),
        SCENARIO("overruled.txt"),
        SCENARIO("fenced_leader.txt"),
        SCENARIO("lost_log_end.txt"),
        SCENARIO("known_epoch.txt"),
        SCENARIO("witness.txt"),
        SCENARIO("witness_loss.txt"),
        SCENARIO("witness_behind.txt"),
        SCENARIO("witness_given_up.txt"),
        SCENARIO("witness_region.txt"),
        SCENARIO("witness_restart.txt"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
