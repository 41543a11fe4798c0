/*
 * Cleanup attributes: a local that frees itself when it leaves its scope. Destructors take NULL (or -1 for
 * descriptors). DEFINE_CLEANUP(struct store *, store_free) defines store_freep for use as _cleanup_(store_freep).
 */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* unused: some locals are there for their cleanup alone, which clang does not count as a use. */
#define _cleanup_(function) __attribute__((cleanup(function), unused))

#define DEFINE_CLEANUP(type, function)                              \
    static inline __attribute__((unused)) void function##p(type *p) \
    {                                                               \
        if (*p)                                                     \
            function(*p);                                           \
    }                                                               \
    struct cleanup_needs_semicolon

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void fclosep(FILE **file)
{
    if (*file)
        fclose(*file);
}

static inline void closedirp(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* Hands the value over and leaves the cleanup nothing to do. */
#define STEAL_FD(fd)                \
    __extension__({                 \
        int *steal_from_ = &(fd);   \
        int stolen_ = *steal_from_; \
        *steal_from_ = -1;          \
        stolen_;                    \
    })
#define STEAL_PTR(pointer)                             \
    __extension__({                                    \
        __typeof__(pointer) *steal_from_ = &(pointer); \
        __typeof__(pointer) stolen_ = *steal_from_;    \
        *steal_from_ = NULL;                           \
        stolen_;                                       \
    })
