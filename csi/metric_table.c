#include "csi/metric_table.h"

#include "csi/metrics.h"

/* As csi-lib-utils has them, so that dashboards for other drivers fit. */
static const double operation_buckets[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600};
/* A hit takes milliseconds, a large fill an hour. */
static const double publish_buckets[] = {0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600};
static const double fill_buckets[] = {0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200};
static const double rate_buckets[] = {1e6, 5e6, 1e7, 2.5e7, 5e7, 1e8, 2.5e8, 5e8, 1e9, 2.5e9, 5e9};

#define BUCKETS(array) (array), sizeof(array) / sizeof((array)[0])
#define OURS(name) "sharedcache_csi_" name

const struct metric_description metric_table[METRIC_COUNT] = {
    [METRIC_OPERATIONS] = {"csi_plugin_operations_seconds",
                           METRIC_HISTOGRAM,
                           {"driver_name", "method_name", "grpc_status_code"},
                           BUCKETS(operation_buckets),
                           "Time of CSI calls, by method and gRPC code."},
    [METRIC_PUBLISH] =
        {OURS("publish_seconds"),
         METRIC_HISTOGRAM,
         {"class", "outcome"},
         BUCKETS(publish_buckets),
         "Time from a volume's first publish call to its mount. outcome: hit (nothing was missing), filled "
         "(this volume's fill downloaded), waited (another volume's fill downloaded what was missing)."},
    [METRIC_INPUT_HITS] = {OURS("input_hits_total"),
                           METRIC_COUNTER,
                           {"class"},
                           NULL,
                           0,
                           "Inputs of published volumes that the cache held whole."},
    [METRIC_INPUT_MISSES] = {OURS("input_misses_total"),
                             METRIC_COUNTER,
                             {"class"},
                             NULL,
                             0,
                             "Inputs of published volumes of which something was missing."},
    [METRIC_HIT_BYTES] = {OURS("hit_bytes_total"),
                          METRIC_COUNTER,
                          {"class"},
                          NULL,
                          0,
                          "Bytes of published volumes that the cache held."},
    [METRIC_MISS_BYTES] =
        {OURS("miss_bytes_total"), METRIC_COUNTER, {"class"}, NULL, 0, "Bytes of published volumes that were missing."},
    [METRIC_FILL_BYTES] = {OURS("fill_bytes_total"),
                           METRIC_COUNTER,
                           {"class"},
                           NULL,
                           0,
                           "Bytes downloaded from sources by this node, counted while fills run."},
    [METRIC_FILL_SECONDS] = {OURS("fill_seconds"),
                             METRIC_HISTOGRAM,
                             {"class", "result"},
                             BUCKETS(fill_buckets),
                             "Time of fills, hits among them. result: done, failed or cancelled."},
    [METRIC_FILL_RATE] = {OURS("fill_rate_bytes_per_second"),
                          METRIC_HISTOGRAM,
                          {"class"},
                          BUCKETS(rate_buckets),
                          "Mean rate of each fill that downloaded at least 1 MiB."},
    [METRIC_FILL_FAILURES] =
        {OURS("fill_failures_total"),
         METRIC_COUNTER,
         {"class", "cause"},
         NULL,
         0,
         "Fills that failed. cause: denied, unauthenticated, not_found, unavailable, exhausted, corrupt "
         "and so on, as error codes are named in the log."},
    [METRIC_FILLS_RUNNING] = {OURS("fills_running"), METRIC_GAUGE, {NULL}, NULL, 0, "Fills under way on this node."},
    [METRIC_VOLUMES] =
        {OURS("volumes_published"), METRIC_GAUGE, {NULL}, NULL, 0, "Volumes that are published on this node."},
    [METRIC_SHARE_UP] = {OURS("share_up"),
                         METRIC_GAUGE,
                         {"class"},
                         NULL,
                         0,
                         "1 if the class's share could be mounted and opened when a volume last wanted it, else 0."},
    [METRIC_SHARE_CHECKED] = {OURS("share_checked_timestamp_seconds"),
                              METRIC_GAUGE,
                              {"class"},
                              NULL,
                              0,
                              "When a volume last wanted the class's share."},
    [METRIC_SHARE_SIZE] = {OURS("share_size_bytes"),
                           METRIC_GAUGE,
                           {"class"},
                           NULL,
                           0,
                           "Size of the share's file system as its server said with the last fill."},
    [METRIC_SHARE_FREE] = {OURS("share_free_bytes"),
                           METRIC_GAUGE,
                           {"class"},
                           NULL,
                           0,
                           "Free space of the share's file system as its server said with the last fill."},
    [METRIC_NODE_STORE_SIZE] = {OURS("node_store_size_bytes"),
                                METRIC_GAUGE,
                                {NULL},
                                NULL,
                                0,
                                "Size of the file system that holds this node's own store."},
    [METRIC_NODE_STORE_FREE] = {OURS("node_store_free_bytes"),
                                METRIC_GAUGE,
                                {NULL},
                                NULL,
                                0,
                                "Free space of the file system that holds this node's own store."},
    [METRIC_FETCHER_RESTARTS] = {OURS("fetcher_restarts_total"),
                                 METRIC_COUNTER,
                                 {NULL},
                                 NULL,
                                 0,
                                 "How often the fetcher process ended and was started again."},
    [METRIC_HELPERS_ABANDONED] = {OURS("mount_helpers_abandoned"),
                                  METRIC_GAUGE,
                                  {NULL},
                                  NULL,
                                  0,
                                  "Mount helpers that hang in the kernel now, waiting for a server."},
    [METRIC_EVENTS] = {OURS("events_total"),
                       METRIC_COUNTER,
                       {"result"},
                       NULL,
                       0,
                       "Kubernetes events on pods. result: sent, merged (another of the same volume and reason stands "
                       "for it), failed (the API server "
                       "refused or did not answer), dropped (too many)."},
    [METRIC_REGISTERED] = {OURS("registered"),
                           METRIC_GAUGE,
                           {NULL},
                           NULL,
                           0,
                           "1 if kubelet has taken the plugin's registration, else 0; absent with --no-register."},
    [METRIC_BUILD_INFO] =
        {OURS("build_info"), METRIC_GAUGE, {"version"}, NULL, 0, "Always 1; the label is the version."},
    [METRIC_CPU] = {"process_cpu_seconds_total", METRIC_COUNTER, {NULL}, NULL, 0, "CPU time of the plugin's process."},
    [METRIC_RESIDENT] =
        {"process_resident_memory_bytes", METRIC_GAUGE, {NULL}, NULL, 0, "Resident memory of the process."},
    [METRIC_VIRTUAL] =
        {"process_virtual_memory_bytes", METRIC_GAUGE, {NULL}, NULL, 0, "Virtual memory of the process."},
    [METRIC_OPEN_FDS] = {"process_open_fds", METRIC_GAUGE, {NULL}, NULL, 0, "Open file descriptors of the process."},
    [METRIC_MAX_FDS] =
        {"process_max_fds", METRIC_GAUGE, {NULL}, NULL, 0, "File descriptors that the process may open."},
    [METRIC_START_TIME] =
        {"process_start_time_seconds", METRIC_GAUGE, {NULL}, NULL, 0, "When the process was started."},
};

const char *metrics_cause(enum err_code code)
{
    static const char *const names[] = {
        [ERR_NONE] = "none",
        [ERR_INVALID] = "invalid",
        [ERR_DENIED] = "denied",
        [ERR_UNAUTHENTICATED] = "unauthenticated",
        [ERR_NOT_FOUND] = "not_found",
        [ERR_EXISTS] = "exists",
        [ERR_PRECONDITION] = "precondition",
        [ERR_BUSY] = "busy",
        [ERR_EXHAUSTED] = "exhausted",
        [ERR_UNAVAILABLE] = "unavailable",
        [ERR_DEADLINE] = "deadline",
        [ERR_CANCELLED] = "cancelled",
        [ERR_CORRUPT] = "corrupt",
        [ERR_RANGE] = "range",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_INTERNAL] = "internal",
    };
    size_t index = (size_t)code;
    return index < sizeof(names) / sizeof(names[0]) ? names[index] : "internal";
}

const char *metric_type_name(enum metric_type type)
{
    static const char *const names[] = {"counter", "gauge", "histogram"};
    return names[type];
}
