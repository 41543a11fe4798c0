/* Opening a store: its FORMAT on disk. Used by store.c alone. */
#pragma once

#include "cachecore/store_internal.h"

/* Reads FORMAT, and makes it first when the directory is empty. Uses root, node and boot of the store. */
int store_format_load(const struct store *store, struct store_format *out, struct err *err);
