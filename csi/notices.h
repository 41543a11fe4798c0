/*
 * What a publish tells people: a log line, metrics, and events on the pod (csi/events.h). Nothing here fails or waits, and
 * nothing decides what the publish does.
 */
#pragma once

#include "csi/publication.h"

/* The class's share was wanted: it is there, or it is not. */
void notice_share(const struct publication *publication, bool is_up);

/* The volume is mounted; start_ms is when this call came. */
void notice_published(const struct publication *publication, int64_t start_ms);
