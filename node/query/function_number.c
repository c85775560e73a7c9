/* Functions about numbers. */
#include <math.h>

#include "node/base/check.h"
#include "node/query/function.h"

static bool all_numbers(const struct call *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->args[i].type != VALUE_NUMBER)
            return false;
    return true;
}

static struct value apply(const struct call *c, double (*f)(double))
{
    return all_numbers(c) ? value_number(f(c->args[0].number))
                          : value_undefined();
}

static double square(double x)
{
    return x * x;
}
static double sign(double x)
{
    return (x > 0) - (x < 0);
}
static double cotangent(double x)
{
    return 1 / tan(x);
}
static double degrees(double x)
{
    return x * (180 / M_PI);
}
static double radians(double x)
{
    return x * (M_PI / 180);
}

/* One function of the language from one of C: name, C function. */
#define UNARY_LIST(X)                                                          \
    X(ABS, fabs)                                                               \
    X(ACOS, acos)                                                              \
    X(ASIN, asin)                                                              \
    X(ATAN, atan)                                                              \
    X(CEILING, ceil)                                                           \
    X(COS, cos)                                                                \
    X(COT, cotangent)                                                          \
    X(DEGREES, degrees)                                                        \
    X(EXP, exp)                                                                \
    X(FLOOR, floor)                                                            \
    X(LOG10, log10)                                                            \
    X(RADIANS, radians)                                                        \
    X(SIGN, sign)                                                              \
    X(SIN, sin)                                                                \
    X(SQRT, sqrt)                                                              \
    X(SQUARE, square)                                                          \
    X(TAN, tan)                                                                \
    X(TRUNC, trunc)

#define UNARY_DEFINE(name, f)                                                  \
    static struct value call_##name(const struct call *c)                      \
    {                                                                          \
        return apply(c, f);                                                    \
    }
UNARY_LIST(UNARY_DEFINE)
#undef UNARY_DEFINE

static struct value call_atn2(const struct call *c)
{
    if (!all_numbers(c))
        return value_undefined();
    return value_number(atan2(c->args[0].number, c->args[1].number));
}

static struct value call_power(const struct call *c)
{
    if (!all_numbers(c))
        return value_undefined();
    return value_number(pow(c->args[0].number, c->args[1].number));
}

static struct value call_log(const struct call *c)
{
    if (!all_numbers(c))
        return value_undefined();
    double value = log(c->args[0].number);
    return value_number(c->count > 1 ? value / log(c->args[1].number) : value);
}

/* Half away from zero; with a second argument, to that many decimals. */
static struct value call_round(const struct call *c)
{
    if (!all_numbers(c))
        return value_undefined();
    double scale = c->count > 1 ? pow(10, trunc(c->args[1].number)) : 1;
    return value_number(round(c->args[0].number * scale) / scale);
}

static struct value call_pi(const struct call *c)
{
    (void)c;
    return value_number(M_PI);
}

/* The largest multiple of the bin that is not above the number. */
static struct value call_number_bin(const struct call *c)
{
    if (!all_numbers(c))
        return value_undefined();
    double bin = c->count > 1 ? c->args[1].number : 1;
    return value_number(floor(c->args[0].number / bin) * bin);
}

/* -- 64-bit integers
 * ------------------------------------------------------------- */

/* Both arguments as integers; false when one is none. */
static bool two_integers(const struct call *c, int64_t *a_out, int64_t *b_out)
{
    int64_t v[2] = {0, 0};
    for (uint32_t i = 0; i < c->count; i++) {
        double n = c->args[i].number;
        if (c->args[i].type != VALUE_NUMBER || trunc(n) != n ||
            fabs(n) >= 0x1p63)
            return false;
        v[i] = (int64_t)n;
    }
    *a_out = v[0];
    *b_out = v[1];
    return true;
}

#define INTEGER_LIST(X)                                                        \
    X(INTADD, (int64_t)((uint64_t)a + (uint64_t)b))                            \
    X(INTSUB, (int64_t)((uint64_t)a - (uint64_t)b))                            \
    X(INTMUL, (int64_t)((uint64_t)a * (uint64_t)b))                            \
    X(INTBITAND, a &b)                                                         \
    X(INTBITOR, a | b)                                                         \
    X(INTBITXOR, a ^ b)                                                        \
    X(INTBITLEFTSHIFT, (int64_t)((uint64_t)a << (b & 63)))                     \
    X(INTBITRIGHTSHIFT, a >> (b & 63))

#define INTEGER_DEFINE(name, expression)                                       \
    static struct value call_##name(const struct call *c)                      \
    {                                                                          \
        int64_t a, b;                                                          \
        if (!two_integers(c, &a, &b))                                          \
            return value_undefined();                                          \
        return value_number((double)(expression));                             \
    }
INTEGER_LIST(INTEGER_DEFINE)
#undef INTEGER_DEFINE

static struct value call_int_not(const struct call *c)
{
    int64_t a, b;
    return two_integers(c, &a, &b) ? value_number((double)~a)
                                   : value_undefined();
}

/* -2^63 / -1 does not fit and is undefined, as is division by zero. */
static struct value call_int_div(const struct call *c)
{
    int64_t a, b;
    if (!two_integers(c, &a, &b) || b == 0 || (a == INT64_MIN && b == -1))
        return value_undefined();
    return value_number((double)(a / b));
}

static struct value call_int_mod(const struct call *c)
{
    int64_t a, b;
    if (!two_integers(c, &a, &b) || b == 0 || (a == INT64_MIN && b == -1))
        return value_undefined();
    return value_number((double)(a % b));
}

#define UNARY_ENTRY(name, f) {#name, 1, 1, false, call_##name},
#define INTEGER_ENTRY(name, expression) {#name, 2, 2, false, call_##name},
const struct function function_numbers[] = {
    UNARY_LIST(UNARY_ENTRY)
        INTEGER_LIST(INTEGER_ENTRY){"ATN2", 2, 2, false, call_atn2},
    {"LOG", 1, 2, false, call_log},
    {"NUMBERBIN", 1, 2, false, call_number_bin},
    {"PI", 0, 0, false, call_pi},
    {"POWER", 2, 2, false, call_power},
    {"ROUND", 1, 2, false, call_round},
    {"INTBITNOT", 1, 1, false, call_int_not},
    {"INTDIV", 2, 2, false, call_int_div},
    {"INTMOD", 2, 2, false, call_int_mod},
    {.name = NULL},
};
