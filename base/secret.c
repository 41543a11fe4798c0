#include "base/secret.h"

#include <string.h>

#include "base/mem.h"

struct secret {
    size_t len;
    char data[];
};

struct secret *secret_new(const void *data, size_t len)
{
    struct secret *secret = mem_alloc(sizeof(*secret) + len + 1);
    secret->len = len;
    if (len > 0)
        memcpy(secret->data, data, len);
    return secret;
}

struct secret *secret_copy(const struct secret *secret)
{
    return secret ? secret_new(secret->data, secret->len) : NULL;
}

void secret_free(struct secret *secret)
{
    if (secret)
        mem_wipe_free(secret, sizeof(*secret) + secret->len);
}

const char *secret_reveal(const struct secret *secret)
{
    return secret->data;
}

size_t secret_len(const struct secret *secret)
{
    return secret->len;
}

void secret_map_add(struct secret_map *map, const char *key, const void *data, size_t len)
{
    map->entries = mem_realloc(map->entries, (map->count + 1) * sizeof(*map->entries));
    map->entries[map->count].key = mem_strdup(key);
    map->entries[map->count].value = secret_new(data, len);
    map->count++;
}

const struct secret *secret_map_get(const struct secret_map *map, const char *key)
{
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->entries[i].key, key) == 0)
            return map->entries[i].value;
    }
    return NULL;
}

void secret_map_copy(struct secret_map *to, const struct secret_map *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct secret *value = from->entries[i].value;
        secret_map_add(to, from->entries[i].key, value->data, value->len);
    }
}

void secret_map_deinit(struct secret_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        free(map->entries[i].key);
        secret_free(map->entries[i].value);
    }
    free(map->entries);
    *map = (struct secret_map)SECRET_MAP_INIT;
}
