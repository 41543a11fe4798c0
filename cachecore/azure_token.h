/*
 * What Microsoft Entra and the metadata service of Azure answer when they are asked for a token (Microsoft identity platform, "OAuth 2.0
 * client credentials flow"; "How to use managed identities for Azure resources on an Azure VM to acquire an access token"). Pure.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

#define AZURE_TOKEN_MAX 16384u
#define AZURE_CODE_MAX 64u

struct azure_token {
    const char *value; /* what follows "Bearer "; in the arena, to be wiped */
    int64_t expires_in_s;
};

/* ERR_PRECONDITION for anything else than a bearer token with its life; never quotes the answer. */
int azure_token_parse(struct arena *arena, const char *text, size_t len, struct azure_token *out, struct err *err);

/* What an error is called: "AADSTS70021", or OAuth's word ("invalid_client"); "" if it says nothing that may be shown. */
void azure_token_error_code(const char *text, size_t len, char out[AZURE_CODE_MAX]);

/* What somebody can do about such a code; NULL if it is none that is known. */
const char *azure_token_error_hint(const char *code);
