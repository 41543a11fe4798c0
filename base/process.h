/*
 * Child processes of our own binary: always fork+exec, so that they can be started from a threaded process, with one
 * end of a SOCK_SEQPACKET pair as their descriptor 3 and nothing else of ours inherited but standard error. A child dies
 * with its parent (PR_SET_PDEATHSIG and end of file on its socket). The kernel's parent-death signal counts the thread that
 * started the child, not the process: start a long-lived child from a thread that lives as long.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define PROCESS_CHANNEL_FD 3
#define CHANNEL_FDS_MAX 8

struct process {
    pid_t pid;
    int pidfd;   /* readable when it has ended */
    int channel; /* our end of the pair */
};

#define PROCESS_INIT                          \
    {                                         \
        .pid = -1, .pidfd = -1, .channel = -1 \
    }

/* Starts argv[0..] (argv[0] is a name only: the file is /proc/self/exe). argv is closed by NULL. */
int process_start(const char *const argv[], struct process *out, struct err *err);

/* SIGKILL, then waits until deadline_ms for the end. True when it was reaped; false: it hangs in the kernel and is abandoned
 * (descriptors are closed either way, and a later process_reap_abandoned() collects it). */
bool process_kill(struct process *process, int64_t deadline_ms);

/* Reaps abandoned children that have ended meanwhile; returns how many are still there. Thread-safe. */
size_t process_reap_abandoned(void);

/* Waits for a child that was told to end. As waitpid's status; -1 when the deadline passed first. */
int process_wait(struct process *process, int64_t deadline_ms);

/* One packet with up to CHANNEL_FDS_MAX descriptors. Sending borrows them; receiving owns what it gets (O_CLOEXEC). */
int channel_send(int channel, const void *data, size_t len, const int *fds, size_t fd_count, struct err *err);

/* Receives one packet into data. Returns its length, 0 at end of file, -1 on error (ERR_DEADLINE when deadline_ms passed). A
 * packet larger than size or with more descriptors than fd_max is ERR_CORRUPT. */
ssize_t channel_receive(int channel, void *data, size_t size, int *fds, size_t fd_max, size_t *fd_count,
                        int64_t deadline_ms, struct err *err);
