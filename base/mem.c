#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void *mem_alloc(size_t size)
{
    return mem_calloc(1, size);
}

void *mem_calloc(size_t count, size_t size)
{
    void *data = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    if (!data)
        abort();
    return data;
}

void *mem_realloc(void *data, size_t size)
{
    void *moved = realloc(data, size > 0 ? size : 1);
    if (!moved)
        abort();
    return moved;
}

char *mem_strdup(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

void mem_wipe_free(void *data, size_t len)
{
    if (!data)
        return;
    explicit_bzero(data, len);
    free(data);
}
