/* Time: monotonic milliseconds for deadlines and rates; the wall clock only for what people read. */
#pragma once

#include <stdint.h>

#define CLOCK_NEVER INT64_MAX

int64_t clock_monotonic_ms(void);
int64_t clock_wall_s(void);

/* Milliseconds left until deadline_ms, for poll(2): never negative, -1 for CLOCK_NEVER. */
int clock_poll_timeout(int64_t deadline_ms);

/* A time of RFC 3339, 5.6 ("2026-01-02T03:04:05.678Z"), of the years 1970 to 9999. -1: it is none. Pure. */
int clock_parse_rfc3339(const char *text, int64_t *s, uint32_t *ns);
