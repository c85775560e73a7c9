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
int placement_run_remove(int argc, char **argv);
int placement_run_rotate(int argc, char **argv);
int placement_run_rules(int argc, char **argv);
int placement_run_keys(int argc, char **argv);

/* Prints one group with its shards and containers. CMD_OK, CMD_FAILED. */
int placement_show(const char *command, struct reach *r, const char *name,
                   bool json);

/* A level on the command line, with its bounds; also the account's. */
struct placement_level {
    const char *text; /* NULL: not given */
    unsigned entries, seconds;
};
#define PLACEMENT_BOUNDS_OPTIONS(l)                                            \
    {.name = "max-staleness-entries",                                          \
     .kind = OPTION_NUMBER,                                                    \
     .value = &(l)->entries,                                                   \
     .min = 1,                                                                 \
     .max = CONFIG_STALENESS_PREFIX_MAX},                                      \
    {                                                                          \
        .name = "max-staleness-seconds", .kind = OPTION_NUMBER,                \
        .value = &(l)->seconds, .min = 1, .max = CONFIG_STALENESS_INTERVAL_MAX \
    }
#define PLACEMENT_LEVEL_OPTIONS(l)                                             \
    {.name = "consistency", .kind = OPTION_TEXT, .value = &(l)->text},         \
        PLACEMENT_BOUNDS_OPTIONS(l)
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

/* What can be set beside a group's decision; NULL: not given. */
struct placement_settings {
    const char *name;
    const char *transit, *leaders;
    bool yes, dry_run, json;
};
#define PLACEMENT_SETTINGS_OPTIONS(s)                                          \
    {.name = "transit", .kind = OPTION_TEXT, .value = &(s)->transit},          \
    {                                                                          \
        .name = "leaders", .kind = OPTION_TEXT, .value = &(s)->leaders         \
    }
#define PLACEMENT_SETTINGS_HELP                                                \
    "  --transit deny|allow  whether nodes outside the fence pass requests\n"  \
    "                     and answers through, in memory, to nodes inside\n"   \
    "  --leaders spread|gather  over the nodes of the write region, or on\n"   \
    "                     one of them\n"
/* CMD_OK, or CMD_USAGE after having said what is wrong. */
int placement_settings_check(const char *command,
                             const struct placement_settings *s);
/* Its members of a request. */
void placement_settings_write(const struct placement_settings *s,
                              struct json_writer *w);
/* Previews, asks where a fence is loosened, sets. Exit codes. */
int placement_set_settings(const char *command, struct reach *r,
                           const struct placement_settings *s);

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

/* Another witness, or none; the same. */
struct placement_witness {
    const char *name;
    const char *region; /* NULL: none any more */
    bool yes, dry_run, json;
    unsigned timeout_s;
};
int placement_set_witness(const char *command, struct reach *r,
                          const struct placement_witness *p);

#endif
