#include "cachecore/credentials.h"

static int azure_find(const struct credentials_request *request, struct credentials **out, struct err *err)
{
    (void)request;
    (void)err;
    *out = credentials_new(CREDENTIALS_NONE, "no credentials");
    return 0;
}

const struct credential_chain credential_chain_azure = {"azure", azure_find};
