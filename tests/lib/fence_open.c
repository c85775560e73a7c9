/* Which walls of fences are open in a build made with FENCE_OPENABLE: those
 * that TEST_FENCE_OPEN names ("receive,snapshot"); none without it. A name that
 * is none ends the program, so that no test runs with other walls than it
 * thinks. */
#include <stdlib.h>
#include <string.h>

#include "failover/fence.h"
#include "node/base/check.h"

unsigned fence_open_walls;

static unsigned wall_of(const char *name)
{
    for (unsigned bit = 1; bit <= FENCE_WALL_MEMBERSHIP; bit <<= 1)
        if (strcmp(fence_wall_name((enum fence_wall)bit), name) == 0)
            return bit;
    return 0;
}

__attribute__((constructor)) static void open_walls(void)
{
    const char *wanted = getenv("TEST_FENCE_OPEN");
    char *names = strdup(wanted != NULL ? wanted : "");
    CHECK(names != NULL);
    char *rest = names;
    for (char *name; (name = strsep(&rest, ",")) != NULL && wanted != NULL;) {
        if (name[0] == '\0')
            continue;
        CHECK(wall_of(name) != 0);
        fence_open_walls |= wall_of(name);
    }
    free(names);
}
