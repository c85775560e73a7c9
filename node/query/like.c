/* LIKE. */
#include "node/query/function.h"
#include "node/query/utf8.h"

/* A pattern that is being read. */
struct pattern {
    struct bytes text;
    uint32_t escape; /* code point, 0: none */
};

static uint32_t next_point(struct bytes text, size_t *at)
{
    uint32_t point = utf8_decode(text.data + *at);
    *at += utf8_len(text.data + *at);
    return point;
}

/* The set whose '[' is at `*at`: whether it holds `point`. Moves `*at` behind
 * the ']'. False with `*at` unmoved when there is no ']'. */
static bool match_set(struct bytes p, size_t *at, uint32_t point, bool *is_set)
{
    size_t i = *at + 1;
    bool negated = i < p.len && p.data[i] == '^', found = false;
    i += negated;
    for (bool first = true; i < p.len && (first || p.data[i] != ']');
         first = false) {
        uint32_t low = next_point(p, &i), high = low;
        if (i + 1 < p.len && p.data[i] == '-' && p.data[i + 1] != ']') {
            i++;
            high = next_point(p, &i);
        }
        found |= point >= low && point <= high;
    }
    *is_set = i < p.len;
    if (*is_set)
        *at = i + 1;
    return found != negated;
}

/* Matches one character against the element of the pattern at `*at`, which is
 * not '%', and moves `*at` behind the element. */
static bool match_one(const struct pattern *p, size_t *at, uint32_t point)
{
    size_t start = *at;
    uint32_t element = next_point(p->text, at);
    if (p->escape != 0 && element == p->escape && *at < p->text.len)
        return next_point(p->text, at) == point;
    if (element == '_')
        return true;
    if (element == '[') {
        bool is_set;
        size_t behind = start;
        bool matched = match_set(p->text, &behind, point, &is_set);
        if (is_set) {
            *at = behind;
            return matched;
        }
    }
    return element == point;
}

/* Greedy with one point to return to: the latest '%' is the only one that ever
 * needs to take more, so the time is bounded by text times pattern. */
bool like_match(struct bytes text, struct bytes pattern, struct bytes escape,
                uint64_t steps_max, uint64_t *steps)
{
    struct pattern p = {pattern, 0};
    size_t t = 0, i = 0, star_text = 0, star_pattern = 0;
    bool star = false;
    if (escape.len > 0)
        p.escape = utf8_decode(escape.data);
    while (t < text.len || i < pattern.len) {
        size_t before = i;
        if (*steps > steps_max)
            return false;
        if (i < pattern.len && pattern.data[i] == '%' && p.escape != '%') {
            star = true;
            star_pattern = ++i;
            star_text = t;
            continue;
        }
        if (i < pattern.len && t < text.len) {
            size_t at = t;
            bool matched = match_one(&p, &i, next_point(text, &at));
            *steps += 1 + (i - before) / 16;
            if (matched) {
                t = at;
                continue;
            }
        }
        if (!star || star_text >= text.len)
            return false;
        next_point(text, &star_text);
        t = star_text;
        i = star_pattern;
    }
    return true;
}
