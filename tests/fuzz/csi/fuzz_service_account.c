/* ServiceAccounts as the API might answer: what comes out is what a role's name must be, and a note is a line for people. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cachecore/json_depth.h"
#include "csi/service_account.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct service_account_key key = {"ml", "train"};
    struct arena *arena = arena_new();
    struct service_account account;
    if (json_is_shallow((const char *)data, size, 64)) {
        json_auto_t *object = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
        service_account_parse(arena, object, &key, &account);
        for (size_t i = 0; i < IDENTITY_ROLES; i++) {
            struct err err = ERR_INIT;
            assert(!account.roles[i] || identity_role_check((enum identity_role)i, account.roles[i], &err) == 0);
        }
        for (const char *at = account.note; at && *at; at++)
            assert((unsigned char)*at >= 0x20 && *at != 0x7f);
    }
    arena_free(arena);
    return 0;
}
