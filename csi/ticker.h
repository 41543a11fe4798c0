/* A thread that does one thing again and again, in intervals of its own choice, until it is done or stopped. */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct ticker;

#define TICKER_DONE INT64_C(-1)

/* Returns after how many milliseconds it wants to be called again, or TICKER_DONE. */
typedef int64_t (*ticker_step)(void *context);

/* The first call comes after first_ms. ERR_UNAVAILABLE: no thread. */
struct ticker *ticker_new(ticker_step step, void *context, int64_t first_ms, struct err *err);
/* Waits for a step that runs, and calls it no more. NULL is fine. */
void ticker_free(struct ticker *ticker);
DEFINE_CLEANUP(struct ticker *, ticker_free);
