/* The functions of the route table: one for each thing a client can ask.
 * Each answers its call, now or later. */
#ifndef BASTIDE_COSMOS_HANDLERS_H
#define BASTIDE_COSMOS_HANDLERS_H

#include "node/cosmos/call.h"

/* account.c */
void handle_account_read(struct call *c);

/* database.c */
void handle_database_list(struct call *c);
void handle_database_post(struct call *c); /* create or query */
void handle_database_read(struct call *c);
void handle_database_delete(struct call *c);

/* container.c */
void handle_container_list(struct call *c);
void handle_container_post(struct call *c); /* create or query */
void handle_container_read(struct call *c);
void handle_container_replace(struct call *c);
void handle_container_delete(struct call *c);

/* pkranges.c */
void handle_pkranges_read(struct call *c);

/* document.c */
void handle_document_create(struct call *c);
void handle_document_upsert(struct call *c);
void handle_document_read(struct call *c);
void handle_document_replace(struct call *c);
void handle_document_delete(struct call *c);

/* feed.c: what a GET or POST of a container's documents is. */
void handle_documents_get(struct call *c);
void handle_documents_post(struct call *c);

/* query.c */
void handle_document_query(struct call *c);
void handle_conflict_query(struct call *c);

/* conflict.c */
void handle_conflicts_get(struct call *c);
void handle_conflicts_post(struct call *c); /* query */
void handle_conflict_read(struct call *c);
void handle_conflict_delete(struct call *c);

/* unsupported.c */
void handle_empty_feed(struct call *c);
void handle_missing(struct call *c);
void handle_unsupported(struct call *c);
void handle_query_plan(struct call *c);

#endif
