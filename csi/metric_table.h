/*
 * The metrics that there are: one table is the source of the enum's meaning, the scrape's text and docs/METRICS.md (a unit test
 * compares them). Names as Prometheus wants them (https://prometheus.io/docs/practices/naming/): base units, _total for counters.
 */
#pragma once

#include <stddef.h>

enum metric {
    METRIC_OPERATIONS,
    METRIC_PUBLISH,
    METRIC_INPUT_HITS,
    METRIC_INPUT_MISSES,
    METRIC_HIT_BYTES,
    METRIC_MISS_BYTES,
    METRIC_FILL_BYTES,
    METRIC_FILL_SECONDS,
    METRIC_FILL_RATE,
    METRIC_FILL_FAILURES,
    METRIC_FILLS_RUNNING,
    METRIC_VOLUMES,
    METRIC_SHARE_UP,
    METRIC_SHARE_CHECKED,
    METRIC_SHARE_SIZE,
    METRIC_SHARE_FREE,
    METRIC_NODE_STORE_SIZE,
    METRIC_NODE_STORE_FREE,
    METRIC_FETCHER_RESTARTS,
    METRIC_HELPERS_ABANDONED,
    METRIC_EVENTS,
    METRIC_REGISTERED,
    METRIC_BUILD_INFO,
    METRIC_CPU,
    METRIC_RESIDENT,
    METRIC_VIRTUAL,
    METRIC_OPEN_FDS,
    METRIC_MAX_FDS,
    METRIC_START_TIME,
    METRIC_COUNT
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_LABELS_MAX 3u
#define METRIC_BUCKETS_MAX 16u

struct metric_description {
    const char *name;
    enum metric_type type;
    const char *labels[METRIC_LABELS_MAX]; /* NULL: no more */
    const double *buckets;                 /* of a histogram: upper bounds, growing, without the infinite one */
    size_t bucket_count;
    const char *help; /* one sentence, without a backslash or a line's end */
};

extern const struct metric_description metric_table[METRIC_COUNT];

const char *metric_type_name(enum metric_type type); /* "counter" and so on */
