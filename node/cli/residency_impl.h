/* Inside the judging of residency statements; not for its users (residency.h).
 */
#ifndef BASTIDE_CLI_RESIDENCY_IMPL_H
#define BASTIDE_CLI_RESIDENCY_IMPL_H

#include "node/catalog/catalog.h"
#include "node/cli/residency.h"
#include "node/config/config.h"
#include "node/crypt/sign.h"
#include "node/json/json.h"

#define RESIDENCY_NAME_MAX CATALOG_NAME_MAX
#define RESIDENCY_NONCE_MAX 64
#define RESIDENCY_PROBLEMS_MAX 500 /* more are counted, not told */

/* One report that is believed: signed by who it says it is from. */
struct residency_report {
    struct buf text;
    struct json json; /* of `text` */
    char node[RESIDENCY_NAME_MAX + 1];
    char region[RESIDENCY_NAME_MAX + 1];
    int64_t catalog_lsn;
};

/* A shard in scope, as the members' last reports tell. */
struct residency_shard {
    uint32_t id;
    json_ref group; /* in the authority; JSON_NONE: the meta shard */
    /* By version of the data key, as the first of the replicas says. */
    uint64_t by_key[GROUP_KEY_VERSIONS_MAX];
    uint64_t records;
    bool agrees;
    bool again; /* a new round may help */
};

struct residency {
    struct buf text;
    struct json json;
    char group[RESIDENCY_NAME_MAX + 1]; /* "": all */
    char nonce[RESIDENCY_NONCE_MAX + 1];
    char made_at[CLOCK_ISO_LEN + 1];
    int64_t made_us;
    char ca_sha256[SIGN_FINGERPRINT_LEN + 1];
    bool own_ca; /* the reader has named none */
    struct residency_report *reports;
    size_t report_count;
    const struct residency_report *authority; /* NULL: no report is good */
    struct residency_shard *shards;
    size_t shard_count;
    char *problems[RESIDENCY_PROBLEMS_MAX];
    size_t problem_count; /* told */
    size_t untold;
};

/* Notes a problem, once. */
void residency_add_problem(struct residency *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Copies a string member; ERR_NOT_FOUND, ERR_INVALID (no string, or it does not
 * fit). Control characters become spaces. */
int residency_text(const struct json *j, json_ref object, const char *key,
                   char *out, size_t size);
/* A number member that is a whole one from 0 on; `fallback` otherwise. */
int64_t residency_number(const struct json *j, json_ref object, const char *key,
                         int64_t fallback);
/* Elements of an array member: for (v = residency_first(...); v != JSON_NONE;
 * v = json_next(j, residency_list(...), v)). JSON_NONE: no such array. */
json_ref residency_list(const struct json *j, json_ref object, const char *key);

#define RESIDENCY_EACH(j, list, v)                                             \
    for (json_ref v = (list) != JSON_NONE ? json_first(j, list) : JSON_NONE;   \
         v != JSON_NONE; v = json_next(j, list, v))

/* The element of the authority's `nodes`; JSON_NONE. */
json_ref residency_node(const struct residency *r, int64_t id);
/* The group's name, "meta" for JSON_NONE. */
void residency_group_name(const struct residency *r, json_ref group,
                          char out[RESIDENCY_NAME_MAX + 1]);
/* Whether the group is to be judged; JSON_NONE: the meta shard. */
bool residency_in_scope(const struct residency *r, json_ref group);
/* The element of `replicas` for the shard in the last report of a node that has
 * one; JSON_NONE. */
json_ref residency_replica(const struct residency *r, const char *node,
                           uint32_t shard,
                           const struct residency_report **report_out);

/* The rules; `reports` and `authority` are set. */
void residency_judge(struct residency *r);

#endif
