/* Any bytes as the answer of a token service: a token that may stand in a header, or a code that may be shown. */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "cachecore/azure_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const char *text = arena_strndup(arena, (const char *)data, size);
    struct azure_token token;
    struct err err = ERR_INIT;
    char code[AZURE_CODE_MAX];
    azure_token_error_code(text, size, code);
    for (const char *p = code; *p; p++)
        assert(isalnum((unsigned char)*p) || *p == '_' || *p == '-');
    if (azure_token_parse(arena, text, size, &token, &err) != 0) {
        assert(err.code == ERR_PRECONDITION);
        return 0;
    }
    assert(token.expires_in_s > 0 && *token.value && strlen(token.value) <= AZURE_TOKEN_MAX);
    for (const char *p = token.value; *p; p++)
        assert(*p > ' ' && *p < 0x7f);
    return 0;
}
