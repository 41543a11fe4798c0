/*
 * Puts an object of a store at a path below a directory, the cheapest way that works: a clone of its blocks, a hard link, a copy. The
 * file appears whole or not at all and replaces what was there.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* object is open for reading; place is a checked relative path (snapshot_path_check). Clones and copies get the time mtime_s
 * (0: now); a link keeps the store's own and is read-only. */
int tool_place(int into, const char *place, int object, int64_t mtime_s, struct err *err);
