/* bastide placement rules: which group containers are in that name none.
 *
 * Rules are changed as a whole: what the cluster has is read, edited here and
 * sent with its etag, so that no change of another administrator is lost. */
#include "node/catalog/placement_rules.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/catalog/placement_map.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement.h"
#include "node/cli/placement_group.h"
#include "node/json/json.h"

#define COMMAND "placement rules"
#define PATH "placement/rules"
/* Times that an edit begins anew because somebody else was faster. */
#define EDIT_TRIES 5

static const char help[] =
    "Usage: bastide placement rules [list]\n"
    "       bastide placement rules add DATABASE/CONTAINER GROUP [--at N]\n"
    "       bastide placement rules add DATABASE/CONTAINER '/PATH: "
    "VALUE=GROUP, "
    "...'\n"
    "       bastide placement rules remove N\n"
    "       bastide placement rules require on|off\n"
    "       bastide placement rules set FILE\n"
    "\n"
    "A container whose creation does not name a placement group (header\n"
    "x-bastide-placement) is in that of the first rule whose two patterns "
    "match the\n"
    "names of its database and itself; without one, in default. In a pattern * "
    "stands\n"
    "for any characters. Containers that exist stay where they are.\n"
    "\n"
    "  list            the rules in their order\n"
    "  add             a rule at the end, or as number N; its containers' "
    "documents\n"
    "                  are in the group, or placed by partition key "
    "(`placement "
    "keys`)\n"
    "  remove          the rule of that number\n"
    "  require on      refuse containers that would be in default\n"
    "  set             all rules, from a file as `list -o json` writes it; it\n"
    "                  is refused if they were changed since\n"
    "\n" REACH_HELP "  -o text|json    how to show the rules\n"
    "\n"
    "Examples:\n"
    "  bastide placement rules add '*/de-*' eu --dir demo\n"
    "  bastide placement rules add 'shop/*' us --at 1\n"
    "  bastide placement rules require on\n";

/* One edit: ERR_OK, or why it makes no sense with the rules there are. */
struct edit {
    int (*apply)(const struct edit *e, struct placement_rules *rules,
                 struct err_msg *msg);
    struct placement_rule rule;
    unsigned number; /* of a rule; to be added, 0: at the end */
    bool required;
};

struct rules_flags {
    struct edit edit; /* its `apply` is NULL: none is wanted */
    const char *file; /* with all rules; NULL: none */
    bool json;
};

/* ---- showing ---------------------------------------------------------------
 */

static int read_rules(const struct json *j, struct placement_rules *out,
                      struct err_msg *msg)
{
    out->required = false;
    (void)json_get_bool(j, 0, "require_placement", &out->required);
    int err = placement_rules_read(j, json_get_str(j, 0, "rules"), out, msg);
    return err == ERR_OK ? ERR_OK : ERR_PROTOCOL;
}

static void print_text(const struct placement_rules *rules)
{
    if (rules->count > 0)
        printf("%4s %-40s %s\n", "RULE", "DATABASE/CONTAINER", "GROUP");
    else
        puts("There are no rules.");
    for (size_t i = 0; i < rules->count; i++) {
        const struct placement_rule *r = &rules->list[i];
        char pattern[2 * PLACEMENT_PATTERN_MAX + 2];
        snprintf(pattern, sizeof(pattern), "%s/%s", r->database, r->container);
        printf("%4zu %-40s %s\n", i + 1, pattern, r->group);
    }
    puts(
        rules->required
            ? "A container that no rule matches and that names no group is "
              "refused."
            : "A container that no rule matches is in default, unless it names "
              "a group.");
}

static int show(struct reach_answer *a, bool json, struct err_msg *msg)
{
    struct placement_rules *rules;
    if (json) {
        printf("%s\n", buf_cstr(&a->body));
        return ERR_OK;
    }
    rules = mem_alloc(sizeof(*rules));
    int err = read_rules(&a->json, rules, msg);
    if (err == ERR_OK)
        print_text(rules);
    mem_free(rules);
    return err;
}

static int ask(struct reach *r, struct reach_answer *a, struct err_msg *msg)
{
    return reach_any(r, PATH, NULL, REACH_CHANGE_TIMEOUT_US, a, msg);
}

static int send(struct reach *r, const char *body, struct reach_answer *a,
                struct err_msg *msg)
{
    return reach_any(r, PATH, body, REACH_CHANGE_TIMEOUT_US, a, msg);
}

/* ---- editing ---------------------------------------------------------------
 */

static int apply_add(const struct edit *e, struct placement_rules *rules,
                     struct err_msg *msg)
{
    size_t at = e->number == 0 ? rules->count : e->number - 1;
    if (rules->count == PLACEMENT_RULES_MAX)
        return err_set(msg, ERR_LIMIT, "there are %d rules already",
                       PLACEMENT_RULES_MAX);
    if (at > rules->count)
        return err_set(msg, ERR_INVALID, "--at %u: there are %u rules",
                       e->number, rules->count);
    memmove(&rules->list[at + 1], &rules->list[at],
            (rules->count - at) * sizeof(rules->list[0]));
    rules->list[at] = e->rule;
    rules->count++;
    return ERR_OK;
}

static int apply_remove(const struct edit *e, struct placement_rules *rules,
                        struct err_msg *msg)
{
    if (e->number > rules->count)
        return err_set(msg, ERR_INVALID, "there is no rule %u: there are %u",
                       e->number, rules->count);
    rules->count--;
    memmove(&rules->list[e->number - 1], &rules->list[e->number],
            (rules->count - (e->number - 1)) * sizeof(rules->list[0]));
    return ERR_OK;
}

static int apply_require(const struct edit *e, struct placement_rules *rules,
                         struct err_msg *msg)
{
    (void)msg;
    rules->required = e->required;
    return ERR_OK;
}

static void write_request(const struct placement_rules *rules,
                          const struct json *seen, struct buf *out)
{
    struct json_writer w;
    json_ref etag = json_get_str(seen, 0, "etag");
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_key(&w, "rules");
    placement_rules_write(rules, &w);
    json_write_member_bool(&w, "require_placement", rules->required);
    if (etag != JSON_NONE)
        json_write_member_raw(&w, "etag", json_raw(seen, etag));
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
}

/* One try: ERR_PRECONDITION when others were faster. `a` has the answer. */
static int try_edit(struct reach *r, const struct edit *e,
                    struct placement_rules *rules, struct reach_answer *a,
                    struct err_msg *msg)
{
    struct buf body;
    buf_init(&body, HTTPS_REQUEST_MAX);
    int err = ask(r, a, msg);
    if (err == ERR_OK)
        err = read_rules(&a->json, rules, msg);
    if (err == ERR_OK)
        err = e->apply(e, rules, msg);
    if (err == ERR_OK) {
        write_request(rules, &a->json, &body);
        err = send(r, buf_cstr(&body), a, msg);
    }
    buf_free(&body);
    return err;
}

static int edit(struct reach *r, const struct edit *e, struct reach_answer *a,
                struct err_msg *msg)
{
    struct placement_rules *rules = mem_zalloc(sizeof(*rules));
    int err = ERR_PRECONDITION;
    for (int i = 0; i < EDIT_TRIES && err == ERR_PRECONDITION; i++)
        err = try_edit(r, e, rules, a, msg);
    mem_free(rules);
    return err;
}

static int set_from_file(struct reach *r, const char *path,
                         struct reach_answer *a, struct err_msg *msg)
{
    struct buf body;
    buf_init(&body, HTTPS_REQUEST_MAX);
    int err = file_read(path, false, &body, msg);
    if (err == ERR_OK)
        err = send(r, buf_cstr(&body), a, msg);
    buf_free(&body);
    return err;
}

/* ---- the command line ------------------------------------------------------
 */

static int read_pattern(const char *text, struct placement_rule *rule)
{
    size_t len = strcspn(text, "/");
    const char *container = text + len + (text[len] == '/');
    if (len == 0 || len > PLACEMENT_PATTERN_MAX || text[len] == '\0' ||
        container[0] == '\0' || strlen(container) > PLACEMENT_PATTERN_MAX)
        return options_refuse(COMMAND,
                              "\"%s\": expected DATABASE/CONTAINER, such as "
                              "'*/de-*', each of 1 to %d bytes",
                              text, PLACEMENT_PATTERN_MAX);
    snprintf(rule->database, sizeof(rule->database), "%.*s", (int)len, text);
    snprintf(rule->container, sizeof(rule->container), "%s", container);
    return CMD_OK;
}

static int read_add(char **words, struct edit *e)
{
    const char *group = NULL;
    e->apply = apply_add;
    struct bytes target = bytes_str(words[2]);
    struct placement_map map;
    struct err_msg msg;
    if (placement_is_map(target)) {
        if (placement_map_parse(target, &map, &msg) != ERR_OK)
            return options_refuse(COMMAND, "%s", msg.text);
        if (target.len > PLACEMENT_TARGET_MAX)
            return options_refuse(COMMAND,
                                  "a rule's placement has at most %d "
                                  "bytes",
                                  PLACEMENT_TARGET_MAX);
        group = words[2];
    } else if (!placement_name_option(words[2], &group)) {
        return options_refuse(COMMAND, "\"%s\": expected a group: %s", words[2],
                              PLACEMENT_NAME_EXPECTED);
    }
    snprintf(e->rule.group, sizeof(e->rule.group), "%s", group);
    return read_pattern(words[1], &e->rule);
}

static int read_remove(char **words, struct edit *e)
{
    e->apply = apply_remove;
    return options_number(words[1], 1, PLACEMENT_RULES_MAX, &e->number)
               ? CMD_OK
               : options_refuse(COMMAND,
                                "\"%s\": expected the number of a rule",
                                words[1]);
}

static int read_require(char **words, struct edit *e)
{
    e->apply = apply_require;
    e->required = strcmp(words[1], "on") == 0;
    return e->required || strcmp(words[1], "off") == 0
               ? CMD_OK
               : options_refuse(COMMAND, "\"%s\": expected on or off",
                                words[1]);
}

/* What the words ask for. With `list`, no edit; with `set`, a file's name. */
static int check(void *flags, char **words, unsigned count)
{
    struct rules_flags *f = flags;
    struct edit *e = &f->edit;
    static const struct {
        const char *name;
        unsigned words;
    } parts[] = {
        {"list", 1}, {"add", 3}, {"remove", 2}, {"require", 2}, {"set", 2}};
    const char *name = count > 0 ? words[0] : "list";
    size_t i = 0;
    while (i < ARRAY_LEN(parts) && strcmp(parts[i].name, name) != 0)
        i++;
    if (i == ARRAY_LEN(parts))
        return options_refuse(
            COMMAND, "\"%s\": expected list, add, remove, require or set",
            name);
    if (count > 0 && count != parts[i].words)
        return options_refuse(COMMAND, "%s takes %u words", name,
                              parts[i].words - 1);
    if (e->number != 0 && strcmp(name, "add") != 0)
        return options_refuse(COMMAND, "--at goes with add");
    if (strcmp(name, "add") == 0)
        return read_add(words, e);
    if (strcmp(name, "remove") == 0)
        return read_remove(words, e);
    if (strcmp(name, "require") == 0)
        return read_require(words, e);
    f->file = strcmp(name, "set") == 0 ? words[1] : NULL;
    return CMD_OK;
}

static int run(struct reach *r, void *flags)
{
    const struct rules_flags *f = flags;
    struct reach_answer a;
    struct err_msg msg;
    int err;
    reach_answer_init(&a);
    if (f->edit.apply != NULL)
        err = edit(r, &f->edit, &a, &msg);
    else if (f->file != NULL)
        err = set_from_file(r, f->file, &a, &msg);
    else
        err = ask(r, &a, &msg);
    if (err == ERR_OK)
        err = show(&a, f->json, &msg);
    reach_answer_free(&a);
    return err == ERR_OK ? CMD_OK : options_failed(COMMAND, msg.text);
}

int placement_run_rules(int argc, char **argv)
{
    struct rules_flags f = {.json = false};
    const struct option_spec options[] = {{.name = "at",
                                           .kind = OPTION_NUMBER,
                                           .value = &f.edit.number,
                                           .min = 1,
                                           .max = PLACEMENT_RULES_MAX}};
    const struct reach_command command = {.name = COMMAND,
                                          .help = help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .words_max = 3,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = check,
                                          .run = run};
    return reach_run(&command, argc, argv);
}
