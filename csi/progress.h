/* How far a fill is, in words for people (events of the pod). Pure: time is an argument. */
#pragma once

#include "cachecore/wire.h"

#define PROGRESS_SAMPLES 24u
#define PROGRESS_WINDOW_MS 10000

/* What is known of a fill: the last report and a window of samples for the rate. Zeroed at the start. */
struct progress {
    struct wire_report last;
    struct {
        int64_t at_ms;
        uint64_t bytes;
    } samples[PROGRESS_SAMPLES];
    unsigned count;
};

void progress_add(struct progress *progress, const struct wire_report *report, int64_t now_ms);

/* Bytes a second over the window; 0 when nothing is known. */
double progress_rate(const struct progress *progress, int64_t now_ms);

/* "cached 41.2 of 141.0 GiB (29 percent), 310.0 MiB/s, about 5 min left"; "asking the sources about 3 inputs". Appends to out. */
void progress_text(const struct progress *progress, int64_t now_ms, struct str *out);
