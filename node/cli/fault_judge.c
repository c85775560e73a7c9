#include "node/cli/fault_judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"

static double seconds(usec_t us)
{
    return (double)us / USEC_PER_SEC;
}

const char *fault_failure_word(int status, char out[16])
{
    static const char *const words[BENCH_FAILURE_COUNT] = {
        [BENCH_LOST] = "connection lost",
        [BENCH_NO_ANSWER] = "no answer",
        [BENCH_NO_HTTP] = "not HTTP",
        [BENCH_NO_CONNECT] = "no connection",
    };
    if (status < BENCH_FAILURE_COUNT)
        return words[status];
    snprintf(out, 16, "%d", status);
    return out;
}

/* ---- verdicts ---------------------------------------------------------------
 */

static struct fault_verdict *verdict(struct fault_result *out, bool held,
                                     const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static struct fault_verdict *verdict(struct fault_result *out, bool held,
                                     const char *format, ...)
{
    va_list args;
    CHECK(out->verdict_count < FAULT_VERDICTS_MAX);
    struct fault_verdict *v = &out->verdicts[out->verdict_count++];
    v->held = held;
    v->why[0] = '\0';
    va_start(args, format);
    vsnprintf(v->what, sizeof(v->what), format, args);
    va_end(args);
    out->held = out->held && held;
    return v;
}

/* ---- times ------------------------------------------------------------------
 */

/* Whether the operation counts as what a client waited for. */
static bool counts(const struct hist_op *op, bool write)
{
    return write ? hist_is_write(op) && hist_done(op) : hist_is_read(op);
}

/* Until every client had an answer to something it asked for since `from`.
 * `who_out`: who waited longest. */
static usec_t until_all(const struct fault_record *r, usec_t from, bool write,
                        unsigned *who_out)
{
    usec_t *first = mem_alloc(r->clients * sizeof(*first)), most = 0;
    for (unsigned i = 0; i < r->clients; i++)
        first[i] = FAULT_NEVER;
    for (size_t i = 0; i < r->history->n_ops; i++) {
        const struct hist_op *op = &r->history->ops[i];
        if (op->called_us >= from && counts(op, write) &&
            op->answered_us < first[op->session])
            first[op->session] = op->answered_us;
    }
    for (unsigned i = 0; i < r->clients; i++) {
        usec_t took = first[i] == FAULT_NEVER ? FAULT_NEVER : first[i] - from;
        if (took > most) {
            most = took;
            *who_out = i;
        }
    }
    mem_free(first);
    return most;
}

/* Operations are in the order of their calls; answers are not. */
static void find_gap(const struct fault_record *r, struct fault_result *out)
{
    const struct observed *h = r->history;
    usec_t *acks = mem_alloc((h->n_ops + 2) * sizeof(*acks));
    size_t n = 0;
    acks[n++] = 0; /* clients wait from the load's beginning */
    for (size_t i = 0; i < h->n_ops; i++)
        if (counts(&h->ops[i], true)) {
            size_t k = n++;
            for (; k > 1 && acks[k - 1] > h->ops[i].answered_us; k--)
                acks[k] = acks[k - 1];
            acks[k] = h->ops[i].answered_us;
        }
    acks[n++] = r->end_us;
    for (size_t i = 1; i < n; i++)
        if (acks[i] - acks[i - 1] > out->gap_us) {
            out->gap_us = acks[i] - acks[i - 1];
            out->gap_from_us = acks[i - 1];
        }
    mem_free(acks);
}

static void judge_within(const struct fault_record *r, struct fault_result *out,
                         size_t step, bool write, usec_t within_us)
{
    char text[SCENARIO_SENTENCE_MAX];
    unsigned who = 0;
    usec_t from = r->step_us[step];
    if (within_us == 0)
        return;
    scenario_describe_step(&r->scenario->steps[step], r->names, text);
    usec_t took = from < 0 ? FAULT_NEVER : until_all(r, from, write, &who);
    struct fault_verdict *v =
        verdict(out, took <= within_us, "%s succeed within %.1f s of: %s",
                write ? "writes" : "reads", seconds(within_us), text);
    const char *home = r->cluster->regions[who % r->cluster->region_count].name;
    if (from < 0)
        snprintf(v->why, sizeof(v->why), "the step was not played");
    else if (took == FAULT_NEVER)
        snprintf(v->why, sizeof(v->why), "never for client %u of %s", who,
                 home);
    else
        snprintf(v->why, sizeof(v->why), "%.2f s, client %u of %s",
                 seconds(took), who, home);
}

static void judge_steps(const struct fault_record *r, struct fault_result *out)
{
    for (size_t i = 0; i < r->scenario->step_count; i++) {
        const struct scenario_step *s = &r->scenario->steps[i];
        unsigned who;
        out->rto_us[i] = r->step_us[i] < 0
                             ? r->step_us[i]
                             : until_all(r, r->step_us[i], true, &who);
        judge_within(r, out, i, true, s->writes_within_us);
        judge_within(r, out, i, false, s->reads_within_us);
    }
}

/* ---- expectations -----------------------------------------------------------
 */

static void judge_lost(const struct fault_record *r, struct fault_result *out,
                       uint64_t most, const char *text)
{
    struct fault_verdict *v = verdict(
        out, out->loss.entries <= most && r->read_error[0] == '\0', "%s", text);
    snprintf(v->why, sizeof(v->why), "%zu of %" PRIu64 " are%s",
             out->loss.entries, out->writes,
             r->read_error[0] != '\0' ? ", as far as could be read" : "");
}

static bool is_allowed(const struct scenario_expect *e, int status)
{
    for (size_t i = 0; i < e->status_count; i++)
        if ((int)e->statuses[i] == status)
            return true;
    return status < BENCH_FAILURE_COUNT && e->kind == SCENARIO_ERRORS_ONLY;
}

static void judge_failures(const struct fault_record *r,
                           struct fault_result *out,
                           const struct scenario_expect *e, const char *text)
{
    const struct fault_failure *first = NULL;
    size_t n = 0;
    char word[16];
    for (size_t i = 0; i < r->failure_count; i++)
        if (!is_allowed(e, r->failures[i].status)) {
            first = first == NULL ? &r->failures[i] : first;
            n++;
        }
    struct fault_verdict *v = verdict(out, n == 0, "%s", text);
    if (n > 0)
        snprintf(v->why, sizeof(v->why), "%zu did, the first at %.2f s: %s %s",
                 n, seconds(first->us), fault_failure_word(first->status, word),
                 first->said);
}

static void judge_region(const struct fault_record *r, struct fault_result *out,
                         const struct scenario_expect *e, const char *text)
{
    struct buf name;
    buf_init(&name, SCENARIO_TEXT_MAX);
    bool same = scenario_resolve(e->text, r->names, &name, NULL) == ERR_OK &&
                strcmp(buf_cstr(&name), r->write_region) == 0;
    struct fault_verdict *v = verdict(out, same, "%s", text);
    snprintf(v->why, sizeof(v->why), "they go to %s", r->write_region);
    buf_free(&name);
}

static void judge_expect(const struct fault_record *r, struct fault_result *out,
                         const struct scenario_expect *e)
{
    char text[SCENARIO_SENTENCE_MAX];
    struct fault_verdict *v;
    scenario_describe_expect(e, r->names, text);
    switch (e->kind) {
    case SCENARIO_NOTHING_LOST:
        judge_lost(r, out, 0, text);
        return;
    case SCENARIO_LOST_AT_MOST:
        judge_lost(r, out, e->number, text);
        return;
    case SCENARIO_WRITE_REGION_IS:
        judge_region(r, out, e, text);
        return;
    case SCENARIO_NONE_FAILED:
    case SCENARIO_ERRORS_ONLY:
        judge_failures(r, out, e, text);
        return;
    case SCENARIO_GAP_AT_MOST:
        v = verdict(out, out->gap_us <= e->us, "%s", text);
        snprintf(v->why, sizeof(v->why), "the longest wait was %.2f s",
                 seconds(out->gap_us));
        return;
    }
}

/* ---- work -------------------------------------------------------------------
 */

/* The first client that was never answered; their number: there is none. */
static unsigned find_unanswered(const struct fault_record *r)
{
    bool *heard = mem_zalloc(r->clients * sizeof(*heard));
    unsigned who = 0;
    for (size_t i = 0; i < r->history->n_ops; i++) {
        const struct hist_op *op = &r->history->ops[i];
        if (counts(op, true) || counts(op, false))
            heard[op->session] = true;
    }
    while (who < r->clients && heard[who])
        who++;
    mem_free(heard);
    return who;
}

/* Rules hold of a load that did nothing. A play that failed may have ended
 * before there was time for any, and is said to have failed. */
static void judge_work(const struct fault_record *r, struct fault_result *out)
{
    unsigned who = find_unanswered(r);
    if (r->play_error[0] != '\0')
        return;
    struct fault_verdict *v =
        verdict(out, out->writes > 0 && out->reads > 0 && who == r->clients,
                "all clients are served, with writes and reads");
    if (out->writes > 0 && out->reads > 0 && who < r->clients)
        snprintf(v->why, sizeof(v->why), "client %u of %s never was", who,
                 r->cluster->regions[who % r->cluster->region_count].name);
    else
        snprintf(v->why, sizeof(v->why),
                 "%" PRIu64 " writes, %" PRIu64 " reads", out->writes,
                 out->reads);
}

/* ---- rules ------------------------------------------------------------------
 */

static bool is_acknowledged(const struct observed *o, const struct hist_op *op)
{
    (void)o;
    return counts(op, true);
}

static bool is_read(const struct observed *o, const struct hist_op *op)
{
    (void)o;
    return counts(op, false);
}

static bool is_strong(const struct observed *o, const struct hist_op *op)
{
    return (counts(op, true) || counts(op, false)) &&
           observed_level(o, op) == CONSISTENCY_STRONG;
}

static bool is_of_session(const struct observed *o, const struct hist_op *op)
{
    return counts(op, true) ||
           (counts(op, false) && observed_keeps_session(o, op));
}

static bool is_bounded(const struct observed *o, const struct hist_op *op)
{
    return counts(op, false) && observed_level(o, op) == CONSISTENCY_BOUNDED;
}

static bool survival(const struct observed *o, char why[VERDICT_TEXT_MAX])
{
    return observed_survival(o, NULL, why);
}

static size_t count_of(const struct observed *o,
                       bool (*concerns)(const struct observed *o,
                                        const struct hist_op *op))
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_ops; i++)
        n += concerns(o, &o->ops[i]);
    return n;
}

static void judge_rules(const struct fault_record *r, struct fault_result *out)
{
    static const struct {
        const char *what;
        bool (*check)(const struct observed *o, char why[VERDICT_TEXT_MAX]);
        /* What there was to check: a rule without any held for nothing. */
        bool (*concerns)(const struct observed *o, const struct hist_op *op);
    } rules[FAULT_RULES] = {
        {"acknowledged writes are there, or lost as their level allows and in "
         "the conflict feed",
         survival, is_acknowledged},
        {"what a read sees is a prefix of the writes", observed_prefix,
         is_read},
        {"strong operations are linearizable", observed_linear, is_strong},
        {"sessions read their writes and never go back", observed_sessions,
         is_of_session},
        {"bounded reads are as fresh as promised", observed_staleness,
         is_bounded},
    };
    for (size_t i = 0; i < FAULT_RULES; i++) {
        char why[VERDICT_TEXT_MAX] = "";
        bool held = rules[i].check(r->history, why);
        struct fault_verdict *v = verdict(out, held, "%s", rules[i].what);
        if (held)
            snprintf(v->why, sizeof(v->why), "%zu checked%s%s",
                     count_of(r->history, rules[i].concerns),
                     why[0] != '\0' ? "; " : "", why);
        else
            snprintf(v->why, sizeof(v->why), "%s", why);
    }
}

static void judge_error(struct fault_result *out, const char *what,
                        const char *error)
{
    struct fault_verdict *v = verdict(out, error[0] == '\0', "%s", what);
    snprintf(v->why, sizeof(v->why), "%s", error);
}

void fault_judge(const struct fault_record *r, struct fault_result *out)
{
    char ignored[VERDICT_TEXT_MAX];
    memset(out, 0, sizeof(*out));
    out->held = true;
    for (size_t i = 0; i < r->history->n_ops; i++) {
        out->writes += counts(&r->history->ops[i], true);
        out->reads += counts(&r->history->ops[i], false);
    }
    (void)observed_survival(r->history, &out->loss, ignored);
    find_gap(r, out);
    judge_error(out, "every step can be played", r->play_error);
    judge_work(r, out);
    judge_steps(r, out);
    for (size_t i = 0; i < r->scenario->expect_count; i++)
        judge_expect(r, out, &r->scenario->expects[i]);
    judge_error(out, "the cluster is well again without the faults",
                r->heal_error);
    judge_error(out, "every document can be read in the end", r->read_error);
    judge_rules(r, out);
}
