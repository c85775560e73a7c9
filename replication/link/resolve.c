#include "replication/link/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/list.h"
#include "node/base/mem.h"

/* Shared between the loop and the threads, under `lock`. It outlives the
 * resolver while threads are under way. */
struct shared {
    pthread_mutex_t lock;
    struct list done;
    struct ev_loop *loop; /* NULL once the resolver was freed */
    ev_async wake;
    unsigned refs; /* threads and the resolver */
};

struct resolver {
    struct shared *shared;
    unsigned pending;
};

struct lookup {
    struct list node; /* in shared->done */
    struct shared *shared;
    struct resolver *resolver; /* loop's side only */
    lookup_cb *done;           /* NULL: cancelled; loop's side only */
    void *user;
    char host[256];
    char port[8];
    int gai_err;
    size_t n;
    struct resolve_addr addrs[RESOLVE_ADDRS_MAX];
};

/* Called with the lock held; releases it. */
static void shared_unref_unlock(struct shared *s)
{
    bool last = --s->refs == 0;
    pthread_mutex_unlock(&s->lock);
    if (!last)
        return;
    struct list *node;
    while ((node = list_pop_front(&s->done)) != NULL)
        mem_free(LIST_ENTRY(node, struct lookup, node));
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* -- on the thread --------------------------------------------------------- */

static void *lookup_thread(void *arg)
{
    struct lookup *l = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    l->gai_err = getaddrinfo(l->host, l->port, &hints, &found);
    for (struct addrinfo *a = found; a != NULL && l->n < RESOLVE_ADDRS_MAX;
         a = a->ai_next) {
        if (a->ai_addrlen > sizeof(l->addrs[0].sa))
            continue;
        memcpy(&l->addrs[l->n].sa, a->ai_addr, a->ai_addrlen);
        l->addrs[l->n++].len = a->ai_addrlen;
    }
    if (found != NULL)
        freeaddrinfo(found);
    struct shared *s = l->shared;
    pthread_mutex_lock(&s->lock);
    list_push_back(&s->done, &l->node);
    if (s->loop != NULL)
        ev_async_send(s->loop, &s->wake);
    shared_unref_unlock(s);
    return NULL;
}

/* -- on the loop ----------------------------------------------------------- */

static void report(struct lookup *l)
{
    CHECK(l->resolver->pending > 0);
    l->resolver->pending--;
    if (l->done == NULL)
        return;
    if (l->gai_err == 0 && l->n > 0) {
        l->done(l->user, ERR_OK, NULL, l->addrs, l->n);
        return;
    }
    char reason[384];
    snprintf(reason, sizeof(reason), "name %s: %s", l->host,
             l->gai_err != 0 ? gai_strerror(l->gai_err) : "no address");
    l->done(l->user, ERR_IO, reason, NULL, 0);
}

static void on_wake(struct ev_loop *loop, ev_async *w, int revents)
{
    (void)loop;
    (void)revents;
    struct shared *s = w->data;
    struct list done;
    list_init(&done);
    pthread_mutex_lock(&s->lock);
    list_splice(&done, &s->done);
    pthread_mutex_unlock(&s->lock);
    struct list *node;
    while ((node = list_pop_front(&done)) != NULL) {
        struct lookup *l = LIST_ENTRY(node, struct lookup, node);
        report(l);
        mem_free(l);
    }
}

struct resolver *resolver_new(struct ev_loop *loop)
{
    struct resolver *r = mem_zalloc(sizeof(*r));
    struct shared *s = mem_zalloc(sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->done);
    s->loop = loop;
    s->refs = 1;
    ev_async_init(&s->wake, on_wake);
    s->wake.data = s;
    ev_async_start(loop, &s->wake);
    ev_unref(loop);
    r->shared = s;
    return r;
}

void resolver_free(struct resolver *r)
{
    if (r == NULL)
        return;
    struct shared *s = r->shared;
    ev_ref(s->loop);
    ev_async_stop(s->loop, &s->wake);
    pthread_mutex_lock(&s->lock);
    s->loop = NULL;
    shared_unref_unlock(s);
    mem_free(r);
}

int lookup_start(struct resolver *r, const char *host, uint16_t port,
                 lookup_cb *done, void *user, struct lookup **lookup_out)
{
    CHECK(done != NULL && strlen(host) < sizeof((struct lookup *)0)->host);
    if (r->pending >= RESOLVE_PENDING_MAX)
        return ERR_FULL;
    struct lookup *l = mem_zalloc(sizeof(*l));
    l->shared = r->shared;
    l->resolver = r;
    l->done = done;
    l->user = user;
    memcpy(l->host, host, strlen(host) + 1);
    snprintf(l->port, sizeof(l->port), "%u", port);
    pthread_mutex_lock(&l->shared->lock);
    l->shared->refs++;
    pthread_mutex_unlock(&l->shared->lock);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int rc = pthread_create(&thread, &attr, lookup_thread, l);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        pthread_mutex_lock(&l->shared->lock);
        shared_unref_unlock(l->shared);
        mem_free(l);
        return ERR_FULL;
    }
    r->pending++;
    *lookup_out = l;
    return ERR_OK;
}

void lookup_cancel(struct lookup *l)
{
    CHECK(l->done != NULL);
    l->done = NULL;
}

int resolve_numeric(const char *host, uint16_t port,
                    struct resolve_addr *addr_out)
{
    struct resolve_addr a = {.len = 0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&a.sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&a.sa;
    if (host[0] == '\0')
        host = "0.0.0.0";
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        a.len = sizeof(*v4);
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        a.len = sizeof(*v6);
    } else {
        return ERR_INVALID;
    }
    *addr_out = a;
    return ERR_OK;
}
