/* Time: monotonic milliseconds for deadlines and rates; the wall clock only for what people read. */
#pragma once

#include <stdint.h>

#define CLOCK_NEVER INT64_MAX

int64_t clock_monotonic_ms(void);
int64_t clock_wall_s(void);

/* Milliseconds left until deadline_ms, for poll(2): never negative, -1 for CLOCK_NEVER. */
int clock_poll_timeout(int64_t deadline_ms);
