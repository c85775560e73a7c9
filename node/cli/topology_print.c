/* The topology as text. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "node/cli/topology.h"

#define CELL_MAX 32

static const char *number_cell(int64_t value, char out[CELL_MAX])
{
    if (value == TOPOLOGY_UNKNOWN)
        return "-";
    snprintf(out, CELL_MAX, "%lld", (long long)value);
    return out;
}

static const char *seconds_cell(double seconds, char out[CELL_MAX])
{
    if (seconds < 0)
        return "-";
    snprintf(out, CELL_MAX, "%.1f", seconds);
    return out;
}

static double behind_seconds(int64_t ms)
{
    return ms == TOPOLOGY_UNKNOWN ? TOPOLOGY_UNKNOWN : (double)ms / 1000;
}

static unsigned nodes_up(const struct topology_region *r)
{
    unsigned up = 0;
    for (unsigned i = 0; i < r->node_count; i++)
        up += strcmp(r->nodes[i].state, "up") == 0;
    return up;
}

/* A sentence that must not be overlooked. */
static void warn(FILE *out, bool colour, const char *text)
{
    fprintf(out, "%s%c%s%s\n", colour ? TOPOLOGY_RED : "",
            toupper((unsigned char)text[0]), text + 1,
            colour ? TOPOLOGY_PLAIN : "");
}

static bool is_fenced(const struct topology *t)
{
    return t->group[0] != '\0' && strcmp(t->group, GROUP_DEFAULT_NAME) != 0;
}

static void print_decision(FILE *out, const struct topology *t)
{
    char policy[TOPOLOGY_POLICY_MAX];
    topology_policy_text(t->level, t->prefix, t->interval, policy);
    bool fenced = is_fenced(t);
    fprintf(out, "Cluster %s%s%s: consistency %s, fail-back %s\n", t->cluster,
            fenced ? ", placement group " : "", fenced ? t->group : "", policy,
            t->failback_automatic ? "automatic" : "manual");
    fprintf(out, "Writes go to %s (epoch %lld%s%s%s)\n",
            t->write_region[0] != '\0' ? t->write_region : "?",
            (long long)t->epoch, t->forced ? ", forced" : "",
            t->pinned ? ", chosen by an operator" : "",
            t->settled ? "" : ", not settled yet");
    if (t->recovered > 0)
        fprintf(out, "Recovered from the loss of a majority %lld time(s)\n",
                (long long)t->recovered);
}

static void print_row(FILE *out, const struct topology *t,
                      const struct topology_region *r)
{
    char a[CELL_MAX], b[CELL_MAX], nodes[CELL_MAX];
    snprintf(nodes, sizeof(nodes), "%u of %u", nodes_up(r), r->node_count);
    fprintf(out, "%-16s %8lld %-7s %-8s %-8s %10s %7s  %s\n", r->name,
            (long long)r->priority, r->state,
            strcmp(r->name, t->write_region) == 0 ? "writes" : "reads", nodes,
            number_cell(topology_behind_entries(r), a),
            seconds_cell(behind_seconds(topology_behind_ms(r)), b), r->reason);
}

/* Where clients see another name. */
static void print_shown(FILE *out, const struct topology_region *r)
{
    if (r->shown_as[0] != '\0' && strcmp(r->shown_as, r->name) != 0)
        fprintf(out, "Clients see %s as %s\n", r->name, r->shown_as);
}

static void print_risk(FILE *out, const struct topology *t)
{
    char a[CELL_MAX], b[CELL_MAX];
    if (t->level == CONSISTENCY_STRONG)
        fprintf(out,
                "\nAt risk: nothing; every acknowledged write is on a "
                "majority of %s nodes\n",
                is_fenced(t) ? "the group's" : "all");
    else
        fprintf(out,
                "\nAt risk if %s is lost now: %s entries, %s s of writes\n",
                t->write_region, number_cell(t->risk_entries, a),
                seconds_cell(t->risk_seconds, b));
}

static void print_switch(FILE *out, const struct topology_switch *s)
{
    if (!s->known)
        return;
    fprintf(out, "Last switch: %s to %s, %s, at %s", s->from, s->to, s->kind,
            s->at);
    if (s->pause_ms != TOPOLOGY_UNKNOWN)
        fprintf(out, ", writes paused %lld ms", (long long)s->pause_ms);
    if (s->lost_entries != TOPOLOGY_UNKNOWN)
        fprintf(out, ", %lld entries lost", (long long)s->lost_entries);
    fputc('\n', out);
}

void topology_print(FILE *out, const struct topology *t, bool colour)
{
    print_decision(out, t);
    fprintf(out, "\n%-16s %8s %-7s %-8s %-8s %10s %7s\n", "REGION", "PRIORITY",
            "STATE", "SERVES", "NODES UP", "BEHIND", "SECONDS");
    for (unsigned i = 0; i < t->region_count; i++)
        print_row(out, t, &t->regions[i]);
    for (unsigned i = 0; i < t->region_count; i++)
        print_shown(out, &t->regions[i]);
    print_risk(out, t);
    print_switch(out, &t->last_switch);
    if (t->unavailable[0] != '\0')
        warn(out, colour, t->unavailable);
}

void topology_print_region(FILE *out, const struct topology *t,
                           const struct topology_region *r)
{
    char a[CELL_MAX], b[CELL_MAX];
    fprintf(
        out, "Region %s: %s%s%s, priority %lld, serves %s\n", r->name, r->state,
        r->reason[0] != '\0' ? ", " : "", r->reason, (long long)r->priority,
        strcmp(r->name, t->write_region) == 0 ? "reads and writes" : "reads");
    print_shown(out, r);
    fprintf(out, "\n%-18s %-7s %10s %7s\n", "NODE", "STATE", "BEHIND",
            "SECONDS");
    for (unsigned i = 0; i < r->node_count; i++) {
        const struct topology_node *n = &r->nodes[i];
        fprintf(out, "%-18s %-7s %10s %7s  %s\n", n->name, n->state,
                number_cell(n->behind_entries, a),
                seconds_cell(behind_seconds(n->behind_ms), b), n->reason);
    }
}
