/*
 * Arena: memory of one request or one stage, given back at once. Never fails: running out of memory aborts (state is
 * on disk, mounts stay, the caller retries), so every number from outside is limited before it gets here.
 * Not for use by several threads at a time.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/cleanup.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is fine */
DEFINE_CLEANUP(struct arena *, arena_free);
/* As arena_free, and overwrites it all first: for what held credentials or signed URLs. */
void arena_wipe_free(struct arena *arena);
DEFINE_CLEANUP(struct arena *, arena_wipe_free);

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned to 16 */
void *arena_calloc(struct arena *arena, size_t count, size_t size);
void *arena_memdup(struct arena *arena, const void *data, size_t len);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Bytes handed out so far: for limits and tests. */
size_t arena_used(const struct arena *arena);
