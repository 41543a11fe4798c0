#include "cachecore/credential_cache.h"

int credential_cache_get(const struct credential_chain *chain, const struct class *class, struct identity *identity,
                         const char *host, const atomic_bool *cancel, struct credentials **out, struct err *err)
{
    struct identity_view view;
    identity_view(identity, &view);
    const struct credentials_request request = {.class = class, .identity = &view, .host = host, .cancel = cancel};
    int result = chain->find(&request, out, err);
    identity_view_deinit(&view);
    return result;
}

void credential_cache_drop(const struct credentials *credentials)
{
    (void)credentials;
}
