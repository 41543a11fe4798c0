/*
 * Locks by name: one holder of each name at a time, others wait (until their deadline, or until their caller goes), and
 * whoever must get through can ask the holder to stop. What guards a volume on a target, a share, a metadata layer.
 *
 * Lock order: a target's name, then a share's or a layer's; never two of one kind.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct guards;
struct guard; /* a name that is held */

struct guards *guards_new(void);
void guards_free(struct guards *guards); /* nothing may be held */
DEFINE_CLEANUP(struct guards *, guards_free);

struct guard_wait {
    int64_t deadline_ms;
    int cancel_fd;  /* of the caller; -1: none */
    bool interrupt; /* ask each holder that is in the way to stop: its guard_cancel_fd becomes readable */
};

/* Waits until the name is free. ERR_BUSY at the deadline; ERR_CANCELLED when cancel_fd becomes readable. */
struct guard *guard_take(struct guards *guards, const char *name, const struct guard_wait *wait, struct err *err);
void guard_release(struct guard *guard);
DEFINE_CLEANUP(struct guard *, guard_release);

/* Readable once somebody wants the holder to stop. */
int guard_cancel_fd(const struct guard *guard);
