#include "base/clock.h"

#include <limits.h>
#include <time.h>

int64_t clock_monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec;
}

int clock_poll_timeout(int64_t deadline_ms)
{
    if (deadline_ms == CLOCK_NEVER)
        return -1;
    int64_t left = deadline_ms - clock_monotonic_ms();
    if (left < 0)
        return 0;
    return left > INT_MAX ? INT_MAX : (int)left;
}
