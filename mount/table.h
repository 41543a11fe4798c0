/*
 * The mount table: /proc/self/mountinfo, parsed (proc(5)). The parser is pure and bounded; octal escapes are undone. Reading
 * it never touches a mounted file system, so it is safe while a server hangs.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct mount_entry {
    uint64_t id;
    uint64_t parent_id;
    unsigned device_major;
    unsigned device_minor;
    const char *root;
    const char *target;
    const char *options; /* per mount */
    const char *fstype;
    const char *source;
    const char *super_options;
};

struct mount_table {
    struct mount_entry *entries; /* in the kernel's order */
    size_t count;
};

/* ERR_CORRUPT on a line that is not as proc(5) says; ERR_EXHAUSTED beyond the limits in the .c. */
int mount_table_parse(struct arena *arena, const char *text, size_t len, struct mount_table *out, struct err *err);
int mount_table_read(struct arena *arena, struct mount_table *out, struct err *err);

/* The uppermost mount at exactly this path; NULL if none. */
const struct mount_entry *mount_table_at(const struct mount_table *table, const char *target);
/* How many mounts lie at path or below it. */
size_t mount_table_below(const struct mount_table *table, const char *path);
