#include "node/cli/ports.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/check.h"

#define BASE_STEP 100

/* Without SO_REUSEPORT, so that a listener that allows sharing counts too;
 * with SO_REUSEADDR, so that connections of the past do not. */
static bool is_free(const char *host, unsigned port)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return false;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    bool ok = fd >= 0 &&
              setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              bind(fd, list->ai_addr, list->ai_addrlen) == 0 &&
              listen(fd, 1) == 0;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(list);
    return ok;
}

static int check(const struct layout *l, unsigned port, const char *what,
                 const char *of, struct err_msg *msg)
{
    if (is_free(l->listen, port))
        return ERR_OK;
    return err_set(msg, ERR_BUSY, "port %u of %s (%s%s) is in use", port,
                   l->listen, what, of);
}

int ports_check(const struct layout *l, struct err_msg *msg)
{
    int err = check(l, l->port, "the account endpoint", "", msg);
    for (unsigned i = 0; i < l->region_count && err == ERR_OK; i++)
        err = check(l, l->regions[i].port, "region ", l->regions[i].name, msg);
    for (unsigned i = 0; i < l->node_count && err == ERR_OK; i++) {
        const struct layout_node *n = &l->nodes[i];
        err = check(l, n->port, "node ", n->name, msg);
        if (err == ERR_OK)
            err = check(l, n->admin_port, "admin of ", n->name, msg);
        if (err == ERR_OK)
            err = check(l, n->peer_port, "peer links of ", n->name, msg);
    }
    return err;
}

unsigned ports_find_base(const struct layout *layout, unsigned from)
{
    struct layout copy = *layout;
    for (unsigned base = from; base <= LAYOUT_BASE_PORT_MAX;
         base += BASE_STEP) {
        layout_set_ports(&copy, base);
        if (ports_check(&copy, NULL) == ERR_OK)
            return base;
    }
    return 0;
}
