#include "cachecore/source.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cachecore/digest.h"
#include "cachecore/source_list.h"

#define TRIES_MAX 4u
#define BACKOFF_FIRST_MS 400
#define CANCEL_CHECK_MS 100

static const struct source *const sources[] = {&source_http, &source_s3};
static const char *const planned[] = {"gs", "az"};

static bool has_scheme(const struct source *source, const char *scheme)
{
    for (const char *const *known = source->schemes; *known; known++) {
        if (strcmp(*known, scheme) == 0)
            return true;
    }
    return false;
}

const struct source *source_for(const struct url *url, struct err *err)
{
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        if (has_scheme(sources[i], url->scheme))
            return sources[i];
    }
    for (size_t i = 0; i < sizeof(planned) / sizeof(planned[0]); i++) {
        if (strcmp(planned[i], url->scheme) == 0) {
            err_set(err, ERR_UNSUPPORTED, "%s:// is not supported yet", url->scheme);
            return NULL;
        }
    }
    err_set(err, ERR_INVALID, "the URL's scheme is not one of a source");
    return NULL;
}

/* A whole number of milliseconds in [half, all] of a wait that doubles with each try, and not less than what the server asks for. */
static int64_t backoff_ms(unsigned try, int64_t retry_after_s)
{
    int64_t full = (int64_t)BACKOFF_FIRST_MS << try;
    uint32_t random;
    digest_random(&random, sizeof(random));
    int64_t wait = full / 2 + random % (full / 2 + 1);
    return retry_after_s * 1000 > wait ? retry_after_s * 1000 + random % 250 : wait;
}

static bool is_cancelled(const atomic_bool *cancel)
{
    return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

/* False when cancelled meanwhile. */
static bool wait_until(int64_t end_ms, const atomic_bool *cancel)
{
    for (int64_t now = clock_monotonic_ms(); now < end_ms; now = clock_monotonic_ms()) {
        if (is_cancelled(cancel))
            return false;
        int64_t step = end_ms - now < CANCEL_CHECK_MS ? end_ms - now : CANCEL_CHECK_MS;
        nanosleep(&(struct timespec){.tv_nsec = step * 1000000}, NULL);
    }
    return !is_cancelled(cancel);
}

int source_resolve(const struct source *source, struct http *http, const struct source_context *context,
                   const struct url *url, struct arena *arena, struct source_object *out, int64_t deadline_ms,
                   const atomic_bool *cancel, struct err *err)
{
    if (!class_allows_source(context->class, url->canonical))
        return err_set(err, ERR_DENIED, "the class '%s' does not allow this source (allowedSources)",
                       context->class->name);
    for (unsigned try = 1;; try++) {
        struct err why = ERR_INIT;
        if (source->resolve(http, context, url, arena, out, cancel, &why) == 0)
            return 0;
        int64_t end_ms = clock_monotonic_ms() + backoff_ms(try, http_retry_after_s(http));
        bool retries = why.code == ERR_UNAVAILABLE && try < TRIES_MAX && end_ms < deadline_ms;
        if (!retries) {
            *err = why;
            return try > 1 ? err_prefix(err, "after %u tries", try) : -1;
        }
        if (!wait_until(end_ms, cancel))
            return err_set(err, ERR_CANCELLED, "cancelled while waiting to try again: %s", why.message);
    }
}

static int key_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void source_identity(const struct secret_map *secrets, char out[65])
{
    out[0] = '\0';
    if (!secrets || secrets->count == 0)
        return;
    const char **keys = calloc(secrets->count, sizeof(*keys));
    if (!keys)
        abort();
    for (size_t i = 0; i < secrets->count; i++)
        keys[i] = secrets->entries[i].key;
    qsort(keys, secrets->count, sizeof(*keys), key_compare);
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    for (size_t i = 0; i < secrets->count; i++) {
        const struct secret *value = secret_map_get(secrets, keys[i]);
        sha256_field(sha, keys[i], strlen(keys[i]));
        sha256_field(sha, secret_reveal(value), secret_len(value));
    }
    free(keys);
    uint8_t digest[SHA256_LEN];
    sha256_final(sha, digest);
    str_hex(digest, sizeof(digest), out);
}
