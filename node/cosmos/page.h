/* One page of a feed or query, gathered over the shards of a container.
 *
 * They are gone through in order, by their slots (catalog/spread.h). A feed or
 * streamed query takes rows until the page is full and says in its continuation
 * token where it stopped; a gathering query (ORDER BY, DISTINCT, aggregates)
 * hands what every shard answers to a merge (node/query) that makes the page.
 * Either way the whole query is executed here, and the client sees one feed.
 *
 *     page_new -> (scope: partition, range, EPKs) -> (query) -> page_run
 */
#ifndef BASTIDE_COSMOS_PAGE_H
#define BASTIDE_COSMOS_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/catalog/partition_key.h"
#include "node/cosmos/call.h"
#include "node/cosmos/continuation.h"
#include "node/query/query.h"

#define PAGE_MAGIC MAGIC('p', 'a', 'g', 'e')
/* Most rows of a page, whatever the client asks for. */
#define PAGE_ROWS_MAX 10000
/* Rows a single scan may be asked for (OFFSET skips rows here, too). */
#define PAGE_SCAN_ROWS_MAX 10000
/* Shards whose state one response's session token tells; a page that has seen
 * so many is full. Some 30 bytes each: half of what a response's headers may
 * have in all (16 KiB, section 0.1). */
#define PAGE_SLOTS_SHOWN 256
/* Longest session token of a response. */
#define PAGE_SESSION_MAX (8u * 1024)
/* A gathering query must be done by then; clients give up after 60 s. */
#define PAGE_GATHER_LIMIT_US (50 * USEC_PER_SEC)

struct page_state {
    uint32_t slot;
    struct session_point point;
};

struct page {
    uint32_t magic;

    /* Scope: what it is a page of. */
    uint32_t number;      /* of the container whose records it shows */
    const char *property; /* of the envelope, that holds the rows */
    uint32_t rows_max;
    bool one_partition;
    uint8_t pk_hash[OP_HASH_LEN];
    uint32_t first; /* slots first..last */
    uint32_t last;
    bool filtered; /* only documents whose EPK is in [low, high) */
    struct epk low;
    struct epk high;
    uint64_t scope[2];
    bool by_slot; /* its continuation tokens name slots (page_token.c) */

    /* The query; NULL for a feed. */
    struct query *query;
    struct query_shape shape;
    struct query_merge *merge; /* gathering queries */
    struct buf sql;
    struct bytes params; /* borrowed from the request */
    struct buf merge_request;

    /* Where it is. */
    uint32_t slot;
    uint8_t position[OP_KEY_MAX];
    uint8_t position_len;
    /* Where the next slots begin, rising; those behind begin at their
     * beginning. They come with a token from before a split. */
    struct page_floor {
        uint32_t last; /* slot */
        uint8_t position[OP_KEY_MAX];
        uint8_t position_len;
    } floors[CONTINUATION_FLOORS_MAX];
    uint32_t floor_count;
    struct query_window window;
    bool scanned; /* at least one step was made */

    /* What it has. `body` begins with the envelope. */
    struct buf body;
    uint32_t count;
    uint64_t examined;
    struct buf storage; /* of a continuation that was read */
    uint32_t shown;
    struct page_state *states; /* PAGE_SLOTS_SHOWN of them; owned */
};

/* Makes the call's page. */
struct page *page_new(struct call *c);
/* Makes it a page of the container's conflicts: over all ranges, or the one
 * that is named, whatever the partition key. */
void page_of_conflicts(struct call *c);
bool page_shows_conflicts(const struct page *p);
/* NULL is allowed. */
void page_free(struct page *p);

/* Reads x-ms-max-item-count: absent COSMOS_PAGE_ROWS_DEFAULT, -1
 * COSMOS_PAGE_ROWS_SERVER, otherwise 1..; more than PAGE_ROWS_MAX counts as
 * that. ERR_INVALID for anything else. */
int page_rows_wanted(struct bytes header, uint32_t *rows_out);

/* Works out from the request's headers which partition or ranges are meant, and
 * the scope. Answers the call and returns false when they are wrong. */
bool page_scope(struct call *c);
/* Restricts a page to the one partition of c->pk, a complete value. False after
 * answering. */
bool page_one_partition(struct call *c);
/* Restricts a page to what the client's token says is left (page_token.c).
 * False after answering. */
bool page_continue(struct call *c);
/* Appends the token of the next page to `out`; leaves it empty at the end.
 * `merge_token` is of query_merge_finish. ERR_LIMIT: it would be too long. */
int page_token(const struct call *c, struct bytes merge_token, struct buf *out);
/* Goes to the next slot, and where it begins. */
void page_next_slot(struct page *p);
/* Whether it must see everything before its first row. */
bool page_gathers(const struct page *p);
/* Gathers the page and answers. */
void page_run(struct call *c);
/* Answers with these p->count rows (a row list), as the only page. */
void page_send_rows(struct call *c, struct buf *rows);

/* The session token that tells of these states; returns its length, no NUL. */
size_t page_session_format(const struct call *c, const struct page_state *seen,
                           size_t count, char out[PAGE_SESSION_MAX]);
/* Writes the session token of what was seen; false when there is nothing. */
bool page_session_write(const struct call *c, struct http_request *r);

#endif
