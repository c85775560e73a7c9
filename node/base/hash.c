#include "node/base/hash.h"

#include <string.h>

#include "node/base/bytes.h"

#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t crc32c_table(uint32_t crc, const uint8_t *p, size_t len)
{
    static uint32_t table[256];
    static int ready;
    if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) {
        /* Racing threads write the same values. */
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; bit++)
                c = (c & 1) ? c >> 1 ^ CRC32C_POLYNOMIAL : c >> 1;
            __atomic_store_n(&table[i], c, __ATOMIC_RELAXED);
        }
        __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
    }
    while (len-- > 0)
        crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t wide = crc;
    while (len >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
        p += 8;
        len -= 8;
    }
    crc = (uint32_t)wide;
    while (len-- > 0)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}
#endif

uint32_t hash_crc32c(uint32_t crc, const void *data, size_t len)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc32c_sse(crc, data, len);
#endif
    return ~crc32c_table(crc, data, len);
}

static inline uint64_t rotl64(uint64_t x, int r)
{
    return x << r | x >> (64 - r);
}
static inline uint32_t rotl32(uint32_t x, int r)
{
    return x << r | x >> (32 - r);
}
static inline uint64_t fmix64(uint64_t k)
{
    k ^= k >> 33;
    k *= 0xff51afd7ed558ccdULL;
    k ^= k >> 33;
    k *= 0xc4ceb9fe1a85ec53ULL;
    return k ^ k >> 33;
}

#define M128_C1 0x87c37b91114253d5ULL
#define M128_C2 0x4cf5ad432745937fULL

void hash_murmur3_128(const void *data, size_t len, uint32_t seed,
                      uint64_t out[2])
{
    const uint8_t *p = data;
    uint64_t h1 = seed;
    uint64_t h2 = seed;
    for (size_t left = len; left >= 16; left -= 16, p += 16) {
        uint64_t k1 = get_u64_le(p);
        uint64_t k2 = get_u64_le(p + 8);
        h1 ^= rotl64(k1 * M128_C1, 31) * M128_C2;
        h1 = (rotl64(h1, 27) + h2) * 5 + 0x52dce729;
        h2 ^= rotl64(k2 * M128_C2, 33) * M128_C1;
        h2 = (rotl64(h2, 31) + h1) * 5 + 0x38495ab5;
    }
    size_t rest = len & 15;
    uint64_t k1 = 0;
    uint64_t k2 = 0;
    for (size_t i = 0; i < rest && i < 8; i++)
        k1 |= (uint64_t)p[i] << (8 * i);
    for (size_t i = 8; i < rest; i++)
        k2 |= (uint64_t)p[i] << (8 * (i - 8));
    h2 ^= rotl64(k2 * M128_C2, 33) * M128_C1;
    h1 ^= rotl64(k1 * M128_C1, 31) * M128_C2;
    h1 ^= len;
    h2 ^= len;
    h1 += h2;
    h2 += h1;
    h1 = fmix64(h1);
    h2 = fmix64(h2);
    h1 += h2;
    h2 += h1;
    out[0] = h1;
    out[1] = h2;
}

#define M32_C1 0xcc9e2d51u
#define M32_C2 0x1b873593u

uint32_t hash_murmur3_32(const void *data, size_t len, uint32_t seed)
{
    const uint8_t *p = data;
    uint32_t h = seed;
    for (size_t left = len; left >= 4; left -= 4, p += 4) {
        h ^= rotl32(get_u32_le(p) * M32_C1, 15) * M32_C2;
        h = rotl32(h, 13) * 5 + 0xe6546b64u;
    }
    size_t rest = len & 3;
    uint32_t k = 0;
    for (size_t i = 0; i < rest; i++)
        k |= (uint32_t)p[i] << (8 * i);
    h ^= rotl32(k * M32_C1, 15) * M32_C2;
    h ^= (uint32_t)len;
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    return h ^ h >> 16;
}
