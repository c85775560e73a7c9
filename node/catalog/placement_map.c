#include "node/catalog/placement_map.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/text.h"
#include "node/json/json.h"

/* What is left of a text that is being read. */
struct reader {
    struct bytes in;
    struct err_msg *msg;
};

/* ---- signs ----------------------------------------------------------------
 */

static void skip_blanks(struct reader *r)
{
    while (r->in.len > 0 && r->in.data[0] == ' ')
        r->in = bytes_of(r->in.data + 1, r->in.len - 1);
}

/* A sign, and the blanks behind it. */
static bool take(struct reader *r, uint8_t sign)
{
    if (r->in.len == 0 || r->in.data[0] != sign)
        return false;
    r->in = bytes_of(r->in.data + 1, r->in.len - 1);
    skip_blanks(r);
    return true;
}

static bool in_word(uint8_t b)
{
    return b > ' ' && b != 0x7f && memchr(",=*:\"", b, 5) == NULL;
}

static struct bytes take_word(struct reader *r)
{
    size_t n = 0;
    while (n < r->in.len && in_word(r->in.data[n]))
        n++;
    struct bytes word = bytes_of(r->in.data, n);
    r->in = bytes_of(r->in.data + n, r->in.len - n);
    return word;
}

/* Bytes up to the quote that ends what the first byte begins; 0: none does. */
static size_t quoted_len(struct bytes in)
{
    for (size_t i = 1; i < in.len; i++) {
        if (in.data[i] == '\\')
            i++;
        else if (in.data[i] == '"')
            return i + 1;
    }
    return 0;
}

/* ---- reading --------------------------------------------------------------
 */

static int bad(struct reader *r, const char *what)
{
    return err_set(r->msg, ERR_INVALID,
                   "placement by partition key: %s; expected for example "
                   "'/country: de=eu, us*=us, *=reject'",
                   what);
}

/* Of a JSON string, decoded into the map's values. */
static int take_quoted(struct reader *r, struct placement_map *m,
                       struct placement_line *l)
{
    char storage[PLACEMENT_MAP_TEXT_MAX];
    struct buf decoded = buf_over(storage, sizeof(storage));
    struct json j;
    size_t len = quoted_len(r->in);
    json_init(&j);
    int err = len > 0 ? json_parse(&j, bytes_of(r->in.data, len),
                                   PLACEMENT_MAP_TEXT_MAX, NULL)
                      : ERR_MALFORMED;
    if (err == ERR_OK)
        err = json_decode_string(bytes_of(r->in.data, len), &decoded);
    json_free(&j);
    if (err != ERR_OK)
        return bad(r, "a quoted value is no JSON string");
    if (buf_len(&decoded) == 0 || buf_len(&decoded) > PLACEMENT_MAP_VALUE_MAX)
        return bad(r, "a quoted value has 1 to 127 bytes");
    l->len = (uint8_t)buf_len(&decoded);
    memcpy(m->values + l->at, buf_bytes(&decoded), l->len);
    r->in = bytes_of(r->in.data + len, r->in.len - len);
    return ERR_OK;
}

/* A value may be written longer than it is, never shorter: they all fit. */
static int take_value(struct reader *r, struct placement_map *m,
                      struct placement_line *l)
{
    if (r->in.len > 0 && r->in.data[0] == '"') {
        int err = take_quoted(r, m, l);
        if (err != ERR_OK)
            return err;
    } else {
        struct bytes word = take_word(r);
        if (word.len > PLACEMENT_MAP_VALUE_MAX)
            return bad(r, "a value has at most 127 bytes");
        l->len = (uint8_t)word.len;
        memcpy(m->values + l->at, word.data, word.len);
    }
    l->prefix = r->in.len > 0 && r->in.data[0] == '*';
    if (!l->prefix && l->len == 0)
        return bad(r, "a line has no value");
    if (l->prefix)
        take(r, '*');
    skip_blanks(r);
    return ERR_OK;
}

static int take_group(struct reader *r, struct placement_map *m,
                      struct placement_line *l)
{
    struct bytes name = take_word(r);
    skip_blanks(r);
    if (name.len == 0 || name.len > CATALOG_NAME_MAX ||
        memchr(name.data, '/', name.len) != NULL)
        return bad(r, "behind = there is a placement group, or reject");
    l->group = PLACEMENT_MAP_REJECTED;
    if (bytes_equal(name, bytes_str(PLACEMENT_MAP_REJECT)))
        return ERR_OK;
    for (uint8_t i = 0; i < m->group_count; i++)
        if (bytes_equal(name, bytes_str(m->groups[i])))
            l->group = i;
    if (l->group != PLACEMENT_MAP_REJECTED)
        return ERR_OK;
    if (m->group_count == PLACEMENT_MAP_GROUPS_MAX)
        return bad(r, "there are more than 8 groups");
    l->group = m->group_count++;
    memcpy(m->groups[l->group], name.data, name.len);
    m->groups[l->group][name.len] = '\0';
    return ERR_OK;
}

/* The line of exactly this; NULL. */
static struct placement_line *find_line(struct placement_map *m,
                                        struct bytes value, bool prefix)
{
    for (uint8_t i = 0; i < m->line_count; i++)
        if (m->lines[i].prefix == prefix &&
            bytes_equal(placement_map_value(m, &m->lines[i]), value))
            return &m->lines[i];
    return NULL;
}

/* A line, which is not yet one of the map's. */
static int take_line(struct reader *r, struct placement_map *m,
                     struct placement_line *l)
{
    *l = (struct placement_line){.at = m->values_len};
    if (r->in.len + m->values_len > PLACEMENT_MAP_TEXT_MAX)
        return bad(r, "it is longer than 4096 bytes");
    int err = take_value(r, m, l);
    if (err == ERR_OK && !take(r, '='))
        err = bad(r, "a value is followed by =");
    return err == ERR_OK ? take_group(r, m, l) : err;
}

static int push_line(struct reader *r, struct placement_map *m,
                     const struct placement_line *l)
{
    if (m->line_count == PLACEMENT_MAP_LINES_MAX)
        return bad(r, "there are more than 64 lines");
    m->lines[m->line_count++] = *l;
    m->values_len = (uint16_t)(l->at + l->len);
    return ERR_OK;
}

/* A colon inside quotes is the path's own. */
static int take_path(struct reader *r, struct placement_map *m)
{
    bool quoted = false;
    size_t len = 0;
    while (len < r->in.len && (quoted || r->in.data[len] != ':')) {
        if (quoted && r->in.data[len] == '\\')
            len++;
        else if (r->in.data[len] == '"')
            quoted = !quoted;
        len++;
    }
    if (len >= r->in.len)
        return bad(r, "the path ends with a colon");
    struct bytes path = bytes_of(r->in.data, len);
    r->in = bytes_of(path.data + len, r->in.len - len);
    while (path.len > 0 && path.data[path.len - 1] == ' ')
        path.len--;
    if (!placement_is_map(path) || path.len > PLACEMENT_MAP_PATH_MAX)
        return bad(r, "it begins with a path of at most 255 bytes");
    memcpy(m->path, path.data, path.len);
    m->path[path.len] = '\0';
    take(r, ':');
    return ERR_OK;
}

/* It becomes part of a JSON text. */
static bool legible(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] == 0x7f)
            return false;
    return text_is_utf8(text);
}

int placement_map_parse(struct bytes text, struct placement_map *m_out,
                        struct err_msg *msg)
{
    struct placement_map *m = m_out;
    struct reader r = {.in = text, .msg = msg};
    memset(m, 0, sizeof(*m));
    if (text.len > PLACEMENT_MAP_TEXT_MAX || !legible(text))
        return bad(&r, "it is longer than 4096 bytes, or no plain text");
    int err = take_path(&r, m);
    do {
        struct placement_line l;
        if (err == ERR_OK)
            err = take_line(&r, m, &l);
        if (err == ERR_OK &&
            find_line(m, placement_map_value(m, &l), l.prefix) != NULL)
            err = bad(&r, "two lines have the same value");
        if (err == ERR_OK)
            err = push_line(&r, m, &l);
    } while (err == ERR_OK && take(&r, ','));
    if (err == ERR_OK && r.in.len > 0)
        err = bad(&r, "lines are joined by commas");
    if (err == ERR_OK && m->group_count == 0)
        err = bad(&r, "no line names a group");
    return err;
}

/* ---- writing --------------------------------------------------------------
 */

static int format_value(struct bytes value, struct buf *out)
{
    bool word = true;
    for (size_t i = 0; i < value.len; i++)
        word &= in_word(value.data[i]);
    if (word)
        return buf_append(out, value.data, value.len);
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_string(&w, value);
    return json_writer_end(&w);
}

int placement_map_format(const struct placement_map *m, struct buf *out)
{
    int err = buf_printf(out, "%s:", m->path);
    for (uint8_t i = 0; err == ERR_OK && i < m->line_count; i++) {
        const struct placement_line *l = &m->lines[i];
        err = buf_append_str(out, i > 0 ? ", " : " ");
        if (err == ERR_OK)
            err = format_value(placement_map_value(m, l), out);
        if (err == ERR_OK)
            err = buf_printf(out, "%s=%s", l->prefix ? "*" : "",
                             l->group == PLACEMENT_MAP_REJECTED
                                 ? PLACEMENT_MAP_REJECT
                                 : m->groups[l->group]);
    }
    return err;
}

/* ---- a container's --------------------------------------------------------
 */

int placement_map_fit(struct placement_map *m, const struct pk_def *def,
                      struct err_msg *msg)
{
    for (uint8_t i = 0; i < def->path_count; i++)
        if (bytes_equal(def->paths[i], bytes_str(m->path))) {
            m->component = i;
            return ERR_OK;
        }
    return err_set(msg, ERR_INVALID,
                   "placement by partition key: %s is none of the container's "
                   "partition key paths",
                   m->path);
}

/* The group of the longest beginning of `value` that has a line. */
static uint8_t find_prefix(const struct placement_map *m, struct bytes value)
{
    uint8_t group = PLACEMENT_MAP_REJECTED;
    int longest = -1;
    for (uint8_t i = 0; i < m->line_count; i++) {
        const struct placement_line *l = &m->lines[i];
        if (l->prefix && l->len <= value.len && l->len > longest &&
            memcmp(m->values + l->at, value.data, l->len) == 0) {
            longest = l->len;
            group = l->group;
        }
    }
    return group;
}

static uint8_t find_string(const struct placement_map *m, struct bytes value)
{
    for (uint8_t i = 0; i < m->line_count; i++) {
        const struct placement_line *l = &m->lines[i];
        if (!l->prefix && bytes_equal(placement_map_value(m, l), value))
            return l->group;
    }
    return find_prefix(m, value);
}

uint8_t placement_map_find(const struct placement_map *m,
                           const struct partition_key *pk, uint8_t at)
{
    CHECK(at < pk->count);
    const struct pk_component *part = &pk->parts[at];
    if (part->type != PK_STRING)
        return find_prefix(m, bytes_of("", 0));
    return find_string(m, bytes_of(pk->text + part->at, part->len));
}

bool placement_map_names(const struct placement_map *m, struct bytes group)
{
    for (uint8_t i = 0; i < m->group_count; i++)
        if (bytes_equal(group, bytes_str(m->groups[i])))
            return true;
    return false;
}

/* ---- adding ---------------------------------------------------------------
 */

/* Lines that say `reject` give way. */
static void remove_line(struct placement_map *m, const struct placement_line *l)
{
    size_t at = (size_t)(l - m->lines);
    m->line_count--;
    memmove(&m->lines[at], &m->lines[at + 1],
            (m->line_count - at) * sizeof(m->lines[0]));
}

/* What the line would take is all that its value stands for but what has a
 * longer line of its own, and so goes by the same line until now. */
static int add(struct reader *r, struct placement_map *m)
{
    struct placement_line l;
    int err = take_line(r, m, &l);
    if (err == ERR_OK && r->in.len > 0)
        err = bad(r, "lines are added one by one");
    if (err == ERR_OK && l.group == PLACEMENT_MAP_REJECTED)
        err = bad(r, "what is added names a group: what has no group is "
                     "rejected already, what has one keeps it");
    if (err != ERR_OK)
        return err;
    struct bytes value = placement_map_value(m, &l);
    uint8_t now = l.prefix ? find_prefix(m, value) : find_string(m, value);
    if (now == l.group)
        return ERR_OK;
    if (now != PLACEMENT_MAP_REJECTED)
        return err_set(r->msg, ERR_EXISTS,
                       "placement by partition key: documents of that value "
                       "are in placement group %s and would have to move; "
                       "only what is rejected can be given a group",
                       m->groups[now]);
    struct placement_line *same = find_line(m, value, l.prefix);
    if (same != NULL)
        remove_line(m, same);
    return push_line(r, m, &l);
}

int placement_map_add(struct placement_map *m, struct bytes line,
                      struct err_msg *msg)
{
    struct placement_map before = *m;
    struct reader r = {.in = line, .msg = msg};
    skip_blanks(&r);
    int err = legible(line) ? add(&r, m) : bad(&r, "it is no plain text");
    char storage[2 * PLACEMENT_MAP_TEXT_MAX];
    struct buf text = buf_over(storage, sizeof(storage));
    if (err == ERR_OK && (placement_map_format(m, &text) != ERR_OK ||
                          buf_len(&text) > PLACEMENT_MAP_TEXT_MAX))
        err = bad(&r, "it would be longer than 4096 bytes");
    if (err != ERR_OK)
        *m = before;
    return err;
}
