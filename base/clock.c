#include "base/clock.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
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

/* Exactly count digits at *text, which is left behind them; -1 if there are fewer. */
static int digits_take(const char **text, int count)
{
    int value = 0;
    for (; count > 0; count--, (*text)++) {
        if (!isdigit((unsigned char)**text))
            return -1;
        value = value * 10 + (**text - '0');
    }
    return value;
}

static bool byte_take(const char **text, const char *allowed)
{
    if (**text == '\0' || !strchr(allowed, **text))
        return false;
    (*text)++;
    return true;
}

/* "2026-01-02T03:04:05"; timegm() mends what no calendar has, so that is looked for first. */
static bool date_time_take(const char **text, int64_t *s)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const char *const after[] = {"-", "-", "Tt", ":", ":", ""};
    int values[6];
    for (int i = 0; i < 6; i++) {
        values[i] = digits_take(text, i == 0 ? 4 : 2);
        if (values[i] < 0 || (*after[i] && !byte_take(text, after[i])))
            return false;
    }
    int year = values[0], month = values[1], day = values[2];
    bool leaps = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days[month - 1] + (month == 2 && leaps) ||
        values[3] > 23 || values[4] > 59 || values[5] > 60)
        return false;
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = values[3],
                    .tm_min = values[4],
                    .tm_sec = values[5]};
    *s = timegm(&tm);
    return true;
}

static bool fraction_take(const char **text, uint32_t *ns)
{
    uint32_t value = 0;
    int count = 0;
    *ns = 0;
    if (!byte_take(text, "."))
        return true;
    for (; isdigit((unsigned char)**text); (*text)++, count++) {
        if (count < 9)
            value = value * 10 + (uint32_t)(**text - '0');
    }
    for (int i = count; i < 9; i++)
        value *= 10;
    *ns = value;
    return count > 0 && count <= 30;
}

static bool offset_take(const char **text, int64_t *s)
{
    bool is_west = **text == '-';
    if (byte_take(text, "Zz"))
        return true;
    if (!byte_take(text, "+-"))
        return false;
    int hours = digits_take(text, 2);
    bool colon = byte_take(text, ":");
    int minutes = digits_take(text, 2);
    if (hours < 0 || hours > 23 || !colon || minutes < 0 || minutes > 59)
        return false;
    *s += (is_west ? 1 : -1) * (hours * 3600 + minutes * 60);
    return true;
}

int clock_parse_rfc3339(const char *text, int64_t *s, uint32_t *ns)
{
    int64_t seconds;
    uint32_t fraction;
    if (!date_time_take(&text, &seconds) || !fraction_take(&text, &fraction) || !offset_take(&text, &seconds) ||
        *text != '\0' || seconds < 0)
        return -1;
    *s = seconds;
    *ns = fraction;
    return 0;
}
