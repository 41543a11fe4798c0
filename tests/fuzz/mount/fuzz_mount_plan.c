/* What a helper is sent: accepted bytes are exactly what encoding gives again. */
#include <assert.h>
#include <string.h>

#include "mount/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct plan plan;
    struct reply reply;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(str_deinitp) struct str again = STR_INIT;
    if (reply_decode(data, size, &reply, &err) == 0)
        assert(strlen(reply.message) < sizeof(reply.message));
    if (plan_decode(arena, data, size, &plan, &err) != 0) {
        assert(err.code == ERR_CORRUPT);
        return 0;
    }
    assert(plan_encode(&plan, &again, &err) == 0);
    assert(again.len == size && memcmp(again.data, data, size) == 0);
    return 0;
}
