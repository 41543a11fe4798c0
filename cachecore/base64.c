#include "cachecore/base64.h"

#include <string.h>

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Returns how many characters stand for something; the rest of a group of four is padding. */
static size_t encode(const char *digits, const uint8_t *data, size_t len, char *out)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)data[i] << 16;
        group |= i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0;
        group |= i + 2 < len ? (uint32_t)data[i + 2] : 0;
        for (unsigned j = 0; j < 4 && i + j <= len; j++)
            out[count++] = digits[group >> (18 - 6 * j) & 63];
    }
    return count;
}

char *base64_encode(struct arena *arena, const void *data, size_t len)
{
    char *out = arena_alloc(arena, (len + 2) / 3 * 4 + 1);
    size_t count = encode(standard, data, len, out);
    for (; count % 4 != 0; count++)
        out[count] = '=';
    out[count] = '\0';
    return out;
}

char *base64_encode_url(struct arena *arena, const void *data, size_t len)
{
    char *out = arena_alloc(arena, (len + 2) / 3 * 4 + 1);
    out[encode(safe, data, len, out)] = '\0';
    return out;
}

/* Bits that no byte comes of must be zero: there is one text for one value. */
static bool decode(const char *digits, const char *text, size_t text_len, uint8_t *out, size_t *len)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t count = 0;
    for (size_t i = 0; i < text_len; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            return false;
        bits = bits << 6 | (uint32_t)(digit - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[count++] = (uint8_t)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    *len = count;
    return held < 6 && bits == 0;
}

bool base64_decode(struct arena *arena, const char *text, size_t text_len, uint8_t **out, size_t *len)
{
    if (text_len % 4 != 0)
        return false;
    for (unsigned i = 0; i < 2 && text_len > 0 && text[text_len - 1] == '='; i++)
        text_len--;
    *out = arena_alloc(arena, text_len / 4 * 3 + 4);
    return decode(standard, text, text_len, *out, len);
}

bool base64_decode_url(struct arena *arena, const char *text, size_t text_len, uint8_t **out, size_t *len)
{
    *out = arena_alloc(arena, text_len / 4 * 3 + 4);
    return decode(safe, text, text_len, *out, len);
}
