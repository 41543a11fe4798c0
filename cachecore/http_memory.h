/* Allocation for libcurl that overwrites what it frees: URLs may be signed and headers carry credentials, in copies of its own. */
#pragma once

#include <stddef.h>

void *http_memory_alloc(size_t size);
void *http_memory_calloc(size_t count, size_t size);
void *http_memory_realloc(void *data, size_t size);
char *http_memory_strdup(const char *text);
void http_memory_free(void *data);
