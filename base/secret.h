/*
 * A secret: bytes that have no printable form, are wiped when freed, and are passed by pointer so that they cannot end
 * up in a log line or a message by accident. Constant once made.
 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

struct secret;

struct secret *secret_new(const void *data, size_t len);
struct secret *secret_copy(const struct secret *secret); /* NULL for NULL */
void secret_free(struct secret *secret);                 /* NULL is fine */
DEFINE_CLEANUP(struct secret *, secret_free);

/* The bytes, NUL-terminated behind len; borrowed. To be called only where they are put to use. */
const char *secret_reveal(const struct secret *secret);
size_t secret_len(const struct secret *secret);

/* Key-value pairs as a CSI request's secrets map carries them. Values are secrets, keys are not. */
struct secret_map {
    struct {
        char *key;
        struct secret *value;
    } * entries;
    size_t count;
};

#define SECRET_MAP_INIT \
    {                   \
        .entries = NULL \
    }

void secret_map_add(struct secret_map *map, const char *key, const void *data, size_t len);
const struct secret *secret_map_get(const struct secret_map *map, const char *key); /* NULL if not there */
void secret_map_copy(struct secret_map *to, const struct secret_map *from);
void secret_map_deinit(struct secret_map *map);
