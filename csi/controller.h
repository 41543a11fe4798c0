/*
 * csi.v1.Controller, the little that a cache needs: a volume is a declaration of inputs with class parameters, written down and
 * given back as volume context. Nothing is downloaded and no space is set aside. A volume's record is a state file named by the
 * digest of the volume's name, so creating is idempotent.
 */
#pragma once

#include "base/arena.h"
#include "csi/context.h"
#include "csi/dispatch.h"
#include "csi/guard.h"

/* What the service works with; open, and constant while the server runs. */
struct controller {
    struct guards *guards;
    int records_fd; /* directory of the volumes that were made */
};

/* Called with a struct controller. */
extern const struct dispatch_method controller_methods[];
extern const size_t controller_method_count;

#define CREATED_ID_LEN 67 /* "sc-" and 64 hex digits */

struct create_request {
    const char *name;
    char id[CREATED_ID_LEN + 1];
    struct context_map context; /* the parameters to keep, sorted as they came, without the provisioner's own */
    char digest[SHA256_HEX];    /* of parameters and capabilities: what "the same" means for a repeated call */
};

/* Pure. Rows 20, 21 and 28 of the table of faults. */
int create_request_parse(const Csi__V1__CreateVolumeRequest *message, struct arena *arena, struct create_request *out,
                         struct err *err);
