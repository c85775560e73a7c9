/* Time. Only shells call these; pure modules receive the time as an argument.
 *
 * Durations and monotonic times are microseconds in int64_t and carry `_us` in
 * their names; wall-clock times say `wall`. */
#ifndef BASTIDE_BASE_CLOCK_H
#define BASTIDE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

typedef int64_t usec_t;

#define USEC_PER_MS ((usec_t)1000)
#define USEC_PER_SEC ((usec_t)1000000)
/* "No deadline". */
#define USEC_NEVER INT64_MAX

/* CLOCK_BOOTTIME, microseconds since an arbitrary start; never goes back, and
 * goes on while the machine sleeps: a lease, a promise or an age is over by
 * then for everybody else. */
usec_t clock_mono_us(void);
/* CLOCK_REALTIME, microseconds since 1970-01-01 UTC. */
usec_t clock_wall_us(void);

/* -- clocks that are wrong on request ----------------------------------------
 *
 * For tests of what depends on time: what the two functions above say from now
 * on, on all threads. One thread at a time.
 *
 * The wall clock is off by `wall_offset_us`. Both clocks run fast by `ppm`
 * millionths (slow if negative, more than -CLOCK_PPM_MAX and less than
 * CLOCK_PPM_MAX) from now on, without a jump. With ppm 0 again the wall clock
 * is right again; the monotonic one keeps what it has gained or lost, since it
 * must not go back.
 *
 * What sleeps (timers of the loop, usleep) sleeps in real time, and
 * certificates are checked against the system's time: neither asks here. */
#define CLOCK_PPM_MAX 1000000
void clock_adjust(usec_t wall_offset_us, int32_t ppm);

/* What the system says, whatever clock_adjust was told. */
usec_t clock_real_mono_us(void);
usec_t clock_real_wall_us(void);

/* "Sun, 22 Nov 2026 01:53:57 GMT" (RFC 9110 IMF-fixdate) for wall seconds. */
#define CLOCK_HTTP_DATE_LEN 29
void clock_http_date(int64_t wall_sec, char out[CLOCK_HTTP_DATE_LEN + 1]);
/* The reverse; ERR_MALFORMED when `text` is not an IMF-fixdate. */
int clock_parse_http_date(const char *text, size_t len, int64_t *wall_sec_out);
/* "2026-11-22T01:53:57.123456Z". */
#define CLOCK_ISO_LEN 27
void clock_iso(usec_t wall_us, char out[CLOCK_ISO_LEN + 1]);

#endif
