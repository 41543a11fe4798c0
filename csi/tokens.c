#include "csi/tokens.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static bool is_token(const json_t *entry)
{
    const json_t *token = json_object_get(entry, "token");
    const json_t *expires = json_object_get(entry, "expirationTimestamp");
    return json_is_object(entry) && json_is_string(token) && json_string_length(token) > 0 &&
           (!expires || json_is_string(expires));
}

static bool are_tokens(json_t *tokens)
{
    const char *audience;
    json_t *entry;
    if (!json_is_object(tokens))
        return false;
    json_object_foreach(tokens, audience, entry)
    {
        if (!is_token(entry))
            return false;
    }
    return true;
}

int tokens_check(const char *text, struct err *err)
{
    json_t *tokens = json_loadb(text, strlen(text), JSON_REJECT_DUPLICATES, NULL);
    bool are = are_tokens(tokens);
    json_decref(tokens);
    if (!are)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "serviceAccount.tokens is not a JSON object of audiences with a token each");
    return 0;
}
