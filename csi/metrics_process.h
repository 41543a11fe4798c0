/* The metrics of the process itself, under the names that Prometheus' client libraries use, and the version. */
#pragma once

#include "csi/metrics.h"

/* Before each scrape: /proc/self only. */
void metrics_process_refresh(struct metrics *metrics);
