/* What is in a placement group, and what may come into it.
 *
 * A group is removed (placement_remove.h) once nothing is in it and no rule
 * names it. Orders that bring something there come from all nodes, each of
 * which goes by its own catalog, and may be on their way for long. So they are
 * judged where they are logged: the leader of the meta shard logs no record
 * that newly names a group which is being removed, or is gone. It goes by its
 * catalog, once that has all entries of the terms before its own.
 *
 * So an order comes before the group's mark (`removing`) was committed where it
 * leads, or never. Whoever removes the group looks when it has applied all that
 * was in the log when it saw the mark, and what it finds then stays so: every
 * later leader has the mark, too. (One of a release from before there was a
 * gate asks nobody: see mover.h for what becomes of such an order.)
 *
 * Pure. */
#ifndef BASTIDE_SERVER_PLACEMENT_GATE_H
#define BASTIDE_SERVER_PLACEMENT_GATE_H

#include "node/catalog/catalog.h"
#include "node/shard/op.h"

/* ERR_OK: the group is empty, and no rule names it. ERR_EXISTS, ERR_INVALID
 * with a message: what is in it, which rule. */
int placement_gate_check_empty(const struct catalog *c,
                               const struct catalog_group *g,
                               struct err_msg *msg);

/* Whether a write in the meta shard may be logged by its leader of `term`,
 * whose log has an entry of `shown_term` (0: not known) where the catalog is.
 * ERR_NO_LEADER: the catalog has not all of the terms before yet, ask again.
 * ERR_INVALID with a message: the write names a group that is being removed or
 * is gone, which the record as the catalog has it does not. Only records of
 * containers and the account's can do that; a text that is none is not judged.
 */
int placement_gate_admit(const struct catalog *c, uint64_t shown_term,
                         uint64_t term, const struct op *op,
                         struct err_msg *msg);

#endif
