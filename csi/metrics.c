#include "csi/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#include "base/mem.h"

#define LABEL_NAMES_MAX 16u

static const char other[] = "other";

struct series {
    struct series *next;
    const char *values[METRIC_LABELS_MAX]; /* interned */
    double value;                          /* of a histogram: the sum */
    uint64_t buckets[METRIC_BUCKETS_MAX];  /* not cumulated; the one after the last bound is the infinite one */
};

/* The values that a label has had, for all metrics that have it. */
struct label {
    const char *name; /* the table's own text; NULL: free */
    char *values[METRICS_VALUES_MAX];
    size_t count;
};

struct metrics {
    struct {
        pthread_mutex_t mutex;
        struct series *series[METRIC_COUNT];
        struct label labels[LABEL_NAMES_MAX];
    } locked;
};

struct metrics *metrics_new(void)
{
    struct metrics *metrics = mem_alloc(sizeof(*metrics));
    pthread_mutex_init(&metrics->locked.mutex, NULL);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    for (size_t i = 0; i < METRIC_COUNT; i++)
        for (struct series *series = metrics->locked.series[i], *next; series; series = next) {
            next = series->next;
            free(series);
        }
    for (size_t i = 0; i < LABEL_NAMES_MAX; i++)
        for (size_t j = 0; j < metrics->locked.labels[i].count; j++)
            free(metrics->locked.labels[i].values[j]);
    pthread_mutex_destroy(&metrics->locked.mutex);
    free(metrics);
}

static struct label *label_find_locked(struct metrics *metrics, const char *name)
{
    for (size_t i = 0; i < LABEL_NAMES_MAX; i++) {
        struct label *label = &metrics->locked.labels[i];
        if (!label->name)
            label->name = name;
        if (strcmp(label->name, name) == 0)
            return label;
    }
    assert(!"more label names than LABEL_NAMES_MAX");
    return NULL;
}

static const char *value_intern_locked(struct label *label, const char *value)
{
    for (size_t i = 0; i < label->count; i++)
        if (strcmp(label->values[i], value) == 0)
            return label->values[i];
    if (label->count == METRICS_VALUES_MAX || strcmp(value, other) == 0)
        return other;
    return label->values[label->count++] = mem_strdup(value);
}

static bool series_is(const struct series *series, const char *const *values)
{
    for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
        if (series->values[i] != values[i])
            return false;
    return true;
}

/* Interned texts are equal when their addresses are. */
static struct series *series_get_locked(struct metrics *metrics, enum metric metric, va_list args)
{
    const char *values[METRIC_LABELS_MAX] = {NULL};
    struct series **at = &metrics->locked.series[metric];
    for (size_t i = 0; i < METRIC_LABELS_MAX && metric_table[metric].labels[i]; i++) {
        const char *value = va_arg(args, const char *);
        assert(value);
        values[i] = value_intern_locked(label_find_locked(metrics, metric_table[metric].labels[i]), value);
    }
    assert(!va_arg(args, const char *));
    while (*at && !series_is(*at, values))
        at = &(*at)->next;
    if (!*at) {
        *at = mem_alloc(sizeof(**at));
        memcpy((*at)->values, values, sizeof(values));
    }
    return *at;
}

/* The registry locked, and the series that args name. */
static struct series *series_take(struct metrics *metrics, enum metric metric, va_list args)
{
    pthread_mutex_lock(&metrics->locked.mutex);
    return series_get_locked(metrics, metric, args);
}

void metrics_add(struct metrics *metrics, enum metric metric, double amount, ...)
{
    va_list args;
    if (!metrics)
        return;
    assert(metric_table[metric].type != METRIC_HISTOGRAM && amount >= 0);
    va_start(args, amount);
    series_take(metrics, metric, args)->value += amount;
    pthread_mutex_unlock(&metrics->locked.mutex);
    va_end(args);
}

void metrics_set(struct metrics *metrics, enum metric metric, double value, ...)
{
    va_list args;
    if (!metrics)
        return;
    assert(metric_table[metric].type != METRIC_HISTOGRAM);
    va_start(args, value);
    series_take(metrics, metric, args)->value = value;
    pthread_mutex_unlock(&metrics->locked.mutex);
    va_end(args);
}

void metrics_observe(struct metrics *metrics, enum metric metric, double value, ...)
{
    const struct metric_description *row = &metric_table[metric];
    size_t bucket = 0;
    va_list args;
    if (!metrics)
        return;
    assert(row->type == METRIC_HISTOGRAM && row->bucket_count < METRIC_BUCKETS_MAX);
    while (bucket < row->bucket_count && value > row->buckets[bucket])
        bucket++;
    va_start(args, value);
    struct series *series = series_take(metrics, metric, args);
    series->value += value;
    series->buckets[bucket]++;
    pthread_mutex_unlock(&metrics->locked.mutex);
    va_end(args);
}

static void value_print(const char *value, struct str *out)
{
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            str_append_char(out, '\\');
        if (*value == '\n')
            str_append_text(out, "\\n");
        else
            str_append_char(out, *value);
    }
}

/* {class="a",le="0.5"}; le NULL: none. */
static void labels_print(const struct metric_description *row, const struct series *series, const char *le,
                         struct str *out)
{
    const char *divider = "{";
    for (size_t i = 0; i < METRIC_LABELS_MAX && row->labels[i]; i++) {
        str_printf(out, "%s%s=\"", divider, row->labels[i]);
        value_print(series->values[i], out);
        str_append_char(out, '"');
        divider = ",";
    }
    if (le)
        str_printf(out, "%sle=\"%s\"", divider, le);
    if (le || row->labels[0])
        str_append_char(out, '}');
}

/* Whole numbers, as nearly all are, in full; others as short as they can be told from their neighbours. */
static void number_print(double number, struct str *out)
{
    if (number > -1e15 && number < 1e15 && number == (double)(int64_t)number)
        str_printf(out, " %.0f\n", number);
    else
        str_printf(out, " %.17g\n", number);
}

static void histogram_print(const struct metric_description *row, const struct series *series, struct str *out)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= row->bucket_count; i++) {
        _cleanup_(str_deinitp) struct str le = STR_INIT;
        if (i < row->bucket_count)
            str_printf(&le, "%.15g", row->buckets[i]);
        count += series->buckets[i];
        str_printf(out, "%s_bucket", row->name);
        labels_print(row, series, i < row->bucket_count ? le.data : "+Inf", out);
        number_print((double)count, out);
    }
    str_printf(out, "%s_sum", row->name);
    labels_print(row, series, NULL, out);
    number_print(series->value, out);
    str_printf(out, "%s_count", row->name);
    labels_print(row, series, NULL, out);
    number_print((double)count, out);
}

static void series_print(const struct metric_description *row, const struct series *series, struct str *out)
{
    if (row->type == METRIC_HISTOGRAM) {
        histogram_print(row, series, out);
        return;
    }
    str_append_text(out, row->name);
    labels_print(row, series, NULL, out);
    number_print(series->value, out);
}

void metrics_print(struct metrics *metrics, struct str *out)
{
    if (!metrics)
        return;
    pthread_mutex_lock(&metrics->locked.mutex);
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const struct metric_description *row = &metric_table[i];
        if (!metrics->locked.series[i])
            continue;
        str_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, metric_type_name(row->type));
        for (const struct series *series = metrics->locked.series[i]; series; series = series->next)
            series_print(row, series, out);
    }
    pthread_mutex_unlock(&metrics->locked.mutex);
}
