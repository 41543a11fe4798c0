/* The two calls of pluginregistration.Registration (csi/proto/pluginregistration.proto). They never block: kubelet waits a second. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "csi/rpc.h"

/* What the calls answer and whom they tell; constant while a server uses it. */
struct registration_service {
    const char *driver_name;
    const char *endpoint;
    void (*on_asked)(void *owner); /* GetInfo came */
    void (*on_status)(void *owner, bool registered,
                      const char *text); /* kubelet's verdict; text: its reason, cut to a line */
    void *owner;
};

#define REGISTRATION_METHODS 2

/* Fills in the methods, with service (borrowed) as theirs. */
void registration_service_methods(struct registration_service *service, struct rpc_method out[REGISTRATION_METHODS]);
