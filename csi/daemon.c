#include "csi/daemon.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define DRAIN_MS 20000

/* Secrets and tokens pass through: no core file, no ptrace by others of our user. */
static void keep_memory_private(void)
{
    const struct rlimit none = {0, 0};
    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &none);
}

/* Handlers come and go on many threads: without this each leaves a heap of its own behind. */
static void keep_memory_small(void)
{
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 512 * 1024);
}

/* Blocked in every thread: one sigwait takes them. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool daemon_configure(enum config_command command, int argc, char **argv, struct arena *arena, struct config *out,
                      int *status)
{
    struct err err = ERR_INIT;
    if (argc > 2 && strcmp(argv[2], "--help") == 0) {
        config_help(command, stdout);
        *status = 0;
        return false;
    }
    if (config_parse(command, argc, argv, arena, out, &err) != 0) {
        fprintf(stderr, "sharedcache %s: %s\n", argv[1], err.message);
        *status = CONFIG_EXIT_STATUS;
        return false;
    }
    log_set_level(out->log_level);
    log_set_format(out->log_format);
    return true;
}

void daemon_prepare(sigset_t *signals)
{
    keep_memory_private();
    keep_memory_small();
    block_signals(signals);
}

void daemon_wait(const sigset_t *signals)
{
    int number = 0;
    sigwait(signals, &number);
    log_event(LOG_INFO, "stopping", "signal", strsignal(number), NULL);
}

void daemon_drain(struct server *server)
{
    if (server_stop(server, clock_monotonic_ms() + DRAIN_MS) == 0)
        return;
    log_event(LOG_ERROR, "calls_hang", "cause", "some calls did not end: leaving without them", NULL);
    _exit(DAEMON_RUN_FAILED);
}
