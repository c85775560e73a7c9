/* Ctrl-C while a command only watches: it ends with a word about what goes on
 * without it. */
#ifndef BASTIDE_CLI_INTERRUPT_H
#define BASTIDE_CLI_INTERRUPT_H

#include <stdbool.h>

/* From now on SIGINT and SIGTERM are noted instead of ending the process; the
 * second one ends it all the same. */
void interrupt_watch(void);
bool interrupt_seen(void);

#endif
