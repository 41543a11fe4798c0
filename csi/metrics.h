/*
 * What is counted and measured, and its text for Prometheus (exposition format 0.0.4,
 * https://prometheus.io/docs/instrumenting/exposition_formats/). Thread-safe: one mutex, held for the time of an addition.
 * Bounded: a label has at most METRICS_VALUES_MAX values, in whatever metric; those that come later are counted as "other".
 * NULL for the registry is fine everywhere: nothing is counted then.
 */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "csi/metric_table.h"

#define METRICS_VALUES_MAX 64u
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* The class label of the class that has no name: no StorageClass can be called so. */
#define METRICS_CLASS_BUILT_IN "(built-in)"

struct metrics;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);
DEFINE_CLEANUP(struct metrics *, metrics_free);

/* metrics_add(metrics, METRIC_FILL_BYTES, 4096, "shared-efs", NULL): one text for each label of the table's row, in its order, then
 * NULL. A series is printed from the first time on that it is named: adding 0 to a counter makes it known. */
void metrics_add(struct metrics *metrics, enum metric metric, double amount, ...) __attribute__((sentinel));
/* A gauge, or a counter that somebody else counts. */
void metrics_set(struct metrics *metrics, enum metric metric, double value, ...) __attribute__((sentinel));
/* One value of a histogram. */
void metrics_observe(struct metrics *metrics, enum metric metric, double value, ...) __attribute__((sentinel));

/* Appends all that there is, in the table's order. */
void metrics_print(struct metrics *metrics, struct str *out);

/* "not_found" and so on: for the label cause. */
const char *metrics_cause(enum err_code code);

/* class is a struct class's name; NULL: the built-in one. */
static inline const char *metrics_class(const char *name)
{
    return name ? name : METRICS_CLASS_BUILT_IN;
}
