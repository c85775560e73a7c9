/* Faults on request that face clients, on all workers of this node.
 *
 *     worker 0: the list of faults  --faults_client_apply-->  the node's copy
 *     any worker: a request  --cosmos_faults.strike-->  copy: hit or not
 *     worker 0: the list  <--hits-- faults_client_collect, used-up faults
 *
 * `count` and `hits` are over all workers of the node: they share one copy. It
 * is behind a mutex, which is taken for each request only while there are
 * faults: who injects faults does not measure throughput, dice and counts of
 * several faults stay consistent, and it is held for microseconds at most.
 * With no fault active a request costs one relaxed load. */
#ifndef BASTIDE_SERVER_FAULTS_CLIENT_H
#define BASTIDE_SERVER_FAULTS_CLIENT_H

#include "node/cosmos/cosmos.h"
#include "node/inject/inject.h"

struct node;
struct worker;
struct faults_client;

/* Before the workers are made. */
struct faults_client *faults_client_new(struct node *n);
/* When no worker runs any more. */
void faults_client_free(struct faults_client *f);

/* For each worker's struct cosmos_config. */
struct cosmos_faults faults_client_hook(struct faults_client *f);

/* Makes the list's faults count that are for clients of this node; those that
 * were there before keep their hits. Worker 0, after every change of the list,
 * of which there is one: it is kept, and faults that are used up (`count`) are
 * removed from it as that happens. */
void faults_client_apply(struct worker *w, struct inject_list *l);
/* Brings the list's `hits` up to date. Worker 0, before it is shown. */
void faults_client_collect(struct worker *w, struct inject_list *l);

#endif
