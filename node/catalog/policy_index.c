/* The indexing policy of a container. */
#include "node/catalog/policy.h"

#include "node/base/text.h"

#define ROOT_PATH "/*"
#define ETAG_PATH "/\"_etag\"/?"

static const char *const index_modes[] = {"consistent", "none", "lazy"};

static int read_index_mode(const struct json *j, json_ref policy,
                           const char **mode_out, struct err_msg *msg)
{
    json_ref mode = policy_member(j, policy, "indexingMode");
    *mode_out = index_modes[0];
    if (mode == JSON_NONE)
        return ERR_OK;
    struct bytes raw = json_raw(j, mode);
    for (size_t i = 0; i < 3 && policy_is(j, mode, JSON_STRING); i++)
        if (text_equal_nocase(bytes_of(raw.data + 1, raw.len - 2),
                              index_modes[i])) {
            *mode_out = index_modes[i];
            return ERR_OK;
        }
    return policy_bad_value(msg, "indexingPolicy.indexingMode",
                            "\"consistent\" or \"none\"");
}

/* An array of objects that each have a `path`; absent is an empty one. */
static int check_path_list(const struct json *j, json_ref list,
                           const char *name, struct err_msg *msg)
{
    static const char expected[] = "an array of {\"path\":\"/...\"}";
    if (list == JSON_NONE)
        return ERR_OK;
    if (!policy_is(j, list, JSON_ARRAY))
        return policy_bad_value(msg, name, expected);
    for (json_ref e = json_first(j, list); e != JSON_NONE;
         e = json_next(j, list, e))
        if (!policy_is_path(j, json_get_str(j, e, "path")))
            return policy_bad_value(msg, name, expected);
    return ERR_OK;
}

static bool list_has_path(const struct json *j, json_ref list, const char *path)
{
    if (list == JSON_NONE)
        return false;
    for (json_ref e = json_first(j, list); e != JSON_NONE;
         e = json_next(j, list, e))
        if (json_string_equal(j, json_get_str(j, e, "path"), bytes_str(path)))
            return true;
    return false;
}

static void write_path(struct json_writer *w, const char *path)
{
    json_write_object_begin(w);
    json_write_member_str(w, "path", path);
    json_write_object_end(w);
}

/* The list as sent, and at its end the paths that must be in it. */
static void write_path_list(const struct json *j, json_ref list,
                            const char *name, const char *more,
                            const char *still_more, struct json_writer *w)
{
    json_write_key(w, name);
    json_write_array_begin(w);
    if (list != JSON_NONE)
        for (json_ref e = json_first(j, list); e != JSON_NONE;
             e = json_next(j, list, e))
            json_write_value(w, j, e);
    if (more != NULL)
        write_path(w, more);
    if (still_more != NULL)
        write_path(w, still_more);
    json_write_array_end(w);
}

/* The root path must be in one of the lists: with the included ones, unless
 * these name single paths, which means that the rest is not to be indexed. */
static void write_index_paths(const struct json *j, json_ref included,
                              json_ref excluded, bool indexed,
                              struct json_writer *w)
{
    bool has_root = list_has_path(j, included, ROOT_PATH) ||
                    list_has_path(j, included, "/") ||
                    list_has_path(j, excluded, ROOT_PATH) ||
                    list_has_path(j, excluded, "/");
    bool selective = included != JSON_NONE && json_count(j, included) > 0;
    bool add_root = indexed && !has_root;
    bool add_etag = indexed && !list_has_path(j, excluded, ETAG_PATH);
    write_path_list(j, included, "includedPaths",
                    add_root && !selective ? ROOT_PATH : NULL, NULL, w);
    write_path_list(j, excluded, "excludedPaths",
                    add_root && selective ? ROOT_PATH : NULL,
                    add_etag ? ETAG_PATH : NULL, w);
}

static int check_composite(const struct json *j, json_ref list,
                           struct err_msg *msg)
{
    static const char name[] = "indexingPolicy.compositeIndexes";
    if (list == JSON_NONE)
        return ERR_OK;
    if (!policy_is(j, list, JSON_ARRAY))
        return policy_bad_value(msg, name, "an array of arrays");
    for (json_ref e = json_first(j, list); e != JSON_NONE;
         e = json_next(j, list, e)) {
        if (!policy_is(j, e, JSON_ARRAY))
            return policy_bad_value(msg, name, "an array of arrays");
        int err = check_path_list(j, e, name, msg);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* Lists that are kept as they are sent, when they are. */
static int write_index_extras(const struct json *j, json_ref policy,
                              struct json_writer *w, struct err_msg *msg)
{
    static const char *const names[] = {"compositeIndexes", "spatialIndexes",
                                        "vectorIndexes", "fullTextIndexes"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_ref list = policy_member(j, policy, names[i]);
        if (list == JSON_NONE)
            continue;
        int err = i == 0 ? check_composite(j, list, msg)
                         : check_path_list(j, list, names[i], msg);
        if (err != ERR_OK)
            return err;
        json_write_key(w, names[i]);
        json_write_value(w, j, list);
    }
    return ERR_OK;
}

int policy_indexing(const struct json *j, json_ref value, const char *name,
                    struct json_writer *w, struct err_msg *msg)
{
    json_ref policy = value;
    if (value == JSON_NONE) {
        json_write_key(w, name);
        json_write_object_begin(w);
        json_write_member_str(w, "indexingMode", index_modes[0]);
        json_write_member_bool(w, "automatic", true);
        write_index_paths(j, JSON_NONE, JSON_NONE, true, w);
        json_write_object_end(w);
        return ERR_OK;
    }
    if (!policy_is(j, policy, JSON_OBJECT))
        return policy_bad_value(msg, name, "an object");
    const char *mode;
    int err = read_index_mode(j, policy, &mode, msg);
    if (err != ERR_OK)
        return err;
    bool indexed = mode != index_modes[1];
    bool automatic = indexed;
    if (json_get_bool(j, policy, "automatic", &automatic) == ERR_INVALID)
        return policy_bad_value(msg, "indexingPolicy.automatic", "a boolean");
    json_ref included = policy_member(j, policy, "includedPaths");
    json_ref excluded = policy_member(j, policy, "excludedPaths");
    err = check_path_list(j, included, "indexingPolicy.includedPaths", msg);
    if (err == ERR_OK)
        err = check_path_list(j, excluded, "indexingPolicy.excludedPaths", msg);
    if (err != ERR_OK)
        return err;
    json_write_key(w, name);
    json_write_object_begin(w);
    json_write_member_str(w, "indexingMode", mode);
    json_write_member_bool(w, "automatic", automatic);
    write_index_paths(j, included, excluded, indexed, w);
    err = write_index_extras(j, policy, w, msg);
    if (err == ERR_OK)
        json_write_object_end(w);
    return err;
}
