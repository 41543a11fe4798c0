/*
 * The declaration of inputs: one a line.
 *
 *     <url> [-> <place>] [key=value ...]        # a comment; blank lines are fine
 *
 * A URL is one object, a prefix (it ends in '/') or a glob (cachecore/glob.h). A place is a path in the volume; one that ends in '/' is a
 * directory (an object keeps its base name below it). The default is the base name of an object; of a prefix or glob it is the volume's
 * root, below which the keys stand that follow the prefix, or the last '/' before the first wildcard. Options: sha256=<64 hex> of an object,
 * snapshot=<64 hex>. A list of inputs may live in an object (inputsFrom). Errors name the line and the cause, and show no query. Pure.
 */
#pragma once

#include "cachecore/url.h"

#define INPUTS_MAX 10000u
#define INPUTS_BYTES_MAX (4u << 20)

struct input {
    unsigned line;
    const char *url_text; /* as written: may hold a signed query; never to be shown */
    struct url url;
    const char *
        place; /* checked: relative, no "." or "..", no empty segment, <= 255 bytes each, UTF-8, no control characters, no ".nfs*";
                             never ends in '/' : the directory form has the base name appended for a single object; "" is the root, for
                             prefixes and globs alone */
    bool is_prefix;     /* the URL ends in '/' or holds a glob: place is a directory, which several inputs may share */
    const char *sha256; /* NULL if not given */
    const char *snapshot; /* NULL if not given */
};

struct inputs {
    struct input *items;
    size_t count;
};

/* ERR_INVALID "inputs line 3: ..."; two lines that put different things at one place (also after case folding, also a file
 * where another line needs a directory) name both lines. What prefixes bring is not known yet: csi/view_plan.h finds those clashes. */
int inputs_parse(struct arena *arena, const char *text, size_t len, struct inputs *out, struct err *err);
