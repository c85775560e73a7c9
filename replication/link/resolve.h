/* Looks host names up without blocking the loop: each lookup runs getaddrinfo
 * on a short-lived thread. Lookups are rare (a link that is down, once per
 * attempt), so threads are not kept.
 */
#ifndef BASTIDE_REPLICATION_LINK_RESOLVE_H
#define BASTIDE_REPLICATION_LINK_RESOLVE_H

#include <ev.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Addresses kept of one name. */
#define RESOLVE_ADDRS_MAX 8
/* Lookups under way at once; a resolver that hangs must not pile up threads. */
#define RESOLVE_PENDING_MAX 32

struct resolve_addr {
    struct sockaddr_storage sa;
    socklen_t len;
};

struct resolver;
struct lookup;

struct resolver *resolver_new(struct ev_loop *loop);
/* Forgets all lookups; none calls back any more. Threads under way end by
 * themselves. NULL is allowed. */
void resolver_free(struct resolver *r);

/* `err` is ERR_OK and n > 0, or ERR_IO with `reason`. Arguments are borrowed
 * for the call; the lookup is gone when this returns. */
typedef void lookup_cb(void *user, int err, const char *reason,
                       const struct resolve_addr *addrs, size_t n);

/* ERR_FULL: RESOLVE_PENDING_MAX. The callback comes from the loop. */
int lookup_start(struct resolver *r, const char *host, uint16_t port,
                 lookup_cb *done, void *user, struct lookup **lookup_out);
/* The callback will not come. */
void lookup_cancel(struct lookup *l);

/* An address written in numbers, without any lookup. ERR_INVALID if it is
 * none. "" is all IPv4 addresses. */
int resolve_numeric(const char *host, uint16_t port,
                    struct resolve_addr *addr_out);

#endif
