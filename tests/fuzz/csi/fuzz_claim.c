/*
 * Claims from the API, whatever their annotations: what the controller makes of one is a volume context that the node takes, with
 * the same inputs.
 */
#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "csi/controller.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void try_claim(const struct claim *claim, struct arena *arena)
{
    struct request_pair parameters[] = {{"podMayChoose", "copyPolicy"}};
    struct create_request request = {
        .name = "pvc-1", .parameters = {parameters, 1}, .mount_flags = "", .claim = {"team-a", "data"}};
    struct volume_attributes attributes;
    struct context_map context;
    struct err err = ERR_INIT;
    if (create_request_claim(&request, claim, arena, &context, &err) != 0) {
        assert(err.code == ERR_PRECONDITION);
        return;
    }
    assert(context_check(&context, &err) == 0);
    assert(context_attributes(arena, &context, CONTEXT_ADMIN, &attributes, &err) == 0);
    assert(same(attributes.storage_class, claim->storage_class));
    assert(same(attributes.inputs, claim->inputs) && same(attributes.inputs_from, claim->inputs_from));
    assert(attributes.parameter_count == (claim->copy_policy ? 1 : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *object = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    struct arena *arena = arena_new();
    struct claim claim;
    struct err err = ERR_INIT;
    if (object && claim_parse(arena, object, &claim, &err) == 0)
        try_claim(&claim, arena);
    else if (object)
        assert(err.code == ERR_PRECONDITION || err.code == ERR_CORRUPT || err.code == ERR_UNSUPPORTED);
    json_decref(object);
    arena_free(arena);
    return 0;
}
