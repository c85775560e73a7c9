/* A fenced group's keys are made where its data is: by the leader of its first
 * shard, which is inside the fence, and never leave its memory but wrapped for
 * one of the group's regions (crypt/region_key.h). The group's record in the
 * meta shard, which all regions hold, has only these copies.
 *
 * The data key turns over when a region has left the fence, which had it, and
 * when an administrator says so:
 *
 *   record says newKeyDue --leader of the first shard--> a version more in the
 *       record, wrapped for the present regions, in a new epoch
 *       --every member that is in reach has that epoch--> sealingKey names it
 *       --each node, by the catalog--> its leaders seal with it
 *
 * So nobody seals with a key that a member in reach cannot open; one that comes
 * back learns the keys with the meta shard, and answers 503 for what it cannot
 * open before. Whoever leads goes on where another stopped. What was sealed
 * before stays as it is, under the older versions, which all members keep.
 *
 * The index key does not turn over: records are found by hashes that it makes
 * (keyed_hash16), so another key would mean another address for every record.
 * It opens nothing: who has it can check guesses of ids and partition keys
 * against a stolen file's addresses.
 *
 * Group default's keys, which all nodes' key-encryption key opens, turn over
 * likewise.
 */
#ifndef BASTIDE_SERVER_GROUP_KEYS_H
#define BASTIDE_SERVER_GROUP_KEYS_H

#include <stdbool.h>

struct catalog_group;
struct http_request;
struct json;
struct worker;

/* Now and then, on each worker: makes the keys of a group that has none, wraps
 * them for regions that have come in, and makes a new version where one is due,
 * if this worker leads its first shard. */
void group_keys_check(struct worker *w);

/* Whether a new data key is about to be made, or to be used. */
bool group_keys_turning(const struct worker *w, const struct catalog_group *g);

/* On worker 0: POST /placement/rotate {"group": "eu"}
 *     202 {"group", "version"}: the new data key's, which is made now
 *     400 there have been as many as there may be; 404; 503 not now */
void group_keys_rotate(struct worker *w, struct http_request *r,
                       const struct json *j);

#endif
