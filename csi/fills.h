/*
 * Fills as the node sees them: a job of its own that outlives the call that asked for it, runs in the fetcher process, is
 * joined by every later call for the same volume, and goes on when the fetcher dies and is started again. What comes back is
 * sealed memory: the node never reads the share.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "cachecore/class.h"
#include "cachecore/identity.h"
#include "cachecore/snapshot.h"
#include "csi/metrics.h"
#include "csi/rpc.h"

struct fills;

struct fills_config {
    uid_t uid; /* the fetcher's user and group; 0: stay root (tests without a second user) */
    const char *node;
    unsigned fills_max;      /* at a time; ERR_EXHAUSTED beyond */
    struct metrics *metrics; /* borrowed; NULL: nothing is counted */
};

struct fills *fills_new(const struct fills_config *config, struct err *err); /* starts the fetcher */
void fills_free(struct fills *fills);                                        /* stops it */
DEFINE_CLEANUP(struct fills *, fills_free);

struct fills_request {
    const char *volume_id;
    const char *
        arguments; /* hex digest of everything that decides the result; another one for the same volume is ERR_EXISTS */
    const char *inputs;      /* text, or NULL */
    const char *inputs_from; /* URL, or NULL */
    const struct class *class;
    const struct identity_facts *facts; /* NULL: none are known */
    const struct secret_map *secrets;   /* what differs in these from the call before is sent after the running fill */
    const struct secret_map *tokens;
    int store_fd;       /* root of the share's store; borrowed (duplicated) */
    int local_store_fd; /* -1: direct */
};

struct fills_input {
    const char *place;
    bool is_file;
    const char *display;
    char snapshot[SHA256_HEX];
    struct snapshot list; /* parsed from sealed memory by snapshot_parse */
    uint64_t bytes_hit, bytes_missed;
};
struct fills_result {
    struct fills_input *inputs;
    size_t count;
    uint64_t bytes_fetched; /* left a source because of this fill */
    int64_t started_ms;     /* when somebody first asked for it; clock_monotonic_ms() scale */
};

/*
 * Starts the volume's fill or joins it, and waits until it ends, until deadline_ms, or until call->cancel_fd is readable. 0: done, *out
 * is in arena. ERR_BUSY at the deadline: it goes on; the message is for people: "cached 41.2 of 141.0 GiB (29 percent), 310.0 MiB/s, about 5 min left".
 * Other errors: the fill's own; it is over and forgotten (a later call starts anew).
 */
int fills_wait(struct fills *fills, const struct fills_request *request, const struct rpc_call *call,
               int64_t deadline_ms, struct arena *arena, struct fills_result *out, struct err *err);

/* Unpublish: cancels the volume's fill if there is one and waits for its end until deadline_ms. */
void fills_cancel(struct fills *fills, const char *volume_id, int64_t deadline_ms);

/* When the volume's fill began, clock_monotonic_ms() scale; the time now when it has none. */
int64_t fills_started_ms(struct fills *fills, const char *volume_id);

/* How many are under way. */
size_t fills_running(struct fills *fills);

/* The fetcher's own main: argv[1] is "fetcher"; requests come over descriptor 3. Drops to uid before reading the first one. */
int fetcher_main(int argc, char **argv);
