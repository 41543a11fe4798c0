#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "csi/progress.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

struct step {
    int64_t at_ms;
    enum fill_stage stage;
    uint64_t done, total;
    uint32_t inputs;
};

static const struct row {
    struct step steps[4];
    size_t count;
    int64_t now_ms;
    const char *text;
} rows[] = {
    {{{0}}, 0, 0, "asking the sources"},
    {{{0, FILL_RESOLVING, 0, 0, 3}}, 1, 100, "asking the sources about 3 inputs"},
    {{{0, FILL_RESOLVING, 0, 0, 1}}, 1, 100, "asking the sources about 1 input"},
    {{{0, FILL_FETCHING, 0, 0, 2}}, 1, 100, "fetching 2 inputs of unknown size"},
    /* 310 MiB in one second; what was cached before (first report) is no speed */
    {{{0, FILL_FETCHING, 10 * GIB, 141 * GIB, 1}, {1000, FILL_FETCHING, 10 * GIB + 310 * MIB, 141 * GIB, 1}},
     2,
     1000,
     "cached 10.3 of 141.0 GiB (7 percent), 310.0 MiB/s, about 7 min left"},
    {{{0, FILL_FETCHING, 0, 100 * MIB, 1}, {1000, FILL_FETCHING, 50 * MIB, 100 * MIB, 1}},
     2,
     1000,
     "cached 50.0 of 100.0 MiB (50 percent), 50.0 MiB/s, about 1 s left"},
    /* nothing came since: the rate falls with time, and later says so */
    {{{0, FILL_FETCHING, 0, 100 * MIB, 1}, {1000, FILL_FETCHING, 50 * MIB, 100 * MIB, 1}},
     2,
     5000,
     "cached 50.0 of 100.0 MiB (50 percent), 10.0 MiB/s, about 5 s left"},
    {{{0, FILL_FETCHING, 0, 100 * MIB, 1}, {1000, FILL_FETCHING, 50 * MIB, 100 * MIB, 1}},
     2,
     60000,
     "cached 50.0 of 100.0 MiB (50 percent), waiting for the source"},
    {{{0, FILL_FETCHING, 0, 512, 1}}, 1, 10, "cached 0 of 512 B (0 percent), waiting for the source"},
    {{{0, FILL_FETCHING, 0, 4 * GIB, 1}, {1000, FILL_COPYING, 0, 4 * GIB, 1}, {2000, FILL_COPYING, GIB, 4 * GIB, 1}},
     3,
     2000,
     "copied to the node 1.0 of 4.0 GiB (25 percent), 1.0 GiB/s, about 3 s left"},
    {{{0, FILL_FETCHING, 0, 400 * GIB, 1}, {1000, FILL_FETCHING, 10 * MIB, 400 * GIB, 1}},
     2,
     1000,
     "cached 0.0 of 400.0 GiB (0 percent), 10.0 MiB/s, about 11 h left"},
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct progress progress = {.count = 0};
        for (size_t k = 0; k < rows[i].count; k++) {
            const struct step *step = &rows[i].steps[k];
            const struct wire_report report = {.kind = WIRE_PROGRESS,
                                               .stage = step->stage,
                                               .bytes_done = step->done,
                                               .bytes_total = step->total,
                                               .inputs = step->inputs};
            progress_add(&progress, &report, step->at_ms);
        }
        _cleanup_(str_deinitp) struct str text = STR_INIT;
        progress_text(&progress, rows[i].now_ms, &text);
        assert_string_equal(text.data, rows[i].text);
    }
}

/* However long a fill runs, the rate is that of the last ten seconds. */
static void test_rate_forgets(void **state)
{
    (void)state;
    struct progress progress = {.count = 0};
    struct wire_report report = {.kind = WIRE_PROGRESS, .stage = FILL_FETCHING, .bytes_total = 1000 * MIB};
    int64_t now_ms = 0;
    for (unsigned i = 0; i < 100; i++, now_ms += 500) {
        progress_add(&progress, &report, now_ms);
        report.bytes_done += i < 60 ? MIB : 4 * MIB;
    }
    now_ms -= 500;
    double rate = progress_rate(&progress, now_ms) / (double)MIB;
    assert_true(rate > 7.9 && rate < 8.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_rate_forgets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
