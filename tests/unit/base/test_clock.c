/* Times as services write them (RFC 3339). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static const struct {
    const char *text;
    int64_t s;
    uint32_t ns;
} good[] = {
    {"1985-04-12T23:20:50.52Z", 482196050, 520000000}, /* RFC 3339, 5.8 */
    {"1996-12-19T16:39:57-08:00", 851042397, 0},
    {"1990-12-31T23:59:60Z", 662688000, 0},
    {"2014-10-02T15:01:23.045123456Z", 1412262083, 45123456},
    {"2014-10-02t15:01:23z", 1412262083, 0},
    {"2014-10-02T20:31:23+05:30", 1412262083, 0},
    {"2024-02-29T00:00:00.0000000009Z", 1709164800, 0},
    {"1970-01-01T00:00:00Z", 0, 0},
    {"9999-12-31T23:59:59.999999999Z", 253402300799, 999999999},
};

static const char *const bad[] = {
    "",
    "2014",
    "2014-10-02",
    "2014-10-02 15:01:23Z",
    "2014-10-02T15:01:23",
    "2014-10-02T15:01Z",
    "2014-10-02T15:01:23.Z",
    "2014-10-02T15:01:23,5Z",
    "2014-10-02T15:01:23ZZ",
    "2014-10-02T15:01:23Z ",
    " 2014-10-02T15:01:23Z",
    "2014-1-02T15:01:23Z",
    "2014-00-02T15:01:23Z",
    "2014-13-02T15:01:23Z",
    "2014-02-29T15:01:23Z",
    "2100-02-29T15:01:23Z",
    "2014-10-00T15:01:23Z",
    "2014-10-32T15:01:23Z",
    "2014-10-02T24:01:23Z",
    "2014-10-02T15:60:23Z",
    "2014-10-02T15:01:61Z",
    "2014-10-02T15:01:23+05",
    "2014-10-02T15:01:23+0530",
    "2014-10-02T15:01:23+24:00",
    "2014-10-02T15:01:23+05:60",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00+00:01",
    "-014-10-02T15:01:23Z",
    "2014-10-02T15:01:23.0000000000000000000000000000000Z",
};

static void times_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t s = -1;
        uint32_t ns = 1;
        if (clock_parse_rfc3339(good[i].text, &s, &ns) != 0 || s != good[i].s || ns != good[i].ns)
            fail_msg("%s: %lld.%09u", good[i].text, (long long)s, ns);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t s = -7;
        uint32_t ns = 7;
        if (clock_parse_rfc3339(bad[i], &s, &ns) != -1 || s != -7 || ns != 7)
            fail_msg("%s was taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(what_is_no_time_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
