/* The command line of `sharedcache fetch`, read into what a fill needs. */
#pragma once

#include "base/secret.h"
#include "cachecore/fill.h"

struct tool_fetch_options {
    struct str inputs;  /* the list, as text */
    const char *into;   /* directory */
    const char *store;  /* directory; NULL: .sharedcache in into */
    struct class class; /* --class, else everything allowed */
    struct secret_map secrets;
    bool is_help;
};

extern const char tool_fetch_usage[];

/* 0, or -1: ERR_INVALID for wrong use, or what reading a file gave. Text is in arena or of argv. */
int tool_fetch_options(int argc, char **argv, struct arena *arena, struct tool_fetch_options *out, struct err *err);
void tool_fetch_options_deinit(struct tool_fetch_options *options);
