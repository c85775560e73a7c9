#include "node/cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

#include "node/base/check.h"

static volatile sig_atomic_t seen;

static void take(int signal)
{
    (void)signal;
    seen = 1;
}

void interrupt_watch(void)
{
    struct sigaction action = {.sa_handler = take,
                               .sa_flags = (int)SA_RESETHAND};
    CHECK(sigaction(SIGINT, &action, NULL) == 0);
    CHECK(sigaction(SIGTERM, &action, NULL) == 0);
}

bool interrupt_seen(void)
{
    return seen != 0;
}
