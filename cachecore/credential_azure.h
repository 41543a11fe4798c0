/* The ways of the chain "azure" (credentials_azure.c has their order). Each: *out stays NULL where it does not apply. */
#pragma once

#include "cachecore/credentials.h"

#define AZURE_TOKEN_AUDIENCE "api://AzureADTokenExchange"

/* The account key, SAS or connection string in the secret, where they are for this account. */
int credential_azure_from_secret(const struct credentials_request *request, const char *account,
                                 struct credentials **out, struct err *err);
/* The client id, tenant id and client secret in the secret, shown to Entra. */
int credential_azure_from_client(const struct credentials_request *request, struct credentials **out, struct err *err);
/* The service account's token, shown to Entra for the client id that its annotation or the class names. */
int credential_azure_from_token(const struct credentials_request *request, struct credentials **out, struct err *err);
/* The node's managed identity, where the class says so. */
int credential_azure_from_node(const struct credentials_request *request, struct credentials **out, struct err *err);
