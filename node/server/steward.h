/* Makes the account when the cluster starts for the first time: the account's
 * record and group `default` with its data key and index key. Whichever node
 * leads the meta shard does it; doing it twice is harmless (the records exist
 * then). */
#ifndef BASTIDE_SERVER_STEWARD_H
#define BASTIDE_SERVER_STEWARD_H

struct worker;
struct steward;

/* On the worker that owns the meta shard. */
struct steward *steward_new(struct worker *w);
/* Does what is missing, if this node leads the meta shard. Call now and then.
 */
void steward_check(struct steward *s);
/* The same in the next turn: for the shard's own callbacks. */
void steward_check_soon(struct steward *s);

#endif
