#include "node/base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/base/check.h"
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

usec_t clock_real_mono_us(void)
{
    return now_us(CLOCK_BOOTTIME);
}

usec_t clock_real_wall_us(void)
{
    return now_us(CLOCK_REALTIME);
}

/* ---- wrong on request ------------------------------------------------------
 */

/* How the clocks have been wrong since `since_us` (real, monotonic). All zeros:
 * they are right. */
struct clock_course {
    usec_t since_us;
    usec_t mono_us;     /* what the monotonic clock said then */
    usec_t wall_off_us; /* how far the wall clock was off then */
    int64_t ppm;
};

/* A sequence lock: readers try again if `version` was odd or has changed. They
 * look at the real clock in between, and the writer does after the first mark,
 * so that whoever used the old course looked before the new one began. All
 * members are atomic; acquire loads keep the second look at `version` behind
 * them, release stores keep the writer's first mark before them. */
static struct {
    atomic_bool on;
    atomic_uint version;
    _Atomic usec_t since_us, mono_us, wall_off_us;
    _Atomic int64_t ppm;
} shared;

static struct clock_course course_load(void)
{
    return (struct clock_course){
        .since_us =
            atomic_load_explicit(&shared.since_us, memory_order_acquire),
        .mono_us = atomic_load_explicit(&shared.mono_us, memory_order_acquire),
        .wall_off_us =
            atomic_load_explicit(&shared.wall_off_us, memory_order_acquire),
        .ppm = atomic_load_explicit(&shared.ppm, memory_order_acquire)};
}

static void course_store(const struct clock_course *c)
{
    atomic_store_explicit(&shared.since_us, c->since_us, memory_order_release);
    atomic_store_explicit(&shared.mono_us, c->mono_us, memory_order_release);
    atomic_store_explicit(&shared.wall_off_us, c->wall_off_us,
                          memory_order_release);
    atomic_store_explicit(&shared.ppm, c->ppm, memory_order_release);
}

static struct clock_course course_at(usec_t *real_us_out)
{
    for (;;) {
        unsigned version =
            atomic_load_explicit(&shared.version, memory_order_acquire);
        struct clock_course c = course_load();
        *real_us_out = clock_real_mono_us();
        if (version % 2 == 0 && version == atomic_load(&shared.version))
            return c;
    }
}

/* How long ago a course began. A reader may have looked at the clock just
 * before that: to go on from the beginning is not to go back. */
static usec_t course_age(const struct clock_course *c, usec_t real_us)
{
    return real_us > c->since_us ? real_us - c->since_us : 0;
}

/* What `age` becomes at a rate of 1 + ppm / 1000000; in two parts, so that
 * years do not overflow. */
static usec_t course_run(const struct clock_course *c, usec_t age)
{
    int64_t rate = USEC_PER_SEC + c->ppm;
    return age / USEC_PER_SEC * rate + age % USEC_PER_SEC * rate / USEC_PER_SEC;
}

static usec_t course_mono(const struct clock_course *c, usec_t real_us)
{
    return c->mono_us + course_run(c, course_age(c, real_us));
}

static usec_t course_wall_off(const struct clock_course *c, usec_t real_us)
{
    usec_t age = course_age(c, real_us);
    return c->wall_off_us + course_run(c, age) - age;
}

usec_t clock_mono_us(void)
{
    usec_t real_us = clock_real_mono_us();
    if (!atomic_load_explicit(&shared.on, memory_order_relaxed))
        return real_us;
    struct clock_course c = course_at(&real_us);
    return course_mono(&c, real_us);
}

usec_t clock_wall_us(void)
{
    usec_t wall_us = clock_real_wall_us();
    if (!atomic_load_explicit(&shared.on, memory_order_relaxed))
        return wall_us;
    usec_t real_us;
    struct clock_course c = course_at(&real_us);
    return wall_us + course_wall_off(&c, real_us);
}

void clock_adjust(usec_t wall_offset_us, int32_t ppm)
{
    static usec_t offset_us; /* of wall_off_us, what is not drift */
    CHECK(ppm > -CLOCK_PPM_MAX && ppm < CLOCK_PPM_MAX);
    atomic_store(&shared.on, true);
    atomic_fetch_add(&shared.version, 1);
    struct clock_course c = course_load();
    usec_t now = clock_real_mono_us();
    usec_t drifted_us = course_wall_off(&c, now) - offset_us;
    struct clock_course next = {.since_us = now,
                                .mono_us = course_mono(&c, now),
                                .wall_off_us = wall_offset_us +
                                               (ppm != 0 ? drifted_us : 0),
                                .ppm = ppm};
    offset_us = wall_offset_us;
    course_store(&next);
    atomic_fetch_add(&shared.version, 1);
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
    /* "Sun, 22 Nov 2026 01:53:57 GMT"; signing lowers the case, so ignore it.
     */
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
