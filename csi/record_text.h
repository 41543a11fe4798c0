/* A record as JSON, and its file's name. Pure; used by records.c alone. */
#pragma once

#include <jansson.h>

#include "csi/records.h"

#define RECORD_FILE_MAX (SHA256_HEX + 8)

json_t *record_to_json(const struct record *record);
int record_from_json(const json_t *object, struct arena *arena, struct record *out, struct err *err);
/* "<hex>.json": a digest of volume and target. */
void record_file_name(const char *volume_id, const char *target, char out[RECORD_FILE_MAX]);
struct record record_copy(struct arena *arena, const struct record *record);
