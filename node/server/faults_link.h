/* What the faults on request between nodes do to this node: its links, and,
 * while it is `down`, its clients. Worker 0 only.
 *
 *     cut                at both ends
 *     delay, loss, duplicate, bandwidth
 *                        at the end that sends
 *     slow-close, handshake-failure
 *                        at the end that `to` names
 *     certificate        at every other node
 *     down               on the node itself: all its links are cut both ways,
 *                        and clients kept out
 *
 * Faults add up with each other and with what the setting `latency` says
 * (impairment_add). A `*` opposite a region means the nodes of the other
 * regions, so that a region that is cut off stays whole. */
#ifndef BASTIDE_SERVER_FAULTS_LINK_H
#define BASTIDE_SERVER_FAULTS_LINK_H

#include <stdbool.h>

#include "node/inject/inject.h"
#include "replication/impair.h"

struct worker;

/* A node as faults name it. */
struct faults_node_name {
    const char *region, *node;
};

/* Adds to the two directions of the link from `own` to `peer` what the list
 * says. Pure. */
void faults_link_derive(const struct inject_list *l,
                        struct faults_node_name own,
                        struct faults_node_name peer, struct impairment *out,
                        struct impairment *in);
/* Whether the node is `down`. Pure. */
bool faults_link_down(const struct inject_list *l, struct faults_node_name own);

/* Makes links and doors of this node what the whole list says. */
void faults_link_apply(struct worker *w, const struct inject_list *l);

#endif
