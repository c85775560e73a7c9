/* A fenced group's keys are made where its data is: by the leader of its first
 * shard, which is inside the fence, and never leave its memory but wrapped for
 * one of the group's regions (crypt/region_key.h). The group's record in the
 * meta shard, which all regions hold, has only these copies.
 */
#ifndef BASTIDE_SERVER_GROUP_KEYS_H
#define BASTIDE_SERVER_GROUP_KEYS_H

struct worker;

/* Now and then, on each worker: makes the keys of a group that has none, and
 * wraps them for regions that have come in, if this worker leads its first
 * shard. */
void group_keys_check(struct worker *w);

#endif
