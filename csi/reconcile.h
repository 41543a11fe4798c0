/*
 * What a start does about what the last run left: records on disk, the mount table, metadata layers, shares. Published volumes
 * are kept as they are; nothing at a mounted target is looked at. Run once, before the server is there.
 */
#pragma once

#include "csi/node.h"
#include "mount/table.h"

/*
 * - a record whose mount is gone and whose target is gone is dropped; with the target there, kubelet will call again;
 * - a view of ours without a record (its file was damaged) gets one that says what the mount table knows;
 * - layers that no mounted view uses are removed: a power loss may have left them half written, and they are built anew in no time;
 * - shares that no record uses are unmounted; the others count their users again.
 * What cannot be done is logged and left for the next start; an error is only what makes a start pointless.
 */
int reconcile(struct node *node, struct err *err);

/* The layer of a view of ours, by its row in the mount table; NULL for any other mount. Pure. */
const char *reconcile_layer_of(const struct mount_entry *entry);
