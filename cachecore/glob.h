/*
 * Globs over the keys of a bucket: '*' is any run without '/', '?' one character (UTF-8) but '/', [abc], [a-z] and [!a] one of or none of
 * some, '**' as a whole segment any number of segments. A percent-encoded byte stands for itself. Pure; a match takes at most
 * (characters + 1) * (tokens + 1) steps, whatever the pattern.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

#define GLOB_TOKENS_MAX 1024u

struct glob_token;

struct glob {
    const char *
        base; /* decoded: all that matches lies below it; up to the last '/' before the first wildcard; "" or ends in '/' */
    const char *prefix;              /* decoded: all that matches begins with it; the text before the first wildcard */
    const struct glob_token *tokens; /* of what follows base */
    size_t count;
};

/* pattern: percent-encoded, without its first '/' (url->glob). ERR_INVALID: '[' without ']', a range that goes down, '**' beside other
 * text, '/' in brackets, too many tokens. */
int glob_parse(struct arena *arena, const char *pattern, struct glob *out, struct err *err);

/* Does the key match? steps may be NULL; else it is raised by the work that was done. A byte that is not UTF-8 counts as a character. */
bool glob_match(const struct glob *glob, const char *key, size_t len, uint64_t *steps);
