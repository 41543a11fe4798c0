/*
 * csi.v1.Identity, the same for both plugins: the specification wants one answer about capabilities from every instance of a
 * version, whatever it serves itself. Probe looks at nothing outside this process: a share or an API server that is away must
 * not get a healthy driver restarted.
 */
#pragma once

#include "csi/dispatch.h"

struct identity {
    const char *driver_name; /* borrowed */
};

/* Called with a struct identity. */
extern const struct dispatch_method identity_methods[];
extern const size_t identity_method_count;
