/* bastide keys: new certificates for nodes, new account keys, while the cluster
 * runs. */
#include <stdio.h>
#include <string.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/renew.h"
#include "node/cli/supervise.h"
#include "node/crypt/cert.h"
#include "node/json/json.h"

#define DAYS_MAX 3650
#define JSON_MAX (1 << 20)

static const char help[] =
    "Usage: bastide keys certificates [--node NODE] [--days N]\n"
    "       bastide keys rotate primary|secondary|primary-readonly|"
    "secondary-readonly\n"
    "       bastide keys reload [--node NODE]\n"
    "\n"
    "Renews what nodes prove themselves by and clients sign with, without a "
    "restart.\n"
    "The files in the cluster's folder are replaced, then every node that runs "
    "reads\n"
    "its own again.\n"
    "\n"
    "  certificates    new keys and certificates of the same names, signed by "
    "the\n"
    "                  folder's ca.key, for all nodes or one. Connections that "
    "are\n"
    "                  open keep the old ones\n"
    "  rotate          a new account key in place of one of the four; the old "
    "one is\n"
    "                  refused from then on. Move clients to the secondary key "
    "first\n"
    "  reload          only have the nodes read their files again: after you "
    "replaced\n"
    "                  them by other means. So does SIGHUP\n"
    "\n"
    "  --node NODE     one node only\n"
    "  --days N        how long certificates shall be valid (default 825)\n"
    "  --dir DIR       the folder made by `bastide init` or `bastide demo` "
    "(default\n"
    "                  ./demo). Nodes on other machines have copies of their "
    "folders\n"
    "                  DIR/NODE: bring them the new files, then `bastide keys "
    "reload`\n"
    "  -o text|json    how to say what was done\n"
    "\n"
    "Exit code 1 when a node could not be told or refused its files; the "
    "others use\n"
    "the new ones.\n"
    "\n"
    "Examples:\n"
    "  bastide keys certificates --dir demo\n"
    "  bastide keys rotate primary --dir demo\n";

struct keys_flags {
    const char *dir, *node;
    unsigned days;
    bool json, help;
};

struct keys {
    const struct keys_flags *flags;
    struct reach reach;
    struct buf report; /* JSON objects of the nodes */
    struct json_writer out;
    unsigned failed;
};

static bool concerns(const struct keys *k, const char *node)
{
    return k->flags->node == NULL || strcmp(k->flags->node, node) == 0;
}

static int renew_certificates(const struct keys *k, struct err_msg *msg)
{
    int err = ERR_OK;
    for (unsigned i = 0; i < k->reach.node_count && err == ERR_OK; i++)
        if (concerns(k, k->reach.nodes[i].name))
            err = renew_certificate(k->flags->dir, k->reach.nodes[i].name,
                                    k->flags->days, msg);
    return err;
}

/* ---- telling the nodes ------------------------------------------------------
 */

static void report(struct keys *k, const char *node, int err, const char *text)
{
    k->failed += err != ERR_OK;
    if (!k->flags->json) {
        printf("%-24s %s%s\n", node,
               err == ERR_OK ? "reloaded" : "NOT: ", err == ERR_OK ? "" : text);
        return;
    }
    json_write_object_begin(&k->out);
    json_write_member_str(&k->out, "node", node);
    json_write_member_bool(&k->out, "reloaded", err == ERR_OK);
    json_write_key(&k->out, "reason");
    if (err == ERR_OK)
        json_write_null(&k->out);
    else
        json_write_str(&k->out, text);
    json_write_object_end(&k->out);
}

/* A node that does not run reads the files when it starts. */
static void tell_node(struct keys *k, unsigned i)
{
    struct err_msg msg = {.text = ""};
    int err = renew_reload(&k->reach, i, &msg);
    report(k, k->reach.nodes[i].name, err, msg.text);
}

static int tell_nodes(struct keys *k)
{
    buf_init(&k->report, JSON_MAX);
    json_writer_init(&k->out, &k->report);
    json_write_array_begin(&k->out);
    for (unsigned i = 0; i < k->reach.node_count; i++)
        if (concerns(k, k->reach.nodes[i].name))
            tell_node(k, i);
    json_write_array_end(&k->out);
    CHECK(json_writer_end(&k->out) == ERR_OK);
    if (k->flags->json)
        printf("{\"nodes\":%s}\n", buf_cstr(&k->report));
    buf_free(&k->report);
    return k->failed == 0 ? CMD_OK : CMD_FAILED;
}

/* ---- the command ------------------------------------------------------------
 */

static bool read_key_kind(const char *word, enum config_master_key *which_out)
{
    char name[32];
    snprintf(name, sizeof(name), "%s", word);
    for (char *p = name; *p != '\0'; p++)
        *p = *p == '-' ? '_' : *p;
    for (int i = 0; i < CONFIG_KEY_COUNT; i++)
        if (strcmp(name, config_master_key_name((enum config_master_key)i)) ==
            0) {
            *which_out = (enum config_master_key)i;
            return true;
        }
    return false;
}

static int open_cluster(struct keys *k, struct err_msg *msg)
{
    const struct reach_flags flags = {.dir = k->flags->dir};
    int err = reach_open(&flags, &k->reach, msg);
    if (err != ERR_OK || k->flags->node == NULL)
        return err;
    for (unsigned i = 0; i < k->reach.node_count; i++)
        if (concerns(k, k->reach.nodes[i].name))
            return ERR_OK;
    return err_set(msg, ERR_NOT_FOUND, "there is no node %.63s in %.255s",
                   k->flags->node, k->flags->dir);
}

enum keys_verb { CERTIFICATES, ROTATE, RELOAD };

static int carry_out(const struct keys_flags *f, enum keys_verb verb,
                     enum config_master_key which)
{
    struct keys k = {.flags = f};
    struct err_msg msg;
    int err = open_cluster(&k, &msg);
    if (err == ERR_OK && verb == CERTIFICATES)
        err = renew_certificates(&k, &msg);
    if (err == ERR_OK && verb == ROTATE)
        err = renew_account_key(f->dir, &k.reach, which, &msg);
    int code =
        err == ERR_OK ? tell_nodes(&k) : options_failed("keys", msg.text);
    if (err == ERR_OK && verb == ROTATE)
        (void)supervise_ask_keys(f->dir, NULL); /* only a demo has one */
    reach_close(&k.reach);
    return code;
}

static int understand(char **words, unsigned count, enum keys_verb *verb_out,
                      enum config_master_key *which_out)
{
    static const struct {
        const char *word;
        unsigned words;
    } verbs[] = {[CERTIFICATES] = {"certificates", 1},
                 [ROTATE] = {"rotate", 2},
                 [RELOAD] = {"reload", 1}};
    for (unsigned i = 0; count > 0 && i < ARRAY_LEN(verbs); i++) {
        if (strcmp(words[0], verbs[i].word) != 0)
            continue;
        *verb_out = (enum keys_verb)i;
        if (count != verbs[i].words)
            return options_refuse("keys", "%s takes %s", words[0],
                                  i == ROTATE ? "the name of one key"
                                              : "no more words");
        if (i == ROTATE && !read_key_kind(words[1], which_out))
            return options_refuse("keys",
                                  "there is no key \"%s\"; there are primary, "
                                  "secondary, primary-readonly and "
                                  "secondary-readonly",
                                  words[1]);
        return CMD_OK;
    }
    return options_refuse("keys",
                          "say what to do: certificates, rotate or reload");
}

int cmd_keys(int argc, char **argv)
{
    struct keys_flags f = {.dir = "demo", .days = CERT_NODE_DAYS};
    const struct option_spec specs[] = {
        {.name = "dir", .kind = OPTION_TEXT, .value = &f.dir},
        {.name = "node", .kind = OPTION_TEXT, .value = &f.node},
        {.name = "days",
         .kind = OPTION_NUMBER,
         .value = &f.days,
         .min = 1,
         .max = DAYS_MAX},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &f.json},
        {.name = "help", .kind = OPTION_FLAG, .value = &f.help}};
    enum keys_verb verb = RELOAD;
    enum config_master_key which = CONFIG_KEY_PRIMARY;
    char **words;
    unsigned count;
    int code = options_parse("keys", argc, argv, specs, ARRAY_LEN(specs), 2,
                             &words, &count);
    if (code == CMD_OK && f.help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    if (code == CMD_OK)
        code = understand(words, count, &verb, &which);
    if (code == CMD_OK && verb == ROTATE && f.node != NULL)
        code = options_refuse("keys", "rotate is for all nodes; --node does "
                                      "not go with it");
    return code == CMD_OK ? carry_out(&f, verb, which) : code;
}
