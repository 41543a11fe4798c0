/*
 * Digests: with rsa.c the only file that sees OpenSSL. SHA-256 and HMAC-SHA-256 (FIPS 180-4, RFC 2104), MD5 where a protocol wants it,
 * CRC32C (RFC 3720, Castagnoli, reflected; hardware where there is) and CRC-64/NVME with composition of parts. Nothing here fails: OpenSSL
 * failing at these is a broken installation, and aborts.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SHA256_LEN 32
#define SHA256_HEX 65 /* with the NUL */
#define MD5_LEN 16

struct sha256;
struct sha256 *sha256_new(void);
void sha256_free(struct sha256 *sha);
DEFINE_CLEANUP(struct sha256 *, sha256_free);
void sha256_update(struct sha256 *sha, const void *data, size_t len);
/* A field of a composite: the length as 8 bytes big-endian, then the bytes. NULL is written as length 2^64-1. */
void sha256_field(struct sha256 *sha, const void *data, size_t len);
void sha256_final(struct sha256 *sha, uint8_t out[SHA256_LEN]);

void digest_sha256(const void *data, size_t len, uint8_t out[SHA256_LEN]);
void digest_sha256_hex(const void *data, size_t len, char out[SHA256_HEX]);
void digest_md5(const void *data, size_t len, uint8_t out[MD5_LEN]);
void digest_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[SHA256_LEN]);

/* crc is 0 at the start; the result is the finished CRC32C of all so far. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same without special instructions: what crc32c() falls back to. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);
/* The CRC32C of A|B from those of A and of B and B's length. */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b);

/* crc64nvme.c: the same for CRC-64/NVME. */
uint64_t crc64nvme(uint64_t crc, const void *data, size_t len);
uint64_t crc64nvme_portable(uint64_t crc, const void *data, size_t len);
uint64_t crc64nvme_combine(uint64_t crc_a, uint64_t crc_b, uint64_t len_b);

void digest_random(void *out, size_t len);
