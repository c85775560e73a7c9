/* How commands reach a cluster: the admin listeners of its nodes, found in a
 * folder that `init` or `demo` made, or one that is named by its URL.
 *
 * A question that any node can answer is put to one after the other until one
 * does. The one that did is asked first the next time.
 */
#ifndef BASTIDE_CLI_REACH_H
#define BASTIDE_CLI_REACH_H

#include <stdbool.h>

#include "node/base/buf.h"
#include "node/base/clock.h"
#include "node/base/err.h"
#include "node/cli/https.h"
#include "node/cli/layout.h"
#include "node/cli/options.h"
#include "node/json/json.h"

/* A node that hangs must not hold up the others for long. */
#define REACH_ASK_TIMEOUT_US (3 * USEC_PER_SEC)
/* A change may have to wait for an election. */
#define REACH_CHANGE_TIMEOUT_US (15 * USEC_PER_SEC)

/* Flags that every such command takes. */
struct reach_flags {
    const char *dir, *admin, *ca, *cert, *key;
};

/* Their rows of an option table; their help. */
#define REACH_OPTION_COUNT 5
#define REACH_OPTIONS(f)                                                       \
    {.name = "dir", .kind = OPTION_TEXT, .value = &(f)->dir},                  \
        {.name = "admin", .kind = OPTION_TEXT, .value = &(f)->admin},          \
        {.name = "ca", .kind = OPTION_TEXT, .value = &(f)->ca},                \
        {.name = "cert", .kind = OPTION_TEXT, .value = &(f)->cert},            \
    {                                                                          \
        .name = "key", .kind = OPTION_TEXT, .value = &(f)->key                 \
    }
#define REACH_HELP                                                             \
    "  --dir DIR       a folder made by `bastide init` or `bastide demo`\n"    \
    "                  (default ./demo)\n"                                     \
    "  --admin URL     or one node, for example https://10.0.0.7:9091/, "      \
    "with\n"                                                                   \
    "                  --ca, --cert, --key FILE: the cluster's CA "            \
    "certificate\n"                                                            \
    "                  and the administrator's certificate and key\n"

struct reach_node {
    char region[CONFIG_NAME_MAX + 1]; /* "" when only a URL was given */
    char name[CONFIG_NAME_MAX + 1];
    char admin[CONFIG_HOST_MAX + 32]; /* URL */
};

struct reach {
    struct https *https;
    struct reach_node nodes[LAYOUT_NODES_MAX];
    unsigned node_count;
    unsigned first; /* the node to ask first */
};

/* An answer, checked to be a JSON object. `json` reads `body`. */
struct reach_answer {
    int status;
    struct buf body;
    struct json json;
};

/* CMD_OK, or CMD_USAGE after having said what does not go together. */
int reach_check_flags(const char *command, const struct reach_flags *f);

/* Finds the nodes and loads the certificates; asks nobody. Errors of
 * layout_load and https_new. reach_close accepts a zeroed struct. */
int reach_open(const struct reach_flags *f, struct reach *out,
               struct err_msg *msg);
void reach_close(struct reach *r);

/* A command that asks a cluster, with one set of flags: beside its own ones it
 * takes REACH_OPTIONS, --output and --help. */
struct reach_command {
    const char *name;                  /* "placement split" */
    const char *help;                  /* printed for --help */
    const struct option_spec *options; /* its own; NULL: none */
    unsigned option_count;
    unsigned words_max;
    bool *json;  /* -o json was given */
    void *flags; /* for the two below */
    /* Takes the words and says whether the flags go together; NULL: they do.
     * CMD_OK, or CMD_USAGE after having said what is wrong. */
    int (*check)(void *flags, char **words, unsigned count);
    /* The process's exit code. */
    int (*run)(struct reach *r, void *flags);
};
/* Reads the command line, finds the cluster and runs: the process's exit code.
 * Before `run`, what is wrong has been said. */
int reach_run(const struct reach_command *c, int argc, char **argv);

void reach_answer_init(struct reach_answer *a);
void reach_answer_free(struct reach_answer *a);

/* Asks one node. `request` is the JSON body of a POST; NULL makes it a GET.
 * ERR_OK: it answered 2xx. Otherwise `msg` says why not, in the node's own
 * words if it answered: ERR_INVALID (400), ERR_FORBIDDEN (401, 403),
 * ERR_NOT_FOUND (404), ERR_PRECONDITION (409), ERR_UNAVAILABLE (503),
 * ERR_PROTOCOL (another status, or no JSON); else the errors of https_call. */
int reach_ask(struct reach *r, unsigned node, const char *path,
              const char *request, usec_t timeout_us, struct reach_answer *a,
              struct err_msg *msg);

/* The same with any method, of every node at once, so that those that hang cost
 * the timeout once and not one after the other. `heard` is called for each in
 * their order, by the caller's thread; what it is given is gone afterwards. */
typedef void reach_heard(void *user, unsigned node, int err,
                         const struct reach_answer *a,
                         const struct err_msg *why);
void reach_each(struct reach *r, const char *method, const char *path,
                const char *request, usec_t timeout_us, reach_heard *heard,
                void *user);

/* Asks until somebody answers otherwise than with "not now". Without any such
 * answer: ERR_UNAVAILABLE, and `msg` has the last reason. */
int reach_any(struct reach *r, const char *path, const char *request,
              usec_t timeout_us, struct reach_answer *a, struct err_msg *msg);

#endif
