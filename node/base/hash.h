/* Non-cryptographic hashes. */
#ifndef BASTIDE_BASE_HASH_H
#define BASTIDE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4). `crc` is 0 to begin, or the
 * result for the bytes before. Uses the SSE4.2 instruction where there is one. */
uint32_t hash_crc32c(uint32_t crc, const void *data, size_t len);

/* MurmurHash3 (Austin Appleby), x64 128-bit and x86 32-bit variants; the
 * partition-key hashes of the Cosmos protocol are made of them. */
void hash_murmur3_128(const void *data, size_t len, uint32_t seed,
                      uint64_t out[2]);
uint32_t hash_murmur3_32(const void *data, size_t len, uint32_t seed);

#endif
