/* Allocation that aborts when memory runs out, zeroed. Limits on numbers from outside are checked before. */
#pragma once

#include <stddef.h>

void *mem_alloc(size_t size);
void *mem_calloc(size_t count, size_t size);
void *mem_realloc(void *data, size_t size); /* what is new is not zeroed */
char *mem_strdup(const char *text);

/* Overwrites and frees; for what was secret. NULL is fine. */
void mem_wipe_free(void *data, size_t len);
