/* The last form of a view: the layer's directory bind-mounted at the target, and each object bind-mounted over its file. */
#pragma once

#include "mount/view.h"

/* On error nothing is left mounted. ERR_UNSUPPORTED beyond VIEW_BINDS_MAX files; ERR_NOT_FOUND for an object that no store has. */
int bind_view_mount(int target_fd, int layer_fd, const int *data_fds, size_t data_count, bool noexec, struct err *err);
