/* CRC-64/NVME (NVM Express, NVM Command Set 1.0, 5.2.1.3.4): reflected, all ones at the start and at the end. */
#include <endian.h>
#include <pthread.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "cachecore/digest.h"

/* Reflected: bit 63 stands for x^0. */
#define POLYNOMIAL UINT64_C(0x9a6c9329ac4bc9b5)

static uint64_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

#ifdef __x86_64__
/* x^575, x^511, x^191 and x^127 modulo the polynomial: what 16 bytes are multiplied with to stand 64 or 16 bytes further on. */
static uint64_t fold_far[2], fold_near[2];
#endif

static uint64_t times_x(uint64_t value)
{
    return value & 1 ? value >> 1 ^ POLYNOMIAL : value >> 1;
}

static void tables_fill(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = times_x(crc);
        tables[0][i] = crc;
    }
    for (int slice = 1; slice < 8; slice++) {
        for (unsigned i = 0; i < 256; i++)
            tables[slice][i] = tables[slice - 1][i] >> 8 ^ tables[0][tables[slice - 1][i] & 255];
    }
#ifdef __x86_64__
    uint64_t power = UINT64_C(1) << 63; /* x^0 */
    for (int i = 1; i <= 575; i++) {
        power = times_x(power);
        if (i == 127 || i == 191)
            fold_near[i == 127] = power;
        if (i == 511 || i == 575)
            fold_far[i == 511] = power;
    }
#endif
}

/* Eight bytes a step, each through the table for its distance from the end (slicing by 8). */
static uint64_t step8(uint64_t crc, const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    crc ^= le64toh(word);
    return tables[7][crc & 255] ^ tables[6][crc >> 8 & 255] ^ tables[5][crc >> 16 & 255] ^ tables[4][crc >> 24 & 255] ^
           tables[3][crc >> 32 & 255] ^ tables[2][crc >> 40 & 255] ^ tables[1][crc >> 48 & 255] ^ tables[0][crc >> 56];
}

/* Without the ones at the start and at the end. */
static uint64_t plain(uint64_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 8; len -= 8, p += 8)
        crc = step8(crc, p);
    for (; len > 0; len--, p++)
        crc = crc >> 8 ^ tables[0][(crc ^ *p) & 255];
    return crc;
}

uint64_t crc64nvme_portable(uint64_t crc, const void *data, size_t len)
{
    pthread_once(&tables_once, tables_fill);
    return ~plain(~crc, data, len);
}

#ifdef __x86_64__
#define LANES 4
#define LANES_SIZE ((size_t)LANES * 16)

__attribute__((target("pclmul,sse4.1"))) static __m128i fold(__m128i value, __m128i power)
{
    return _mm_xor_si128(_mm_clmulepi64_si128(value, power, 0x00), _mm_clmulepi64_si128(value, power, 0x11));
}

/* Bytes are polynomials; 16 of them, multiplied without carries, may be moved on and added to those that stand there: what is left of all has
 * the same remainder (Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", 2009). */
__attribute__((target("pclmul,sse4.1"))) static uint64_t folded(uint64_t crc, const uint8_t *p, size_t len)
{
    const __m128i far = _mm_set_epi64x((long long)fold_far[1], (long long)fold_far[0]);
    const __m128i near = _mm_set_epi64x((long long)fold_near[1], (long long)fold_near[0]);
    __m128i lane[LANES];
    uint8_t rest[16];
    for (int i = 0; i < LANES; i++)
        lane[i] = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
    lane[0] = _mm_xor_si128(lane[0], _mm_set_epi64x(0, (long long)crc));
    for (p += LANES_SIZE, len -= LANES_SIZE; len >= LANES_SIZE; p += LANES_SIZE, len -= LANES_SIZE) {
        for (int i = 0; i < LANES; i++)
            lane[i] = _mm_xor_si128(fold(lane[i], far), _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)));
    }
    for (int i = 1; i < LANES; i++)
        lane[i] = _mm_xor_si128(lane[i], fold(lane[i - 1], near));
    _mm_storeu_si128((__m128i *)(void *)rest, lane[LANES - 1]);
    return plain(plain(0, rest, sizeof(rest)), p, len);
}
#endif

uint64_t crc64nvme(uint64_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
    if (len >= LANES_SIZE && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) {
        pthread_once(&tables_once, tables_fill);
        return ~folded(~crc, data, len);
    }
#endif
    return crc64nvme_portable(crc, data, len);
}

/* a * b modulo the polynomial. */
static uint64_t multiply(uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (uint64_t bit = UINT64_C(1) << 63; bit != 0; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = times_x(b);
    }
    return product;
}

/* Appending len_b bytes multiplies the CRC of what stands before by x^(8 * len_b). */
uint64_t crc64nvme_combine(uint64_t crc_a, uint64_t crc_b, uint64_t len_b)
{
    uint64_t factor = UINT64_C(1) << 63;      /* x^0 */
    uint64_t power = UINT64_C(1) << (63 - 8); /* x^8, squared for each bit of the length */
    for (; len_b > 0; len_b >>= 1) {
        if (len_b & 1)
            factor = multiply(factor, power);
        power = multiply(power, power);
    }
    return multiply(factor, crc_a) ^ crc_b;
}
