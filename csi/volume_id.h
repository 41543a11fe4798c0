/* Ids of volumes: text from outside that names a volume; nothing is ever made of it but digests. Pure. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define VOLUME_ID_MAX 128

/* 1 to 128 of [A-Za-z0-9._:@-], a letter or digit first. */
int volume_id_check(const char *volume_id, struct err *err);

/* "csi-" and 64 hex digits: what kubelet makes for inline volumes. */
bool volume_id_is_inline(const char *volume_id);
