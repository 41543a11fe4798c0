#include "csi/node_metrics.h"

#include <sys/statvfs.h>

#include "csi/metrics_process.h"

void node_metrics_begin(const struct node *node)
{
    metrics_add(node->metrics, METRIC_FETCHER_RESTARTS, 0, NULL);
}

/* The state directory is on the node's own disk, as its store is. */
static void set_node_store(const struct node *node)
{
    struct statvfs info;
    if (fstatvfs(node->state_fd, &info) != 0)
        return;
    double unit = (double)info.f_frsize;
    metrics_set(node->metrics, METRIC_NODE_STORE_SIZE, (double)info.f_blocks * unit, NULL);
    metrics_set(node->metrics, METRIC_NODE_STORE_FREE, (double)info.f_bavail * unit, NULL);
}

void node_metrics_refresh(const struct node *node)
{
    struct metrics *metrics = node->metrics;
    metrics_set(metrics, METRIC_FILLS_RUNNING, (double)fills_running(node->fills), NULL);
    metrics_set(metrics, METRIC_VOLUMES, (double)records_count(node->records, RECORD_PUBLISHED), NULL);
    metrics_set(metrics, METRIC_HELPERS_ABANDONED, (double)mounts_helpers_abandoned(node->mounts), NULL);
    set_node_store(node);
    metrics_process_refresh(metrics);
}
