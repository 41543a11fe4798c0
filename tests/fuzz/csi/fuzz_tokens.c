/* Bytes where kubelet puts the tokens: all of them are taken, or none and nothing of them is shown. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "csi/tokens.h"

#define PIECE_LEN 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The beginning of the first token; an audience may look the same, and audiences are shown. */
static void token_is_not_shown(const char *text, const char *message)
{
    char piece[PIECE_LEN + 1] = "";
    const char *member = strstr(text, "\"token\"");
    const char *token = member ? strstr(member, "eyJ") : NULL;
    if (!token || strlen(token) < PIECE_LEN)
        return;
    memcpy(piece, token, PIECE_LEN);
    if (strstr(text, piece) == token && !strstr(token + 1, piece))
        assert(!strstr(message, piece));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tokens_owner owners[] = {{"ml", "train"}, {NULL, NULL}};
    char *text = strndup((const char *)data, size);
    assert(text);
    for (size_t i = 0; i < 2; i++) {
        struct secret_map map = SECRET_MAP_INIT;
        struct err err = ERR_INIT;
        if (tokens_parse(text, &owners[i], 1780000000, &map, &err) == 0) {
            assert(map.count <= TOKENS_COUNT_MAX);
            for (size_t k = 0; k < map.count; k++)
                assert(secret_len(map.entries[k].value) > 0);
        } else {
            assert(err.code == ERR_UNAUTHENTICATED && map.count == 0);
            token_is_not_shown(text, err.message);
        }
        secret_map_deinit(&map);
    }
    free(text);
    return 0;
}
