#include "csi/notices.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "csi/event_limit.h"

#define QUICK_MS 5000

void notice_share(const struct publication *publication, bool is_up)
{
    struct metrics *metrics = publication->node->metrics;
    const char *class = metrics_class(publication->class.name);
    if (!publication->class.share)
        return; /* the node's own store */
    metrics_set(metrics, METRIC_SHARE_UP, is_up, class, NULL);
    metrics_set(metrics, METRIC_SHARE_CHECKED, (double)clock_wall_s(), class, NULL);
}

static void post(const struct publication *publication, enum event_reason reason, const char *message)
{
    const struct event event = {.reason = reason,
                                .namespace = publication->request->pod_namespace,
                                .pod = publication->request->pod_name,
                                .uid = publication->request->pod_uid,
                                .volume = publication->fill_id,
                                .message = message};
    events_post(publication->node->events, &event);
}

int64_t notice_due_ms(const struct publication *publication, int64_t started_ms)
{
    if (!publication->node->events)
        return publication->hold_ms;
    int64_t due_ms = event_progress_next(started_ms, clock_monotonic_ms());
    return due_ms < publication->hold_ms ? due_ms : publication->hold_ms;
}

void notice_progress(const struct publication *publication, const char *text)
{
    post(publication, EVENT_COPYING, text);
}

void notice_failed(const struct publication *publication, const struct err *cause)
{
    if (cause->code != ERR_BUSY && cause->code != ERR_CANCELLED)
        post(publication, EVENT_FAILED, cause->message);
}

struct totals {
    uint64_t hit, missed; /* bytes */
    size_t inputs_missed;
};

static struct totals totals_of(const struct publication *publication)
{
    struct totals totals = {0, 0, 0};
    for (size_t i = 0; i < publication->filled.count; i++) {
        const struct fills_input *input = &publication->filled.inputs[i];
        totals.hit += input->bytes_hit;
        totals.missed += input->bytes_missed;
        totals.inputs_missed += input->bytes_missed > 0;
    }
    return totals;
}

static void log_published(const struct publication *publication, const struct totals *totals, int64_t took_ms)
{
    char numbers[6][24];
    const uint64_t values[] = {
        publication->filled.count, publication->view.tree.count, publication->view.bytes, totals->hit, totals->missed,
        (uint64_t)took_ms};
    for (size_t i = 0; i < 6; i++)
        snprintf(numbers[i], sizeof(numbers[i]), "%llu", (unsigned long long)values[i]);
    log_event(LOG_INFO, "published", "volume", publication->request->volume_id, "namespace",
              publication->request->pod_namespace, "pod", publication->request->pod_name, "class",
              publication->class.name ? publication->class.name : "", "inputs", numbers[0], "files", numbers[1],
              "bytes", numbers[2], "bytes_hit", numbers[3], "bytes_missed", numbers[4], "ms", numbers[5], NULL);
}

/* What was missing and not downloaded by this volume's fill came with another's. */
static const char *outcome(const struct publication *publication, const struct totals *totals)
{
    if (publication->filled.bytes_fetched > 0)
        return "filled";
    return totals->missed > 0 ? "waited" : "hit";
}

static void count_published(const struct publication *publication, const struct totals *totals, int64_t took_ms)
{
    struct metrics *metrics = publication->node->metrics;
    const char *class = metrics_class(publication->class.name);
    size_t hits = publication->filled.count - totals->inputs_missed;
    metrics_observe(metrics, METRIC_PUBLISH, (double)took_ms / 1000, class, outcome(publication, totals), NULL);
    metrics_add(metrics, METRIC_INPUT_HITS, (double)hits, class, NULL);
    metrics_add(metrics, METRIC_INPUT_MISSES, (double)totals->inputs_missed, class, NULL);
    metrics_add(metrics, METRIC_HIT_BYTES, (double)totals->hit, class, NULL);
    metrics_add(metrics, METRIC_MISS_BYTES, (double)totals->missed, class, NULL);
}

static void time_print(int64_t ms, struct str *out)
{
    if (ms < 10000)
        str_printf(out, "%.1f s", (double)ms / 1000);
    else if (ms < 90000)
        str_printf(out, "%lld s", (long long)(ms / 1000));
    else if (ms < (int64_t)90 * 60000)
        str_printf(out, "%lld min %lld s", (long long)(ms / 60000), (long long)(ms / 1000 % 60));
    else
        str_printf(out, "%lld h %lld min", (long long)(ms / 3600000), (long long)(ms / 60000 % 60));
}

/* "3 inputs ready after 5 min 12 s: 141.0 GiB downloaded, 2.0 GiB were in the cache". Nothing for a hit that was quick: most are. */
static void tell_published(const struct publication *publication, const struct totals *totals, int64_t took_ms)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    size_t inputs = publication->filled.count;
    char hit[16];
    char missed[16];
    if (totals->missed == 0 && took_ms < QUICK_MS)
        return;
    str_human_bytes(totals->hit, hit);
    str_human_bytes(totals->missed, missed);
    str_printf(&text, "%zu input%s ready after ", inputs, inputs == 1 ? "" : "s");
    time_print(took_ms, &text);
    if (totals->missed > 0)
        str_printf(&text, ": %s %s", missed,
                   publication->filled.bytes_fetched > 0 ? "downloaded" : "came with another pod's download");
    if (totals->hit > 0)
        str_printf(&text, "%s %s were in the cache", totals->missed > 0 ? "," : ":", hit);
    post(publication, EVENT_READY, text.data);
}

void notice_published(const struct publication *publication, int64_t start_ms)
{
    struct totals totals = totals_of(publication);
    /* A fill that outlived earlier calls began with the first of them. */
    int64_t began_ms = publication->filled.started_ms < start_ms ? publication->filled.started_ms : start_ms;
    int64_t now_ms = clock_monotonic_ms();
    log_published(publication, &totals, now_ms - start_ms);
    count_published(publication, &totals, now_ms - began_ms);
    tell_published(publication, &totals, now_ms - began_ms);
}
