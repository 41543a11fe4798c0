/* Base64 (RFC 4648): 4 with padding, 5 without (for JSON Web Tokens). Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* In arena, which is to be wiped where the text is a secret. */
char *base64_encode(struct arena *arena, const void *data, size_t len);
char *base64_encode_url(struct arena *arena, const void *data, size_t len);

/* Strict: padding and no other bytes than those of the alphabet (url: that of section 5, no padding). False: it is not base64. */
bool base64_decode(struct arena *arena, const char *text, size_t text_len, uint8_t **out, size_t *len);
bool base64_decode_url(struct arena *arena, const char *text, size_t text_len, uint8_t **out, size_t *len);
