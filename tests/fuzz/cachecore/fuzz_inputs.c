/* Any bytes as a declaration of inputs: what is taken has places that are fit for a view, and only prefixes share one. */
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "cachecore/input.h"
#include "cachecore/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct inputs inputs;
    if (inputs_parse(arena, (const char *)data, size, &inputs, &err) != 0) {
        assert(err.code == ERR_INVALID || err.code == ERR_UNSUPPORTED);
        assert(err.message[0] != '\0');
        return 0;
    }
    assert(inputs.count > 0 && inputs.count <= INPUTS_MAX);
    for (size_t i = 0; i < inputs.count; i++) {
        const struct input *input = &inputs.items[i];
        bool is_root = input->is_prefix && input->place[0] == '\0';
        assert(is_root || snapshot_path_check(input->place, strlen(input->place), &err) == 0);
        for (size_t j = 0; j < i && i < 64; j++) {
            const struct input *other = &inputs.items[j];
            bool is_shared = input->is_prefix && other->is_prefix && strcmp(input->place, other->place) == 0;
            assert(is_shared || strcasecmp(input->place, other->place) != 0);
        }
    }
    return 0;
}
