/* The parts of `bastide placement`. Each takes argv with its own name first,
 * and answers the process's exit code. */
#ifndef BASTIDE_CLI_PLACEMENT_H
#define BASTIDE_CLI_PLACEMENT_H

#include <stdbool.h>

#include "node/cli/names.h"
#include "node/cli/reach.h"

int placement_run_create(int argc, char **argv);
int placement_run_set(int argc, char **argv);
int placement_run_split(int argc, char **argv);
int placement_run_rules(int argc, char **argv);

/* Prints one group with its shards and containers. CMD_OK, CMD_FAILED. */
int placement_show(const char *command, struct reach *r, const char *name,
                   bool json);

/* A level on the command line, with its bounds. */
struct placement_level {
    const char *text; /* NULL: not given */
    unsigned entries, seconds;
};
#define PLACEMENT_LEVEL_OPTIONS(l)                                             \
    {.name = "consistency", .kind = OPTION_TEXT, .value = &(l)->text},         \
        {.name = "max-staleness-entries",                                      \
         .kind = OPTION_NUMBER,                                                \
         .value = &(l)->entries,                                               \
         .min = 1,                                                             \
         .max = CONFIG_STALENESS_PREFIX_MAX},                                  \
    {                                                                          \
        .name = "max-staleness-seconds", .kind = OPTION_NUMBER,                \
        .value = &(l)->seconds, .min = 1, .max = CONFIG_STALENESS_INTERVAL_MAX \
    }
#define PLACEMENT_LEVEL_HELP                                                   \
    "  --consistency LEVEL  strong, bounded-staleness, session,\n"             \
    "                     consistent-prefix or eventual\n"                     \
    "  --max-staleness-entries K, --max-staleness-seconds T\n"                 \
    "                     with bounded-staleness\n"
/* CMD_OK, or CMD_USAGE after having said what is wrong. */
int placement_level_check(const char *command, const struct placement_level *l);
/* Its members of a request; nothing when no level was given. */
void placement_level_write(const struct placement_level *l,
                           struct json_writer *w);

/* Another fence around a group: previews, asks, waits, shows the group. Exit
 * codes. */
struct placement_fence {
    const char *name;
    const struct names *regions; /* by priority */
    bool yes, dry_run, json;
    unsigned timeout_s;
};
int placement_set_fence(const char *command, struct reach *r,
                        const struct placement_fence *f);

#endif
