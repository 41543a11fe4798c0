#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "csi/metrics.h"

static void expect_text(struct metrics *metrics, const char *text)
{
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    metrics_print(metrics, &out);
    assert_string_equal(out.data ? out.data : "", text);
}

static void test_nothing(void **state)
{
    (void)state;
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    expect_text(metrics, "");
    metrics_add(NULL, METRIC_FETCHER_RESTARTS, 1, NULL);
    metrics_set(NULL, METRIC_SHARE_UP, 1, "a", NULL);
    metrics_observe(NULL, METRIC_PUBLISH, 1, "a", "hit", NULL);
    expect_text(NULL, "");
}

static void test_counter(void **state)
{
    (void)state;
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    metrics_add(metrics, METRIC_FILL_BYTES, 0, "b", NULL);
    metrics_add(metrics, METRIC_FILL_BYTES, 4294967296.0 * 1024, "a", NULL);
    metrics_add(metrics, METRIC_FILL_BYTES, 1, "a", NULL);
    expect_text(
        metrics,
        "# HELP sharedcache_csi_fill_bytes_total Bytes downloaded from sources by this node, counted while fills "
        "run.\n"
        "# TYPE sharedcache_csi_fill_bytes_total counter\n"
        "sharedcache_csi_fill_bytes_total{class=\"b\"} 0\n"
        "sharedcache_csi_fill_bytes_total{class=\"a\"} 4398046511105\n");
}

static void test_gauge(void **state)
{
    (void)state;
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    metrics_set(metrics, METRIC_VOLUMES, 7, NULL);
    metrics_set(metrics, METRIC_VOLUMES, 0.25, NULL);
    expect_text(metrics, "# HELP sharedcache_csi_volumes_published Volumes that are published on this node.\n"
                         "# TYPE sharedcache_csi_volumes_published gauge\n"
                         "sharedcache_csi_volumes_published 0.25\n");
}

/* A value on a bound belongs to that bound's bucket; buckets are cumulated; the last one holds everything. */
static void test_histogram(void **state)
{
    (void)state;
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    metrics_observe(metrics, METRIC_FILL_RATE, 1e6, "a", NULL);
    metrics_observe(metrics, METRIC_FILL_RATE, 1000001, "a", NULL);
    metrics_observe(metrics, METRIC_FILL_RATE, 9e9, "a", NULL);
    metrics_print(metrics, &out);
    const char *name = "sharedcache_csi_fill_rate_bytes_per_second";
    const char *values = strstr(out.data, "histogram\n") + strlen("histogram\n");
    _cleanup_(str_deinitp) struct str expected = STR_INIT;
    static const char *const bounds[] = {"1000000",   "5000000",   "10000000",   "25000000",   "50000000",  "100000000",
                                         "250000000", "500000000", "1000000000", "2500000000", "5000000000"};
    for (size_t i = 0; i < 11; i++)
        str_printf(&expected, "%s_bucket{class=\"a\",le=\"%s\"} %d\n", name, bounds[i], i == 0 ? 1 : 2);
    str_printf(&expected, "%s_bucket{class=\"a\",le=\"+Inf\"} 3\n", name);
    str_printf(&expected, "%s_sum{class=\"a\"} 9002000001\n%s_count{class=\"a\"} 3\n", name, name);
    assert_string_equal(values, expected.data);
}

static void test_escapes(void **state)
{
    (void)state;
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    metrics_set(metrics, METRIC_BUILD_INFO, 1, "a\\b\"c\nd", NULL);
    metrics_print(metrics, &out);
    assert_non_null(strstr(out.data, "{version=\"a\\\\b\\\"c\\nd\"} 1\n"));
}

/* However many classes there are, a label has 64 values and "other", and no count is lost. */
static void test_label_bound(void **state)
{
    (void)state;
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "class-%d", i);
        metrics_add(metrics, METRIC_INPUT_HITS, 1, name, NULL);
    }
    metrics_add(metrics, METRIC_INPUT_HITS, 1, "class-0", NULL);
    metrics_add(metrics, METRIC_INPUT_HITS, 1, "other", NULL);
    metrics_set(metrics, METRIC_SHARE_UP, 1, "class-999", NULL); /* the bound is the label's, not the metric's */
    metrics_print(metrics, &out);
    size_t lines = 0;
    for (const char *at = out.data; (at = strstr(at, "hits_total{")) != NULL; at++)
        lines++;
    assert_int_equal(lines, METRICS_VALUES_MAX + 1);
    assert_non_null(strstr(out.data, "hits_total{class=\"class-0\"} 2\n"));
    assert_non_null(strstr(out.data, "hits_total{class=\"other\"} 937\n"));
    assert_non_null(strstr(out.data, "share_up{class=\"other\"} 1\n"));
}

#define ADDITIONS 200000

static pthread_barrier_t together;

static void *add_many(void *metrics)
{
    pthread_barrier_wait(&together);
    for (int i = 0; i < ADDITIONS; i++) {
        metrics_add(metrics, METRIC_FETCHER_RESTARTS, 1, NULL);
        metrics_observe(metrics, METRIC_PUBLISH, 1, "a", "hit", NULL);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    pthread_t threads[4];
    pthread_barrier_init(&together, NULL, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, metrics), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    metrics_print(metrics, &out);
    assert_non_null(strstr(out.data, "fetcher_restarts_total 800000\n"));
    assert_non_null(strstr(out.data, "publish_seconds_count{class=\"a\",outcome=\"hit\"} 800000\n"));
}

/* Names and help that Prometheus takes, and buckets that grow. */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const struct metric_description *row = &metric_table[i];
        assert_non_null(row->name);
        assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(row->name));
        assert_int_equal(row->type == METRIC_COUNTER, str_ends_with(row->name, "_total"));
        assert_null(strpbrk(row->help, "\\\n|"));
        assert_true(str_ends_with(row->help, "."));
        assert_int_equal(row->type == METRIC_HISTOGRAM, row->bucket_count > 0);
        assert_true(row->bucket_count < METRIC_BUCKETS_MAX);
        for (size_t j = 1; j < row->bucket_count; j++)
            assert_true(row->buckets[j] > row->buckets[j - 1]);
    }
}

static void row_print(const struct metric_description *row, struct str *out)
{
    str_printf(out, "| `%s` | %s | ", row->name, metric_type_name(row->type));
    for (size_t i = 0; i < METRIC_LABELS_MAX && row->labels[i]; i++)
        str_printf(out, "%s`%s`", i > 0 ? ", " : "", row->labels[i]);
    str_printf(out, "%s| %s |\n", row->labels[0] ? " " : "", row->help);
}

/* docs/METRICS.md holds exactly the table, in its order. */
static void test_documentation(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    _cleanup_(str_deinitp) struct str rows = STR_INIT;
    _cleanup_(closep) int docs = open(SC_SOURCE_DIR "/docs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < METRIC_COUNT; i++)
        row_print(&metric_table[i], &rows);
    assert_int_equal(fs_read_file(docs, "METRICS.md", 1 << 20, &text, &err), 0);
    char *table = strstr(text.data, "|---|---|---|---|\n");
    if (table && strncmp(table + 18, rows.data, rows.len) == 0 && table[18 + rows.len] != '|')
        return;
    fprintf(stderr, "%s", rows.data);
    fail_msg("the table of docs/METRICS.md should be the one above");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),   cmocka_unit_test(test_counter), cmocka_unit_test(test_gauge),
        cmocka_unit_test(test_histogram), cmocka_unit_test(test_escapes), cmocka_unit_test(test_label_bound),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_table),   cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
