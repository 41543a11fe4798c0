/*
 * Mount options as a list: ours (what a vendor recommends) first, then the class's, where one of the same family replaces
 * ours ("resvport" replaces "noresvport", "nfsvers" is "vers"). Every option of a class goes through one table of what is
 * refused and why. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

#define OPTIONS_MAX 64
#define OPTIONS_TEXT_MAX 2048 /* a page in all is the kernel's limit; addresses and logins come on top */

enum option_fs { OPTION_NFS = 1, OPTION_CIFS = 2, OPTION_ANY = 3 };

struct option {
    const char *name;
    const char *value; /* NULL for a plain flag */
};

struct options {
    struct option entries[OPTIONS_MAX];
    size_t count;
};

/* Adds "a,b=c" of our own, unchecked: for the constant texts of our tables. */
void options_add_own(struct arena *arena, struct options *options, const char *text);

/* Adds the class's text. ERR_INVALID for what is no option list, ERR_UNSUPPORTED for what is refused, with the way out. */
int options_add_class(struct arena *arena, struct options *options, const char *text, enum option_fs fs,
                      struct err *err);

bool options_have(const struct options *options, const char *name);
const char *options_value(const struct options *options, const char *name); /* NULL: not there, or a flag */

/* All, comma-separated, sorted by name: one text for one set. */
const char *options_print(struct arena *arena, struct options *options);
