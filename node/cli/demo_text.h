/* What `bastide demo` tells its user (private to the demo command). */
#ifndef BASTIDE_CLI_DEMO_TEXT_H
#define BASTIDE_CLI_DEMO_TEXT_H

#include <stdio.h>
#include <sys/types.h>

#include "node/base/clock.h"
#include "node/cli/layout.h"

extern const char demo_help[];

/* The account of a running cluster: endpoints, keys, CA file, how to connect,
 * what to try, how to stop. `attached`: Ctrl-C stops it. */
void demo_print_account(FILE *out, const struct layout *layout, const char *dir,
                        const struct config_account_keys *keys,
                        const pid_t *pids, usec_t took_us, bool attached);

#endif
