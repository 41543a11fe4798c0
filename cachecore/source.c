#include "cachecore/source.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cachecore/credential_cache.h"
#include "cachecore/digest.h"
#include "cachecore/source_list.h"

#define TRIES_MAX 4u
#define BACKOFF_FIRST_MS 400
#define CANCEL_CHECK_MS 100

static const struct source *const sources[] = {&source_http, &source_s3, &source_gs, &source_az};

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
        if (sources[i]->takes && sources[i]->takes(url))
            return sources[i];
    }
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        if (has_scheme(sources[i], url->scheme))
            return sources[i];
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

int source_call_begin(const struct source *source, const char *host, struct source_call *call, struct err *err)
{
    struct credentials *credentials;
    if (credential_cache_get(source->chain, call->context->class, call->context->identity, host, call->cancel,
                             &credentials, err) != 0)
        return -1;
    call->credentials = credentials;
    return 0;
}

void source_call_end(struct source_call *call)
{
    credentials_unref((struct credentials *)(uintptr_t)call->credentials);
    call->credentials = NULL;
}

static int ask_once(const struct source_asking *asking, source_question question, void *context, bool *may_be_stale,
                    struct err *err)
{
    struct source_call call = asking->call;
    *may_be_stale = false;
    if (source_call_begin(asking->source, asking->host, &call, err) != 0)
        return -1;
    int result = question(&call, context, err);
    *may_be_stale = result != 0 && err->code == ERR_UNAUTHENTICATED && call.credentials->expires_s != 0;
    if (*may_be_stale)
        credential_cache_drop(call.credentials);
    source_call_end(&call);
    return result;
}

int source_ask(const struct source_asking *asking, source_question question, void *context, struct err *err)
{
    bool was_stale = false;
    for (unsigned try = 1;; try++) {
        struct err why = ERR_INIT;
        bool is_stale;
        if (ask_once(asking, question, context, &is_stale, &why) == 0)
            return 0;
        int64_t now_ms = clock_monotonic_ms();
        int64_t end_ms = now_ms + backoff_ms(try, http_retry_after_s(asking->call.http));
        bool is_renewed = is_stale && !was_stale;
        bool retries = why.code == ERR_UNAVAILABLE && try < TRIES_MAX && end_ms < asking->deadline_ms;
        was_stale = was_stale || is_stale;
        if (!retries && !is_renewed) {
            *err = why;
            return try > 1 ? err_prefix(err, "after %u tries", try) : -1;
        }
        if (!wait_until(is_renewed ? now_ms : end_ms, asking->call.cancel))
            return err_set(err, ERR_CANCELLED, "cancelled while waiting to try again: %s", why.message);
    }
}

struct resolving {
    const struct source *source;
    const struct url *url;
    struct arena *arena;
    struct source_object *out;
};

static int resolve_question(const struct source_call *call, void *context, struct err *err)
{
    const struct resolving *resolving = context;
    return resolving->source->resolve(call, resolving->url, resolving->arena, resolving->out, err);
}

int source_resolve(const struct source_asking *asking, const struct url *url, struct arena *arena,
                   struct source_object *out, struct err *err)
{
    const struct class *class = asking->call.context->class;
    struct resolving resolving = {asking->source, url, arena, out};
    if (!class_allows_source(class, url->canonical))
        return err_set(err, ERR_DENIED, "the class '%s' does not allow this source (allowedSources)", class->name);
    return source_ask(asking, resolve_question, &resolving, err);
}
