/* Bytes that a fetcher might get: parsed or refused, never more. What is accepted can be packed again. */
#include <assert.h>
#include <stdint.h>

#include "cachecore/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct arena *arena = arena_new();
    struct wire_order order;
    if (wire_order_parse(arena, data, size, &order, &err) == 0) {
        struct str packet = STR_INIT;
        struct wire_order again;
        assert(order.job != 0);
        assert(wire_order_pack(&order, &packet, &err) == 0);
        assert(wire_order_parse(arena, packet.data, packet.len, &again, &err) == 0);
        assert(again.kind == order.kind && again.job == order.job && again.secrets.count == order.secrets.count &&
               again.tokens.count == order.tokens.count);
        wire_order_deinit(&again);
        wire_wipe(&packet);
        wire_order_deinit(&order);
    } else {
        assert(err.code == ERR_CORRUPT);
    }
    arena_free(arena);
    return 0;
}
