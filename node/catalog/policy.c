#include "node/catalog/policy.h"

#include "node/base/check.h"
#include "node/base/text.h"

bool policy_is(const struct json *j, json_ref value, enum json_type type)
{
    return value != JSON_NONE && json_type(j, value) == type;
}

json_ref policy_member(const struct json *j, json_ref object, const char *name)
{
    json_ref value = json_get_str(j, object, name);
    return policy_is(j, value, JSON_NULL) ? JSON_NONE : value;
}

bool policy_is_path(const struct json *j, json_ref value)
{
    if (!policy_is(j, value, JSON_STRING))
        return false;
    char decoded[POLICY_PATH_MAX];
    struct buf scratch = buf_over(decoded, sizeof(decoded));
    struct bytes path;
    return json_string(j, value, &scratch, &path) == ERR_OK && path.len > 0 &&
           path.len <= POLICY_PATH_MAX && path.data[0] == '/';
}

int policy_bad_value(struct err_msg *msg, const char *name,
                     const char *expected)
{
    return err_set(msg, ERR_INVALID,
                   "The value of property '%s' is invalid: expected %s.", name,
                   expected);
}

int policy_ttl(const struct json *j, json_ref value, const char *name,
               struct json_writer *w, struct err_msg *msg)
{
    int64_t ttl;
    if (value == JSON_NONE)
        return ERR_OK;
    if (!policy_is(j, value, JSON_NUMBER) ||
        json_int64(j, value, &ttl) != ERR_OK || ttl == 0 || ttl < -1 ||
        ttl > INT32_MAX)
        return policy_bad_value(msg, name,
                                "-1 or an integer from 1 to 2147483647");
    json_write_member_int64(w, name, ttl);
    return ERR_OK;
}

int policy_integer(const struct json *j, json_ref value, const char *name,
                   struct json_writer *w, struct err_msg *msg)
{
    int64_t number;
    if (value == JSON_NONE)
        return ERR_OK;
    if (!policy_is(j, value, JSON_NUMBER) ||
        json_int64(j, value, &number) != ERR_OK)
        return policy_bad_value(msg, name, "an integer");
    json_write_member_int64(w, name, number);
    return ERR_OK;
}

static int check_unique_key(const struct json *j, json_ref key,
                            struct err_msg *msg)
{
    json_ref paths = json_get_str(j, key, "paths");
    bool legal = policy_is(j, paths, JSON_ARRAY) && json_count(j, paths) > 0 &&
                 json_count(j, paths) <= UNIQUE_KEY_PATHS_MAX;
    for (json_ref p = legal ? json_first(j, paths) : JSON_NONE; p != JSON_NONE;
         p = json_next(j, paths, p))
        legal = legal && policy_is_path(j, p);
    if (legal)
        return ERR_OK;
    return policy_bad_value(
        msg, "uniqueKeyPolicy.uniqueKeys",
        "{\"paths\":[...]} of one to sixteen property paths");
}

int policy_unique_keys(const struct json *j, json_ref value, const char *name,
                       struct json_writer *w, struct err_msg *msg)
{
    if (value == JSON_NONE)
        return ERR_OK;
    json_ref keys = policy_member(j, value, "uniqueKeys");
    if (!policy_is(j, value, JSON_OBJECT) ||
        (keys != JSON_NONE && (!policy_is(j, keys, JSON_ARRAY) ||
                               json_count(j, keys) > UNIQUE_KEYS_MAX)))
        return policy_bad_value(msg, name,
                                "{\"uniqueKeys\":[...]} of at most ten keys");
    json_write_key(w, name);
    json_write_object_begin(w);
    json_write_key(w, "uniqueKeys");
    json_write_array_begin(w);
    for (json_ref k = keys != JSON_NONE ? json_first(j, keys) : JSON_NONE;
         k != JSON_NONE; k = json_next(j, keys, k)) {
        int err = check_unique_key(j, k, msg);
        if (err != ERR_OK)
            return err;
        json_write_object_begin(w);
        json_write_key(w, "paths");
        json_write_value(w, j, json_get_str(j, k, "paths"));
        json_write_object_end(w);
    }
    json_write_array_end(w);
    json_write_object_end(w);
    return ERR_OK;
}

/* A member that is a string or absent; its text as JSON, else `absent`. */
static int string_member(const struct json *j, json_ref object, const char *key,
                         const char *absent, struct bytes *raw_out,
                         struct err_msg *msg)
{
    json_ref value =
        object != JSON_NONE ? policy_member(j, object, key) : JSON_NONE;
    if (value == JSON_NONE) {
        *raw_out = bytes_str(absent);
        return ERR_OK;
    }
    if (!policy_is(j, value, JSON_STRING))
        return policy_bad_value(msg, key, "a string");
    *raw_out = json_raw(j, value);
    return ERR_OK;
}

int policy_conflict(const struct json *j, json_ref value, const char *name,
                    struct json_writer *w, struct err_msg *msg)
{
    if (value != JSON_NONE && !policy_is(j, value, JSON_OBJECT))
        return policy_bad_value(msg, name, "an object");
    struct bytes mode, path, procedure;
    int err = string_member(j, value, "mode", "\"LastWriterWins\"", &mode, msg);
    if (err != ERR_OK)
        return err;
    bool last_wins = text_equal_nocase(mode, "\"LastWriterWins\"");
    if (!last_wins && !text_equal_nocase(mode, "\"Custom\""))
        return policy_bad_value(msg, "conflictResolutionPolicy.mode",
                                "\"LastWriterWins\" or \"Custom\"");
    err = string_member(j, value, "conflictResolutionPath",
                        last_wins ? "\"/_ts\"" : "\"\"", &path, msg);
    if (err == ERR_OK)
        err = string_member(j, value, "conflictResolutionProcedure", "\"\"",
                            &procedure, msg);
    if (err != ERR_OK)
        return err;
    if (last_wins && path.len == 2)
        path = bytes_str("\"/_ts\"");
    json_write_key(w, name);
    json_write_object_begin(w);
    json_write_member_str(w, "mode", last_wins ? "LastWriterWins" : "Custom");
    json_write_member_raw(w, "conflictResolutionPath", path);
    json_write_member_raw(w, "conflictResolutionProcedure", procedure);
    json_write_object_end(w);
    return ERR_OK;
}

int policy_geospatial(const struct json *j, json_ref value, const char *name,
                      struct json_writer *w, struct err_msg *msg)
{
    if (value != JSON_NONE && !policy_is(j, value, JSON_OBJECT))
        return policy_bad_value(msg, name, "an object");
    struct bytes type;
    int err = string_member(j, value, "type", "\"Geography\"", &type, msg);
    if (err != ERR_OK)
        return err;
    bool geometry = text_equal_nocase(type, "\"Geometry\"");
    if (!geometry && !text_equal_nocase(type, "\"Geography\""))
        return policy_bad_value(msg, "geospatialConfig.type",
                                "\"Geography\" or \"Geometry\"");
    json_write_key(w, name);
    json_write_object_begin(w);
    json_write_member_str(w, "type", geometry ? "Geometry" : "Geography");
    json_write_object_end(w);
    return ERR_OK;
}

int policy_computed(const struct json *j, json_ref value, const char *name,
                    struct json_writer *w, struct err_msg *msg)
{
    static const char expected[] =
        "an array of at most twenty {\"name\":\"...\",\"query\":\"...\"}";
    if (value == JSON_NONE)
        return ERR_OK;
    if (!policy_is(j, value, JSON_ARRAY) ||
        json_count(j, value) > COMPUTED_PROPERTIES_MAX)
        return policy_bad_value(msg, name, expected);
    for (json_ref e = json_first(j, value); e != JSON_NONE;
         e = json_next(j, value, e))
        if (!policy_is(j, json_get_str(j, e, "name"), JSON_STRING) ||
            !policy_is(j, json_get_str(j, e, "query"), JSON_STRING))
            return policy_bad_value(msg, name, expected);
    json_write_key(w, name);
    json_write_value(w, j, value);
    return ERR_OK;
}

int policy_object(const struct json *j, json_ref value, const char *name,
                  struct json_writer *w, struct err_msg *msg)
{
    if (value == JSON_NONE)
        return ERR_OK;
    if (!policy_is(j, value, JSON_OBJECT))
        return policy_bad_value(msg, name, "an object");
    json_write_key(w, name);
    json_write_value(w, j, value);
    return ERR_OK;
}

int policy_array(const struct json *j, json_ref value, const char *name,
                 struct json_writer *w, struct err_msg *msg)
{
    if (value == JSON_NONE)
        return ERR_OK;
    if (!policy_is(j, value, JSON_ARRAY))
        return policy_bad_value(msg, name, "an array");
    json_write_key(w, name);
    json_write_value(w, j, value);
    return ERR_OK;
}

/* -- comparing ----------------------------------------------------------- */

static bool strings_equal(const struct json *a, json_ref x,
                          const struct json *b, json_ref y)
{
    if (!json_string_escaped(a, x)) {
        struct bytes raw = json_raw(a, x);
        return json_string_equal(b, y, bytes_of(raw.data + 1, raw.len - 2));
    }
    struct buf scratch;
    struct bytes text;
    buf_init(&scratch, DEFINITION_MAX);
    bool equal = json_string(a, x, &scratch, &text) == ERR_OK &&
                 json_string_equal(b, y, text);
    buf_free(&scratch);
    return equal;
}

static bool arrays_equal(const struct json *a, json_ref x, const struct json *b,
                         json_ref y)
{
    json_ref q = json_first(b, y);
    for (json_ref p = json_first(a, x); p != JSON_NONE;
         p = json_next(a, x, p)) {
        if (q == JSON_NONE || !policy_equal(a, p, b, q))
            return false;
        q = json_next(b, y, q);
    }
    return q == JSON_NONE;
}

static json_ref same_member(const struct json *a, json_ref key,
                            const struct json *b, json_ref object)
{
    for (json_ref k = json_first(b, object); k != JSON_NONE;
         k = json_next_member(b, object, k))
        if (strings_equal(a, key, b, k))
            return k + 1;
    return JSON_NONE;
}

static bool objects_equal(const struct json *a, json_ref x,
                          const struct json *b, json_ref y)
{
    if (json_count(a, x) != json_count(b, y))
        return false;
    for (json_ref k = json_first(a, x); k != JSON_NONE;
         k = json_next_member(a, x, k)) {
        json_ref other = same_member(a, k, b, y);
        if (other == JSON_NONE || !policy_equal(a, k + 1, b, other))
            return false;
    }
    return true;
}

bool policy_equal(const struct json *a, json_ref x, const struct json *b,
                  json_ref y)
{
    if (json_type(a, x) != json_type(b, y))
        return false;
    switch (json_type(a, x)) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return json_bool(a, x) == json_bool(b, y);
    case JSON_NUMBER:
        return json_number(a, x) == json_number(b, y);
    case JSON_STRING:
        return strings_equal(a, x, b, y);
    case JSON_ARRAY:
        return arrays_equal(a, x, b, y);
    case JSON_OBJECT:
        return objects_equal(a, x, b, y);
    }
    CHECK_UNREACHABLE();
}
