/* Any bytes as a page of a listing of Cloud Storage: what is told has a name, a size and a generation. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/source_gs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_item(void *context, const struct gs_item *item, struct err *err)
{
    (void)err;
    assert(item->name_len > 0 && item->name_len <= GS_KEY_MAX && strlen(item->name) == item->name_len);
    assert(gs_is_generation(item->generation) && strlen(item->generation) < GS_GENERATION_MAX);
    assert(item->updated_s >= 0);
    (*(size_t *)context)++;
    return 0;
}

static int on_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    assert(len > 0 && len <= GS_KEY_MAX && strlen(prefix) == len);
    if ((*(size_t *)context)++ > 1000)
        return err_set(err, ERR_EXHAUSTED, "enough");
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    size_t told = 0;
    const char *next = NULL;
    struct err err = ERR_INIT;
    str_append(&text, data, size);
    const struct gs_page_each each = {.item = on_item, .prefix = on_prefix, .context = &told};
    if (gs_page_read(&text, &each, arena, &next, &err) != 0)
        assert((err.code == ERR_PRECONDITION || err.code == ERR_EXHAUSTED) && err.message[0] != '\0' && !next);
    else
        assert(!next || next[0] != '\0');
    return 0;
}
