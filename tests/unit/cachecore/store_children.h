/* Children that work on a fixture's store, for the tests with several processes. */
#pragma once

#include <sys/wait.h>

#include "tests/unit/cachecore/store_objects.h"

/* A child's checks: cmocka's would return into the parent's tests. */
#define REQUIRE(condition)                                                                    \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, err.message); \
            _exit(1);                                                                         \
        }                                                                                     \
    } while (0)

typedef void (*child_run)(struct fixture *fixture, unsigned number);

static inline pid_t child_start(struct fixture *fixture, unsigned number, child_run run)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run(fixture, number);
        _exit(0);
    }
    return child;
}

static inline int child_wait(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static inline struct snapshot fixture_two_files(struct snapshot_file files[2])
{
    struct err err = ERR_INIT;
    struct snapshot snapshot = {.count = 0};
    for (unsigned i = 0; i < 2; i++) {
        files[i] = (struct snapshot_file){.path = i ? "b" : "a", .size = 3000, .validator = "v"};
        fixture_object(i, files[i].object);
    }
    (void)snapshot_make(NULL, files, 2, &snapshot, &err);
    return snapshot;
}

static inline void fixture_fill_all(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    uint32_t crc;
    struct snapshot_file files[2];
    (void)number;
    for (unsigned i = 0; i < 2; i++)
        REQUIRE(fixture_fill(fixture->store, i, 3000, 1000, &crc, &err) == 0);
    struct snapshot snapshot = fixture_two_files(files);
    REQUIRE(store_snapshot_commit(fixture->store, &snapshot, "x", &err) == 0);
}
