/* Any bytes as the answer of one of Amazon's credential services: what is taken is complete and fit for a header. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cachecore/credential_aws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void value_check(const char *value)
{
    assert(value[0] != '\0');
    for (; *value; value++)
        assert(*value > 0x20 && *value < 0x7f);
}

static void keys_check(int result, const struct aws_keys *keys, const struct err *err)
{
    if (result != 0) {
        assert(err->code == ERR_PRECONDITION && err->message[0] != '\0');
        return;
    }
    value_check(keys->access_key_id);
    value_check(keys->secret_key);
    value_check(keys->session_token);
    assert(keys->expires_s > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *text = arena_strndup(arena, (const char *)data, size);
    struct err err = ERR_INIT, xml_err = ERR_INIT;
    struct aws_keys keys;
    keys_check(aws_keys_parse_json(arena, text, size, &keys, &err), &keys, &err);
    keys_check(aws_keys_parse_sts(arena, text, size, &keys, &xml_err), &keys, &xml_err);
    assert(aws_error_code_parse(arena, text, size));
    return 0;
}
