#include "node/scenario/scenario.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/text.h"

#define DEFAULT_LIMIT_US (30 * USEC_PER_SEC)
#define TIME_EXPECTED "a time such as 500ms, 3s or 1m, at most an hour"

struct reader {
    const char *path;
    yaml_document_t *doc;
    struct scenario *s;
    struct err_msg *msg;
};

/* ---- nodes ------------------------------------------------------------------
 */

static const yaml_node_t *node_at(const struct reader *r, yaml_node_item_t item)
{
    const yaml_node_t *n = yaml_document_get_node(r->doc, item);
    CHECK(n != NULL);
    return n;
}

static unsigned line_of(const yaml_node_t *n)
{
    return (unsigned)n->start_mark.line + 1;
}

/* "file:line: key: expected ..."; ERR_INVALID. */
static int expected(const struct reader *r, const yaml_node_t *n,
                    const char *key, const char *what)
{
    return err_set(r->msg, ERR_INVALID, "%s:%u: %s: expected %s", r->path,
                   line_of(n), key, what);
}

/* The value's text; NULL for lists, mappings and embedded NULs. */
static const char *scalar(const yaml_node_t *n)
{
    const char *text = (const char *)n->data.scalar.value;
    return n->type == YAML_SCALAR_NODE && strlen(text) == n->data.scalar.length
               ? text
               : NULL;
}

/* ---- values -----------------------------------------------------------------
 */

static bool parse_number(const char *text, uint64_t min, uint64_t max,
                         uint64_t *out)
{
    uint64_t n;
    if (text_parse_u64(bytes_str(text), max, &n) != ERR_OK || n < min)
        return false;
    *out = n;
    return true;
}

static bool parse_time(const char *text, usec_t *out)
{
    static const struct {
        const char *unit;
        usec_t us;
    } units[] = {{"ms", USEC_PER_MS}, {"s", USEC_PER_SEC}, {"m", 60000000}};
    uint64_t n;
    size_t digits = strspn(text, "0123456789");
    if (text_parse_u64(bytes_of(text, digits), 1000000000, &n) != ERR_OK)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(text + digits, units[i].unit) == 0 &&
            (usec_t)n <= SCENARIO_TIME_MAX_US / units[i].us) {
            *out = (usec_t)n * units[i].us;
            return true;
        }
    return false;
}

static bool parse_level(const char *text, enum consistency_level *out)
{
    static const char *const words[CONSISTENCY_COUNT] = {
        "strong", "bounded-staleness", "session", "consistent-prefix",
        "eventual"};
    for (int i = 0; i < CONSISTENCY_COUNT; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = (enum consistency_level)i;
            return true;
        }
    return false;
}
#define LEVEL_EXPECTED                                                         \
    "strong, bounded-staleness, session, consistent-prefix or eventual"

/* ---- placeholders -----------------------------------------------------------
 */

static const struct {
    const char *name;
} placeholders[SCENARIO_PLACEHOLDERS] = {
#define PLACEHOLDER_ROW(id, name, what) {name},
    SCENARIO_PLACEHOLDER_LIST(PLACEHOLDER_ROW)
#undef PLACEHOLDER_ROW
};

static int put_placeholder(struct bytes name,
                           const struct scenario_names *names, struct buf *out,
                           struct err_msg *msg)
{
    for (size_t i = 0; i < SCENARIO_PLACEHOLDERS; i++) {
        if (!bytes_equal(name, bytes_str(placeholders[i].name)))
            continue;
        if (names->name[i][0] == '\0')
            return err_set(msg, ERR_NOT_FOUND,
                           "{%s}: this cluster has none such now",
                           placeholders[i].name);
        return buf_append_str(out, names->name[i]);
    }
    return err_set(msg, ERR_INVALID, "there is no placeholder {%.*s}",
                   (int)(name.len < 40 ? name.len : 40),
                   (const char *)name.data);
}

/* A brace that is followed by a small letter begins one: JSON's are followed by
 * a quote or their partner. */
static const char *find_placeholder(const char *text, const char **end_out)
{
    for (const char *at = strchr(text, '{'); at != NULL;
         at = strchr(at + 1, '{')) {
        const char *end =
            at + 1 + strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_");
        if (end == at + 1 || *end != '}')
            continue;
        *end_out = end;
        return at;
    }
    return NULL;
}

int scenario_resolve(const char *text, const struct scenario_names *names,
                     struct buf *out, struct err_msg *msg)
{
    const char *at, *end;
    int err = ERR_OK;
    while (err == ERR_OK && (at = find_placeholder(text, &end)) != NULL) {
        err = buf_append(out, text, (size_t)(at - text));
        if (err == ERR_OK)
            err = put_placeholder(bytes_of(at + 1, (size_t)(end - at - 1)),
                                  names, out, msg);
        text = end + 1;
    }
    return err == ERR_OK ? buf_append_str(out, text) : err;
}

/* Stand for all that a cluster may have. */
static const struct scenario_names *any_names(void)
{
    static const struct scenario_names any = {{
#define ANY_ROW(id, name, what) [SCENARIO_P_##id] = "any",
        SCENARIO_PLACEHOLDER_LIST(ANY_ROW)
#undef ANY_ROW
    }};
    return &any;
}

/* Whether the text would be right with any names. */
static int check_names(const char *text, struct buf *out, struct err_msg *msg)
{
    return scenario_resolve(text, any_names(), out, msg);
}

/* A name of a region or node, or a placeholder. */
static int read_name(const struct reader *r, const yaml_node_t *n,
                     const char *key, char **text_out)
{
    const char *text = scalar(n);
    struct buf plain;
    struct err_msg why;
    buf_init(&plain, SCENARIO_TEXT_MAX);
    if (text == NULL || strlen(text) > INJECT_NAME_MAX || *text == '\0')
        return expected(r, n, key, "a name or a placeholder");
    int err = check_names(text, &plain, &why);
    buf_free(&plain);
    if (err != ERR_OK)
        return err_set(r->msg, ERR_INVALID, "%s:%u: %s: %.300s", r->path,
                       line_of(n), key, why.text);
    *text_out = mem_strdup(text);
    return ERR_OK;
}

/* ---- faults -----------------------------------------------------------------
 */

static int write_fault(const struct reader *r, const yaml_node_t *map,
                       struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start;
         p < map->data.mapping.pairs.top; p++) {
        const char *name = scalar(node_at(r, p->key));
        const char *value = scalar(node_at(r, p->value));
        if (name == NULL || value == NULL)
            return expected(r, node_at(r, p->key), "fault",
                            "members with one value each");
        inject_put_member(&w, name, value);
    }
    json_write_object_end(&w);
    return json_writer_end(&w) == ERR_OK
               ? ERR_OK
               : expected(r, map, "fault", "less, in UTF-8");
}

int scenario_read_fault(const char *text, const struct scenario_names *names,
                        struct inject_fault *fault_out, struct err_msg *msg)
{
    struct buf plain;
    struct json j;
    buf_init(&plain, 2 * SCENARIO_FAULT_MAX);
    json_init(&j);
    int err = scenario_resolve(text, names, &plain, msg);
    if (err == ERR_OK)
        err = json_parse(&j, bytes_of(buf_bytes(&plain), buf_len(&plain)),
                         2 * SCENARIO_FAULT_MAX, NULL);
    if (err == ERR_OK)
        err = inject_read(&j, 0, fault_out, msg);
    json_free(&j);
    buf_free(&plain);
    return err;
}

static int read_fault(const struct reader *r, const yaml_node_t *n,
                      char **text_out)
{
    struct buf text;
    struct inject_fault fault;
    struct err_msg why = {"not a fault"};
    if (n->type != YAML_MAPPING_NODE)
        return expected(r, n, "fault", "members such as {kind: cut, ...}");
    buf_init(&text, SCENARIO_FAULT_MAX);
    int err = write_fault(r, n, &text);
    if (err == ERR_OK && scenario_read_fault(buf_cstr(&text), any_names(),
                                             &fault, &why) != ERR_OK)
        err = err_set(r->msg, ERR_INVALID, "%s:%u: fault: %.400s", r->path,
                      line_of(n), why.text);
    if (err == ERR_OK)
        *text_out = mem_strdup(buf_cstr(&text));
    buf_free(&text);
    return err;
}

/* ---- mappings ---------------------------------------------------------------
 */

struct key {
    const char *name;
    int (*read)(const struct reader *r, const yaml_node_t *n, const char *key,
                void *into);
};
#define KEYS_MAX 32

/* Reads a mapping by a table of keys, each at most once. `seen_out` (may be
 * NULL) has a bit for each that was there. */
static int read_mapping(const struct reader *r, const yaml_node_t *map,
                        const char *where, const struct key *keys, size_t count,
                        void *into, uint32_t *seen_out)
{
    uint32_t seen = 0;
    CHECK(count <= KEYS_MAX);
    if (map->type != YAML_MAPPING_NODE)
        return expected(r, map, where, "a mapping");
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start;
         p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = node_at(r, p->key);
        const char *name = scalar(k);
        size_t i = 0;
        while (name != NULL && i < count && strcmp(keys[i].name, name) != 0)
            i++;
        if (name == NULL || i == count || (seen & 1u << i) != 0)
            return err_set(r->msg, ERR_INVALID, "%s:%u: %s: %s key \"%.64s\"",
                           r->path, line_of(k), where,
                           name != NULL && i < count ? "duplicate" : "unknown",
                           name != NULL ? name : "(no text)");
        seen |= 1u << i;
        int err = keys[i].read(r, node_at(r, p->value), name, into);
        if (err != ERR_OK)
            return err;
    }
    if (seen_out != NULL)
        *seen_out = seen;
    return ERR_OK;
}

/* Calls `read` with each item of a list. */
static int read_list(const struct reader *r, const yaml_node_t *list,
                     const char *key, size_t max,
                     int (*read)(const struct reader *r, const yaml_node_t *n,
                                 void *into),
                     void *into)
{
    char text[64];
    snprintf(text, sizeof(text), "a list of at most %zu", max);
    if (list->type != YAML_SEQUENCE_NODE)
        return expected(r, list, key, text);
    size_t count = (size_t)(list->data.sequence.items.top -
                            list->data.sequence.items.start);
    if (count > max)
        return expected(r, list, key, text);
    int err = ERR_OK;
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = read(r, node_at(r, list->data.sequence.items.start[i]), into);
    return err;
}

static int read_time(const struct reader *r, const yaml_node_t *n,
                     const char *key, usec_t *out)
{
    const char *text = scalar(n);
    return text != NULL && parse_time(text, out)
               ? ERR_OK
               : expected(r, n, key, TIME_EXPECTED);
}

static int read_number(const struct reader *r, const yaml_node_t *n,
                       const char *key, uint64_t min, uint64_t max,
                       uint64_t *out)
{
    char text[64];
    const char *given = scalar(n);
    if (given != NULL && parse_number(given, min, max, out))
        return ERR_OK;
    snprintf(text, sizeof(text), "a whole number from %llu to %llu",
             (unsigned long long)min, (unsigned long long)max);
    return expected(r, n, key, text);
}

static int read_unsigned(const struct reader *r, const yaml_node_t *n,
                         const char *key, unsigned max, unsigned *out)
{
    uint64_t value = 0;
    int err = read_number(r, n, key, 1, max, &value);
    if (err == ERR_OK)
        *out = (unsigned)value;
    return err;
}

static int read_text(const struct reader *r, const yaml_node_t *n,
                     const char *key, char *out, size_t size)
{
    char what[64];
    const char *text = scalar(n);
    snprintf(what, sizeof(what), "text of 1 to %zu bytes", size - 1);
    if (text == NULL || *text == '\0' || strlen(text) >= size)
        return expected(r, n, key, what);
    strcpy(out, text);
    return ERR_OK;
}

/* ---- levels -----------------------------------------------------------------
 */

static int read_level(const struct reader *r, const yaml_node_t *n,
                      const char *key, struct consistency_policy *out)
{
    const char *text = scalar(n);
    return text != NULL && parse_level(text, &out->level)
               ? ERR_OK
               : expected(r, n, key, LEVEL_EXPECTED);
}

static int read_bound(const struct reader *r, const yaml_node_t *n,
                      const char *key, struct consistency_policy *out)
{
    uint64_t entries = 0;
    usec_t us = 0;
    if (strcmp(key, "max-staleness-prefix") == 0) {
        int err = read_number(r, n, key, 1, INT32_MAX, &entries);
        out->max_staleness_prefix = (int32_t)entries;
        return err;
    }
    int err = read_time(r, n, key, &us);
    if (err == ERR_OK && (us == 0 || us % USEC_PER_SEC != 0))
        err = expected(r, n, key, "whole seconds");
    out->max_staleness_interval = (int32_t)(us / USEC_PER_SEC);
    return err;
}

/* `n` is what has the bounds. */
static int check_bounds(const struct reader *r, const yaml_node_t *n,
                        const char *where, bool bounded,
                        const struct consistency_policy *p)
{
    bool any = p->max_staleness_prefix != 0 || p->max_staleness_interval != 0;
    return any && !bounded ? expected(r, n, where,
                                      "bounds only where the level becomes "
                                      "bounded-staleness")
                           : ERR_OK;
}

/* ---- steps ------------------------------------------------------------------
 */

static int step_at(const struct reader *r, const yaml_node_t *n,
                   const char *key, void *into)
{
    struct scenario_step *s = into;
    s->relative = strcmp(key, "after") == 0;
    return read_time(r, n, key, &s->at_us);
}

static int step_fault(const struct reader *r, const yaml_node_t *n,
                      const char *key, void *into)
{
    struct scenario_step *s = into;
    (void)key;
    s->kind = SCENARIO_FAULT;
    return s->text == NULL ? read_fault(r, n, &s->text) : ERR_OK;
}

static int step_named(const struct reader *r, const yaml_node_t *n,
                      const char *key, void *into)
{
    struct scenario_step *s = into;
    s->only_begin = strcmp(key, "begin-switch") == 0;
    s->kind = strcmp(key, "clear") == 0     ? SCENARIO_CLEAR
              : strcmp(key, "restart") == 0 ? SCENARIO_RESTART
                                            : SCENARIO_SWITCH;
    return s->text == NULL ? read_name(r, n, key, &s->text) : ERR_OK;
}

static int renew_at(const struct reader *r, const yaml_node_t *n,
                    const char *key, void *into)
{
    struct scenario_step *s = into;
    return s->text == NULL ? read_name(r, n, key, &s->text) : ERR_OK;
}

static const struct key renew_keys[] = {{"at", renew_at}};

static int step_renew(const struct reader *r, const yaml_node_t *n,
                      const char *key, void *into)
{
    uint32_t seen = 0;
    ((struct scenario_step *)into)->kind = SCENARIO_RENEW;
    int err =
        read_mapping(r, n, key, renew_keys, ARRAY_LEN(renew_keys), into, &seen);
    return err == ERR_OK && seen == 0 ? expected(r, n, key, "{at: NAME}") : err;
}

static int step_rotate(const struct reader *r, const yaml_node_t *n,
                       const char *key, void *into)
{
    struct scenario_step *s = into;
    const char *text = scalar(n);
    s->kind = SCENARIO_ROTATE;
    if (text == NULL ||
        (strcmp(text, "primary") != 0 && strcmp(text, "secondary") != 0))
        return expected(r, n, key, "primary or secondary");
    if (s->text == NULL)
        s->text = mem_strdup(text);
    return ERR_OK;
}

static int step_wait(const struct reader *r, const yaml_node_t *n,
                     const char *key, void *into)
{
    static const char region[] = "write-region=";
    static const size_t len = sizeof(region) - 1;
    struct scenario_step *s = into;
    struct err_msg why;
    struct buf plain;
    const char *text = scalar(n);
    s->kind = SCENARIO_WAIT;
    s->wait = SCENARIO_HEALTHY;
    if (text != NULL && strcmp(text, "healthy") == 0)
        return ERR_OK;
    s->wait = SCENARIO_SETTLED;
    if (text != NULL && strcmp(text, "settled") == 0)
        return ERR_OK;
    s->wait = SCENARIO_WRITE_REGION;
    buf_init(&plain, SCENARIO_TEXT_MAX);
    bool right = text != NULL && strncmp(text, region, len) == 0 &&
                 text[len] != '\0' && strlen(text + len) <= INJECT_NAME_MAX &&
                 check_names(text + len, &plain, &why) == ERR_OK;
    buf_free(&plain);
    if (!right)
        return expected(r, n, key, "healthy, settled or write-region=NAME");
    if (s->text == NULL)
        s->text = mem_strdup(text + len);
    return ERR_OK;
}

static int step_consistency(const struct reader *r, const yaml_node_t *n,
                            const char *key, void *into)
{
    struct scenario_step *s = into;
    s->kind = SCENARIO_CONSISTENCY;
    return read_level(r, n, key, &s->policy);
}

static int step_bound(const struct reader *r, const yaml_node_t *n,
                      const char *key, void *into)
{
    return read_bound(r, n, key, &((struct scenario_step *)into)->policy);
}

static int step_limit(const struct reader *r, const yaml_node_t *n,
                      const char *key, void *into)
{
    return read_time(r, n, key, &((struct scenario_step *)into)->limit_us);
}

/* 0 would mean that nothing is expected. */
static int read_within(const struct reader *r, const yaml_node_t *n,
                       const char *key, usec_t *out)
{
    int err = read_time(r, n, key, out);
    return err != ERR_OK || *out > 0
               ? err
               : expected(r, n, key, "a time that is longer than 0");
}

static int step_writes(const struct reader *r, const yaml_node_t *n,
                       const char *key, void *into)
{
    return read_within(r, n, key,
                       &((struct scenario_step *)into)->writes_within_us);
}

static int step_reads(const struct reader *r, const yaml_node_t *n,
                      const char *key, void *into)
{
    return read_within(r, n, key,
                       &((struct scenario_step *)into)->reads_within_us);
}

/* The first two say when, the next nine what: one of each at most, one at
 * least of what. */
static const struct key step_keys[] = {
    {"at", step_at},
    {"after", step_at},
    {"fault", step_fault},
    {"clear", step_named},
    {"switch", step_named},
    {"begin-switch", step_named},
    {"restart", step_named},
    {"renew-certificates", step_renew},
    {"rotate-account-key", step_rotate},
    {"wait-until", step_wait},
    {"consistency", step_consistency},
    {"max-staleness-prefix", step_bound},
    {"max-staleness-interval", step_bound},
    {"limit", step_limit},
    {"writes-succeed-within", step_writes},
    {"reads-succeed-within", step_reads},
};
#define STEP_WHEN 0x3u
#define STEP_WHAT 0x7fcu

static bool one_bit(uint32_t bits)
{
    return bits != 0 && (bits & (bits - 1)) == 0;
}

static int read_step(const struct reader *r, const yaml_node_t *n, void *into)
{
    struct scenario *s = into;
    uint32_t seen = 0;
    struct scenario_step *step = &s->steps[s->step_count++];
    *step = (struct scenario_step){
        .line = line_of(n), .relative = true, .limit_us = DEFAULT_LIMIT_US};
    int err = read_mapping(r, n, "step", step_keys, ARRAY_LEN(step_keys), step,
                           &seen);
    if (err != ERR_OK)
        return err;
    if (!one_bit(seen & STEP_WHAT))
        return expected(
            r, n, "step",
            "one of fault, clear, switch, begin-switch, restart, "
            "renew-certificates, rotate-account-key, wait-until and "
            "consistency");
    if ((seen & STEP_WHEN) == STEP_WHEN)
        return expected(r, n, "step", "at or after, not both");
    return check_bounds(r, n, "step",
                        step->kind == SCENARIO_CONSISTENCY &&
                            step->policy.level == CONSISTENCY_BOUNDED,
                        &step->policy);
}

/* ---- expectations -----------------------------------------------------------
 */

static int expect_flag(const struct reader *r, const yaml_node_t *n,
                       const char *key, void *into)
{
    struct scenario_expect *e = into;
    const char *text = scalar(n);
    e->kind = strcmp(key, "no-failed-request") == 0 ? SCENARIO_NONE_FAILED
                                                    : SCENARIO_NOTHING_LOST;
    return text != NULL && strcmp(text, "true") == 0
               ? ERR_OK
               : expected(r, n, key, "true");
}

static int expect_lost(const struct reader *r, const yaml_node_t *n,
                       const char *key, void *into)
{
    struct scenario_expect *e = into;
    e->kind = SCENARIO_LOST_AT_MOST;
    return read_number(r, n, key, 0, UINT32_MAX, &e->number);
}

static int expect_region(const struct reader *r, const yaml_node_t *n,
                         const char *key, void *into)
{
    struct scenario_expect *e = into;
    e->kind = SCENARIO_WRITE_REGION_IS;
    return e->text == NULL ? read_name(r, n, key, &e->text) : ERR_OK;
}

static int expect_gap(const struct reader *r, const yaml_node_t *n,
                      const char *key, void *into)
{
    struct scenario_expect *e = into;
    e->kind = SCENARIO_GAP_AT_MOST;
    return read_time(r, n, key, &e->us);
}

static int read_status(const struct reader *r, const yaml_node_t *n, void *into)
{
    struct scenario_expect *e = into;
    uint64_t status = 0;
    int err = read_number(r, n, "errors-only", 400, 599, &status);
    if (err == ERR_OK)
        e->statuses[e->status_count++] = (unsigned)status;
    return err;
}

static int expect_errors(const struct reader *r, const yaml_node_t *n,
                         const char *key, void *into)
{
    struct scenario_expect *e = into;
    e->kind = SCENARIO_ERRORS_ONLY;
    return read_list(r, n, key, SCENARIO_STATUSES_MAX, read_status, e);
}

static const struct key expect_keys[] = {
    {"no-acknowledged-write-lost", expect_flag},
    {"lost-at-most", expect_lost},
    {"write-region-is", expect_region},
    {"no-failed-request", expect_flag},
    {"errors-only", expect_errors},
    {"longest-gap-at-most", expect_gap},
};

static int read_expect(const struct reader *r, const yaml_node_t *n, void *into)
{
    struct scenario *s = into;
    uint32_t seen = 0;
    struct scenario_expect *e = &s->expects[s->expect_count++];
    *e = (struct scenario_expect){.line = line_of(n)};
    int err = read_mapping(r, n, "expect", expect_keys, ARRAY_LEN(expect_keys),
                           e, &seen);
    return err == ERR_OK && !one_bit(seen)
               ? expected(r, n, "expect", "one expectation per list item")
               : err;
}

/* ---- the file ---------------------------------------------------------------
 */

static int needs_number(const struct reader *r, const yaml_node_t *n,
                        const char *key, void *into)
{
    struct scenario *s = into;
    bool regions = strcmp(key, "regions") == 0;
    return read_unsigned(r, n, key, 9,
                         regions ? &s->regions : &s->nodes_per_region);
}

static int needs_level(const struct reader *r, const yaml_node_t *n,
                       const char *key, void *into)
{
    struct scenario *s = into;
    s->has_policy = true;
    return read_level(r, n, key, &s->policy);
}

static int needs_bound(const struct reader *r, const yaml_node_t *n,
                       const char *key, void *into)
{
    return read_bound(r, n, key, &((struct scenario *)into)->policy);
}

static const struct key needs_keys[] = {
    {"regions", needs_number},
    {"nodes-per-region", needs_number},
    {"level", needs_level},
    {"max-staleness-prefix", needs_bound},
    {"max-staleness-interval", needs_bound},
};

static int load_number(const struct reader *r, const yaml_node_t *n,
                       const char *key, void *into)
{
    struct scenario *s = into;
    if (strcmp(key, "clients") == 0)
        return read_unsigned(r, n, key, SCENARIO_CLIENTS_MAX, &s->clients);
    if (strcmp(key, "documents") == 0)
        return read_unsigned(r, n, key, SCENARIO_DOCUMENTS_MAX, &s->documents);
    return read_unsigned(r, n, key, SCENARIO_RATE_MAX,
                         strcmp(key, "writes-per-second") == 0
                             ? &s->writes_per_second
                             : &s->reads_per_second);
}

static int load_duration(const struct reader *r, const yaml_node_t *n,
                         const char *key, void *into)
{
    return read_time(r, n, key, &((struct scenario *)into)->duration_us);
}

static const struct key load_keys[] = {
    {"clients", load_number},           {"documents", load_number},
    {"writes-per-second", load_number}, {"reads-per-second", load_number},
    {"duration", load_duration},
};

static int top_name(const struct reader *r, const yaml_node_t *n,
                    const char *key, void *into)
{
    struct scenario *s = into;
    int err = read_text(r, n, key, s->name, sizeof(s->name));
    if (err == ERR_OK && s->name[strspn(s->name, "abcdefghijklmnopqrstuvwxyz"
                                                 "0123456789-")] != '\0')
        err = expected(r, n, key, "a-z, 0-9 and '-'");
    return err;
}

static int top_description(const struct reader *r, const yaml_node_t *n,
                           const char *key, void *into)
{
    struct scenario *s = into;
    return read_text(r, n, key, s->description, sizeof(s->description));
}

static int top_needs(const struct reader *r, const yaml_node_t *n,
                     const char *key, void *into)
{
    struct scenario *s = into;
    int err =
        read_mapping(r, n, key, needs_keys, ARRAY_LEN(needs_keys), s, NULL);
    return err == ERR_OK
               ? check_bounds(r, n, key,
                              s->has_policy &&
                                  s->policy.level == CONSISTENCY_BOUNDED,
                              &s->policy)
               : err;
}

static int top_load(const struct reader *r, const yaml_node_t *n,
                    const char *key, void *into)
{
    return read_mapping(r, n, key, load_keys, ARRAY_LEN(load_keys), into, NULL);
}

static int top_steps(const struct reader *r, const yaml_node_t *n,
                     const char *key, void *into)
{
    return read_list(r, n, key, SCENARIO_STEPS_MAX, read_step, into);
}

static int top_expect(const struct reader *r, const yaml_node_t *n,
                      const char *key, void *into)
{
    return read_list(r, n, key, SCENARIO_EXPECTS_MAX, read_expect, into);
}

static const struct key top_keys[] = {
    {"name", top_name},   {"description", top_description},
    {"needs", top_needs}, {"load", top_load},
    {"steps", top_steps}, {"expect", top_expect},
};

static int read_document(const struct reader *r)
{
    uint32_t seen = 0;
    const yaml_node_t *root = yaml_document_get_root_node(r->doc);
    if (root == NULL)
        return err_set(r->msg, ERR_INVALID, "%s: the file is empty", r->path);
    int err = read_mapping(r, root, "scenario", top_keys, ARRAY_LEN(top_keys),
                           r->s, &seen);
    if (err == ERR_OK && (r->s->name[0] == '\0' || r->s->step_count == 0))
        err = expected(r, root, "scenario", "a name and at least one step");
    return err;
}

int scenario_parse(const char *path, struct bytes text,
                   struct scenario *scenario_out, struct err_msg *msg)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    int err;
    *scenario_out = (struct scenario){.regions = 1,
                                      .nodes_per_region = 1,
                                      .clients = 6,
                                      .documents = 50,
                                      .writes_per_second = 60,
                                      .reads_per_second = 60};
    if (text.len > SCENARIO_FILE_MAX)
        return err_set(msg, ERR_LIMIT, "%s: longer than %d bytes", path,
                       SCENARIO_FILE_MAX);
    CHECK(yaml_parser_initialize(&parser) == 1);
    yaml_parser_set_input_string(&parser, text.data, text.len);
    if (yaml_parser_load(&parser, &doc) == 1) {
        struct reader r = {path, &doc, scenario_out, msg};
        err = read_document(&r);
        yaml_document_delete(&doc);
    } else {
        err = err_set(msg, ERR_MALFORMED, "%s:%zu: not YAML: %s", path,
                      parser.problem_mark.line + 1,
                      parser.problem != NULL ? parser.problem : "unreadable");
    }
    yaml_parser_delete(&parser);
    if (err != ERR_OK)
        scenario_free(scenario_out);
    return err;
}

void scenario_free(struct scenario *s)
{
    for (size_t i = 0; i < s->step_count; i++)
        mem_free(s->steps[i].text);
    for (size_t i = 0; i < s->expect_count; i++)
        mem_free(s->expects[i].text);
    *s = (struct scenario){.name = ""};
}

/* ---- saying -----------------------------------------------------------------
 */

/* A name with its placeholders replaced where they are known. */
static const char *shown(const char *text, const struct scenario_names *names,
                         struct buf *scratch)
{
    buf_clear(scratch);
    if (names == NULL ||
        scenario_resolve(text, names, scratch, NULL) != ERR_OK ||
        buf_cstr(scratch) == NULL)
        return text;
    return buf_cstr(scratch);
}

static void describe_wait(const struct scenario_step *step, const char *name,
                          char out[SCENARIO_SENTENCE_MAX])
{
    const char *what = step->wait == SCENARIO_HEALTHY   ? "all is well"
                       : step->wait == SCENARIO_SETTLED ? "it is settled"
                                                        : "writes go to ";
    snprintf(out, SCENARIO_SENTENCE_MAX, "wait until %s%.63s, at most %.1f s",
             what, step->wait == SCENARIO_WRITE_REGION ? name : "",
             (double)step->limit_us / USEC_PER_SEC);
}

static void describe_policy(const struct consistency_policy *p,
                            char out[SCENARIO_SENTENCE_MAX])
{
    int n = snprintf(out, SCENARIO_SENTENCE_MAX, "consistency becomes %s",
                     consistency_name(p->level));
    if (p->max_staleness_prefix > 0)
        n += snprintf(out + n, SCENARIO_SENTENCE_MAX - (size_t)n,
                      ", at most %d entries", p->max_staleness_prefix);
    if (p->max_staleness_interval > 0)
        snprintf(out + n, SCENARIO_SENTENCE_MAX - (size_t)n, ", at most %d s",
                 p->max_staleness_interval);
}

void scenario_describe_step(const struct scenario_step *step,
                            const struct scenario_names *names,
                            char out[SCENARIO_SENTENCE_MAX])
{
    struct buf scratch;
    struct inject_fault fault;
    buf_init(&scratch, SCENARIO_FAULT_MAX);
    const char *name =
        step->text != NULL ? shown(step->text, names, &scratch) : "";
    switch (step->kind) {
    case SCENARIO_FAULT:
        if (names != NULL &&
            scenario_read_fault(step->text, names, &fault, NULL) == ERR_OK)
            inject_describe(&fault, out, SCENARIO_SENTENCE_MAX);
        else
            snprintf(out, SCENARIO_SENTENCE_MAX, "fault %.300s", step->text);
        break;
    case SCENARIO_CLEAR:
        snprintf(out, SCENARIO_SENTENCE_MAX, "clear %.63s", name);
        break;
    case SCENARIO_SWITCH:
        snprintf(out, SCENARIO_SENTENCE_MAX, "switch the writes to %.63s",
                 name);
        break;
    case SCENARIO_RESTART:
        snprintf(out, SCENARIO_SENTENCE_MAX, "restart %.63s, node by node",
                 name);
        break;
    case SCENARIO_RENEW:
        snprintf(out, SCENARIO_SENTENCE_MAX,
                 "renew the certificates of %.63s, node by node", name);
        break;
    case SCENARIO_ROTATE:
        snprintf(out, SCENARIO_SENTENCE_MAX, "rotate the %.63s account key",
                 name);
        break;
    case SCENARIO_WAIT:
        describe_wait(step, name, out);
        break;
    case SCENARIO_CONSISTENCY:
        describe_policy(&step->policy, out);
        break;
    }
    buf_free(&scratch);
}

static void describe_statuses(const struct scenario_expect *e,
                              char out[SCENARIO_SENTENCE_MAX])
{
    int n = snprintf(out, SCENARIO_SENTENCE_MAX, "requests fail only with");
    for (size_t i = 0; i < e->status_count; i++)
        n += snprintf(out + n, SCENARIO_SENTENCE_MAX - (size_t)n, "%s%u",
                      i == 0 ? " " : ", ", e->statuses[i]);
    if (e->status_count == 0)
        snprintf(out + n, SCENARIO_SENTENCE_MAX - (size_t)n, " no status");
}

void scenario_describe_expect(const struct scenario_expect *e,
                              const struct scenario_names *names,
                              char out[SCENARIO_SENTENCE_MAX])
{
    struct buf scratch;
    buf_init(&scratch, SCENARIO_TEXT_MAX);
    switch (e->kind) {
    case SCENARIO_NOTHING_LOST:
        strcpy(out, "no acknowledged write is lost");
        break;
    case SCENARIO_LOST_AT_MOST:
        snprintf(out, SCENARIO_SENTENCE_MAX,
                 "at most %llu acknowledged writes are lost",
                 (unsigned long long)e->number);
        break;
    case SCENARIO_WRITE_REGION_IS:
        snprintf(out, SCENARIO_SENTENCE_MAX,
                 "in the end the writes go to %.63s",
                 shown(e->text, names, &scratch));
        break;
    case SCENARIO_NONE_FAILED:
        strcpy(out, "no request fails");
        break;
    case SCENARIO_ERRORS_ONLY:
        describe_statuses(e, out);
        break;
    case SCENARIO_GAP_AT_MOST:
        snprintf(out, SCENARIO_SENTENCE_MAX,
                 "there is a write acknowledged every %.1f s",
                 (double)e->us / USEC_PER_SEC);
        break;
    }
    buf_free(&scratch);
}
