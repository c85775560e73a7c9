/* A seeded generator (splitmix64) for timeouts, jitter and simulations. Same
 * seed, same sequence, on every machine. Not for keys, nonces or ids that must
 * be unpredictable: those come from the operating system (rng_fill). */
#ifndef BASTIDE_BASE_PRNG_H
#define BASTIDE_BASE_PRNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline void prng_seed(struct prng *p, uint64_t seed)
{
    p->state = seed;
}
static inline uint64_t prng_u64(struct prng *p)
{
    uint64_t z = (p->state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}
/* Uniform in [0, bound); 0 when bound is 0. */
static inline uint64_t prng_below(struct prng *p, uint64_t bound)
{
    if (bound == 0)
        return 0;
    return (uint64_t)(((unsigned __int128)prng_u64(p) * bound) >> 64);
}
/* Uniform in [low, high], both included. */
static inline uint64_t prng_range(struct prng *p, uint64_t low, uint64_t high)
{
    return low + prng_below(p, high - low + 1);
}
/* True once in `n` draws on average. */
static inline bool prng_one_in(struct prng *p, uint64_t n)
{
    return prng_below(p, n) == 0;
}

#endif
