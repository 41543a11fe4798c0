#include "csi/context.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "cachecore/input.h"

#define RESERVED "csi.storage.k8s.io/"
/* Put into every PersistentVolume by the external provisioner. */
#define PROVISIONER_KEY "storage.kubernetes.io/csiProvisionerIdentity"

static const struct {
    const char *key;
    bool pod;
} attributes[] = {{"storageClass", true}, {"inputs", true}, {"inputsFrom", true}, {"copyPolicy", true}};

bool context_is_reserved(const char *key)
{
    return str_starts_with(key, RESERVED) || strcmp(key, PROVISIONER_KEY) == 0;
}

const char *context_get(const struct context_map *map, const char *key)
{
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->pairs[i].key, key) == 0)
            return map->pairs[i].value;
    return NULL;
}

static int check_sizes(const struct context_map *map, struct err *err)
{
    size_t total = 0;
    if (map->count > REQUEST_ENTRIES_MAX)
        return err_set(err, ERR_INVALID, "%zu attributes: at most %u are allowed", map->count, REQUEST_ENTRIES_MAX);
    for (size_t i = 0; i < map->count; i++) {
        size_t value_len = strlen(map->pairs[i].value);
        if (!context_is_reserved(map->pairs[i].key))
            total += strlen(map->pairs[i].key) + value_len;
        else if (value_len > REQUEST_TOKENS_MAX)
            return err_set(err, ERR_INVALID, "attribute '%.100s' has %zu bytes: at most %u are allowed",
                           map->pairs[i].key, value_len, REQUEST_TOKENS_MAX);
    }
    if (total > REQUEST_ATTRIBUTES_MAX)
        return err_set(err, ERR_INVALID,
                       "the attributes have %zu bytes: at most %u are allowed (put a long list of inputs into an "
                       "object and name it with inputsFrom)",
                       total, REQUEST_ATTRIBUTES_MAX);
    return 0;
}

int context_check(const struct context_map *map, struct err *err)
{
    if (check_sizes(map, err) != 0)
        return -1;
    for (size_t i = 0; i < map->count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcasecmp(map->pairs[i].key, map->pairs[j].key) == 0)
                return err_set(err, ERR_INVALID, "attributes '%.100s' and '%.100s' differ in case only",
                               map->pairs[j].key, map->pairs[i].key);
    return 0;
}

static bool is_role(const char *key)
{
    for (size_t i = 0; i < IDENTITY_ROLES; i++)
        if (strcmp(role_names[i].attribute, key) == 0)
            return true;
    return false;
}

static bool is_attribute(const char *key)
{
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
        if (strcmp(attributes[i].key, key) == 0)
            return true;
    return is_role(key);
}

/* class_set on a scratch class checks the value; its own message lists what parameters exist. */
static int add_parameter(struct arena *arena, const struct request_pair *pair, struct volume_attributes *out,
                         struct err *err)
{
    struct class scratch;
    class_default(&scratch);
    if (class_set(arena, &scratch, pair->key, pair->value, err) != 0)
        return -1;
    out->parameters[out->parameter_count++] =
        (struct request_pair){arena_strdup(arena, pair->key), arena_strdup(arena, pair->value)};
    return 0;
}

static int unknown_attribute(const char *key, struct err *err)
{
    struct str allowed = STR_INIT;
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
        str_printf(&allowed, "%s%s", i ? ", " : "", attributes[i].key);
    for (size_t i = 0; i < IDENTITY_ROLES; i++)
        str_printf(&allowed, ", %s", role_names[i].attribute);
    err_set(err, ERR_INVALID, "unknown attribute '%.100s': a pod may give %s", key, allowed.data);
    str_deinit(&allowed);
    return -1;
}

static int check_copy_policy(const char *value, struct err *err)
{
    if (value && strcmp(value, "direct") != 0 && strcmp(value, "copy") != 0)
        return err_set(err, ERR_INVALID, "attribute 'copyPolicy': '%.40s' is neither direct nor copy", value);
    return 0;
}

static int read_roles(struct arena *arena, const struct context_map *map, struct volume_attributes *out,
                      struct err *err)
{
    for (size_t i = 0; i < IDENTITY_ROLES; i++) {
        const char *value = context_get(map, role_names[i].attribute);
        if (value && identity_role_check((enum identity_role)i, value, err) != 0)
            return err_prefix(err, "attribute '%s'", role_names[i].attribute);
        out->roles[i] = value ? arena_strdup(arena, value) : NULL;
    }
    return 0;
}

static int check_inputs(struct arena *arena, const struct volume_attributes *out, struct err *err)
{
    struct inputs parsed;
    struct url url;
    if (out->inputs && out->inputs_from)
        return err_set(err, ERR_INVALID, "attributes 'inputs' and 'inputsFrom' exclude each other");
    if (!out->inputs && !out->inputs_from)
        return err_set(err, ERR_INVALID, "attribute 'inputs' (or 'inputsFrom') required");
    if (out->inputs && inputs_parse(arena, out->inputs, strlen(out->inputs), &parsed, err) != 0)
        return -1;
    if (out->inputs && parsed.count == 0)
        return err_set(err, ERR_INVALID, "attribute 'inputs' holds no input");
    if (out->inputs_from && url_parse(arena, out->inputs_from, strlen(out->inputs_from), &url, err) != 0)
        return err_prefix(err, "attribute 'inputsFrom'");
    return 0;
}

static const char *get_copy(struct arena *arena, const struct context_map *map, const char *key)
{
    const char *value = context_get(map, key);
    return value ? arena_strdup(arena, value) : NULL;
}

int context_attributes(struct arena *arena, const struct context_map *map, enum context_owner owner,
                       struct volume_attributes *out, struct err *err)
{
    struct volume_attributes result = {
        .storage_class = get_copy(arena, map, "storageClass"),
        .inputs = get_copy(arena, map, "inputs"),
        .inputs_from = get_copy(arena, map, "inputsFrom"),
        .copy_policy = owner == CONTEXT_POD ? get_copy(arena, map, "copyPolicy") : NULL,
        .is_provisioned = owner == CONTEXT_ADMIN && context_get(map, PROVISIONER_KEY),
        .parameters = arena_calloc(arena, map->count + 1, sizeof(struct request_pair)),
    };
    for (size_t i = 0; i < map->count; i++) {
        const struct request_pair *pair = &map->pairs[i];
        /* A volume's own role goes before its class's, whoever wrote it. */
        bool is_parameter =
            owner == CONTEXT_ADMIN && !is_role(pair->key) && (class_knows(pair->key) || !is_attribute(pair->key));
        if (context_is_reserved(pair->key))
            continue;
        if (is_parameter && add_parameter(arena, pair, &result, err) != 0)
            return -1;
        if (!is_parameter && !is_attribute(pair->key))
            return unknown_attribute(pair->key, err);
    }
    if (check_copy_policy(result.copy_policy, err) != 0 || read_roles(arena, map, &result, err) != 0 ||
        check_inputs(arena, &result, err) != 0)
        return -1;
    *out = result;
    return 0;
}

static int compare_pairs(const void *a, const void *b)
{
    return strcmp(((const struct request_pair *)a)->key, ((const struct request_pair *)b)->key);
}

void context_digest(const struct context_map *map, const char *more, char out[SHA256_HEX])
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    uint8_t digest[SHA256_LEN];
    struct request_pair *sorted = arena_memdup(arena, map->pairs, (map->count + 1) * sizeof(*sorted));
    qsort(sorted, map->count, sizeof(*sorted), compare_pairs);
    for (size_t i = 0; i < map->count; i++) {
        if (context_is_reserved(sorted[i].key))
            continue;
        sha256_field(sha, sorted[i].key, strlen(sorted[i].key));
        sha256_field(sha, sorted[i].value, strlen(sorted[i].value));
    }
    sha256_field(sha, NULL, 0);
    sha256_field(sha, more, strlen(more));
    sha256_final(sha, digest);
    str_hex(digest, SHA256_LEN, out);
}
