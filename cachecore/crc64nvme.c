/* CRC-64/NVME (NVM Express, NVM Command Set 1.0, 5.2.1.3.4): reflected, all ones at the start and at the end. */
#include <pthread.h>

#include "cachecore/digest.h"

/* Reflected: bit 63 stands for x^0. */
#define POLYNOMIAL UINT64_C(0x9a6c9329ac4bc9b5)

static uint64_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void tables_fill(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        tables[0][i] = crc;
    }
    for (int slice = 1; slice < 8; slice++) {
        for (unsigned i = 0; i < 256; i++)
            tables[slice][i] = tables[slice - 1][i] >> 8 ^ tables[0][tables[slice - 1][i] & 255];
    }
}

/* Eight bytes a step, each through the table for its distance from the end (slicing by 8). */
static uint64_t step8(uint64_t crc, const uint8_t *p)
{
    for (int i = 0; i < 8; i++)
        crc ^= (uint64_t)p[i] << (8 * i);
    return tables[7][crc & 255] ^ tables[6][crc >> 8 & 255] ^ tables[5][crc >> 16 & 255] ^ tables[4][crc >> 24 & 255] ^
           tables[3][crc >> 32 & 255] ^ tables[2][crc >> 40 & 255] ^ tables[1][crc >> 48 & 255] ^ tables[0][crc >> 56];
}

uint64_t crc64nvme(uint64_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    pthread_once(&tables_once, tables_fill);
    crc = ~crc;
    for (; len >= 8; len -= 8, p += 8)
        crc = step8(crc, p);
    for (; len > 0; len--, p++)
        crc = crc >> 8 ^ tables[0][(crc ^ *p) & 255];
    return ~crc;
}

/* a * b modulo the polynomial. */
static uint64_t multiply(uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (uint64_t bit = UINT64_C(1) << 63; bit != 0; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
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
