/*
 * Small state files: versioned, checksummed, replaced durably. The text is
 *
 *     sharedcache-state 1 <SHA-256 of the rest, hex>\n
 *     <JSON object>\n
 *
 * so that a file that a power loss cut short, filled with zeros or mixed is told from a whole one.
 */
#pragma once

#include <jansson.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define STATE_FILE_MAX (1u << 20)

/* Durable when it returns 0. */
int state_file_write(int dirfd, const char *name, const json_t *object, struct err *err);

/* A new reference to the object. ERR_NOT_FOUND; ERR_CORRUPT; ERR_UNSUPPORTED for a newer version ("downgrade"). */
json_t *state_file_read(int dirfd, const char *name, struct err *err);

/* Removes it durably; absent is fine. */
int state_file_remove(int dirfd, const char *name, struct err *err);

/* Renames a damaged file to "damaged.<name>", for people to look at. */
void state_file_set_aside(int dirfd, const char *name);

/* Pure halves of the two above. */
void state_text_make(const json_t *object, struct str *out);
json_t *state_text_parse(const char *text, size_t len, struct err *err);

/* Field access for parsers: copies into arena; ERR_CORRUPT names the field. Strings have at most max bytes. */
int state_get_text(const json_t *object, const char *key, size_t max, struct arena *arena, const char **out,
                   struct err *err);
int state_get_number(const json_t *object, const char *key, int64_t *out, struct err *err);
