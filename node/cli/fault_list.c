/* bastide fault list and bastide fault clear. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/cmd.h"
#include "node/cli/fault.h"
#include "node/cli/fault_tell.h"
#include "node/cli/options.h"
#include "node/json/json.h"

#define OUTPUT_MAX (4 << 20)
#define NODES_TEXT_MAX (LAYOUT_NODES_MAX * (CONFIG_NAME_MAX + 2))

/* A fault, wherever it is active. */
struct row {
    char id[INJECT_ID_MAX + 1];
    char what[INJECT_SENTENCE_MAX];
    char nodes[NODES_TEXT_MAX]; /* "eastus-1, eastus-2" */
    double remaining_s;         /* the longest; < 0: until cleared */
    uint64_t hits;              /* of all nodes */
};

/* Grows; a node has at most INJECT_LIST_MAX faults, so it is bounded. */
struct table {
    struct row *rows;
    size_t count;
};

/* ---- gathering -------------------------------------------------------------
 */

/* A string member, cut to `size`; what was sent must not steer a terminal. */
static void copy_text(const struct json *j, json_ref object, const char *key,
                      char *out, size_t size)
{
    struct buf scratch;
    struct bytes text = bytes_str("");
    buf_init(&scratch, HTTPS_ANSWER_MAX);
    (void)json_get_string(j, object, key, &scratch, &text);
    snprintf(out, size, "%.*s", (int)text.len, (const char *)text.data);
    for (char *at = out; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    buf_free(&scratch);
}

static struct row *find_row(struct table *t, const char *id, const char *what)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->rows[i].id, id) == 0 &&
            strcmp(t->rows[i].what, what) == 0)
            return &t->rows[i];
    t->rows = mem_realloc(t->rows, (t->count + 1) * sizeof(*t->rows));
    struct row *row = &t->rows[t->count++];
    memset(row, 0, sizeof(*row));
    snprintf(row->id, sizeof(row->id), "%s", id);
    snprintf(row->what, sizeof(row->what), "%s", what);
    return row;
}

static void gather_one(struct table *t, const struct json *j, json_ref fault,
                       const char *node)
{
    char id[INJECT_ID_MAX + 1], what[INJECT_SENTENCE_MAX];
    int64_t hits = 0;
    copy_text(j, fault, "id", id, sizeof(id));
    copy_text(j, fault, "description", what, sizeof(what));
    struct row *row = find_row(t, id, what);
    size_t len = strlen(row->nodes);
    snprintf(row->nodes + len, sizeof(row->nodes) - len, "%s%s",
             len > 0 ? ", " : "", node);
    json_ref left = json_get_str(j, fault, "remaining_s");
    if (left == JSON_NONE || json_type(j, left) != JSON_NUMBER)
        row->remaining_s = -1;
    else if (row->remaining_s >= 0)
        row->remaining_s = fmax(row->remaining_s, json_number(j, left));
    (void)json_get_int64(j, fault, "hits", &hits);
    row->hits += (uint64_t)hits;
}

/* Every node's faults. */
struct gathering {
    const struct reach *reach;
    struct table table;
    struct fault_tell tell;
    unsigned heard; /* nodes that answered */
};

static void gather(void *user, unsigned node, int err,
                   const struct reach_answer *a, const struct err_msg *why)
{
    struct gathering *g = user;
    struct fault_told *told = &g->tell.nodes[node];
    if (err != ERR_OK) {
        told->how = a->status != 0 ? FAULT_TOLD_REFUSED : FAULT_TOLD_UNHEARD;
        told->why = *why;
        return;
    }
    g->heard++;
    json_ref faults = json_get_str(&a->json, 0, "faults");
    if (faults == JSON_NONE)
        return;
    for (json_ref f = json_first(&a->json, faults); f != JSON_NONE;
         f = json_next(&a->json, faults, f))
        gather_one(&g->table, &a->json, f, fault_tell_node(g->reach, node));
}

/* ---- showing ---------------------------------------------------------------
 */

static void print_text(const struct table *t)
{
    char left[24];
    if (t->count == 0) {
        puts("No fault is active.");
        return;
    }
    printf("%-24s %10s %7s  %s\n", "ID", "REMAINING", "HITS", "FAULT");
    for (size_t i = 0; i < t->count; i++) {
        const struct row *row = &t->rows[i];
        if (row->remaining_s < 0)
            snprintf(left, sizeof(left), "-");
        else
            snprintf(left, sizeof(left), "%.1f s", row->remaining_s);
        printf("%-24s %10s %7llu  %s\n%45s%s\n", row->id, left,
               (unsigned long long)row->hits, row->what, "at work at ",
               row->nodes);
    }
}

static void put_row(struct json_writer *w, const struct row *row)
{
    json_write_object_begin(w);
    json_write_member_str(w, "id", row->id);
    json_write_member_str(w, "description", row->what);
    json_write_key(w, "nodes");
    json_write_array_begin(w);
    for (const char *at = row->nodes; *at != '\0';) {
        size_t len = strcspn(at, ",");
        json_write_string(w, bytes_of(at, len));
        at += len + (at[len] == ',' ? 2 : 0);
    }
    json_write_array_end(w);
    json_write_key(w, "remaining_s");
    if (row->remaining_s < 0)
        json_write_null(w);
    else
        json_write_number(w, row->remaining_s);
    json_write_key(w, "hits");
    json_write_uint64(w, row->hits);
    json_write_object_end(w);
}

static void print_json(const struct reach *r, const struct table *t,
                       const struct fault_tell *tell)
{
    struct buf out;
    struct json_writer w;
    buf_init(&out, OUTPUT_MAX);
    json_writer_init(&w, &out);
    json_write_object_begin(&w);
    json_write_key(&w, "faults");
    json_write_array_begin(&w);
    for (size_t i = 0; i < t->count; i++)
        put_row(&w, &t->rows[i]);
    json_write_array_end(&w);
    json_write_key(&w, "unreachable");
    json_write_array_begin(&w);
    for (unsigned i = 0; i < r->node_count; i++)
        if (tell->nodes[i].how == FAULT_TOLD_UNHEARD)
            json_write_str(&w, fault_tell_node(r, i));
    json_write_array_end(&w);
    json_write_object_end(&w);
    if (json_writer_end(&w) == ERR_OK)
        printf("%s\n", buf_cstr(&out));
    buf_free(&out);
}

static int list(struct reach *r, bool json)
{
    struct gathering g = {.reach = r};
    reach_each(r, "GET", "faults", NULL, REACH_ASK_TIMEOUT_US, gather, &g);
    if (json)
        print_json(r, &g.table, &g.tell);
    else if (g.heard > 0)
        print_text(&g.table);
    mem_free(g.table.rows);
    fault_tell_complain("fault list", r, &g.tell);
    return g.heard > 0 ? CMD_OK
                       : options_failed("fault list", "no node answers");
}

/* ---- clearing --------------------------------------------------------------
 */

static bool any_heard(const struct reach *r, const struct fault_tell *t)
{
    for (unsigned i = 0; i < r->node_count; i++)
        if (t->nodes[i].how == FAULT_TOLD_DONE ||
            t->nodes[i].how == FAULT_TOLD_NOTHING)
            return true;
    return false;
}

static void say_cleared(const struct reach *r, const struct fault_tell *t,
                        bool json)
{
    const char *before = json ? "{\"cleared\":[" : "Cleared at ";
    if (json && t->done == 0)
        fputs(before, stdout);
    for (unsigned i = 0; i < r->node_count; i++) {
        if (t->nodes[i].how != FAULT_TOLD_DONE)
            continue;
        printf(json ? "%s\"%s\"" : "%s%s", before, fault_tell_node(r, i));
        before = json ? "," : ", ";
    }
    if (json)
        puts("]}");
    else
        puts(t->done > 0 ? "." : "No fault was active.");
}

static int clear(struct reach *r, const char *id, bool json)
{
    struct fault_tell tell;
    fault_tell_clear(r, id, &tell);
    bool missing = id != NULL && tell.done == 0;
    if (json || !missing)
        say_cleared(r, &tell, json);
    fault_tell_complain("fault clear", r, &tell);
    if (!any_heard(r, &tell))
        return options_failed("fault clear", "nothing was cleared");
    if (missing)
        return options_failed("fault clear",
                              "there is no such fault; bastide fault list "
                              "shows them");
    return CMD_OK;
}

/* ---- the commands ----------------------------------------------------------
 */

static const char list_help[] =
    "Usage: bastide fault list [--dir DIR] [-o text|json]\n"
    "\n"
    "Shows the faults that are active in a running cluster: what, at which "
    "nodes,\n"
    "for how much longer (-: until it is cleared), and how many requests of "
    "clients\n"
    "it struck.\n"
    "\n" REACH_HELP "  -o text|json    how to show it\n"
    "\n"
    "Example:\n"
    "  bastide fault list --dir demo\n";

static const char clear_help[] =
    "Usage: bastide fault clear [ID] [--dir DIR] [-o text|json]\n"
    "\n"
    "Ends a fault at every node, or all of them. What it did to the process "
    "is\n"
    "undone: links heal, listeners open, the disk goes on.\n"
    "\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "Examples:\n"
    "  bastide fault clear --dir demo\n"
    "  bastide fault clear cut-3fa2 --dir demo\n";

struct list_flags {
    const char *id; /* NULL: all */
    bool json;
};

static int run_list(struct reach *r, void *flags)
{
    const struct list_flags *f = flags;
    return list(r, f->json);
}

int fault_list(int argc, char **argv)
{
    struct list_flags f = {.id = NULL};
    const struct reach_command command = {.name = "fault list",
                                          .help = list_help,
                                          .json = &f.json,
                                          .flags = &f,
                                          .run = run_list};
    return reach_run(&command, argc, argv);
}

static int check_id(void *flags, char **words, unsigned count)
{
    struct list_flags *f = flags;
    if (count > 0 && strlen(words[0]) > INJECT_ID_MAX)
        return options_refuse("fault clear", "\"%s\" is no id", words[0]);
    f->id = count > 0 ? words[0] : NULL;
    return CMD_OK;
}

static int run_clear(struct reach *r, void *flags)
{
    const struct list_flags *f = flags;
    return clear(r, f->id, f->json);
}

int fault_clear(int argc, char **argv)
{
    struct list_flags f = {.id = NULL};
    const struct reach_command command = {.name = "fault clear",
                                          .help = clear_help,
                                          .words_max = 1,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = check_id,
                                          .run = run_clear};
    return reach_run(&command, argc, argv);
}
