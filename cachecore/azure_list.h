/*
 * A page of Azure's List Blobs (REST reference, version 2023-11-03) as it streams in: XML in, blobs and prefixes out, nothing held but the
 * blob that is being read. What stands for a directory of a hierarchical namespace is left out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

#define AZURE_MARKER_MAX 4096u

struct azure_blob {
    const char *name; /* decoded; may hold any byte but NUL */
    size_t name_len;
    uint64_t size;
    int64_t mtime_s;  /* 0 if none */
    const char *etag; /* with quotes, as Get Blob has it */
    bool is_archived;
};

struct azure_list_handler {
    int (*blob)(void *context, const struct azure_blob *blob, struct err *err);
    int (*prefix)(void *context, const char *prefix, size_t len, struct err *err);
    void *context;
};

struct azure_list;

struct azure_list *azure_list_new(const struct azure_list_handler *handler);
void azure_list_free(struct azure_list *list);
DEFINE_CLEANUP(struct azure_list *, azure_list_free);

/* ERR_PRECONDITION for what is no such page; what a handler set once it returned non-zero. */
int azure_list_feed(struct azure_list *list, const void *data, size_t len, struct err *err);
/* *next: the marker of the page after this one, in arena; NULL if it was the last. */
int azure_list_finish(struct azure_list *list, struct arena *arena, const char **next, struct err *err);
