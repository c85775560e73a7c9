/* Unpredictable bytes from the operating system (getrandom), for keys, salts
 * and identifiers. Shells only. Never fails: without entropy the process
 * stops. */
#ifndef BASTIDE_BASE_RNG_H
#define BASTIDE_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

void rng_fill(void *out, size_t len);
uint64_t rng_u64(void);
/* A random (version 4) UUID in its 36-character text form. */
#define RNG_UUID_LEN 36
void rng_uuid(char out[RNG_UUID_LEN + 1]);

#endif
