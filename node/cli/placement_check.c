/* bastide placement check: a residency statement, again, without the cluster.
 */
#include <string.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement_verify.h"
#include "node/cli/residency.h"

static const char help[] =
    "Usage: bastide placement check FILE [--ca FILE] [-o text|json]\n"
    "\n"
    "Checks again what `bastide placement verify --out FILE` wrote, without a\n"
    "cluster: that no byte was changed, that each report was signed by the "
    "node "
    "that\n"
    "it is from, and everything that verify judges. Exits with 1 if something "
    "does\n"
    "not hold.\n"
    "\n"
    "  --ca FILE       the CA certificate of the cluster, from where you trust "
    "it;\n"
    "                  without it the one in the statement is used, which "
    "proves\n"
    "                  only that one CA is behind all reports: compare its\n"
    "                  fingerprint\n"
    "  -o text|json    how to show it\n"
    "\n"
    "Examples:\n"
    "  bastide placement check residency.json --ca ca.pem\n"
    "  bastide placement check residency.json -o json | jq .problems\n";

static struct bytes content(const struct buf *b)
{
    return bytes_of(buf_bytes(b), buf_len(b));
}

static int check(const char *path, const char *ca_path, bool json)
{
    struct residency *r = NULL;
    struct err_msg msg;
    struct buf text, ca;
    buf_init(&text, RESIDENCY_BYTES_MAX);
    buf_init(&ca, RESIDENCY_BYTES_MAX);
    int err = file_read(path, false, &text, &msg);
    if (err == ERR_OK && ca_path != NULL)
        err = file_read(ca_path, false, &ca, &msg);
    if (err == ERR_OK)
        err = residency_open(content(&text), content(&ca), &r, &msg);
    if (err == ERR_OK)
        (json ? residency_print_json : residency_print)(stdout, r);
    int code = err != ERR_OK ? options_failed("placement check", msg.text)
               : residency_problem_count(r) > 0 ? CMD_FAILED
                                                : CMD_OK;
    residency_free(r);
    buf_free(&text);
    buf_free(&ca);
    return code;
}

int placement_check(int argc, char **argv)
{
    const char *ca = NULL;
    bool json = false, want_help = false;
    const struct option_spec specs[] = {
        {.name = "ca", .kind = OPTION_TEXT, .value = &ca},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &json},
        {.name = "help", .kind = OPTION_FLAG, .value = &want_help}};
    char **words;
    unsigned count;
    int code = options_parse("placement check", argc, argv, specs,
                             ARRAY_LEN(specs), 1, &words, &count);
    if (code != CMD_OK)
        return code;
    if (want_help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    if (count == 0)
        return options_refuse("placement check", "which file?");
    return check(words[0], ca, json);
}
