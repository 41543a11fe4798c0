#include "base/str.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void str_deinit(struct str *str)
{
    free(str->data);
    *str = (struct str)STR_INIT;
}

void str_reserve(struct str *str, size_t more)
{
    size_t needed;
    if (__builtin_add_overflow(str->len, more, &needed) || needed == SIZE_MAX)
        abort();
    if (needed + 1 <= str->capacity)
        return;
    size_t capacity = str->capacity < 64 ? 64 : str->capacity;
    while (capacity < needed + 1)
        capacity *= 2;
    str->data = mem_realloc(str->data, capacity);
    str->capacity = capacity;
    str->data[str->len] = '\0';
}

void str_append(struct str *str, const void *data, size_t len)
{
    str_reserve(str, len);
    if (len > 0)
        memcpy(str->data + str->len, data, len);
    str->len += len;
    str->data[str->len] = '\0';
}

void str_append_text(struct str *str, const char *text)
{
    str_append(str, text, strlen(text));
}

void str_append_char(struct str *str, char c)
{
    str_append(str, &c, 1);
}

void str_printf(struct str *str, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(len >= 0);
    str_reserve(str, (size_t)len);
    va_start(args, format);
    vsnprintf(str->data + str->len, (size_t)len + 1, format, args);
    va_end(args);
    str->len += (size_t)len;
}

void str_clear(struct str *str)
{
    str->len = 0;
    if (str->data)
        str->data[0] = '\0';
}

char *str_steal(struct str *str)
{
    str_reserve(str, 0);
    char *data = str->data;
    *str = (struct str)STR_INIT;
    return data;
}

bool str_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *text, const char *suffix)
{
    size_t len = strlen(text);
    size_t suffix_len = strlen(suffix);
    return len >= suffix_len && memcmp(text + len - suffix_len, suffix, suffix_len) == 0;
}

void str_hex(const uint8_t *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * len] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int str_unhex(const char *text, uint8_t *out, size_t len)
{
    if (strnlen(text, 2 * len + 1) != 2 * len)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (hex_digit(text[2 * i]) < 0 || hex_digit(text[2 * i + 1]) < 0)
            return -1;
    }
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return 0;
}

/* The length of the sequence that starts at p, or 0 when it is not valid. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool too_large = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || too_large ? 0 : len;
}

bool str_is_utf8(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        size_t step = utf8_sequence(p + i, len - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

int str_parse_u64(const char *text, uint64_t max, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != '\0' || (digits > 1 && text[0] == '0'))
        return -1;
    uint64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
            return -1;
    }
    if (value > max)
        return -1;
    *out = value;
    return 0;
}

int str_parse_bytes(const char *text, uint64_t *out)
{
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"Ki", 1ULL << 10},
        {"Mi", 1ULL << 20},
        {"Gi", 1ULL << 30},
        {"Ti", 1ULL << 40},
        {"Pi", 1ULL << 50},
        {"k", 1000ULL},
        {"M", 1000000ULL},
        {"G", 1000000000ULL},
        {"T", 1000000000000ULL},
        {"P", 1000000000000000ULL},
    };
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 20)
        return -1;
    char number[24] = {0};
    memcpy(number, text, digits);
    uint64_t value;
    if (str_parse_u64(number, UINT64_MAX, &value) != 0)
        return -1;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        uint64_t bytes;
        if (strcmp(text + digits, units[i].suffix) != 0)
            continue;
        if (__builtin_mul_overflow(value, units[i].factor, &bytes))
            return -1;
        *out = bytes;
        return 0;
    }
    return -1;
}

void str_human_bytes(uint64_t bytes, char out[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(out, 16, "%u B", (unsigned)bytes);
    else
        snprintf(out, 16, "%.1f %s", value, units[unit]);
}

bool str_matches(const char *pattern, const char *text)
{
    const char *star = NULL;
    const char *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
