/* JSON (RFC 8259): a scanner that builds no tree, look-ups, and a writer.
 *
 * json_parse() reads the text once, checks all of it, and leaves a flat array
 * of 16-byte nodes in document order. Nothing is copied: a node says where its
 * value stands in the borrowed text. Numbers keep their text; strings are
 * decoded when somebody asks. A `struct json` keeps its node array from one
 * parse to the next, so that a worker parses without allocating.
 *
 * Stricter than the RFC, and where the RFC leaves the choice:
 *   - the text must be UTF-8 (RFC 3629), without a byte order mark;
 *   - an escaped surrogate without its partner is refused;
 *   - a number too large for a double is refused (one too small becomes 0);
 *   - values nest at most JSON_DEPTH_MAX deep;
 *   - equal keys in one object are accepted and the last value wins, as
 *     JavaScript does it. json_get() finds the last; json_members_unique()
 *     and json_document_normalise() resolve them.
 *
 * A node is named by its index, `json_ref`. The root is node 0. The children
 * of an array follow it; the members of an object follow it as pairs, first
 * the key (a string node), then the value at `key + 1`:
 *
 *     for (json_ref k = json_first(j, obj); k != JSON_NONE;
 *          k = json_next_member(j, obj, k)) { ... value is k + 1 ... }
 *     for (json_ref v = json_first(j, arr); v != JSON_NONE;
 *          v = json_next(j, arr, v)) { ... }
 *
 * A `struct json` belongs to one worker. No call here reads a clock, a
 * descriptor or a global. */
#ifndef BASTIDE_JSON_JSON_H
#define BASTIDE_JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"

/* How deep arrays and objects may nest; the root container is level 1. */
#define JSON_DEPTH_MAX 128
/* How deep json_parse_deep may be told to go. */
#define JSON_DEPTH_LIMIT 512
/* No text longer than this is ever parsed (offsets and counts are packed). */
#define JSON_TEXT_MAX (16u * 1024 * 1024 - 1)
/* The node array kept between parses; a larger one is given back. */
#define JSON_NODES_KEPT 16384
/* Longest result of json_format_number, with its final NUL. */
#define JSON_NUMBER_MAX 32

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

typedef uint32_t json_ref;
#define JSON_NONE UINT32_MAX

/* One value or key. Read it through the functions below. */
struct json_node {
    uint32_t at;         /* offset of the first byte of its text */
    uint32_t len;        /* bytes of its text, quotes and brackets included */
    json_ref next;       /* the node after this value and all inside it */
    uint32_t count : 24; /* elements of an array, members of an object */
    uint32_t type : 4;   /* enum json_type */
    uint32_t flags : 4;  /* private to the module */
};

struct json {
    const uint8_t *text; /* borrowed by json_parse */
    size_t len;
    struct json_node *nodes; /* owned */
    uint32_t count;
    uint32_t cap;
    bool has_space; /* white space stands between the tokens */
};

/* What was wrong with a text: a code for programs, the byte it was noticed at
 * (0-based), and a sentence such as "lone surrogate in string at byte 17". */
#define JSON_FAULT_LIST(X)                                                     \
    X(NONE, "no error")                                                        \
    X(EMPTY, "no value")                                                       \
    X(TOO_LARGE, "text is too large")                                          \
    X(TOO_DEEP, "values are nested too deeply")                                \
    X(END, "text ends inside a value")                                         \
    X(TRAILING, "unexpected bytes after the value")                            \
    X(VALUE, "expected a value")                                               \
    X(KEY, "expected a property name in quotes")                               \
    X(COLON, "expected ':' after a property name")                             \
    X(COMMA, "expected ',' or the closing bracket")                            \
    X(NUMBER, "malformed number")                                              \
    X(NUMBER_RANGE, "number does not fit a double")                            \
    X(CONTROL, "unescaped control character in string")                        \
    X(ESCAPE, "unknown escape in string")                                      \
    X(HEX, "malformed \\u escape in string")                                   \
    X(SURROGATE, "lone surrogate in string")                                   \
    X(UTF8, "invalid UTF-8 in string")

enum json_fault {
#define JSON_FAULT_ENUM(name, text) JSON_FAULT_##name,
    JSON_FAULT_LIST(JSON_FAULT_ENUM)
#undef JSON_FAULT_ENUM
};

#define JSON_ERROR_TEXT_MAX 96
struct json_error {
    enum json_fault fault;
    size_t at;
    char text[JSON_ERROR_TEXT_MAX];
};

/* -- parsing -------------------------------------------------------------- */

/* Makes an empty parser; allocates nothing. */
void json_init(struct json *j);
/* Frees the node array; the parser may be used again. */
void json_free(struct json *j);

/* Checks `text` and makes its nodes; whatever `j` held before is forgotten.
 * The text is borrowed until the next parse, or until `j` is no longer read.
 * `max` bounds the text in bytes, on top of JSON_TEXT_MAX.
 * ERR_LIMIT: longer than `max`, or deeper than JSON_DEPTH_MAX.
 * ERR_MALFORMED: not JSON by the rules above.
 * ERR_NO_MEMORY: no room for the node array.
 * On failure `j` is empty and `*error` (may be NULL) says what and where. */
int json_parse(struct json *j, struct bytes text, size_t max,
               struct json_error *error);
/* The same with another bound on the depth, at most JSON_DEPTH_LIMIT: for texts
 * of our own that wrap documents. */
int json_parse_deep(struct json *j, struct bytes text, size_t max,
                    uint32_t depth_max, struct json_error *error);

/* -- reading; `ref` must be a node of `j` ---------------------------------- */

static inline enum json_type json_type(const struct json *j, json_ref ref)
{
    return (enum json_type)j->nodes[ref].type;
}
/* The value's own text, as written. Borrowed from the parsed text. */
static inline struct bytes json_raw(const struct json *j, json_ref ref)
{
    const struct json_node *n = &j->nodes[ref];
    return bytes_of(j->text + n->at, n->len);
}
/* Elements of an array, members of an object (equal keys counted each), else
 * 0. */
static inline uint32_t json_count(const struct json *j, json_ref ref)
{
    return j->nodes[ref].count;
}
/* First element of an array, first key of an object; JSON_NONE when empty or
 * not a container. */
static inline json_ref json_first(const struct json *j, json_ref ref)
{
    return j->nodes[ref].count > 0 ? ref + 1 : JSON_NONE;
}
/* The element after `element` of `array`; JSON_NONE after the last. */
static inline json_ref json_next(const struct json *j, json_ref array,
                                 json_ref element)
{
    json_ref next = j->nodes[element].next;
    return next < j->nodes[array].next ? next : JSON_NONE;
}
/* The key after `key` of `object`; JSON_NONE after the last. */
static inline json_ref json_next_member(const struct json *j, json_ref object,
                                        json_ref key)
{
    return json_next(j, object, key + 1);
}

/* Value of a JSON_BOOL node. */
bool json_bool(const struct json *j, json_ref ref);
/* Value of a JSON_NUMBER node; always finite. */
double json_number(const struct json *j, json_ref ref);
/* Whether a JSON_NUMBER node is written as an integer ("12", "-3", not "1.0" or
 * "1e3") that fits; stores it. Otherwise ERR_INVALID. */
int json_int64(const struct json *j, json_ref ref, int64_t *value_out);

/* The text of a JSON_STRING node. Without escapes: borrowed from the parsed
 * text. With escapes: decoded into `scratch` (appended; the result points into
 * it until it changes). Errors: those of buf_append. */
int json_string(const struct json *j, json_ref ref, struct buf *scratch,
                struct bytes *text_out);
/* Whether a JSON_STRING node needs decoding. */
bool json_string_escaped(const struct json *j, json_ref ref);
/* Whether a JSON_STRING node (key or value) decodes to exactly `text`. */
bool json_string_equal(const struct json *j, json_ref ref, struct bytes text);
/* Appends the decoded text of a quoted JSON string that json_parse accepted. */
int json_decode_string(struct bytes quoted, struct buf *out);

/* The value of the last member of that name; JSON_NONE when there is none or
 * `object` is not an object. */
json_ref json_get(const struct json *j, json_ref object, struct bytes key);
/* Same, for a literal name. */
json_ref json_get_str(const struct json *j, json_ref object, const char *key);
/* The element at `index` from 0; JSON_NONE when out of range or no array. */
json_ref json_at(const struct json *j, json_ref array, uint32_t index);

/* Whether no object in or below `ref` has two members of one name. Without
 * memory to find out, false. */
bool json_members_unique(const struct json *j, json_ref ref);

/* -- typed members: what handlers of request bodies use ---------------------
 */

/* Member `key` of `object` as a string. ERR_NOT_FOUND: no such member.
 * ERR_INVALID: it is no string. Otherwise as json_string. */
int json_get_string(const struct json *j, json_ref object, const char *key,
                    struct buf *scratch, struct bytes *text_out);
/* Likewise; ERR_INVALID also when not an integer that fits. */
int json_get_int64(const struct json *j, json_ref object, const char *key,
                   int64_t *value_out);
int json_get_bool(const struct json *j, json_ref object, const char *key,
                  bool *value_out);

/* -- property paths, as in partition keys: /a/b, /"a b"/c, \" inside quotes --
 */

/* Takes the first segment off `*path`. A quoted segment with backslashes is
 * decoded into `scratch` (appended), others are borrowed from the path.
 * ERR_EOF: the path is used up. ERR_INVALID: not a path (no leading '/', empty
 * segment, unclosed quote). */
int json_path_segment(struct bytes *path, struct buf *scratch,
                      struct bytes *segment_out);
/* ERR_OK or ERR_INVALID for a whole path; "/" alone and "" are invalid. */
int json_path_check(struct bytes path);
/* The value at `path` below `ref`; JSON_NONE when a segment is missing, passes
 * through something that is no object, or the path is invalid. */
json_ref json_path(const struct json *j, json_ref ref, struct bytes path);

/* -- numbers ----------------------------------------------------------------
 */

/* Value of a number's text, which must be one json_parse accepts. Infinite when
 * it does not fit. */
double json_text_to_double(struct bytes text);
/* The shortest text that reads back as `value`, in JavaScript's form: 1, 1.5,
 * 1e+21, 1e-7, 0 for -0. Returns its length. `value` must be finite. */
size_t json_format_number(double value, char text_out[JSON_NUMBER_MAX]);

/* -- writing ----------------------------------------------------------------
 */

/* Writes one JSON text into a buffer, without white space. The first error
 * stays: later calls do nothing, and json_writer_end() reports it. Calls out
 * of order (a key outside an object, unbalanced ends) are programming errors.
 * The writer owns nothing; dropping it half-way is fine. */
struct json_writer {
    struct buf *out;
    int result;     /* first error, ERR_OK so far */
    uint32_t depth; /* open containers */
    bool comma;     /* a value stands before the next one */
};

/* Values are appended to `out`, which the caller keeps alive. */
void json_writer_init(struct json_writer *w, struct buf *out);
/* The first error, or ERR_OK; every container must be closed (unless failed).*/
int json_writer_end(const struct json_writer *w);

void json_write_object_begin(struct json_writer *w);
void json_write_object_end(struct json_writer *w);
void json_write_array_begin(struct json_writer *w);
void json_write_array_end(struct json_writer *w);
/* The name of the next member; its value follows. */
void json_write_key(struct json_writer *w, const char *key);
void json_write_key_bytes(struct json_writer *w, struct bytes key);
/* Likewise, for a name that already is a quoted JSON string. */
void json_write_key_raw(struct json_writer *w, struct bytes quoted);
/* A string in UTF-8. Bytes that are not UTF-8 come out as U+FFFD. */
void json_write_string(struct json_writer *w, struct bytes text);
void json_write_str(struct json_writer *w, const char *text);
/* A finite number in the form of json_format_number. */
void json_write_number(struct json_writer *w, double value);
void json_write_int64(struct json_writer *w, int64_t value);
void json_write_uint64(struct json_writer *w, uint64_t value);
void json_write_bool(struct json_writer *w, bool value);
void json_write_null(struct json_writer *w);
/* A value that already is JSON text; passed through unchecked. */
void json_write_raw(struct json_writer *w, struct bytes json);
/* Key and value in one: the common members of REST bodies. */
void json_write_member_str(struct json_writer *w, const char *key,
                           const char *text);
void json_write_member_string(struct json_writer *w, const char *key,
                              struct bytes text);
void json_write_member_int64(struct json_writer *w, const char *key,
                             int64_t value);
void json_write_member_bool(struct json_writer *w, const char *key, bool value);
void json_write_member_raw(struct json_writer *w, const char *key,
                           struct bytes json);

/* Appends `text` to `out` as a quoted JSON string. */
int json_quote(struct bytes text, struct buf *out);
/* Writes a parsed value, without white space and with equal keys resolved. */
void json_write_value(struct json_writer *w, const struct json *j,
                      json_ref ref);

/* -- documents --------------------------------------------------------------
 */

/* Whether `name` is a property the server owns at the top level of a document:
 * _rid, _self, _etag, _attachments, _ts, _lsn. */
bool json_is_system_property(struct bytes name);

/* Opens an object in `w` and writes the members of `object` (a JSON_OBJECT node
 * of `j`) as they are to be stored: white space outside strings gone; of equal
 * keys one left, at the place of the first with the value of the last; system
 * properties at the top level left out; every number, escape and the order of
 * members as written. The object stays open: the caller adds the system
 * properties and calls json_write_object_end(). Text that needs no change is
 * copied in one piece. */
void json_document_normalise(struct json_writer *w, const struct json *j,
                             json_ref object);

#endif
