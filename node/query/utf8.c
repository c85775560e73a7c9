#include "node/query/utf8.h"

#include <stdbool.h>

#include "node/base/check.h"

uint32_t utf8_count(struct bytes text)
{
    uint32_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += (text.data[i] & 0xc0) != 0x80;
    return count;
}

size_t utf8_offset(struct bytes text, uint32_t index)
{
    size_t at = 0;
    while (index-- > 0 && at < text.len)
        at += utf8_len(text.data + at);
    return at < text.len ? at : text.len;
}

uint32_t utf8_decode(const uint8_t *p)
{
    switch (utf8_len(p)) {
    case 1:
        return p[0];
    case 2:
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    case 3:
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 |
               (p[2] & 0x3f);
    default:
        return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
               (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
    }
}

uint32_t utf8_encode(uint32_t point, uint8_t *out)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    uint32_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (uint32_t i = len - 1; i > 0; i--, point >>= 6)
        out[i] = (uint8_t)(0x80 | (point & 0x3f));
    out[0] = (uint8_t)(leads[len] | point);
    return len;
}

/* Capital letters from `first` to `last` (Unicode Character Database): their
 * small ones are `distance` further on, or, where it is 0, capitals and small
 * letters alternate and a capital has the parity of `first`. */
static const struct range {
    uint16_t first, last, distance;
} ranges[] = {
    {0x0041, 0x005a, 32}, {0x00c0, 0x00d6, 32}, {0x00d8, 0x00de, 32},
    {0x0100, 0x012e, 0},  {0x0132, 0x0136, 0},  {0x0139, 0x0147, 0},
    {0x014a, 0x0176, 0},  {0x0179, 0x017d, 0},  {0x0391, 0x03a1, 32},
    {0x03a3, 0x03ab, 32}, {0x0400, 0x040f, 80}, {0x0410, 0x042f, 32},
    {0x0460, 0x0480, 0},  {0x048a, 0x04be, 0},  {0x04c1, 0x04cd, 0},
    {0x04d0, 0x052e, 0},  {0x0531, 0x0556, 48}, {0x1e00, 0x1e94, 0},
    {0x1ea0, 0x1efe, 0},
};

uint32_t utf8_lower(uint32_t point)
{
    for (size_t i = 0; i < ARRAY_LEN(ranges) && point >= ranges[i].first; i++) {
        if (point > ranges[i].last)
            continue;
        if (ranges[i].distance != 0)
            return point + ranges[i].distance;
        return (point - ranges[i].first) % 2 == 0 ? point + 1 : point;
    }
    return point;
}

uint32_t utf8_upper(uint32_t point)
{
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        uint32_t distance = ranges[i].distance != 0 ? ranges[i].distance : 1;
        if (point < ranges[i].first + distance ||
            point > ranges[i].last + distance)
            continue;
        if (ranges[i].distance != 0 ||
            (point - distance - ranges[i].first) % 2 == 0)
            return point - distance;
    }
    return point;
}
