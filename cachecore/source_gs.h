/*
 * What the files of the source for Google Cloud Storage share; nobody else includes this. Objects are read by its XML API, whose errors say
 * which of bucket and object is missing and whose paths are plain; listed by its JSON API, which states generations. Objects:
 * source_gs.c; listings: source_gs_list.c, their pages: source_gs_page.c.
 */
#pragma once

#include "cachecore/source.h"

#define GS_KEY_MAX 1024u
#define GS_GENERATION_MAX 24u /* with the NUL */

struct gs_place {
    const char *base;      /* "https://storage.googleapis.com" */
    const char *authority; /* host:port */
};
/* ERR_INVALID for a bad gcsEndpoint. Pure. */
int gs_place_find(const struct class *class, struct arena *arena, struct gs_place *out, struct err *err);

/* Digits, not all zero, at most 19. */
bool gs_is_generation(const char *text);

/* One object of a page. */
struct gs_item {
    const char *name;
    size_t name_len;
    const char *generation;
    uint64_t size;
    int64_t updated_s;
};
/* What stands on a page: items and prefixes one after the other, in the order of their names. Text lives as long as the page. */
struct gs_page_each {
    int (*item)(void *context, const struct gs_item *item, struct err *err);
    int (*prefix)(void *context, const char *prefix, size_t len, struct err *err); /* NULL: there are to be none */
    void *context;
};
/* Reads a page of objects.list. *next is the next page's token, in arena; NULL if there is none. ERR_PRECONDITION for what is no such
 * page; what a callback said otherwise. Pure. */
int gs_page_read(const struct str *text, const struct gs_page_each *each, struct arena *arena, const char **next,
                 struct err *err);

/* source.h: list. */
int gs_list(const struct source_call *call, const struct source_page *page, struct arena *arena, const char **next,
            struct err *err);
