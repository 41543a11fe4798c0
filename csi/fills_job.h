/*
 * The table of fills in progress, shared by the callers' threads (csi/fills.c) and the one thread that owns the fetcher process
 * (csi/fills_process.c). All of it is under one mutex; nothing blocks while holding it.
 */
#pragma once

#include <pthread.h>

#include "base/process.h"
#include "csi/fills.h"
#include "csi/progress.h"

#define FILLS_DEATHS_MAX 3u
#define FILLS_KEEP_MS ((int64_t)5 * 60 * 1000)       /* a result that nobody has collected */
#define FILLS_UNWATCHED_MS ((int64_t)30 * 60 * 1000) /* a fill that nobody waits for */
#define FILLS_SWEEP_MS 10000

enum fills_state { FILLS_RUNNING, FILLS_DONE, FILLS_FAILED };

struct fills_waiter {
    struct fills_waiter *next;
    int event; /* written when the job ends */
};

struct fills_job {
    struct fills_job *next;
    bool linked; /* in the table; else the last waiter frees it */
    uint64_t id;
    char *volume_id;
    char *arguments;
    struct str packet;      /* the start order with the newest secrets and tokens: held until the fill ends */
    struct str renewal;     /* an order with these alone; empty before they changed */
    uint64_t version;       /* counts the changes */
    char shown[SHA256_HEX]; /* digest of what the last call brought */
    int fds[2];
    size_t fd_count;
    uint64_t max_files;
    char *class_name; /* for metrics */
    bool has_share;
    uint64_t bytes_fetched; /* by all fetchers that had this */
    uint64_t bytes_seen;    /* of the fetcher that has it now */
    int64_t started_ms;
    uint64_t sent_generation; /* 0: not sent yet */
    unsigned deaths;          /* of the fetcher while this was running */
    struct progress progress;
    enum fills_state state;
    bool cancelled;
    int result_fd; /* FILLS_DONE */
    struct err failure;
    struct fills_waiter *waiters;
    int64_t watched_ms; /* when somebody last waited */
    int64_t ended_ms;
};

struct fills {
    struct fills_config config;
    char *node;
    pthread_t thread; /* owns the process: starts it, receives from it, ends it */
    int stop_event;
    struct process process; /* the thread's own */
    struct {
        pthread_mutex_t mutex;
        pthread_cond_t started; /* start_done became true */
        struct fills_job *jobs;
        size_t running;
        uint64_t last_id;
        int channel; /* -1: no fetcher now */
        uint64_t generation;
        bool start_done;
        struct err start_error; /* of the first start */
        bool stopping;
    } locked;
};

/* Callers hold the mutex. */
struct fills_job *fills_job_find_locked(struct fills *fills, const char *volume_id);
struct fills_job *fills_job_by_id_locked(struct fills *fills, uint64_t id);
struct fills_job *fills_job_new_locked(struct fills *fills, const struct fills_request *request, struct err *err);
/* Does this call show the same secrets and tokens as the last one? What an ended fill brought was authorised for those. */
bool fills_job_is_of(const struct fills_job *job, const struct fills_request *request);
/* Takes over what a later call brought: true when that is news for a fetcher, which the caller sends; false also with err set. */
bool fills_job_renew_locked(const struct fills *fills, struct fills_job *job, const struct fills_request *request,
                            struct err *err);
/* Ends a running job: wakes its waiters, gives up what it held. It leaves the table unless somebody may still ask for its end. */
void fills_job_done_locked(struct fills *fills, struct fills_job *job, int result_fd);
void fills_job_fail_locked(struct fills *fills, struct fills_job *job, const struct err *failure);
/* Ends it at once if no fetcher has it; else the caller sends the order and the fetcher's answer ends it. */
void fills_job_cancel_locked(struct fills *fills, struct fills_job *job);
/* Takes it out of the table and frees it unless somebody waits. */
void fills_job_forget_locked(struct fills *fills, struct fills_job *job);
/* The fetcher says how far it is. */
void fills_job_progress_locked(struct fills *fills, struct fills_job *job, const struct wire_report *report);
void fills_waiter_remove_locked(struct fills *fills, struct fills_job *job, struct fills_waiter *waiter);
/* What nobody has asked for in a long time: ended jobs are forgotten; the first running one is marked cancelled and its id
 * returned (0: none) so that the caller sends the order. */
uint64_t fills_sweep_locked(struct fills *fills, int64_t now_ms);

/* Send to the fetcher, if there is one, without holding the mutex; a start order goes once to each fetcher. */
void fills_send_start(struct fills *fills, uint64_t id);
void fills_send_cancel(struct fills *fills, uint64_t id);
/* The newest secrets and tokens, to a fetcher that was started with older ones. */
void fills_send_renewal(struct fills *fills, uint64_t id);

void *fills_thread(void *fills);
