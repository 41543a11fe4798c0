/*
 * Registration with kubelet, without a sidecar: a socket <dir>/<driver>-reg.sock that kubelet finds, asks who we are (GetInfo) and
 * tells what became of it (NotifyRegistrationStatus). One thread keeps that socket there: it appears once our CSI socket answers, is
 * made anew when kubelet refuses us (with growing pauses), when somebody removes it or its directory, and when kubelet does not ask
 * for a minute. Nothing that kubelet does ends the process.
 *
 * kubelet takes the disappearance of the socket as our leave: the driver is taken out of its node's CSINode. So it is removed by
 * registration_free alone, before the CSI socket stops answering; a plugin that is killed leaves it, and the next one replaces it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct registration;

struct registration_config {
    const char *dir;         /* kubelet's plugins_registry */
    bool dir_must_exist;     /* else a missing one is waited for: there may be no kubelet here, or not yet */
    const char *driver_name; /* of letters, digits, '.' and '-', a letter first */
    const char *socket;      /* our CSI socket */
    const char *endpoint;    /* the same as kubelet, on the host, sees it; NULL: socket */
    int64_t silence_ms;      /* the socket is made anew when kubelet has not asked for this long; 0: a minute */
};

/* ERR_INVALID: a path is too long for a socket, socket lies in dir (kubelet would take it for a registration socket), or dir must
 * exist and does not. */
int registration_check(const struct registration_config *config, struct err *err);

/* Starts the thread; the texts are borrowed. Errors as registration_check, and ERR_UNAVAILABLE: no thread. */
struct registration *registration_new(const struct registration_config *config, struct err *err);

/* True from kubelet's acceptance until the socket goes or kubelet takes it back. NULL: nobody is to register us, so true. Thread-safe. */
bool registration_is_done(const struct registration *registration);

/* Takes the socket away and ends the thread, in at most a few seconds. NULL is fine. */
void registration_free(struct registration *registration);
DEFINE_CLEANUP(struct registration *, registration_free);
