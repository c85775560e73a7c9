/* The process itself, and what it was given: certificates, keys, faults. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypt/cert.h"
#include "node/server/faults.h"
#include "node/server/metrics_impl.h"
#include "node/server/node.h"
#include "replication/link/tls_ctx.h"

/* ---- the operating system's view ----------------------------------------- */

/* Pages of /proc/self/statm: all, and resident. */
static void read_memory(unsigned long *all_out, unsigned long *resident_out)
{
    *all_out = *resident_out = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return;
    if (fscanf(f, "%lu %lu", all_out, resident_out) != 2)
        *all_out = *resident_out = 0;
    fclose(f);
}

static unsigned count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned count = 0;
    if (d == NULL)
        return 0;
    while (readdir(d) != NULL)
        count++;
    closedir(d);
    return count - 3; /* ".", ".." and the one that looks */
}

static double cpu_seconds(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / USEC_PER_SEC;
}

static double max_fds(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (double)limit.rlim_cur : 0;
}

/* Under the names that Prometheus' own libraries use. */
static void put_system(const struct node *n, struct buf *out)
{
    unsigned long all, resident;
    double page = (double)sysconf(_SC_PAGESIZE);
    read_memory(&all, &resident);
    metrics_gauge(out, "process_start_time_seconds",
                  "When the process started, since 1970",
                  (double)n->started_wall_us / USEC_PER_SEC);
    metrics_head(out, "process_cpu_seconds_total", "counter",
                 "Time of processors used, user and system");
    metrics_sample(out, "process_cpu_seconds_total", "", cpu_seconds());
    metrics_gauge(out, "process_resident_memory_bytes", "Memory in use",
                  (double)resident * page);
    metrics_gauge(out, "process_virtual_memory_bytes", "Address space in use",
                  (double)all * page);
    metrics_gauge(out, "process_open_fds", "Open file descriptors",
                  count_fds());
    metrics_gauge(out, "process_max_fds", "Most that may be open", max_fds());
}

/* ---- what it was given --------------------------------------------------- */

static void put_certificates(const struct node *n, struct buf *out)
{
    static const char name[] =
        "bastide_certificate_not_after_timestamp_seconds";
    metrics_head(out, name, "gauge",
                 "When the node's certificate, or the first of its CA file, "
                 "expires, since 1970");
    metrics_sample(out, name, "certificate=\"node\"",
                   (double)tls_ctx_not_after(n->tls_peer));
    metrics_sample(out, name, "certificate=\"ca\"",
                   (double)cert_file_not_after(n->config->tls.ca));
}

/* A file that has gone has no age. */
static void put_key(const char *path, const char *labels, struct buf *out)
{
    struct stat st;
    if (stat(path, &st) == 0)
        metrics_sample(out, "bastide_key_created_timestamp_seconds", labels,
                       (double)st.st_mtim.tv_sec);
}

static void put_keys(const struct config *c, struct buf *out)
{
    metrics_head(out, "bastide_key_created_timestamp_seconds", "gauge",
                 "When the file of a key was written, since 1970");
    put_key(c->keys.kek, "key=\"kek\"", out);
    put_key(c->keys.cluster, "key=\"cluster\"", out);
    put_key(c->keys.account, "key=\"account\"", out);
    if (config_has_region_keys(c))
        put_key(c->keys.region, "key=\"region\"", out);
}

#define FAMILY_LINK "link"
#define FAMILY_NODE "node"
#define FAMILY_CLIENT "client"
#define FAULT_LABELS(name, word, family, what)                                 \
    "family=\"" FAMILY_##family "\",kind=\"" word "\"",

static void put_faults(const struct worker *w, struct buf *out)
{
    static const char name[] = "bastide_faults_active";
    static const char *const labels[] = {INJECT_KIND_LIST(FAULT_LABELS)};
    uint32_t counts[INJECT_KIND_COUNT];
    metrics_gauge(out, "bastide_fault_injection",
                  "1 where faults may be injected on request",
                  w->node->config->fault_injection);
    faults_count(w, counts);
    metrics_head(out, name, "gauge", "Faults injected on request, now");
    for (size_t i = 0; i < INJECT_KIND_COUNT; i++)
        metrics_sample(out, name, labels[i], counts[i]);
}

static void put_features(const struct node *n, struct buf *out)
{
    metrics_gauge(out, "bastide_feature_level",
                  "The cluster's feature level, as far as this node knows",
                  feature_level(&n->features));
    metrics_gauge(out, "bastide_feature_level_supported",
                  "The highest feature level that this program supports",
                  feature_supported);
}

void metrics_put_process(const struct worker *w, struct buf *out)
{
    const struct config *c = w->node->config;
    char labels[METRICS_LABELS_MAX];
    metrics_head(out, "bastide_build_info", "gauge", "1, with the version");
    metrics_sample(out, "bastide_build_info", "version=\"" NODE_VERSION "\"",
                   1);
    snprintf(labels, sizeof(labels), "cluster=\"%s\",region=\"%s\",node=\"%s\"",
             c->cluster, c->region, c->node);
    metrics_head(out, "bastide_node_info", "gauge", "1, with who this is");
    metrics_sample(out, "bastide_node_info", labels, 1);
    metrics_gauge(out, "bastide_clock_timestamp_seconds",
                  "The node's wall clock, since 1970",
                  (double)clock_wall_us() / USEC_PER_SEC);
    put_features(w->node, out);
    put_system(w->node, out);
    put_certificates(w->node, out);
    put_keys(c, out);
    put_faults(w, out);
}
