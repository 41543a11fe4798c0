#include "cachecore/http_memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void *http_memory_alloc(size_t size)
{
    return malloc(size);
}

void *http_memory_calloc(size_t count, size_t size)
{
    return calloc(count, size);
}

/* realloc(3) leaves the old bytes behind when it moves them. */
void *http_memory_realloc(void *data, size_t size)
{
    size_t old = data ? malloc_usable_size(data) : 0;
    void *moved = malloc(size > 0 ? size : 1);
    if (!moved)
        return NULL;
    if (data)
        memcpy(moved, data, old < size ? old : size);
    http_memory_free(data);
    return moved;
}

char *http_memory_strdup(const char *text)
{
    return strdup(text);
}

void http_memory_free(void *data)
{
    if (data)
        explicit_bzero(data, malloc_usable_size(data));
    free(data);
}
