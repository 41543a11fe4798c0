/* A scratch directory with a store, for the store's tests. Included by the test programs alone. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>
#include <fcntl.h>

#include "base/fs.h"
#include "cachecore/store_internal.h"

struct fixture {
    char path[256];
    int root;
    struct store *store;
};

static inline struct store *fixture_open(const struct fixture *fixture, const char *node)
{
    struct err err = ERR_INIT;
    struct store *store = store_open(fixture->root, node, NULL, &err);
    if (!store) {
        fprintf(stderr, "store_open: %s\n", err.message);
        abort();
    }
    return store;
}

static inline int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const char *scratch = getenv("SC_SCRATCH");
    snprintf(fixture->path, sizeof(fixture->path), "%s/sc-store-XXXXXX", scratch ? scratch : "/tmp");
    if (!mkdtemp(fixture->path))
        return -1;
    fixture->root = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture->store = fixture_open(fixture, "node-a");
    *state = fixture;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    store_free(fixture->store);
    close(fixture->root);
    /* From the directory that holds it: removal crosses no mounts, and /tmp often is one. */
    char *name = strrchr(fixture->path, '/');
    *name++ = '\0';
    int scratch = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fs_remove_tree(scratch, name, &err);
    close(scratch);
    free(fixture);
    return result;
}

/* A fixture in the middle of a test. */
static inline struct fixture *fixture_new(void)
{
    void *fixture = NULL;
    if (fixture_setup(&fixture) != 0 || !fixture)
        abort();
    return fixture;
}

static inline void fixture_free(struct fixture *fixture)
{
    void *state = fixture;
    assert_int_equal(fixture_teardown(&state), 0);
}

/* An SMB client makes modes up. */
static inline bool fixture_fixes_modes(int fd)
{
    struct statfs info;
    assert_int_equal(fstatfs(fd, &info), 0);
    return (uint32_t)info.f_type == 0xff534d42 || (uint32_t)info.f_type == 0xfe534d42;
}

/* How many names a directory of the store has. An NFS client keeps what is removed while it is open, as .nfs...: not ours. */
static inline size_t fixture_count(const struct fixture *fixture, const char *name)
{
    char command[512];
    char line[32] = "";
    snprintf(command, sizeof(command), "find '%s/%s' -mindepth 1 -not -name '.nfs*' | wc -l", fixture->path, name);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof(line), pipe));
    assert_int_equal(pclose(pipe), 0);
    return strtoul(line, NULL, 10);
}

#define STORE_TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
