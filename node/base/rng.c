#include "node/base/rng.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "node/base/check.h"

void rng_fill(void *out, size_t len)
{
    uint8_t *p = out;
    while (len > 0) {
        ssize_t got = getrandom(p, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        CHECK(got > 0);
        p += got;
        len -= (size_t)got;
    }
}

/* Requests need many ids; one system call serves a thread for a while. */
static void rng_pooled(uint8_t *out, size_t len)
{
    static _Thread_local uint8_t pool[512];
    static _Thread_local size_t left;
    CHECK(len <= sizeof(pool));
    if (left < len) {
        rng_fill(pool, sizeof(pool));
        left = sizeof(pool);
    }
    for (size_t i = 0; i < len; i++)
        out[i] = pool[sizeof(pool) - left + i];
    left -= len;
}

uint64_t rng_u64(void)
{
    uint64_t value;
    rng_pooled((uint8_t *)&value, sizeof(value));
    return value;
}

void rng_uuid(char out[RNG_UUID_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t id[16];
    rng_pooled(id, sizeof(id));
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    char *p = out;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = digits[id[i] >> 4];
        *p++ = digits[id[i] & 15];
    }
    *p = '\0';
    CHECK(p - out == RNG_UUID_LEN);
}
