/* How often events may be sent: pure, time is an argument. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A token bucket: a burst, then so many a second. Zeroed and given its two numbers at the start; it begins full. */
struct event_bucket {
    unsigned burst;
    unsigned per_second;
    int64_t full_ms; /* when it would be full again; grows with each token taken */
};

/* Milliseconds until a token can be taken; 0: one was taken. */
int64_t event_bucket_take(struct event_bucket *bucket, int64_t now_ms);

/* When a fill that began at started_ms tells of itself next, after now_ms: 2, 15, 45, 105 seconds after its start, then once a minute. */
int64_t event_progress_next(int64_t started_ms, int64_t now_ms);
