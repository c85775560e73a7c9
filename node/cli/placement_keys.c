/* bastide placement keys: which placement groups the documents of one container
 * are in, by their partition key. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/catalog/placement_map.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/placement.h"
#include "node/cli/placement_group.h"
#include "node/cli/topology.h"
#include "node/json/json.h"

#define COMMAND "placement keys"
#define PATH "placement/keys"

static const char help[] =
    "Usage: bastide placement keys DATABASE/CONTAINER\n"
    "       bastide placement keys DATABASE/CONTAINER --add VALUE=GROUP...\n"
    "\n"
    "Shows, for a container that was made with a placement by partition key, "
    "which\n"
    "values are in which placement group:\n"
    "\n"
    "  x-bastide-placement: /country: de=eu, us=us, at*=eu, *=reject\n"
    "\n"
    "A value is a string, or the beginning of strings (at*), or * for "
    "everything else,\n"
    "also what is no string. What has no line, or goes to reject, is refused "
    "with 400.\n"
    "\n"
    "  --add LINE      also place these, which were rejected so far: fr=eu, "
    "'es*=eu',\n"
    "                  '*=default'. Nothing moves: a value that has a group "
    "keeps it.\n"
    "                  May be given several times\n"
    "\n" REACH_HELP "  -o text|json    how to show it\n"
    "\n"
    "Examples:\n"
    "  bastide placement keys shop/orders --dir demo\n"
    "  bastide placement keys shop/orders --add fr=eu --add '*=default'\n";

struct lines {
    const char *list[PLACEMENT_MAP_LINES_MAX];
    unsigned count;
};

struct keys_flags {
    char database[RESOURCE_NAME_BYTES_MAX + 1];
    char container[RESOURCE_NAME_BYTES_MAX + 1];
    struct lines add;
    bool json;
};

static bool take_line(const char *text, void *value)
{
    struct lines *l = value;
    if (l->count == PLACEMENT_MAP_LINES_MAX || strchr(text, '=') == NULL)
        return false;
    l->list[l->count++] = text;
    return true;
}

static int ask(struct reach *r, const struct keys_flags *f,
               struct reach_answer *a, struct err_msg *msg)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, HTTPS_REQUEST_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_member_str(&w, "database", f->database);
    json_write_member_str(&w, "container", f->container);
    if (f->add.count > 0) {
        json_write_key(&w, "add");
        json_write_array_begin(&w);
        for (unsigned i = 0; i < f->add.count; i++)
            json_write_str(&w, f->add.list[i]);
        json_write_array_end(&w);
    }
    json_write_object_end(&w);
    int err = json_writer_end(&w);
    if (err == ERR_OK)
        err = reach_any(r, PATH, buf_cstr(&b), REACH_CHANGE_TIMEOUT_US, a, msg);
    buf_free(&b);
    return err;
}

static void print_line(const struct json *j, json_ref line, bool *rest)
{
    char value[PLACEMENT_MAP_VALUE_MAX + 2], group[CATALOG_NAME_MAX + 1];
    bool prefix = false;
    topology_get_text(j, line, "value", value, sizeof(value) - 1);
    topology_get_text(j, line, "group", group, sizeof(group));
    (void)json_get_bool(j, line, "prefix", &prefix);
    *rest |= prefix && value[0] == '\0';
    strcat(value, prefix ? "*" : "");
    printf("  %-32s %s\n", value, group[0] != '\0' ? group : "rejected");
}

static void print_text(const struct json *j)
{
    char path[PLACEMENT_MAP_PATH_MAX + 1];
    json_ref list = json_get_str(j, 0, "lines");
    bool rest = false;
    topology_get_text(j, 0, "path", path, sizeof(path));
    printf("  %-32s %s\n", path, "PLACEMENT GROUP");
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY)
        return;
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v))
        print_line(j, v, &rest);
    if (!rest)
        printf("  %-32s %s\n", "*", "rejected");
}

static int run(struct reach *r, void *flags)
{
    const struct keys_flags *f = flags;
    struct reach_answer a;
    struct err_msg msg;
    reach_answer_init(&a);
    int err = ask(r, f, &a, &msg);
    if (err == ERR_OK && f->json)
        printf("%s\n", buf_cstr(&a.body));
    else if (err == ERR_OK)
        print_text(&a.json);
    reach_answer_free(&a);
    return err == ERR_OK ? CMD_OK : options_failed(COMMAND, msg.text);
}

static int check(void *flags, char **words, unsigned count)
{
    struct keys_flags *f = flags;
    if (count == 0 ||
        !placement_container_split(words[0], f->database, f->container))
        return options_refuse(COMMAND, "expected DATABASE/CONTAINER");
    return CMD_OK;
}

int placement_run_keys(int argc, char **argv)
{
    struct keys_flags f = {.json = false};
    const struct option_spec options[] = {
        {.name = "add",
         .kind = OPTION_OTHER,
         .value = &f.add,
         .read = take_line,
         .expected = "VALUE=GROUP, such as fr=eu"}};
    const struct reach_command command = {.name = COMMAND,
                                          .help = help,
                                          .options = options,
                                          .option_count = ARRAY_LEN(options),
                                          .words_max = 1,
                                          .json = &f.json,
                                          .flags = &f,
                                          .check = check,
                                          .run = run};
    return reach_run(&command, argc, argv);
}
