/* Shared inside node/json only. */
#ifndef BASTIDE_JSON_INTERNAL_H
#define BASTIDE_JSON_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

/* json_node.flags of a string: it holds a backslash. */
#define JSON_NODE_ESCAPED 1

/* Value of four hexadecimal digits at `p`, or -1. */
static inline int json_hex4(const uint8_t *p)
{
    int unit = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i], lower = c | 0x20;
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (lower >= 'a' && lower <= 'f')
            digit = lower - 'a' + 10;
        else
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

#endif
