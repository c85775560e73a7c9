/* Stand-in listeners: while all nodes of a region are gone, the nodes of the
 * other regions also listen on that region's address, so that clients that only
 * know the region's endpoint go on. For clusters whose nodes share one host
 * (`bastide demo`); elsewhere names with several addresses do the same.
 *
 * Listening for somebody else is harmless, as long as the node is connected to
 * a majority: then it serves every request. So each node decides by its own
 * links; nothing has to be agreed. */
#ifndef BASTIDE_SERVER_STAND_IN_H
#define BASTIDE_SERVER_STAND_IN_H

struct worker;
struct stand_in;

/* Worker 0; NULL when the configuration has it off. */
struct stand_in *stand_in_new(struct worker *w);
/* After a link came up or went down: opens and closes listeners. */
void stand_in_check(struct worker *w);
/* Any worker: its doors were shut or opened (doors.h). */
void stand_in_listen(struct worker *w);

#endif
