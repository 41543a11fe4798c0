/*
 * What a publish tells people: a log line, metrics, and events on the pod (csi/events.h). Nothing here fails or waits, and
 * nothing decides what the publish does.
 */
#pragma once

#include "csi/publication.h"

/* The class's share was wanted: it is there, or it is not. */
void notice_share(const struct publication *publication, bool is_up);

/* When the volume's fill, which began at started_ms, is to be told of next: the publish's own hold_ms, or sooner. */
int64_t notice_due_ms(const struct publication *publication, int64_t started_ms);
void notice_progress(const struct publication *publication, const char *text);

/* The fill ended with an error; that it goes on (ERR_BUSY) or was cancelled is none. */
void notice_failed(const struct publication *publication, const struct err *cause);

/* The volume is mounted; start_ms is when this call came. */
void notice_published(const struct publication *publication, int64_t start_ms);
