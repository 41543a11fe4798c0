/* Any bytes as a key file of Google's, or as an answer of one of its token services: the first byte says which. What is taken fits in a header. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cachecore/credential_google.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_S 1700000000

static void key_look(const char *text, size_t len)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct google_key key;
    struct err err = ERR_INIT;
    if (google_key_parse(arena, text, len, &key, &err) != 0) {
        assert(err.code == ERR_INVALID || err.code == ERR_UNSUPPORTED);
        return;
    }
    assert(key.email[0] && !strpbrk(key.email, "\"\\\r\n ") && key.private_key[0]);
    assert(!key.id || (key.id[0] && !strpbrk(key.id, "\"\\\r\n ")));
}

static void answer_look(const struct credential_answer *answer, google_parse parse)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct google_token token;
    struct err err = ERR_INIT;
    google_error_code(answer, arena);
    if (parse(answer, NOW_S, arena, &token, &err) != 0) {
        assert(err.code == ERR_PRECONDITION && err.message[0] != '\0');
        return;
    }
    size_t len = strlen(token.value);
    assert(len > 0 && len <= GOOGLE_TOKEN_MAX && token.expires_s > 0 && token.expires_s <= NOW_S + 43200);
    for (size_t i = 0; i < len; i++)
        assert(token.value[i] > 0x20 && token.value[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct credential_answer answer = {.body = (const char *)data + 1, .len = size - 1};
    if (data[0] == 'k')
        key_look(answer.body, answer.len);
    else
        answer_look(&answer, data[0] == 'i' ? google_impersonation_parse : google_token_parse);
    return 0;
}
