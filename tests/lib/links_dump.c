/* What the links send, before TLS: in a build made with LINKS_DUMPABLE
 * (tests/fence.mk) each frame that is queued for a peer is appended to the file
 * FROM+TO of the folder that TEST_LINK_DUMP names; nothing without it. Several
 * threads have links to the same peer, so a frame is one write to a file opened
 * for appending. A frame that cannot be kept ends the program: a test that
 * searches the dumps must not pass because something is missing from them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/base/check.h"
#include "replication/links_impl.h"

void links_dump(const struct links *links, const char *peer,
                const struct buf *frame)
{
    const char *folder = getenv("TEST_LINK_DUMP");
    char path[4096];
    if (folder == NULL || folder[0] == '\0')
        return;
    int len = snprintf(path, sizeof(path), "%s/%s+%s", folder,
                       links->own.id.node, peer);
    CHECK(len > 0 && (size_t)len < sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(write(fd, buf_bytes(frame), buf_len(frame)) ==
          (ssize_t)buf_len(frame));
    close(fd);
}
