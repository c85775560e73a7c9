/* Resource ids (`_rid`): what a resource is called for as long as it exists,
 * whatever its name; never given to another.
 *
 * Text form: base64 with '-' in place of '/', padded. Byte layouts (protocol
 * reference section 3.4):
 *
 *     database    4   number, big-endian
 *     user        8   database(4) id(4), bit 0x80 of byte 4 clear
 *     container   8   database(4) number(4) big-endian with bit 0x80 of byte 4
 *     document   16   container(8) counter(8) little-endian, top nibble = 0
 *     pkrange    16   container(8) counter(8) little-endian, top nibble = 5
 *
 * and further kinds of child with other nibbles. Database and container
 * numbers are big-endian so that RIDs sort in order of creation.
 *
 * Where numbers come from, so that none is ever used twice: a document's
 * counter is the place in the log where it was first written (rid_counter); a
 * database's or container's number is derived from its record's counter in
 * the meta shard (rid_number). Pure.
 */
#ifndef BASTIDE_CATALOG_RID_H
#define BASTIDE_CATALOG_RID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/catalog/numbers.h"

#define RID_BYTES_MAX 20
#define RID_TEXT_MAX 29 /* longest text and its NUL */

enum rid_kind {
    RID_OFFER,       /* 3 bytes */
    RID_DATABASE,    /* 4 */
    RID_ROLE,        /* 6: role definition or assignment */
    RID_SNAPSHOT,    /* 7 */
    RID_USER,        /* 8 */
    RID_CONTAINER,   /* 8 */
    RID_PERMISSION,  /* 16: child of a user */
    RID_TYPE_OR_KEY, /* 16: client encryption key or user-defined type */
    RID_DOCUMENT,    /* 16: children of a container from here on */
    RID_SYSTEM_DOCUMENT,
    RID_CONFLICT,
    RID_PKRANGE,
    RID_UDF,
    RID_TRIGGER,
    RID_SPROC,
    RID_SCHEMA,
    RID_ATTACHMENT, /* 20 */
    RID_UNKNOWN     /* 16 bytes with a nibble that means nothing */
};

struct rid {
    uint8_t len;
    uint8_t bytes[RID_BYTES_MAX];
};

/* Strict: the canonical text of 3, 4, 6, 7, 8, 16 or 20 bytes and nothing
 * else. ERR_MALFORMED. */
int rid_parse(struct bytes text, struct rid *rid_out);
enum rid_kind rid_kind(const struct rid *rid);
/* Writes the text with a NUL; returns its length. */
size_t rid_format(const struct rid *rid, char out[RID_TEXT_MAX]);
bool rid_equal(const struct rid *a, const struct rid *b);

/* The counter of a record: who is first in the log has the smaller one. Within
 * a shard it grows with every record ever created and is never reused.
 *
 *     bit 63..60  59..20  19..12    11..0
 *         0       lsn     position  shard                                  */
#define RID_LSN_MAX ((UINT64_C(1) << 40) - 1)
#define RID_POSITION_MAX 255u
#define RID_SHARD_MAX 4095u
/* CHECKs the three ranges: at a million entries a second an LSN of 40 bits
 * lasts twelve days, at ten thousand three and a half years; the shard refuses
 * proposals (ERR_LIMIT) long before RID_LSN_MAX. */
uint64_t rid_counter(uint64_t lsn, uint32_t position, uint32_t shard);
uint64_t rid_counter_lsn(uint64_t counter);
uint32_t rid_counter_position(uint64_t counter);
uint32_t rid_counter_shard(uint64_t counter);

/* Numbers below are the catalog's own containers (numbers.h). */
#define RID_NUMBER_FIRST ((uint32_t)CONTAINER_FIRST_USER)
#define RID_NUMBER_MAX 0x7fffffffu
/* The number of a database or container whose record has this counter in the
 * meta shard: its LSN + RID_NUMBER_FIRST. Therefore an entry of the meta log
 * creates at most one of them, as its first effect.
 * ERR_LIMIT when position or shard is not 0 or the LSN is beyond 31 bits. */
int rid_number(uint64_t counter, uint32_t *number_out);

/* CHECK their arguments: number <= RID_NUMBER_MAX, container of that kind. */
struct rid rid_database(uint32_t number);
struct rid rid_container(uint32_t database, uint32_t number);
struct rid rid_document(const struct rid *container, uint64_t counter);
/* The RID of a conflict whose record has this counter. */
struct rid rid_conflict(const struct rid *container, uint64_t counter);
/* The RID of partition key range `index` (0-based) of a container. */
struct rid rid_pkrange(const struct rid *container, uint32_t index);

/* Parts. Database: of every kind of 4, 8, 16, 20 bytes. Container: number of a
 * container or of a container's child. CHECK the kind. */
uint32_t rid_database_number(const struct rid *rid);
uint32_t rid_container_number(const struct rid *rid);
/* The little-endian counter of a container's child, without its type nibble. */
uint64_t rid_child_counter(const struct rid *rid);
/* The container of a container's child; the database of a container. */
struct rid rid_parent(const struct rid *rid);

#endif
