/*
 * What the long-running subcommands (node, controller) have in common: how they keep their memory, how they take signals, and how
 * they end.
 */
#pragma once

#include <signal.h>

#include "csi/config.h"
#include "csi/server.h"

#define DAEMON_RUN_FAILED 1

/* The command line, with --help and its mistakes answered here. True: out is set, and logs go as it says; false: leave with *status. */
bool daemon_configure(enum config_command command, int argc, char **argv, struct arena *arena, struct config *out,
                      int *status);

/* First of all, with one thread: memory that is private and small, SIGPIPE ignored, SIGTERM and SIGINT blocked for daemon_wait. */
void daemon_prepare(sigset_t *signals);

/* Until SIGTERM or SIGINT. */
void daemon_wait(const sigset_t *signals);

/* Drains the server; everything may be freed after that. Calls that do not end end the process here. */
void daemon_drain(struct server *server);
