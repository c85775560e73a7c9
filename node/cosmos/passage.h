/* A client's request on its way through a node outside its placement group's
 * fence, and the answer on its way back (docs/fences.md, transit). What the
 * node outside verified comes along: it holds an account key and is known by
 * its certificate, so the node inside takes its word for who asked. Pure.
 *
 *     passage   u8 version (1)  u16 shard  u8 read_only  id[16]
 *               u32 length, head   u32 length, body
 *     answer    u8 version (1)  u16 status
 *               u32 length, header lines   u32 length, body  (little-endian)
 */
#ifndef BASTIDE_COSMOS_PASSAGE_H
#define BASTIDE_COSMOS_PASSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/http/http.h"
#include "node/shard/op.h"

/* Bounds: what a front takes by default, and one frame of a link. The longest
 * page of rows (COSMOS_PAGE_BYTES and one row more) fits; an answer that does
 * not is refused where it is made. */
#define PASSAGE_BODY_MAX HTTP_BODY_MAX
#define PASSAGE_ENCODED_MAX (PASSAGE_BODY_MAX + HTTP_HEAD_MAX + 64)
#define PASSAGE_ANSWER_BODY_MAX (7u * 1024 * 1024)
#define PASSAGE_ANSWER_ENCODED_MAX                                             \
    (PASSAGE_ANSWER_BODY_MAX + HTTP_RESPONSE_HEADERS_MAX + 64)

/* All bytes are borrowed. */
struct passage {
    uint16_t shard; /* the first of the group that it is for */
    bool read_only; /* of the key that signed it */
    /* Of the operation that writes: the same in every attempt, so that it has
     * its effect once (op.h). */
    uint8_t id[OP_ID_LEN];
    /* "POST /dbs/... HTTP/1.1", headers, blank line: checked by who receives it
     * as one from a client is (http_request_make). No authorization in it. */
    struct bytes head;
    struct bytes body;
};

/* Appends. ERR_LIMIT: longer than the bounds; ERR_NO_MEMORY. */
int passage_encode(const struct passage *p, struct buf *out);
/* ERR_MALFORMED. Borrows from `in`. */
int passage_decode(struct bytes in, struct passage *p_out);
/* The shard that an encoded passage says it is for; SHARD_META if it is none.
 */
uint16_t passage_encoded_shard(struct bytes in);

struct passage_answer {
    uint16_t status; /* 200..599 */
    /* "name: value" and CRLF, each. */
    struct bytes headers;
    struct bytes body;
};
int passage_answer_encode(const struct passage_answer *a, struct buf *out);
/* ERR_MALFORMED: also for a status out of range, or lines that are no headers.
 */
int passage_answer_decode(struct bytes in, struct passage_answer *a_out);
/* The next line of an answer's headers, from `*at` (0 at first). False: there
 * are no more, or what is there is none (then `*at` is not at the end). */
bool passage_header_next(struct bytes headers, size_t *at,
                         struct http_header *header_out);
/* Whether it says that the container is not of the group any more, as its
 * sender knows: by a header that is between nodes only. */
#define PASSAGE_ELSEWHERE "x-bastide-elsewhere"
bool passage_answer_elsewhere(const struct passage_answer *a);

#endif
