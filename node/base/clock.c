#include "node/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/base/err.h"

static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed",
                                     "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr",
                                        "May", "Jun", "Jul", "Aug",
                                        "Sep", "Oct", "Nov", "Dec"};

static usec_t now_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (usec_t)ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

usec_t clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

usec_t clock_wall_us(void)
{
    return now_us(CLOCK_REALTIME);
}

void clock_http_date(int64_t wall_sec, char out[CLOCK_HTTP_DATE_LEN + 1])
{
    time_t t = (time_t)wall_sec;
    struct tm tm;
    gmtime_r(&t, &tm);
    char text[64];
    snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT",
             day_names[tm.tm_wday], tm.tm_mday, month_names[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, CLOCK_HTTP_DATE_LEN);
    out[CLOCK_HTTP_DATE_LEN] = '\0';
}

static int parse_digits(const char *p, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        value = value * 10 + (p[i] - '0');
    }
    return value;
}

static int parse_month(const char *p)
{
    for (int m = 0; m < 12; m++)
        if (strncasecmp(p, month_names[m], 3) == 0)
            return m;
    return -1;
}

int clock_parse_http_date(const char *text, size_t len, int64_t *wall_sec_out)
{
    /* "Sun, 22 Nov 2026 01:53:57 GMT"; signing lowers the case, so ignore it. */
    if (len != CLOCK_HTTP_DATE_LEN || text[3] != ',' || text[4] != ' ' ||
        text[7] != ' ' || text[11] != ' ' || text[16] != ' ' ||
        text[19] != ':' || text[22] != ':' ||
        strncasecmp(text + 25, " GMT", 4) != 0)
        return ERR_MALFORMED;
    struct tm tm = {.tm_mday = parse_digits(text + 5, 2),
                    .tm_mon = parse_month(text + 8),
                    .tm_year = parse_digits(text + 12, 4) - 1900,
                    .tm_hour = parse_digits(text + 17, 2),
                    .tm_min = parse_digits(text + 20, 2),
                    .tm_sec = parse_digits(text + 23, 2)};
    if (tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_mon < 0 || tm.tm_year < 0 ||
        tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 ||
        tm.tm_sec < 0 || tm.tm_sec > 60)
        return ERR_MALFORMED;
    *wall_sec_out = (int64_t)timegm(&tm);
    return ERR_OK;
}

void clock_iso(usec_t wall_us, char out[CLOCK_ISO_LEN + 1])
{
    time_t t = (time_t)(wall_us / USEC_PER_SEC);
    struct tm tm;
    gmtime_r(&t, &tm);
    char text[64];
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ",
             tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec, (int)(wall_us % USEC_PER_SEC));
    memcpy(out, text, CLOCK_ISO_LEN);
    out[CLOCK_ISO_LEN] = '\0';
}
