/*
 * Structured log lines on standard error, as logfmt (ts level event key=value...) or as one JSON object a line with the same keys. Only csi/ and the tool log; lower
 * layers return errors. Values are quoted and escaped; a secret has no printable form (base/secret.h), so it cannot be
 * passed here. Thread-safe: one write(2) a line.
 */
#pragma once

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

enum log_format { LOG_TEXT, LOG_JSON };

void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
int log_parse_level(const char *name, enum log_level *out); /* error warning info debug; -1 otherwise */

const char *log_format_name(void);                            /* of the format set */
int log_parse_format(const char *name, enum log_format *out); /* text json; -1 otherwise */

/* log_event(LOG_INFO, "volume_published", "volume", id, "bytes", text, NULL): pairs of text, closed by NULL; a NULL
 * value leaves its pair out. */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));
