#include "csi/event_limit.h"

#include <stddef.h>

#define PROGRESS_EVERY_MS 60000

int64_t event_bucket_take(struct event_bucket *bucket, int64_t now_ms)
{
    int64_t token_ms = 1000 / bucket->per_second;
    int64_t room_ms = (int64_t)bucket->burst * token_ms;
    if (bucket->full_ms < now_ms)
        bucket->full_ms = now_ms;
    int64_t wait_ms = bucket->full_ms + token_ms - room_ms - now_ms;
    if (wait_ms > 0)
        return wait_ms;
    bucket->full_ms += token_ms;
    return 0;
}

int64_t event_progress_next(int64_t started_ms, int64_t now_ms)
{
    static const int64_t first_ms[] = {2000, 15000, 45000, 105000};
    int64_t age_ms = now_ms - started_ms;
    for (size_t i = 0; i < sizeof(first_ms) / sizeof(first_ms[0]); i++)
        if (age_ms < first_ms[i])
            return started_ms + first_ms[i];
    int64_t last_ms = first_ms[sizeof(first_ms) / sizeof(first_ms[0]) - 1];
    return started_ms + last_ms + ((age_ms - last_ms) / PROGRESS_EVERY_MS + 1) * PROGRESS_EVERY_MS;
}
