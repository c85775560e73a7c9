/* Which placement group a new container is in when its request does not name
 * one (struct placement_rules, part of the account's record): that of the first
 * rule whose two patterns match the database's and the container's name.
 *
 * In a pattern `*` stands for any bytes, also none; everything else for itself.
 * Pure. */
#ifndef BASTIDE_CATALOG_PLACEMENT_RULES_H
#define BASTIDE_CATALOG_PLACEMENT_RULES_H

#include "node/catalog/catalog.h"
#include "node/json/json.h"

bool placement_pattern_matches(const char *pattern, struct bytes name);

/* The group's name, or the text of a placement map, borrowed from `rules`;
 * NULL: no rule matches. */
const char *placement_rules_group(const struct placement_rules *rules,
                                  struct bytes database,
                                  struct bytes container);

/* The rules as a JSON array of {"database", "container", "group"}, and the
 * reverse: into the list of `out`, whose `required` stays. Unknown members of a
 * rule are passed over. ERR_INVALID with a message that says which rule is
 * wrong, counted from 1; `out` is then undefined. */
void placement_rules_write(const struct placement_rules *rules,
                           struct json_writer *w);
int placement_rules_read(const struct json *j, json_ref list,
                         struct placement_rules *out, struct err_msg *msg);

#endif
