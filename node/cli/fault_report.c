#include "node/cli/fault_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/json/json.h"

#define REPORT_MAX (16 * 1024 * 1024)
#define STATUS_MAX 600

static double seconds(usec_t us)
{
    return (double)us / USEC_PER_SEC;
}

/* ---- counting ---------------------------------------------------------------
 */

static unsigned writes_between(const struct fault_record *r, usec_t from,
                               usec_t to)
{
    unsigned n = 0;
    for (size_t i = 0; i < r->history->n_ops; i++) {
        const struct hist_op *op = &r->history->ops[i];
        n += hist_is_write(op) && hist_done(op) && op->answered_us >= from &&
             op->answered_us < to;
    }
    return n;
}

static unsigned failures_between(const struct fault_record *r, usec_t from,
                                 usec_t to)
{
    unsigned n = 0;
    for (size_t i = 0; i < r->failure_count; i++)
        n += r->failures[i].us >= from && r->failures[i].us < to;
    return n;
}

static void count_statuses(const struct fault_record *r,
                           unsigned counts[STATUS_MAX])
{
    memset(counts, 0, STATUS_MAX * sizeof(*counts));
    for (size_t i = 0; i < r->failure_count; i++)
        if (r->failures[i].status < STATUS_MAX)
            counts[r->failures[i].status]++;
}

/* ---- text -------------------------------------------------------------------
 */

static void print_head(FILE *out, const struct fault_report *r)
{
    const struct fault_record *k = r->record;
    const struct scenario *s = k->scenario;
    fprintf(out, "Scenario %s: %s\n", s->name, s->description);
    fprintf(out,
            "%u clients of %u regions, %u writes/s, %u reads/s, %u documents "
            "in %s, seed %" PRIu64 "\n\n",
            k->clients, k->cluster->region_count, s->writes_per_second,
            s->reads_per_second, s->documents, r->container, r->seed);
}

/* A note, and how writes went from there to the next one. */
static void print_row(FILE *out, const struct fault_record *k, usec_t from,
                      usec_t to, const char *text)
{
    usec_t length = to - from;
    fprintf(out, "%7.2f s", seconds(from));
    if (length >= 50 * USEC_PER_MS)
        fprintf(out, " %8.0f %8u",
                writes_between(k, from, to) / seconds(length),
                failures_between(k, from, to));
    else
        fprintf(out, " %8s %8s", "", "");
    fprintf(out, "  %s\n", text);
}

static void print_timeline(FILE *out, const struct fault_report *r)
{
    const struct fault_record *k = r->record;
    fprintf(out, "     time writes/s   failed  until the next line; what "
                 "happened\n");
    print_row(out, k, 0, r->note_count > 0 ? r->notes[0].us : k->end_us,
              "the load begins");
    for (size_t i = 0; i < r->note_count; i++) {
        usec_t next = i + 1 < r->note_count ? r->notes[i + 1].us : k->end_us;
        if (r->notes[i].us > k->end_us)
            fprintf(out, "%7.2f s %17s  %s\n", seconds(r->notes[i].us), "",
                    r->notes[i].text);
        else
            print_row(out, k, r->notes[i].us,
                      next < k->end_us ? next : k->end_us, r->notes[i].text);
    }
}

static void print_rto(FILE *out, const struct fault_report *r)
{
    const struct fault_record *k = r->record;
    for (size_t i = 0; i < k->scenario->step_count; i++) {
        char text[SCENARIO_SENTENCE_MAX];
        usec_t rto = r->result->rto_us[i];
        if (k->scenario->steps[i].kind == SCENARIO_WAIT || rto < 0)
            continue;
        scenario_describe_step(&k->scenario->steps[i], k->names, text);
        if (rto == FAULT_NEVER)
            fprintf(out, "  RTO   never     %s\n", text);
        else
            fprintf(out, "  RTO   %6.2f s  %s\n", seconds(rto), text);
    }
}

static void print_measured(FILE *out, const struct fault_report *r)
{
    const struct fault_result *m = r->result;
    fputs("\nMeasured\n", out);
    print_rto(out, r);
    fprintf(out,
            "  gap   %6.2f s  the longest without an acknowledged write, "
            "from %.2f s\n",
            seconds(m->gap_us), seconds(m->gap_from_us));
    fprintf(out, "  RPO   %zu of %" PRIu64 " acknowledged writes lost",
            m->loss.entries, m->writes);
    if (m->loss.entries > 0)
        fprintf(out, ", of %.2f s; %zu are in the conflict feed",
                seconds(m->loss.last_us - m->loss.first_us), m->loss.in_feed);
    fputs("\n", out);
}

static void print_requests(FILE *out, const struct fault_report *r)
{
    unsigned counts[STATUS_MAX];
    char word[16];
    bool first = true;
    fprintf(out, "  %" PRIu64 " writes, %" PRIu64 " reads, %zu failed",
            r->result->writes, r->result->reads, r->record->failure_count);
    count_statuses(r->record, counts);
    for (int i = 0; i < STATUS_MAX; i++)
        if (counts[i] > 0) {
            fprintf(out, "%s %u x %s", first ? ":" : ",", counts[i],
                    fault_failure_word(i, word));
            first = false;
        }
    fputs("\n", out);
}

static void print_verdicts(FILE *out, const struct fault_result *m)
{
    fputs("\nExpectations\n", out);
    for (size_t i = 0; i < m->verdict_count; i++) {
        const struct fault_verdict *v = &m->verdicts[i];
        fprintf(out, "  %-6s  %s%s%s%s\n", v->held ? "ok" : "FAILED", v->what,
                v->why[0] != '\0' ? " (" : "", v->why,
                v->why[0] != '\0' ? ")" : "");
    }
    fprintf(out, "\n%s\n",
            m->held ? "All expectations held." : "Not all expectations held.");
}

void fault_report_text(FILE *out, const struct fault_report *r)
{
    print_head(out, r);
    print_timeline(out, r);
    print_measured(out, r);
    print_requests(out, r);
    print_verdicts(out, r->result);
}

/* ---- JSON -------------------------------------------------------------------
 */

static void put_seconds(struct json_writer *w, const char *key, usec_t us)
{
    json_write_key(w, key);
    if (us == FAULT_NEVER || us < 0)
        json_write_raw(w, bytes_str("null"));
    else
        json_write_number(w, (double)(us / USEC_PER_MS) / 1000);
}

static void put_timeline(struct json_writer *w, const struct fault_report *r)
{
    json_write_key(w, "timeline");
    json_write_array_begin(w);
    for (size_t i = 0; i < r->note_count; i++) {
        json_write_object_begin(w);
        put_seconds(w, "at_s", r->notes[i].us);
        json_write_member_str(w, "event", r->notes[i].text);
        if (r->notes[i].step >= 0)
            put_seconds(w, "rto_s", r->result->rto_us[r->notes[i].step]);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void put_failures(struct json_writer *w, const struct fault_report *r)
{
    unsigned counts[STATUS_MAX];
    char word[16];
    json_write_key(w, "failed");
    json_write_object_begin(w);
    count_statuses(r->record, counts);
    for (int i = 0; i < STATUS_MAX; i++)
        if (counts[i] > 0)
            json_write_member_int64(w, fault_failure_word(i, word), counts[i]);
    json_write_object_end(w);
}

static void put_verdicts(struct json_writer *w, const struct fault_result *m)
{
    json_write_key(w, "expectations");
    json_write_array_begin(w);
    for (size_t i = 0; i < m->verdict_count; i++) {
        json_write_object_begin(w);
        json_write_member_str(w, "expectation", m->verdicts[i].what);
        json_write_member_bool(w, "held", m->verdicts[i].held);
        json_write_member_str(w, "detail", m->verdicts[i].why);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

void fault_report_json(FILE *out, const struct fault_report *r)
{
    const struct fault_result *m = r->result;
    struct buf b;
    struct json_writer w;
    buf_init(&b, REPORT_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "scenario", r->record->scenario->name);
    json_write_member_bool(&w, "held", m->held);
    json_write_member_int64(&w, "seed", (int64_t)r->seed);
    json_write_member_int64(&w, "writes", (int64_t)m->writes);
    json_write_member_int64(&w, "reads", (int64_t)m->reads);
    put_failures(&w, r);
    put_seconds(&w, "longest_gap_s", m->gap_us);
    json_write_member_int64(&w, "lost", (int64_t)m->loss.entries);
    put_seconds(&w, "lost_s", m->loss.last_us - m->loss.first_us);
    json_write_member_int64(&w, "lost_in_feed", (int64_t)m->loss.in_feed);
    json_write_member_str(&w, "write_region", r->record->write_region);
    put_timeline(&w, r);
    put_verdicts(&w, m);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    fprintf(out, "%s\n", buf_cstr(&b));
    buf_free(&b);
}

/* ---- JUnit ------------------------------------------------------------------
 */

/* Text for an attribute or an element. What XML cannot hold becomes '?'. */
static void put_xml(struct buf *b, const char *text)
{
    int err = ERR_OK;
    for (const char *c = text; *c != '\0' && err == ERR_OK; c++)
        switch (*c) {
        case '&':
            err = buf_append_str(b, "&amp;");
            break;
        case '<':
            err = buf_append_str(b, "&lt;");
            break;
        case '>':
            err = buf_append_str(b, "&gt;");
            break;
        case '"':
            err = buf_append_str(b, "&quot;");
            break;
        default:
            err = buf_append(b, (uint8_t)*c >= ' ' || *c == '\n' ? c : "?", 1);
        }
    CHECK(err == ERR_OK);
}

static void put_case(struct buf *b, const char *scenario,
                     const struct fault_verdict *v)
{
    CHECK(buf_printf(b, "    <testcase classname=\"bastide.fault.%s\" name=\"",
                     scenario) == ERR_OK);
    put_xml(b, v->what);
    CHECK(buf_append_str(b, "\">") == ERR_OK);
    if (!v->held) {
        CHECK(buf_append_str(b, "<failure message=\"") == ERR_OK);
        put_xml(b, v->why);
        CHECK(buf_append_str(b, "\"/>") == ERR_OK);
    }
    CHECK(buf_append_str(b, "</testcase>\n") == ERR_OK);
}

/* The report as people read it, beside the cases. */
static void put_text_report(struct buf *b, const struct fault_report *r)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    CHECK(memory != NULL);
    fault_report_text(memory, r);
    CHECK(fclose(memory) == 0);
    CHECK(buf_append_str(b, "    <system-out>") == ERR_OK);
    put_xml(b, text);
    CHECK(buf_append_str(b, "</system-out>\n") == ERR_OK);
    free(text);
}

int fault_report_junit(const char *path, const struct fault_report *r,
                       struct err_msg *msg)
{
    const struct fault_result *m = r->result;
    const char *name = r->record->scenario->name;
    struct buf b;
    size_t failed = 0;
    for (size_t i = 0; i < m->verdict_count; i++)
        failed += !m->verdicts[i].held;
    buf_init(&b, REPORT_MAX);
    CHECK(buf_printf(&b,
                     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                     "<testsuites>\n"
                     "  <testsuite name=\"%s\" tests=\"%zu\" failures=\"%zu\" "
                     "errors=\"0\" time=\"%.3f\">\n",
                     name, m->verdict_count, failed,
                     seconds(r->record->end_us)) == ERR_OK);
    for (size_t i = 0; i < m->verdict_count; i++)
        put_case(&b, name, &m->verdicts[i]);
    put_text_report(&b, r);
    CHECK(buf_append_str(&b, "  </testsuite>\n</testsuites>\n") == ERR_OK);
    int err =
        file_replace(path, 0644, bytes_of(buf_bytes(&b), buf_len(&b)), msg);
    buf_free(&b);
    return err;
}

/* ---- the history ------------------------------------------------------------
 */

static const char *kind_word(enum linear_kind kind)
{
    static const char *const words[] = {"read", "create", "upsert", "replace",
                                        "delete"};
    return words[kind];
}

static void print_op(FILE *out, const struct observed *h, size_t i)
{
    const struct hist_op *op = &h->ops[i];
    fprintf(
        out,
        "{\"op\":%zu,\"kind\":\"%s\",\"session\":%u,\"region\":%u,"
        "\"range\":%u,\"document\":%u,\"called_us\":%lld,\"called\":%" PRIu64,
        i + 1, kind_word(op->kind), op->session, op->region, op->shard, op->key,
        (long long)op->called_us, op->called);
    if (op->answered_us == HIST_NEVER)
        fprintf(out, ",\"result\":\"unknown\"}\n");
    else
        fprintf(out,
                ",\"answered_us\":%lld,\"answered\":%" PRIu64
                ",\"result\":\"%s\",\"created\":%s,\"version\":%" PRIu64
                ",\"epoch\":%u,\"lsn\":%" PRIu64 "}\n",
                (long long)op->answered_us, op->answered, err_name(op->result),
                op->created ? "true" : "false", op->version, hist_epoch(op->at),
                op->at.lsn);
}

static void print_promise(FILE *out, const struct hist_promise *p)
{
    fprintf(out, "{\"promise_us\":%lld,\"level\":\"%s\",\"levels\":%u",
            (long long)p->from_us, consistency_name(p->level), p->levels);
    if ((p->levels & 1u << CONSISTENCY_BOUNDED) != 0)
        fprintf(out, ",\"max_entries\":%llu,\"max_us\":%lld",
                (unsigned long long)p->max_entries, (long long)p->max_us);
    fputs("}\n", out);
}

static void print_rest(FILE *out, const struct observed *h)
{
    for (size_t i = 0; i < h->n_promises; i++)
        print_promise(out, &h->promises[i]);
    for (size_t i = 0; i < h->n_switches; i++)
        fprintf(out, "{\"switch_to_epoch\":%u,\"forced\":%s}\n",
                h->switches[i].epoch, h->switches[i].forced ? "true" : "false");
    for (size_t i = 0; i < h->n_conflicts; i++)
        fprintf(out,
                "{\"conflict_of_range\":%u,\"version\":%" PRIu64
                ",\"epoch\":%u,\"lsn\":%" PRIu64 "}\n",
                h->conflicts[i].shard, h->conflicts[i].version,
                hist_epoch(h->conflicts[i].at), h->conflicts[i].at.lsn);
    for (size_t i = 0; i < h->n_ends; i++)
        fprintf(out,
                "{\"end_of_document\":%u,\"range\":%u,\"version\":%" PRIu64
                ",\"epoch\":%u,\"lsn\":%" PRIu64 "}\n",
                h->ends[i].key, h->ends[i].shard, h->ends[i].version,
                hist_epoch(h->ends[i].at), h->ends[i].at.lsn);
}

int fault_report_history(const char *path, const struct fault_report *r,
                         struct err_msg *msg)
{
    const struct observed *h = r->record->history;
    FILE *out = fopen(path, "we");
    if (out == NULL)
        return err_set(msg, err_from_errno(errno), "%s: %s", path,
                       strerror(errno));
    for (size_t i = 0; i < h->n_ops; i++)
        print_op(out, h, i);
    print_rest(out, h);
    bool ok = ferror(out) == 0;
    return fclose(out) == 0 && ok
               ? ERR_OK
               : err_set(msg, ERR_IO, "%s: cannot write it", path);
}
