/* What the node plugin measures at each scrape, rather than as it happens. Nothing here looks at a share. */
#pragma once

#include "csi/node.h"

/* Once, before anything is served: what counts from zero, and the version. */
void node_metrics_begin(const struct node *node);

/* Before each scrape. Never blocks for long: /proc, the state directory's file system, numbers that are in memory. */
void node_metrics_refresh(const struct node *node);
