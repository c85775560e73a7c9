/* Placement by partition key: which of several placement groups a document is
 * in, by one component of its partition key. A container has such a map from
 * its creation, or has one group.
 *
 *     /country: de=eu, at=eu, us*=us, *=reject
 *     ^ path    ^ line        ^ line of a prefix
 *
 * The path is one of the container's partition key paths. A line names a value,
 * the beginning of values (`us*`), or everything else (`*`), and the group of
 * what it names, or `reject`: nothing of that value is taken. A string goes by
 * the line that is equal to it, else by the longest beginning that fits, else
 * by `*`; everything that is no string (numbers, true, false, null, a missing
 * property) goes by `*`. Without a line `*` the rest is rejected. The order of
 * lines decides nothing.
 *
 * A value is a word, of letters and what else is none of , = * : " and blanks,
 * or a JSON string ("a b", "*"), which may be followed by * as well. It is
 * always a string: `5` means "5". Blanks around signs do not count.
 *
 * A map may only get lines for what it rejected: no document is then in another
 * group than before. New lines stand behind the others, so that groups keep
 * their places in the order in which they are named first.
 *
 * Pure, and a plain value. */
#ifndef BASTIDE_CATALOG_PLACEMENT_MAP_H
#define BASTIDE_CATALOG_PLACEMENT_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/catalog/catalog.h"
#include "node/catalog/partition_key.h"

#define PLACEMENT_MAP_TEXT_MAX 4096
#define PLACEMENT_MAP_PATH_MAX 255 /* bytes */
#define PLACEMENT_MAP_LINES_MAX 64
#define PLACEMENT_MAP_VALUE_MAX 127 /* bytes, decoded */
#define PLACEMENT_MAP_GROUPS_MAX CONTAINER_PARTS_MAX
/* Instead of a group's name. */
#define PLACEMENT_MAP_REJECT "reject"
/* Instead of a group's index. */
#define PLACEMENT_MAP_REJECTED UINT8_MAX

struct placement_line {
    uint8_t group; /* index into `groups`, or PLACEMENT_MAP_REJECTED */
    bool prefix;   /* of what begins so; with an empty value: the line `*` */
    uint8_t len;
    uint16_t at; /* where the value is in `values` */
};

struct placement_map {
    char path[PLACEMENT_MAP_PATH_MAX + 1];
    uint8_t component; /* of the partition key; set by placement_map_fit */
    uint8_t group_count;
    uint8_t line_count;
    uint16_t values_len;
    char groups[PLACEMENT_MAP_GROUPS_MAX][CATALOG_NAME_MAX + 1];
    struct placement_line lines[PLACEMENT_MAP_LINES_MAX];
    uint8_t values[PLACEMENT_MAP_TEXT_MAX];
};

/* What a line names; borrowed from the map. */
static inline struct bytes placement_map_value(const struct placement_map *m,
                                               const struct placement_line *l)
{
    return bytes_of(m->values + l->at, l->len);
}

/* Whether a placement (a request's header, a rule's target, what a container's
 * definition says) is a map: names of groups do not begin with a slash. */
static inline bool placement_is_map(struct bytes placement)
{
    return placement.len > 0 && placement.data[0] == '/';
}

/* Reads a map. ERR_INVALID with a message, fit for a 400, that says what is
 * wrong: not of the form, a value twice, no group at all, beyond a limit. */
int placement_map_parse(struct bytes text, struct placement_map *m_out,
                        struct err_msg *msg);
/* Appends the text that reads the same. Errors of buf. */
int placement_map_format(const struct placement_map *m, struct buf *out);
/* Finds the path among those of a partition key. ERR_INVALID with a message:
 * it is none of them. */
int placement_map_fit(struct placement_map *m, const struct pk_def *def,
                      struct err_msg *msg);

/* Adds a line, `fr=eu`, for what was rejected so far, so that no document
 * moves; where what it names is in that group already, nothing changes.
 * ERR_INVALID with a message: no line, to `reject`, beyond a limit; ERR_EXISTS
 * with one: documents might have to move. `m` stays then. */
int placement_map_add(struct placement_map *m, struct bytes line,
                      struct err_msg *msg);

/* The index into `groups` of where documents are whose keys have this value as
 * the map's component: component `at` of `pk`; or PLACEMENT_MAP_REJECTED. */
uint8_t placement_map_find(const struct placement_map *m,
                           const struct partition_key *pk, uint8_t at);
/* Whether the map names the group. */
bool placement_map_names(const struct placement_map *m, struct bytes group);

#endif
