/* Finding functions, and those about types and time. */
#include "node/query/function.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "node/base/check.h"
#include "node/base/text.h"

static const struct function *const families[] = {
    function_types, function_strings, function_numbers, function_arrays};

const struct function *function_find(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        for (const struct function *f = families[i]; f->name != NULL; f++)
            if (text_equal_nocase(name, f->name))
                return f;
    return NULL;
}

/* Part of the language, but not run by this version. */
static const char *const unsupported[] = {
    "MAKELIST",
    "MAKESET",
    "DATETIMEADD",
    "DATETIMEBIN",
    "DATETIMEDIFF",
    "DATETIMEFORMAT",
    "DATETIMEFROMPARTS",
    "DATETIMEPART",
    "DATETIMETOTICKS",
    "DATETIMETOTIMESTAMP",
    "TICKSTODATETIME",
    "TIMESTAMPTODATETIME",
    "YEAR",
    "MONTH",
    "DAY",
    "FULLTEXTCONTAINS",
    "FULLTEXTCONTAINSALL",
    "FULLTEXTCONTAINSANY",
    "FULLTEXTSCORE",
    "RRF",
    "DOCUMENTID",
    "RAND",
    "ST_AREA",
    "ST_DISTANCE",
    "ST_INTERSECTS",
    "ST_ISVALID",
    "ST_ISVALIDDETAILED",
    "ST_WITHIN",
    "REGEXMATCH",
    "REGEXEXTRACT",
    "REGEXEXTRACTALL",
    "IS_DATETIME",
    "VECTORDISTANCE",
    "HASH",
    "ALL",
    "FIRST",
    "LAST",
};

bool function_is_known(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(unsupported); i++)
        if (text_equal_nocase(name, unsupported[i]))
            return true;
    return false;
}

/* -- types
 * ------------------------------------------------------------------------ */

static struct value is_type(const struct call *c, enum value_type type)
{
    return value_bool(c->args[0].type == type);
}

static struct value is_array(const struct call *c)
{
    return is_type(c, VALUE_ARRAY);
}
static struct value is_bool(const struct call *c)
{
    return is_type(c, VALUE_BOOL);
}
static struct value is_null(const struct call *c)
{
    return is_type(c, VALUE_NULL);
}
static struct value is_number(const struct call *c)
{
    return is_type(c, VALUE_NUMBER);
}
static struct value is_object(const struct call *c)
{
    return is_type(c, VALUE_OBJECT);
}
static struct value is_string(const struct call *c)
{
    return is_type(c, VALUE_STRING);
}

static struct value is_defined(const struct call *c)
{
    return value_bool(c->args[0].type != VALUE_UNDEFINED);
}

static struct value is_integer(const struct call *c)
{
    const struct value *v = &c->args[0];
    return value_bool(v->type == VALUE_NUMBER && trunc(v->number) == v->number);
}

static struct value is_primitive(const struct call *c)
{
    enum value_type type = c->args[0].type;
    return value_bool(type >= VALUE_NULL && type <= VALUE_STRING);
}

static struct value iif(const struct call *c)
{
    return value_is_true(&c->args[0]) ? c->args[1] : c->args[2];
}

/* -- time: the clock is read once, by the caller of the query
 * ----------------------- */

static struct value current_timestamp(const struct call *c)
{
    return value_number((double)c->now_ms);
}

static struct value current_ticks(const struct call *c)
{
    return value_number((double)c->now_ms * 10000);
}

static struct value current_datetime(const struct call *c)
{
    char text[40];
    struct tm tm;
    time_t seconds = (time_t)(c->now_ms / 1000);
    if (gmtime_r(&seconds, &tm) == NULL)
        return value_undefined();
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof(text) - len, ".%03u0000Z",
             (unsigned)(c->now_ms % 1000));
    return value_string(arena_copy(c->arena, bytes_str(text)));
}

const struct function function_types[] = {
    {"IS_ARRAY", 1, 1, true, is_array},
    {"IS_BOOL", 1, 1, true, is_bool},
    {"IS_DEFINED", 1, 1, true, is_defined},
    {"IS_FINITE_NUMBER", 1, 1, true, is_number},
    {"IS_INTEGER", 1, 1, true, is_integer},
    {"IS_NULL", 1, 1, true, is_null},
    {"IS_NUMBER", 1, 1, true, is_number},
    {"IS_OBJECT", 1, 1, true, is_object},
    {"IS_PRIMITIVE", 1, 1, true, is_primitive},
    {"IS_STRING", 1, 1, true, is_string},
    {"IIF", 3, 3, true, iif},
    {"GETCURRENTTIMESTAMP", 0, 0, false, current_timestamp},
    {"GETCURRENTTIMESTAMPSTATIC", 0, 0, false, current_timestamp},
    {"GETCURRENTTICKS", 0, 0, false, current_ticks},
    {"GETCURRENTTICKSSTATIC", 0, 0, false, current_ticks},
    {"GETCURRENTDATETIME", 0, 0, false, current_datetime},
    {"GETCURRENTDATETIMESTATIC", 0, 0, false, current_datetime},
    {.name = NULL},
};
