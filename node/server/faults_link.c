#include "node/server/faults_link.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/server/doors.h"
#include "node/server/peers.h"
#include "node/server/worker.h"

/* ---- what faults do to a link ----------------------------------------------
 */

static bool means(const char *who, struct faults_node_name n)
{
    return inject_means(who, n.region, n.node);
}

/* Whether frames from `a` to `b` are meant. */
static bool meant(const char *from, const char *to, struct faults_node_name a,
                  struct faults_node_name b)
{
    bool inside = strcmp(a.region, b.region) == 0;
    /* "a region and the rest". */
    if (inside && ((strcmp(to, "*") == 0 && strcmp(from, a.region) == 0) ||
                   (strcmp(from, "*") == 0 && strcmp(to, b.region) == 0)))
        return false;
    return means(from, a) && means(to, b);
}

static bool strikes(const struct inject_fault *f, struct faults_node_name a,
                    struct faults_node_name b)
{
    return meant(f->from, f->to, a, b) ||
           (f->both && meant(f->to, f->from, a, b));
}

/* A fault's part at the end that sends. */
static struct impairment sending(const struct inject_fault *f)
{
    switch (f->kind) {
    case INJECT_CUT:
        return (struct impairment){.cut = true};
    case INJECT_DELAY:
        return (struct impairment){.delay_us = f->delay_ms * 1000,
                                   .jitter_us = f->jitter_ms * 1000};
    case INJECT_LOSS:
        return (struct impairment){.loss_permille = f->permille};
    case INJECT_DUPLICATE:
        return (struct impairment){.duplicate_permille = f->permille};
    case INJECT_BANDWIDTH:
        return (struct impairment){.kbit_per_second = f->kbit_per_second};
    default:
        return (struct impairment){.cut = false};
    }
}

/* A fault's part at the end that receives. */
static struct impairment receiving(const struct inject_fault *f)
{
    switch (f->kind) {
    case INJECT_CUT:
        return (struct impairment){.cut = true};
    case INJECT_SLOW_CLOSE:
        return (struct impairment){.close_delay_us = f->delay_ms * 1000};
    case INJECT_HANDSHAKE:
        return (struct impairment){.handshake_permille = f->permille};
    default:
        return (struct impairment){.cut = false};
    }
}

static struct impairment bad_certificate(enum inject_problem problem)
{
    static const enum impair_certificate found[] = {
        [INJECT_EXPIRED] = IMPAIR_CERT_EXPIRED,
        [INJECT_REVOKED] = IMPAIR_CERT_REVOKED,
        [INJECT_WRONG_REGION] = IMPAIR_CERT_WRONG_REGION};
    return (struct impairment){.certificate = found[problem]};
}

static void add(struct impairment *i, struct impairment part)
{
    impairment_add(i, &part);
}

void faults_link_derive(const struct inject_list *l,
                        struct faults_node_name own,
                        struct faults_node_name peer, struct impairment *out,
                        struct impairment *in)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct inject_fault *f = &l->active[i].fault;
        bool link = inject_family_of(f->kind) == INJECT_LINK;
        if (link && strikes(f, own, peer))
            add(out, sending(f));
        if (link && strikes(f, peer, own))
            add(in, receiving(f));
        if (f->kind == INJECT_CERTIFICATE && means(f->at, peer))
            add(in, bad_certificate(f->problem));
    }
    if (faults_link_down(l, own)) {
        out->cut = true;
        in->cut = true;
    }
}

bool faults_link_down(const struct inject_list *l, struct faults_node_name own)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->active[i].fault.kind == INJECT_DOWN &&
            means(l->active[i].fault.at, own))
            return true;
    return false;
}

/* ---- doing it --------------------------------------------------------------
 */

static void impair(struct worker *w, const struct config_node *node,
                   enum impair_direction direction,
                   const struct impairment *wanted,
                   const struct impairment *now)
{
    if (impairment_equal(wanted, now))
        return;
    int err = links_impair(peers_links(w->peers), node->id, direction, wanted);
    if (err != ERR_OK)
        log_error("a link cannot be impaired", LOG_STR("peer", node->name),
                  LOG_STR("error", err_text(err)));
}

static void apply_to(struct worker *w, const struct inject_list *l,
                     const struct config_region *region,
                     const struct config_node *node)
{
    const struct config *c = w->node->config;
    struct links_stats s;
    struct impairment out = peers_latency(c, region->name);
    struct impairment in = {.cut = false};
    if (links_get_stats(peers_links(w->peers), node->id, &s) != ERR_OK)
        return; /* this node itself */
    faults_link_derive(
        l, (struct faults_node_name){c->own_region->name, c->own_node->name},
        (struct faults_node_name){region->name, node->name}, &out, &in);
    impair(w, node, IMPAIR_OUT, &out, &s.out);
    impair(w, node, IMPAIR_IN, &in, &s.in);
}

void faults_link_apply(struct worker *w, const struct inject_list *l)
{
    const struct config *c = w->node->config;
    for (size_t i = 0; i < c->region_count; i++)
        for (size_t j = 0; j < c->regions[i].node_count; j++)
            apply_to(w, l, &c->regions[i], &c->regions[i].nodes[j]);
    doors_keep(
        w, faults_link_down(l, (struct faults_node_name){c->own_region->name,
                                                         c->own_node->name}));
}
