#include "cachecore/digest.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

struct sha256 {
    EVP_MD_CTX *context;
};

static void require(int worked)
{
    if (!worked)
        abort();
}

struct sha256 *sha256_new(void)
{
    struct sha256 *sha = mem_alloc(sizeof(*sha));
    sha->context = EVP_MD_CTX_new();
    require(sha->context && EVP_DigestInit_ex(sha->context, EVP_sha256(), NULL) == 1);
    return sha;
}

void sha256_free(struct sha256 *sha)
{
    if (!sha)
        return;
    EVP_MD_CTX_free(sha->context);
    free(sha);
}

void sha256_update(struct sha256 *sha, const void *data, size_t len)
{
    require(EVP_DigestUpdate(sha->context, data, len) == 1);
}

void sha256_field(struct sha256 *sha, const void *data, size_t len)
{
    uint64_t stated = data ? len : UINT64_MAX;
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)(stated >> (56 - 8 * i));
    sha256_update(sha, prefix, sizeof(prefix));
    if (data && len > 0)
        sha256_update(sha, data, len);
}

void sha256_final(struct sha256 *sha, uint8_t out[SHA256_LEN])
{
    require(EVP_DigestFinal_ex(sha->context, out, NULL) == 1);
}

void digest_sha256(const void *data, size_t len, uint8_t out[SHA256_LEN])
{
    require(EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1);
}

void digest_sha256_hex(const void *data, size_t len, char out[SHA256_HEX])
{
    uint8_t digest[SHA256_LEN];
    digest_sha256(data, len, digest);
    str_hex(digest, sizeof(digest), out);
}

void digest_md5(const void *data, size_t len, uint8_t out[MD5_LEN])
{
    require(EVP_Digest(data, len, out, NULL, EVP_md5(), NULL) == 1);
}

void digest_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, uint8_t out[SHA256_LEN])
{
    require(key_len <= INT_MAX);
    /* OpenSSL takes a NULL key for "the key of the call before". */
    require(HMAC(EVP_sha256(), key_len > 0 ? key : "", (int)key_len, len > 0 ? data : (const void *)"", len, out,
                 NULL) != NULL);
}

void digest_random(void *out, size_t len)
{
    require(len <= INT_MAX && RAND_bytes(out, (int)len) == 1);
}

/* The Castagnoli polynomial, reflected: bit 31 stands for x^0. */
#define CRC32C_POLYNOMIAL 0x82f63b78u

static uint32_t crc_tables[8][256];
static pthread_once_t crc_tables_once = PTHREAD_ONCE_INIT;

static void crc_tables_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ CRC32C_POLYNOMIAL : crc >> 1;
        crc_tables[0][i] = crc;
    }
    for (int slice = 1; slice < 8; slice++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t before = crc_tables[slice - 1][i];
            crc_tables[slice][i] = before >> 8 ^ crc_tables[0][before & 255];
        }
    }
}

/* Eight bytes a step, each through the table for its distance from the end (slicing by 8). */
static uint32_t crc_step8(uint32_t crc, const uint8_t *p)
{
    uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
    return crc_tables[7][low & 255] ^ crc_tables[6][low >> 8 & 255] ^ crc_tables[5][low >> 16 & 255] ^
           crc_tables[4][low >> 24] ^ crc_tables[3][p[4]] ^ crc_tables[2][p[5]] ^ crc_tables[1][p[6]] ^
           crc_tables[0][p[7]];
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    pthread_once(&crc_tables_once, crc_tables_fill);
    const uint8_t *p = data;
    crc = ~crc;
    for (; len >= 8; len -= 8, p += 8)
        crc = crc_step8(crc, p);
    for (; len > 0; len--, p++)
        crc = crc >> 8 ^ crc_tables[0][(crc ^ *p) & 255];
    return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t wide = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        wide = __builtin_ia32_crc32di(wide, word);
    }
    uint32_t narrow = (uint32_t)wide;
    for (; len > 0; len--, p++)
        narrow = __builtin_ia32_crc32qi(narrow, *p);
    return ~narrow;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, data, len);
#endif
    return crc32c_portable(crc, data, len);
}

/* a * b modulo the polynomial. */
static uint32_t crc_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b & 1 ? b >> 1 ^ CRC32C_POLYNOMIAL : b >> 1;
    }
    return product;
}

/* Appending len_b bytes multiplies the CRC of what stands before by x^(8 * len_b). */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t len_b)
{
    uint32_t factor = 1u << 31;      /* x^0 */
    uint32_t power = 1u << (31 - 8); /* x^8, squared for each bit of the length */
    for (; len_b > 0; len_b >>= 1) {
        if (len_b & 1)
            factor = crc_multiply(factor, power);
        power = crc_multiply(power, power);
    }
    return crc_multiply(factor, crc_a) ^ crc_b;
}
