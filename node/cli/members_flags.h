/* What the commands that change the members have in common on the command line
 * and around the change. */
#ifndef BASTIDE_CLI_MEMBERS_FLAGS_H
#define BASTIDE_CLI_MEMBERS_FLAGS_H

#include "node/cli/members.h"
#include "node/cli/options.h"

#define MEMBERS_TIMEOUT_S 3600
#define MEMBERS_WORDS_MAX 2

struct members_flags {
    const char *dir;
    unsigned timeout_s, words_max; /* 0: one word */
    bool yes, dry_run, json, help;
    const char *words[MEMBERS_WORDS_MAX];
};

#define MEMBERS_OPTIONS(f)                                                     \
    {.name = "dir", .kind = OPTION_TEXT, .value = &(f)->dir},                  \
        {.name = "yes", .kind = OPTION_FLAG, .value = &(f)->yes},              \
        {.name = "dry-run", .kind = OPTION_FLAG, .value = &(f)->dry_run},      \
        {.name = "timeout",                                                    \
         .kind = OPTION_NUMBER,                                                \
         .value = &(f)->timeout_s,                                             \
         .min = 1,                                                             \
         .max = 86400},                                                        \
        {.name = "output", .kind = OPTION_OUTPUT, .value = &(f)->json},        \
    {                                                                          \
        .name = "help", .kind = OPTION_FLAG, .value = &(f)->help               \
    }
#define MEMBERS_HELP                                                           \
    "  --dry-run          only show what would come and go\n"                  \
    "  --yes              do not ask\n"                                        \
    "  --timeout SECONDS  how long to watch (default 3600); the cluster goes " \
    "on\n"                                                                     \
    "  --dir DIR          the folder made by `bastide init` or `bastide "      \
    "demo`\n"                                                                  \
    "                     (default ./demo)\n"                                  \
    "  -o text|json       how to say what was done\n"

/* Reads the command line, opens the folder, and asks who is in the cluster.
 * CMD_OK: `c` has it, and `r` is to be closed; or, with f->help, the help was
 * printed. Otherwise it has said why not. */
int members_begin(int argc, char **argv, const struct option_spec *specs,
                  unsigned spec_count, const char *help, const char *question,
                  struct members_flags *f, struct members_change *c,
                  struct reach *r);

/* Waits for links to the nodes that come, unless only a preview is asked for or
 * the change has begun. CMD_OK; or it has said what is missing. */
int members_link_first(struct reach *r, struct members_change *c);

/* CMD_FAILED, after having said so, while a fenced group has the region or the
 * node (the other is NULL). */
int members_refuse_fenced(struct reach *r, const struct members_change *c,
                          const char *region, const char *node);

/* Says what is left of a region's nodes, or of one node (the other is NULL),
 * and what to do about it. */
void members_tell_residue(const struct reach *r, const struct members_change *c,
                          const char *region, const char *node);

#endif
