/* How deep a JSON text nests, before it is parsed: jansson descends by recursion. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* False when objects and arrays nest deeper than max. Brackets inside texts are not counted; what is no JSON is for the parser. */
bool json_is_shallow(const char *text, size_t len, size_t max);
