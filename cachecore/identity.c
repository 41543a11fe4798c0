#include "cachecore/identity.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cachecore/jwt.h"

struct identity {
    struct identity_facts facts;
    struct {
        pthread_mutex_t mutex;
        struct secret_map secrets;
        struct secret_map tokens;
        char id[SHA256_HEX];
    } locked;
};

static int key_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys in their order: the caller's to free, the texts are the map's. */
static const char **keys_sorted(const struct secret_map *map)
{
    const char **keys = mem_alloc((map->count + 1) * sizeof(*keys));
    for (size_t i = 0; i < map->count; i++)
        keys[i] = map->entries[i].key;
    qsort(keys, map->count, sizeof(*keys), key_compare);
    return keys;
}

void identity_digest_map(const struct secret_map *map, struct sha256 *sha)
{
    const char **keys = keys_sorted(map);
    for (size_t i = 0; i < map->count; i++) {
        const struct secret *value = secret_map_get(map, keys[i]);
        sha256_field(sha, keys[i], strlen(keys[i]));
        sha256_field(sha, secret_reveal(value), secret_len(value));
    }
    free(keys);
}

static void text_digest(const char *text, struct sha256 *sha)
{
    sha256_field(sha, text ? text : "", text ? strlen(text) : 0);
}

/* Who says whom it stands for. What is no such token stands for itself. */
static void token_digest(const struct secret *token, struct sha256 *sha)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct err ignored = ERR_INIT;
    struct jwt_claims claims;
    if (jwt_read(arena, secret_reveal(token), secret_len(token), &claims, &ignored) != 0) {
        sha256_field(sha, NULL, 0);
        sha256_field(sha, secret_reveal(token), secret_len(token));
        return;
    }
    text_digest(claims.issuer, sha);
    text_digest(claims.subject, sha);
}

static void tokens_digest(const struct identity_facts *facts, const struct secret_map *tokens, struct sha256 *sha)
{
    const char **keys = keys_sorted(tokens);
    text_digest(facts->namespace, sha);
    text_digest(facts->service_account, sha);
    for (size_t i = 0; i < tokens->count; i++) {
        text_digest(keys[i], sha);
        token_digest(secret_map_get(tokens, keys[i]), sha);
    }
    free(keys);
}

/* What the node's own identity may be asked to be depends on these, too. */
static bool has_roles(const struct identity_facts *facts)
{
    return facts->aws_role_arn || facts->google_service_account || facts->azure_client_id || facts->azure_tenant_id;
}

static void id_make(const struct identity_facts *facts, const struct secret_map *secrets,
                    const struct secret_map *tokens, char out[SHA256_HEX])
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    uint8_t digest[SHA256_LEN];
    identity_digest_map(secrets, sha);
    sha256_field(sha, NULL, 0);
    text_digest(facts->aws_role_arn, sha);
    text_digest(facts->google_service_account, sha);
    text_digest(facts->azure_client_id, sha);
    text_digest(facts->azure_tenant_id, sha);
    if (tokens->count > 0)
        tokens_digest(facts, tokens, sha);
    sha256_final(sha, digest);
    out[0] = '\0';
    if (secrets->count > 0 || tokens->count > 0 || has_roles(facts))
        str_hex(digest, sizeof(digest), out);
}

static char *copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static void maps_set(struct identity *identity, const struct secret_map *secrets, const struct secret_map *tokens)
{
    identity->locked.secrets = identity->locked.tokens = (struct secret_map)SECRET_MAP_INIT;
    if (secrets)
        secret_map_copy(&identity->locked.secrets, secrets);
    if (tokens)
        secret_map_copy(&identity->locked.tokens, tokens);
    id_make(&identity->facts, &identity->locked.secrets, &identity->locked.tokens, identity->locked.id);
}

struct identity *identity_new(const struct identity_facts *facts, const struct secret_map *secrets,
                              const struct secret_map *tokens)
{
    struct identity *identity = mem_alloc(sizeof(*identity));
    *identity = (struct identity){.facts = {.namespace = copy(facts->namespace),
                                            .service_account = copy(facts->service_account),
                                            .aws_role_arn = copy(facts->aws_role_arn),
                                            .google_service_account = copy(facts->google_service_account),
                                            .azure_client_id = copy(facts->azure_client_id),
                                            .azure_tenant_id = copy(facts->azure_tenant_id)}};
    pthread_mutex_init(&identity->locked.mutex, NULL);
    maps_set(identity, secrets, tokens);
    return identity;
}

static void text_free(const char *text)
{
    free((void *)(uintptr_t)text);
}

void identity_free(struct identity *identity)
{
    if (!identity)
        return;
    text_free(identity->facts.namespace);
    text_free(identity->facts.service_account);
    text_free(identity->facts.aws_role_arn);
    text_free(identity->facts.google_service_account);
    text_free(identity->facts.azure_client_id);
    text_free(identity->facts.azure_tenant_id);
    secret_map_deinit(&identity->locked.secrets);
    secret_map_deinit(&identity->locked.tokens);
    pthread_mutex_destroy(&identity->locked.mutex);
    free(identity);
}

void identity_renew(struct identity *identity, const struct secret_map *secrets, const struct secret_map *tokens)
{
    pthread_mutex_lock(&identity->locked.mutex);
    secret_map_deinit(&identity->locked.secrets);
    secret_map_deinit(&identity->locked.tokens);
    maps_set(identity, secrets, tokens);
    pthread_mutex_unlock(&identity->locked.mutex);
}

void identity_view(struct identity *identity, struct identity_view *out)
{
    *out = (struct identity_view){.facts = &identity->facts};
    pthread_mutex_lock(&identity->locked.mutex);
    secret_map_copy(&out->secrets, &identity->locked.secrets);
    secret_map_copy(&out->tokens, &identity->locked.tokens);
    pthread_mutex_unlock(&identity->locked.mutex);
}

void identity_view_deinit(struct identity_view *view)
{
    secret_map_deinit(&view->secrets);
    secret_map_deinit(&view->tokens);
}

void identity_id(struct identity *identity, char out[SHA256_HEX])
{
    pthread_mutex_lock(&identity->locked.mutex);
    memcpy(out, identity->locked.id, SHA256_HEX);
    pthread_mutex_unlock(&identity->locked.mutex);
}
