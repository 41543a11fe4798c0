#include "cachecore/azure_cloud.h"
#include "cachecore/credential_azure.h"

/* A way that fails ends the search: what was meant to be shown, and is wrong, is not replaced by something else. */
static int azure_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *account = request->host ? azure_account_of(arena, request->host) : "";
    struct credentials *found = NULL;
    if (credential_azure_from_secret(request, account, &found, err) != 0 ||
        (!found && credential_azure_from_client(request, &found, err) != 0) ||
        (!found && credential_azure_from_token(request, &found, err) != 0) ||
        (!found && credential_azure_from_node(request, &found, err) != 0))
        return -1;
    *out = found ? found
                 : credentials_new(CREDENTIALS_NONE,
                                   "no account key, SAS or client in the secret, no client id on the service account");
    return 0;
}

const struct credential_chain credential_chain_azure = {"azure", azure_find, false};
