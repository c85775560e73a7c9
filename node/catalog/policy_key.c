/* The partition key definition of a container. */
#include "node/catalog/policy.h"

#include "node/base/text.h"

/* System properties are not there yet when the key is taken from a document. */
static bool is_system_path(struct bytes path, struct buf *scratch)
{
    struct bytes first;
    return json_path_segment(&path, scratch, &first) == ERR_OK &&
           json_is_system_property(first);
}

static int read_path(const struct json *j, json_ref value, struct buf *scratch,
                     struct pk_def *def, struct err_msg *msg)
{
    static const char expected[] =
        "property paths such as \"/tenant/id\", all different and none of a "
        "system property";
    struct bytes path;
    if (!policy_is(j, value, JSON_STRING))
        return policy_bad_value(msg, "partitionKey.paths", expected);
    int err = json_string(j, value, scratch, &path);
    if (err != ERR_OK)
        return err;
    bool legal = path.len <= POLICY_PATH_MAX &&
                 json_path_check(path) == ERR_OK &&
                 !is_system_path(path, scratch);
    for (size_t i = 0; i < def->path_count; i++)
        legal = legal && !bytes_equal(path, def->paths[i]);
    if (!legal)
        return policy_bad_value(msg, "partitionKey.paths", expected);
    def->paths[def->path_count++] = path;
    return ERR_OK;
}

static int read_paths(const struct json *j, json_ref object,
                      struct buf *scratch, struct pk_def *def,
                      struct err_msg *msg)
{
    json_ref paths = json_get_str(j, object, "paths");
    if (!policy_is(j, paths, JSON_ARRAY) || json_count(j, paths) == 0 ||
        json_count(j, paths) > PK_PATHS_MAX)
        return policy_bad_value(msg, "partitionKey.paths",
                                "an array of one to three property paths");
    for (json_ref p = json_first(j, paths); p != JSON_NONE;
         p = json_next(j, paths, p)) {
        int err = read_path(j, p, scratch, def, msg);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static int read_kind(const struct json *j, json_ref object, struct pk_def *def,
                     struct err_msg *msg)
{
    static const char expected[] =
        "\"Hash\" with one path or \"MultiHash\" with two or three";
    json_ref kind = json_get_str(j, object, "kind");
    def->kind = PK_HASH;
    if (kind != JSON_NONE) {
        if (!policy_is(j, kind, JSON_STRING))
            return policy_bad_value(msg, "partitionKey.kind", expected);
        struct bytes raw = json_raw(j, kind);
        if (text_equal_nocase(raw, "\"MultiHash\""))
            def->kind = PK_MULTI_HASH;
        else if (!text_equal_nocase(raw, "\"Hash\""))
            return policy_bad_value(msg, "partitionKey.kind", expected);
    }
    if ((def->kind == PK_MULTI_HASH) != (def->path_count > 1))
        return policy_bad_value(msg, "partitionKey.kind", expected);
    return ERR_OK;
}

/* An absent version means 1, as clients assume it when they hash. */
static int read_version(const struct json *j, json_ref object,
                        struct pk_def *def, struct err_msg *msg)
{
    int64_t version = def->kind == PK_MULTI_HASH ? 2 : 1;
    int err = json_get_int64(j, object, "version", &version);
    if (err == ERR_INVALID || version < 1 || version > 2 ||
        (def->kind == PK_MULTI_HASH && version != 2))
        return policy_bad_value(msg, "partitionKey.version",
                                "1 or 2, for \"MultiHash\" 2");
    def->version = (uint8_t)version;
    return ERR_OK;
}

int policy_read_partition_key(const struct json *j, json_ref value,
                              struct buf *scratch, struct pk_def *def_out,
                              struct err_msg *msg)
{
    if (value == JSON_NONE || !policy_is(j, value, JSON_OBJECT))
        return err_set(msg, ERR_INVALID,
                       "The partition key definition is missing or no object: "
                       "expected "
                       "\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":"
                       "\"Hash\",\"version\":2}.");
    struct pk_def def = {.path_count = 0};
    int err = read_paths(j, value, scratch, &def, msg);
    if (err == ERR_OK)
        err = read_kind(j, value, &def, msg);
    if (err == ERR_OK)
        err = read_version(j, value, &def, msg);
    if (err == ERR_OK &&
        json_get_bool(j, value, "systemKey", &def.system_key) == ERR_INVALID)
        err = policy_bad_value(msg, "partitionKey.systemKey", "a boolean");
    if (err == ERR_OK)
        *def_out = def;
    return err;
}

static void write_partition_key(const struct pk_def *def, bool with_version,
                                const char *name, struct json_writer *w)
{
    json_write_key(w, name);
    json_write_object_begin(w);
    json_write_key(w, "paths");
    json_write_array_begin(w);
    for (size_t i = 0; i < def->path_count; i++)
        json_write_string(w, def->paths[i]);
    json_write_array_end(w);
    json_write_member_str(w, "kind",
                          def->kind == PK_MULTI_HASH ? "MultiHash" : "Hash");
    if (with_version)
        json_write_member_int64(w, "version", def->version);
    if (def->system_key)
        json_write_member_bool(w, "systemKey", true);
    json_write_object_end(w);
}

int policy_partition_key(const struct json *j, json_ref value, const char *name,
                         struct json_writer *w, struct err_msg *msg)
{
    struct buf scratch;
    struct pk_def def;
    buf_init(&scratch, DEFINITION_MAX);
    int err = policy_read_partition_key(j, value, &scratch, &def, msg);
    if (err == ERR_OK) {
        /* Clients hash by what is echoed: a version that was not sent is not
         * shown, except where only one is possible. */
        bool with_version = def.kind == PK_MULTI_HASH ||
                            json_get_str(j, value, "version") != JSON_NONE;
        write_partition_key(&def, with_version, name, w);
    }
    buf_free(&scratch);
    return err;
}
