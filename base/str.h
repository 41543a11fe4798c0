/*
 * A growing string of bytes, always NUL-terminated, and the few text helpers that every layer needs. Growth aborts on
 * exhaustion; callers limit what comes from outside.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct str {
    char *data; /* NULL while empty and never grown; else NUL-terminated */
    size_t len;
    size_t capacity;
};

#define STR_INIT     \
    {                \
        .data = NULL \
    }

void str_deinit(struct str *str);
static inline void str_deinitp(struct str *str)
{
    str_deinit(str);
}

void str_append(struct str *str, const void *data, size_t len);
void str_append_text(struct str *str, const char *text);
void str_append_char(struct str *str, char c);
void str_printf(struct str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
void str_reserve(struct str *str, size_t more);
void str_clear(struct str *str);
char *str_steal(struct str *str); /* heap text that the caller frees; never NULL */

bool str_starts_with(const char *text, const char *prefix);
bool str_ends_with(const char *text, const char *suffix);

/* Lowercase hex. out takes 2 * len + 1 bytes. */
void str_hex(const uint8_t *data, size_t len, char *out);
/* -1 unless text is exactly 2 * len lowercase hex digits. */
int str_unhex(const char *text, uint8_t *out, size_t len);

/* True for valid UTF-8 without surrogates, overlong forms or code points beyond U+10FFFF. */
bool str_is_utf8(const char *text, size_t len);

/* Decimal digits only, no sign, no space, no leading zeros but "0" itself, at most max. -1 otherwise. */
int str_parse_u64(const char *text, uint64_t max, uint64_t *out);

/* A Kubernetes quantity of bytes: digits with an optional Ki Mi Gi Ti Pi k M G T P. -1 on anything else or overflow. */
int str_parse_bytes(const char *text, uint64_t *out);

/* "41.2 GiB": for messages to people. out takes 16 bytes. */
void str_human_bytes(uint64_t bytes, char out[16]);

/* Shell-like match of the whole text: '*' matches any run, '?' any one byte. */
bool str_matches(const char *pattern, const char *text);
