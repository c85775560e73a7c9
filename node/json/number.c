/* Between the text of a number and its double. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/json/json.h"

/* A number's text taken apart: digits * 10^exponent. */
struct decimal {
    uint64_t digits;
    int exponent;
    bool negative;
    bool exact; /* nothing was cut off and everything fits */
};

/* Reads `e-12` from `p`; huge exponents make the decimal inexact. */
static void read_exponent(const uint8_t *p, const uint8_t *end,
                          struct decimal *d)
{
    bool negative = false;
    int exponent = 0;
    if (p < end && (*p == '+' || *p == '-'))
        negative = *p++ == '-';
    for (; p < end; p++) {
        exponent = exponent * 10 + (*p - '0');
        if (exponent > 9999) {
            d->exact = false;
            return;
        }
    }
    d->exponent += negative ? -exponent : exponent;
}

static struct decimal read_decimal(struct bytes text)
{
    struct decimal d = {.exact = true};
    const uint8_t *p = text.data, *end = p + text.len;
    bool fraction = false;
    unsigned significant = 0;
    if (p < end && *p == '-') {
        d.negative = true;
        p++;
    }
    for (; p < end; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        if ((*p | 0x20) == 'e') {
            read_exponent(p + 1, end, &d);
            break;
        }
        if (significant >= 18) {
            d.exact = false;
            return d;
        }
        d.digits = d.digits * 10 + (unsigned)(*p - '0');
        significant += d.digits != 0;
        d.exponent -= fraction;
    }
    return d;
}

/* The C library's conversion is correctly rounded; it wants a NUL. The process
 * never leaves the "C" locale, so the point is a point. */
static double convert_slowly(struct bytes text)
{
    char small[64];
    char *copy = text.len < sizeof(small) ? small : mem_alloc(text.len + 1);
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    double value = strtod(copy, NULL);
    if (copy != small)
        mem_free(copy);
    return value;
}

/* Digits below 2^53 and powers of ten up to 10^22 are exact doubles, so one
 * multiplication or division rounds correctly (W. D. Clinger, "How to read
 * floating point numbers accurately", 1990). */
double json_text_to_double(struct bytes text)
{
    static const double powers[] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct decimal d = read_decimal(text);
    if (!d.exact || d.digits > (1ULL << 53) || d.exponent < -22 ||
        d.exponent > 22)
        return convert_slowly(text);
    double value = (double)d.digits;
    if (d.exponent < 0)
        value /= powers[-d.exponent];
    else
        value *= powers[d.exponent];
    return d.negative ? -value : value;
}

/* `value` in scientific form with `precision` digits after the first. */
static bool reads_back(double value, int precision, char *text, size_t size)
{
    snprintf(text, size, "%.*e", precision, value);
    return strtod(text, NULL) == value;
}

/* Adds one to the last digit of a mantissa such as "5.684"; false when it would
 * carry beyond the last digit. */
static bool bump_last_digit(char *text)
{
    char *exponent = strchr(text, 'e');
    if (exponent == NULL || exponent[-1] == '9' || exponent[-1] == '.')
        return false;
    exponent[-1]++;
    return true;
}

/* Shortest scientific form that reads back as `value` (positive). Correct
 * rounding to p digits finds it, except at powers of two: there the gap below
 * is half the gap above, and the p-digit number that reads back may be the one
 * above the correctly rounded one. */
static void shortest(double value, char *text, size_t size)
{
    int first = value < 2.3e-308 ? 0 : 14; /* subnormals have few digits */
    for (int precision = first; precision < 16; precision++) {
        if (reads_back(value, precision, text, size))
            return;
        if (bump_last_digit(text) && strtod(text, NULL) == value)
            return;
    }
    CHECK(reads_back(value, 16, text, size));
}

/* Takes "d.ddde-xx" apart: the digits without trailing zeros, and the decimal
 * exponent n of ECMA-262 Number::toString (0.digits * 10^n). */
static int split(const char *text, char *digits, int *count_out)
{
    int count = 0;
    const char *p = text;
    for (; *p != 'e'; p++)
        if (*p != '.')
            digits[count++] = *p;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    *count_out = count;
    return atoi(p + 1) + 1;
}

/* ECMA-262 section 6.1.6.1.20, steps 6 to 10. */
static size_t lay_out(const char *digits, int k, int n, char *out)
{
    char *p = out;
    if (k <= n && n <= 21) {
        p = mempcpy(p, digits, (size_t)k);
        memset(p, '0', (size_t)(n - k));
        p += n - k;
    } else if (0 < n && n <= 21) {
        p = mempcpy(p, digits, (size_t)n);
        *p++ = '.';
        p = mempcpy(p, digits + n, (size_t)(k - n));
    } else if (-6 < n && n <= 0) {
        p = mempcpy(p, "0.", 2);
        memset(p, '0', (size_t)-n);
        p = mempcpy(p - n, digits, (size_t)k);
    } else {
        *p++ = digits[0];
        if (k > 1) {
            *p++ = '.';
            p = mempcpy(p, digits + 1, (size_t)(k - 1));
        }
        p += sprintf(p, "e%c%d", n > 0 ? '+' : '-', abs(n - 1));
    }
    *p = '\0';
    return (size_t)(p - out);
}

size_t json_format_number(double value, char text_out[JSON_NUMBER_MAX])
{
    CHECK(isfinite(value));
    if (value == 0) {
        strcpy(text_out, "0");
        return 1;
    }
    if (fabs(value) < 1e15 && value == (double)(int64_t)value)
        return (size_t)snprintf(text_out, JSON_NUMBER_MAX, "%lld",
                                (long long)value);
    char scientific[40], digits[24];
    int count;
    shortest(fabs(value), scientific, sizeof(scientific));
    int n = split(scientific, digits, &count);
    char *p = text_out;
    if (value < 0)
        *p++ = '-';
    return lay_out(digits, count, n, p) + (size_t)(p - text_out);
}
