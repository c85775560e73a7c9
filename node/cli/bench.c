/* bastide bench: options, cluster file, result. The work is bench_load.c's. */
#include "node/cli/bench.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/base/prng.h"
#include "node/base/text.h"
#include "node/cli/bench_load.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/json/json.h"

#define CLUSTER_FILE_MAX (1 << 20)
#define RESULT_MAX (1 << 20)

static const char help[] =
    "Usage: bastide bench --cluster DIR [options]\n"
    "       bastide bench --endpoint URL --ca FILE [options]\n"
    "\n"
    "Loads a cluster the way clients do: HTTPS, every request signed, every\n"
    "answer checked. Each connection sends a request, waits for the answer "
    "and\n"
    "sends the next; so throughput is connections divided by latency. Writes "
    "are\n"
    "upserts, reads are point reads, of random keys. Database and container "
    "are\n"
    "created if missing and stay afterwards.\n"
    "\n"
    "Where to:\n"
    "  --cluster DIR        folder of a running `bastide demo` (or its "
    "cluster.json)\n"
    "  --region NAME        ... that region's endpoint, not the account's\n"
    "  --nodes              ... every node's own endpoint, in turn\n"
    "  --endpoint URL       https://host:port/ of any cluster\n"
    "  --ca FILE            CA certificates to trust there\n"
    "  --key KEY            account key there; better in BASTIDE_KEY, where "
    "other\n"
    "                       users of the machine cannot read it\n"
    "  --database NAME      default bench\n"
    "  --container NAME     default bench\n"
    "\n"
    "What:\n"
    "  --connections N      clients at the same time (default 64)\n"
    "  --rate N             requests a second, of all clients together "
    "(default: as\n"
    "                       many as are answered)\n"
    "  --reads PERCENT      share of reads, 0 to 100 (default 0). With reads, "
    "all\n"
    "                       keys are written once before\n"
    "  --no-load            ... not this time: they are there from an earlier "
    "run\n"
    "  --keys N             different documents (default 10000)\n"
    "  --size BYTES         of a document (default 1024)\n"
    "  --warm-up SECONDS    not counted (default 2)\n"
    "  --duration SECONDS   counted (default 10)\n"
    "  --seed N             of keys and mix (default 1)\n"
    "  -o text|json         how to print the result\n"
    "\n"
    "Examples:\n"
    "  How many writes, and how slow is the slowest of a thousand?\n"
    "    bastide bench --cluster demo\n"
    "  One careful client, for the latency of a single write:\n"
    "    bastide bench --cluster demo --connections 1\n"
    "  Mostly reads, against the nodes of one region:\n"
    "    bastide bench --cluster demo --region westeurope --reads 95\n"
    "\n"
    "Exit code 1 when a request failed or anything else went wrong.\n";

/* Everything the command line and the cluster file say. */
struct bench {
    struct bench_options run;
    const char *cluster, *region, *endpoint, *key;
    bool nodes;
    const char *database, *container;
    unsigned document_bytes;
    bool json;
    char *owned[BENCH_ENDPOINTS_MAX + 2];
    unsigned owned_count;
};

/* -- command line ---------------------------------------------------------- */

enum {
    OPT_CLUSTER = 256,
    OPT_REGION,
    OPT_NODES,
    OPT_NO_LOAD,
    OPT_ENDPOINT,
    OPT_CA,
    OPT_KEY,
    OPT_DATABASE,
    OPT_CONTAINER,
    OPT_CONNECTIONS,
    OPT_RATE,
    OPT_READS,
    OPT_KEYS,
    OPT_SIZE,
    OPT_WARM_UP,
    OPT_DURATION,
    OPT_SEED,
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"cluster", required_argument, NULL, OPT_CLUSTER},
    {"region", required_argument, NULL, OPT_REGION},
    {"nodes", no_argument, NULL, OPT_NODES},
    {"no-load", no_argument, NULL, OPT_NO_LOAD},
    {"endpoint", required_argument, NULL, OPT_ENDPOINT},
    {"ca", required_argument, NULL, OPT_CA},
    {"key", required_argument, NULL, OPT_KEY},
    {"database", required_argument, NULL, OPT_DATABASE},
    {"container", required_argument, NULL, OPT_CONTAINER},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"rate", required_argument, NULL, OPT_RATE},
    {"reads", required_argument, NULL, OPT_READS},
    {"keys", required_argument, NULL, OPT_KEYS},
    {"size", required_argument, NULL, OPT_SIZE},
    {"warm-up", required_argument, NULL, OPT_WARM_UP},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"seed", required_argument, NULL, OPT_SEED},
    {NULL, 0, NULL, 0},
};

/* The numeric options, each with its bounds. False when `option` is none. */
static bool number_option(struct bench *b, int option, bool *ok_out)
{
    unsigned seconds = 0, seed = 0;
    switch (option) {
    case OPT_CONNECTIONS:
        *ok_out = options_number(optarg, 1, BENCH_CONNECTIONS_MAX,
                                 &b->run.connections);
        return true;
    case OPT_RATE:
        *ok_out = options_number(optarg, 1, BENCH_RATE_MAX, &b->run.rate);
        return true;
    case OPT_READS:
        *ok_out = options_number(optarg, 0, 100, &b->run.read_percent);
        return true;
    case OPT_KEYS:
        *ok_out = options_number(optarg, 1, 100000000, &b->run.keys);
        return true;
    case OPT_SIZE:
        *ok_out = options_number(optarg, BENCH_DOCUMENT_MIN, BENCH_DOCUMENT_MAX,
                                 &b->document_bytes);
        return true;
    case OPT_WARM_UP:
        *ok_out = options_number(optarg, 0, 3600, &seconds);
        b->run.warm_up_us = seconds * USEC_PER_SEC;
        return true;
    case OPT_DURATION:
        *ok_out = options_number(optarg, 1, 86400, &seconds);
        b->run.duration_us = seconds * USEC_PER_SEC;
        return true;
    case OPT_SEED:
        *ok_out = options_number(optarg, 0, UINT_MAX, &seed);
        b->run.seed = seed;
        return true;
    default:
        return false;
    }
}

static bool text_option(struct bench *b, int option)
{
    switch (option) {
    case OPT_CLUSTER:
        b->cluster = optarg;
        return true;
    case OPT_REGION:
        b->region = optarg;
        return true;
    case OPT_NODES:
        b->nodes = true;
        return true;
    case OPT_NO_LOAD:
        b->run.no_load = true;
        return true;
    case OPT_ENDPOINT:
        b->endpoint = optarg;
        return true;
    case OPT_CA:
        b->run.ca = optarg;
        return true;
    case OPT_KEY:
        b->key = optarg;
        return true;
    case OPT_DATABASE:
        b->database = optarg;
        return true;
    case OPT_CONTAINER:
        b->container = optarg;
        return true;
    default:
        return false;
    }
}

static const char *option_name(int option)
{
    for (const struct option *o = long_options; o->name != NULL; o++)
        if (o->val == option)
            return o->name;
    CHECK_UNREACHABLE();
}

static int check_where(struct bench *b)
{
    /* A cluster's folder has the key of that very cluster. */
    if (b->key == NULL && b->cluster == NULL)
        b->key = getenv("BASTIDE_KEY");
    if ((b->cluster == NULL) == (b->endpoint == NULL))
        return options_refuse("bench", "give either --cluster or --endpoint");
    if (b->endpoint != NULL && (b->region != NULL || b->nodes))
        return options_refuse("bench", "--region and --nodes need --cluster");
    if (b->region != NULL && b->nodes)
        return options_refuse("bench", "give --region or --nodes, not both");
    if (b->endpoint != NULL && b->run.ca == NULL)
        return options_refuse("bench", "--endpoint needs --ca");
    if (b->endpoint != NULL && b->key == NULL)
        return options_refuse("bench", "the account key is missing: set "
                                       "BASTIDE_KEY or give --key");
    return CMD_OK;
}

/* CMD_OK, CMD_USAGE; `*done_out` when help was printed. */
static int parse(struct bench *b, int argc, char **argv, bool *done_out)
{
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "ho:", long_options, NULL)) !=
           -1) {
        bool ok = true;
        if (option == 'h') {
            fputs(help, stdout);
            *done_out = true;
            return CMD_OK;
        } else if (option == 'o') {
            if (!options_output(optarg, &b->json))
                return options_refuse("bench", "-o takes text or json");
        } else if (number_option(b, option, &ok)) {
            if (!ok)
                return options_refuse("bench", "--%s: '%s' is out of range",
                                      option_name(option), optarg);
        } else if (!text_option(b, option)) {
            return options_refuse("bench", "unknown or incomplete option");
        }
    }
    if (optind < argc)
        return options_refuse("bench", "'%s' is not expected", argv[optind]);
    return check_where(b);
}

/* -- where to -------------------------------------------------------------- */

static char *own(struct bench *b, char *text)
{
    CHECK(b->owned_count < ARRAY_LEN(b->owned));
    b->owned[b->owned_count++] = text;
    return text;
}

/* "https://host:port/" to "host:port". */
static int add_endpoint(struct bench *b, struct bytes url, struct err_msg *msg)
{
    static const char scheme[] = "https://";
    size_t n = sizeof scheme - 1;
    if (b->run.endpoint_count == BENCH_ENDPOINTS_MAX)
        return ERR_OK;
    if (url.len <= n || !text_equal_nocase(bytes_of(url.data, n), scheme))
        return err_set(msg, ERR_INVALID,
                       "'%.*s' is not an endpoint: expected https://host:port/",
                       (int)url.len, (const char *)url.data);
    const char *host = (const char *)url.data + n;
    size_t len = url.len - n;
    const char *slash = memchr(host, '/', len);
    if (slash != NULL)
        len = (size_t)(slash - host);
    bool has_port = memchr(host, ':', len) != NULL && host[len - 1] != ']';
    char text[BENCH_HOST_MAX + 8];
    if (len == 0 || len > BENCH_HOST_MAX)
        return err_set(msg, ERR_INVALID,
                       "the endpoint's host is missing or "
                       "too long");
    snprintf(text, sizeof text, has_port ? "%.*s" : "%.*s:443", (int)len, host);
    b->run.endpoints[b->run.endpoint_count++] = own(b, mem_strdup(text));
    return ERR_OK;
}

static int member(const struct json *j, json_ref object, const char *name,
                  struct buf *scratch, struct bytes *text_out,
                  struct err_msg *msg)
{
    int err = json_get_string(j, object, name, scratch, text_out);
    if (err != ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "the cluster file has no text \"%s\" where it should",
                       name);
    return ERR_OK;
}

static int add_member_endpoint(struct bench *b, const struct json *j,
                               json_ref object, struct buf *scratch,
                               struct err_msg *msg)
{
    struct bytes url;
    int err = member(j, object, "endpoint", scratch, &url, msg);
    return err != ERR_OK ? err : add_endpoint(b, url, msg);
}

static int add_nodes(struct bench *b, const struct json *j, json_ref region,
                     struct buf *scratch, struct err_msg *msg)
{
    json_ref nodes = json_get_str(j, region, "nodes");
    if (nodes == JSON_NONE)
        return err_set(msg, ERR_INVALID, "the cluster file names no nodes");
    for (json_ref n = json_first(j, nodes); n != JSON_NONE;
         n = json_next(j, nodes, n)) {
        int err = add_member_endpoint(b, j, n, scratch, msg);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static int add_regions(struct bench *b, const struct json *j,
                       struct buf *scratch, struct err_msg *msg)
{
    json_ref regions = json_get_str(j, 0, "regions");
    for (json_ref r = regions != JSON_NONE ? json_first(j, regions) : JSON_NONE;
         r != JSON_NONE; r = json_next(j, regions, r)) {
        struct bytes name;
        int err = member(j, r, "name", scratch, &name, msg);
        if (err != ERR_OK)
            return err;
        if (b->region == NULL)
            err = add_nodes(b, j, r, scratch, msg);
        else if (bytes_equal(name, bytes_str(b->region)))
            err = add_member_endpoint(b, j, r, scratch, msg);
        if (err != ERR_OK)
            return err;
    }
    if (b->run.endpoint_count == 0)
        return err_set(msg, ERR_NOT_FOUND, "the cluster has no region '%s'",
                       b->region != NULL ? b->region : "");
    return ERR_OK;
}

static int use_cluster(struct bench *b, const struct json *j,
                       struct buf *scratch, struct err_msg *msg)
{
    struct bytes text;
    int err;
    if (b->key == NULL) {
        err = member(j, 0, "primaryKey", scratch, &text, msg);
        if (err != ERR_OK)
            return err;
        b->key = own(b, mem_strndup((const char *)text.data, text.len));
    }
    if (b->run.ca == NULL) {
        err = member(j, 0, "ca", scratch, &text, msg);
        if (err != ERR_OK)
            return err;
        b->run.ca = own(b, mem_strndup((const char *)text.data, text.len));
    }
    if (b->region != NULL || b->nodes)
        return add_regions(b, j, scratch, msg);
    return add_member_endpoint(b, j, 0, scratch, msg);
}

static int read_cluster(struct bench *b, struct err_msg *msg)
{
    char path[PATH_MAX];
    struct stat st;
    bool folder = stat(b->cluster, &st) == 0 && S_ISDIR(st.st_mode);
    int n = snprintf(path, sizeof path, folder ? "%s/cluster.json" : "%s",
                     b->cluster);
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(msg, ERR_LIMIT, "--cluster: path is too long");
    struct buf text, scratch;
    struct json j;
    struct json_error error;
    buf_init(&text, CLUSTER_FILE_MAX);
    buf_init(&scratch, CLUSTER_FILE_MAX);
    json_init(&j);
    int err = file_read(path, false, &text, msg);
    if (err == ERR_NOT_FOUND)
        err = err_set(msg, err,
                      "%s does not exist; is the cluster running? "
                      "(bastide demo --dir %s)",
                      path, folder ? b->cluster : "DIR");
    if (err == ERR_OK) {
        err = json_parse(&j, bytes_of(buf_bytes(&text), buf_len(&text)),
                         CLUSTER_FILE_MAX, &error);
        if (err != ERR_OK)
            err_set(msg, err, "%s: %s", path, error.text);
        else
            err = use_cluster(b, &j, &scratch, msg);
    }
    json_free(&j);
    buf_free(&scratch);
    buf_wipe(&text);
    return err;
}

static int set_key(const struct bench *b, struct bench_wire *wire,
                   struct err_msg *msg)
{
    struct buf raw;
    buf_init(&raw, 4096);
    int err = text_base64_decode(bytes_str(b->key), &raw);
    if (err == ERR_OK)
        err =
            auth_key_init(&wire->key, bytes_of(buf_bytes(&raw), buf_len(&raw)),
                          AUTH_READ_WRITE);
    buf_wipe(&raw);
    if (err != ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "the account key must be base64 of %d bytes",
                       AUTH_KEY_LEN);
    return ERR_OK;
}

/* -- the result ------------------------------------------------------------ */

static const double percents[] = {50, 90, 99, 99.9};

static const char *failure_name(int index)
{
    static const char *const names[BENCH_FAILURE_COUNT] = {
        [BENCH_LOST] = "connection lost",
        [BENCH_NO_ANSWER] = "no answer",
        [BENCH_NO_HTTP] = "not an HTTP answer",
        [BENCH_NO_CONNECT] = "no connection",
    };
    return index < BENCH_FAILURE_COUNT ? names[index] : NULL;
}

static void print_row(const char *name, const struct histogram *h,
                      double seconds)
{
    if (h->count == 0)
        return;
    printf("%-7s %12.0f", name, (double)h->count / seconds);
    for (size_t i = 0; i < ARRAY_LEN(percents); i++)
        printf(" %9.2f", (double)histogram_percentile(h, percents[i]) / 1000);
    printf(" %9.2f\n", (double)h->max / 1000);
}

static void print_errors(const struct bench_result *r)
{
    if (r->error_count == 0)
        return;
    printf("\nErrors:");
    for (int i = 0; i < BENCH_STATUS_MAX; i++) {
        if (r->errors[i] == 0)
            continue;
        if (failure_name(i) != NULL)
            printf(" %llu x %s", (unsigned long long)r->errors[i],
                   failure_name(i));
        else
            printf(" %llu x %d", (unsigned long long)r->errors[i], i);
    }
    printf("\nThe first said: %s\n", r->sample);
}

static void print_text(const struct bench *b, const struct bench_result *r)
{
    const struct bench_options *o = &b->run;
    printf("%u connections, %u-byte documents, %u keys, %u%% reads, "
           "%.1f s after %.1f s of warm-up\n\n",
           o->connections, b->document_bytes, o->keys, o->read_percent,
           r->seconds, (double)o->warm_up_us / 1e6);
    printf("        requests/s    p50 ms       p90       p99     p99.9"
           "       max\n");
    print_row("writes", &r->writes, r->seconds);
    print_row("reads", &r->reads, r->seconds);
    if (r->writes.count > 0 && r->reads.count > 0) {
        static struct histogram all;
        all = r->writes;
        histogram_merge(&all, &r->reads);
        print_row("all", &all, r->seconds);
    }
    print_errors(r);
    printf("\nThe load generator itself used %.0f%% of a core.\n",
           100 * r->cpu_seconds / r->seconds);
}

static void json_ms(struct json_writer *w, const char *name, double us)
{
    json_write_key(w, name);
    json_write_number(w, us / 1000);
}

static void json_row(struct json_writer *w, const char *name,
                     const struct histogram *h, double seconds)
{
    json_write_key(w, name);
    json_write_object_begin(w);
    json_write_member_int64(w, "count", (int64_t)h->count);
    json_write_key(w, "perSecond");
    json_write_number(w, (double)h->count / seconds);
    json_ms(w, "meanMs", histogram_mean(h));
    json_ms(w, "p50Ms", (double)histogram_percentile(h, 50));
    json_ms(w, "p90Ms", (double)histogram_percentile(h, 90));
    json_ms(w, "p99Ms", (double)histogram_percentile(h, 99));
    json_ms(w, "p999Ms", (double)histogram_percentile(h, 99.9));
    json_ms(w, "maxMs", (double)h->max);
    json_write_object_end(w);
}

static void json_errors(struct json_writer *w, const struct bench_result *r)
{
    json_write_key(w, "errors");
    json_write_object_begin(w);
    for (int i = 0; i < BENCH_STATUS_MAX; i++) {
        char status[16];
        snprintf(status, sizeof status, "%d", i);
        if (r->errors[i] > 0)
            json_write_member_int64(
                w, failure_name(i) != NULL ? failure_name(i) : status,
                (int64_t)r->errors[i]);
    }
    json_write_object_end(w);
    if (r->error_count > 0)
        json_write_member_str(w, "firstError", r->sample);
}

static void print_json(const struct bench *b, const struct bench_result *r)
{
    struct buf out;
    struct json_writer w;
    buf_init(&out, RESULT_MAX);
    json_writer_init(&w, &out);
    json_write_object_begin(&w);
    json_write_member_int64(&w, "connections", b->run.connections);
    json_write_member_int64(&w, "documentBytes", b->document_bytes);
    json_write_member_int64(&w, "keys", b->run.keys);
    json_write_member_int64(&w, "rate", b->run.rate);
    json_write_member_int64(&w, "readPercent", b->run.read_percent);
    json_write_key(&w, "seconds");
    json_write_number(&w, r->seconds);
    json_row(&w, "writes", &r->writes, r->seconds);
    json_row(&w, "reads", &r->reads, r->seconds);
    json_errors(&w, r);
    json_write_key(&w, "generatorCores");
    json_write_number(&w, r->cpu_seconds / r->seconds);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    printf("%s\n", buf_cstr(&out));
    buf_free(&out);
}

/* -- all together ---------------------------------------------------------- */

/* Text without quotes, backslashes or control characters that does not
 * compress. */
static char *make_payload(unsigned len, uint64_t seed)
{
    static const char letters[64] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct prng prng;
    prng_seed(&prng, seed);
    char *text = mem_alloc(len);
    for (unsigned i = 0; i < len; i++)
        text[i] = letters[prng_below(&prng, sizeof letters)];
    return text;
}

static int load(struct bench *b)
{
    static struct bench_wire wire;
    static struct bench_result result;
    struct err_msg msg = {""};
    char *payload = make_payload(b->document_bytes, b->run.seed);
    int err = b->cluster != NULL
                  ? read_cluster(b, &msg)
                  : add_endpoint(b, bytes_str(b->endpoint), &msg);
    if (err == ERR_OK)
        err = set_key(b, &wire, &msg);
    if (err == ERR_OK)
        err = bench_wire_init(&wire, b->database, b->container,
                              b->document_bytes, payload, &msg);
    if (err == ERR_OK)
        err = bench_run(&b->run, &wire, &result, &msg);
    mem_wipe(&wire.key, sizeof wire.key);
    mem_free(payload);
    if (err != ERR_OK)
        return options_failed("bench", msg.text);
    if (b->json)
        print_json(b, &result);
    else
        print_text(b, &result);
    return result.error_count > 0 ? CMD_FAILED : CMD_OK;
}

static void release(struct bench *b)
{
    for (unsigned i = 0; i < b->owned_count; i++) {
        mem_wipe(b->owned[i], strlen(b->owned[i]));
        mem_free(b->owned[i]);
    }
}

int cmd_bench(int argc, char **argv)
{
    struct bench b = {
        .run = {.connections = 64,
                .keys = 10000,
                .warm_up_us = 2 * USEC_PER_SEC,
                .duration_us = 10 * USEC_PER_SEC,
                .seed = 1},
        .database = "bench",
        .container = "bench",
        .document_bytes = 1024,
    };
    bool done = false;
    int code = parse(&b, argc, argv, &done);
    if (code == CMD_OK && !done)
        code = load(&b);
    release(&b);
    return code;
}
