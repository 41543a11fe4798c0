/* Copying from store to store on real directories: whole, resumed, disturbed. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/copy.h"
#include "tests/unit/cachecore/store_objects.h"

#define OBJECTS 24u

struct world {
    struct fixture *share, *node;
    char ids[OBJECTS][SHA256_HEX];
    struct plan_object objects[OBJECTS];
    uint64_t bytes;
};

static uint64_t size_of(unsigned i)
{
    return i == 0 ? 3000000 : i == 1 ? 0 : i * 1777;
}

static int setup(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));
    *state = world;
    world->share = fixture_new();
    world->node = fixture_new();
    for (unsigned i = 0; i < OBJECTS; i++) {
        struct err err = ERR_INIT;
        uint32_t crc;
        fixture_object(i, world->ids[i]);
        world->objects[i] = (struct plan_object){.object = world->ids[i], .size = size_of(i)};
        world->bytes += size_of(i);
        if (fixture_fill(world->share->store, i, size_of(i), 65536, &crc, &err) != 0)
            return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    fixture_free(world->share);
    fixture_free(world->node);
    free(world);
    return 0;
}

static int copy_all(struct world *world, const struct copy_config *config, uint64_t *bytes, struct err *err)
{
    _Atomic uint64_t done = 0;
    int result =
        copy_objects(world->share->store, world->node->store, world->objects, OBJECTS, config, &done, NULL, err);
    *bytes = done;
    return result;
}

static void check_all(struct world *world)
{
    for (unsigned i = 0; i < OBJECTS; i++)
        fixture_check_object(world->node->store, i, size_of(i));
    assert_int_equal(fixture_count(world->node, "incoming"), 0);
}

static void test_copies_all_with_any_number_of_threads(void **state)
{
    struct world *world = *state;
    static const unsigned threads[] = {1, 3, 16};
    for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++) {
        struct err err = ERR_INIT;
        uint64_t bytes;
        struct copy_config config = {.threads = threads[i]};
        assert_int_equal(copy_all(world, &config, &bytes, &err), 0);
        assert_int_equal(bytes, world->bytes);
        check_all(world);
        assert_int_equal(copy_all(world, &config, &bytes, &err), 0); /* all are there: still the whole counts */
        assert_int_equal(bytes, world->bytes);
        fixture_free(world->node);
        world->node = fixture_new();
    }
}

static void test_sums_go_along_and_are_made_where_there_are_none(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    uint64_t bytes;
    char path[STORE_NAME_SIZE];
    store_path(world->ids[0], ".sums", path);
    assert_int_equal(unlinkat(world->share->store->objects, path, 0), 0);
    assert_int_equal(copy_all(world, &(struct copy_config){.part_size = 1000000}, &bytes, &err), 0);
    check_all(world);
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct sums sums;
    assert_int_equal(store_sums_read(world->node->store, world->ids[0], arena, &sums, &err), 1);
    assert_int_equal(sums.count, 3);
    assert_int_equal(store_sums_read(world->node->store, world->ids[20], arena, &sums, &err), 1);
    assert_int_equal(sums.size, size_of(20));
}

/* One bit turns in the share: the copy says so, the object is put aside, nothing wrong reaches the node. */
static void test_rotten_object_goes_to_quarantine(void **state) /* row 76 */
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    uint64_t bytes;
    char path[STORE_NAME_SIZE];
    store_path(world->ids[0], "", path);
    assert_int_equal(fchmodat(world->share->store->objects, path, 0644, 0), 0);
    int fd = openat(world->share->store->objects, path, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, 2000000), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 2000000), 1);
    close(fd);
    assert_int_equal(copy_all(world, &(struct copy_config){.threads = 4}, &bytes, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_non_null(strstr(err.message, "does not match its checksums"));
    assert_int_equal(store_object_find(world->node->store, world->ids[0], size_of(0), &err), 0);
    assert_int_equal(store_object_find(world->share->store, world->ids[0], size_of(0), &err), 0);
    assert_int_equal(fixture_count(world->share, "quarantine"), 2);
    fixture_must_fill(world->share->store, 0, size_of(0));
    assert_int_equal(copy_all(world, &(struct copy_config){.threads = 4}, &bytes, &err), 0);
    assert_int_equal(bytes, world->bytes);
    check_all(world);
}

static void test_object_that_is_not_in_the_share(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    uint64_t bytes;
    char path[STORE_NAME_SIZE];
    store_path(world->ids[7], "", path);
    assert_int_equal(unlinkat(world->share->store->objects, path, 0), 0);
    assert_int_equal(copy_all(world, &(struct copy_config){.threads = 2}, &bytes, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void test_interrupted_copy_goes_on(void **state) /* row 90 */
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    uint64_t bytes;
    for (unsigned i = 0; i < 2; i++) { /* 0: parts like the source's; 1: cut into others, so all again */
        struct partial *partial = store_partial_open(world->node->store, world->ids[0], size_of(0), &err);
        assert_non_null(partial);
        assert_int_equal(fixture_part(partial, 0, 65536, i == 0 ? 65536 : 70000, &err), 0);
        partial_close(partial);
        assert_int_equal(copy_all(world, &(struct copy_config){.threads = 2}, &bytes, &err), 0);
        assert_int_equal(bytes, world->bytes);
        check_all(world);
        fixture_free(world->node);
        world->node = fixture_new();
    }
}

/* kill -9 at each step, over and over, until a run gets through: then all is right, and no step was missed. */
static void test_killed_copy_goes_on(void **state) /* row 90 */
{
    struct world *world = *state;
    static const char *const points[] = {"fill.partial_created", "fill.part_recorded", "fill.object_synced",
                                         "fill.object_linked", "fill.copied"};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        char hit[300];
        int status;
        snprintf(hit, sizeof(hit), "%s/hit-%s", world->node->path, points[i]);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct err err = ERR_INIT;
            uint64_t bytes;
            setenv("SHAREDCACHE_CRASH_AT", points[i], 1);
            setenv("SHAREDCACHE_CRASH_HIT", hit, 1);
            copy_all(world, &(struct copy_config){.threads = 2}, &bytes, &err);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(access(hit, F_OK), 0);
    }
    struct err err = ERR_INIT;
    uint64_t bytes;
    assert_int_equal(copy_all(world, &(struct copy_config){.threads = 2}, &bytes, &err), 0);
    assert_int_equal(bytes, world->bytes);
    assert_int_equal(store_partials_reap(world->node->store, 0, &err), 0);
    check_all(world);
}

static void test_cancel_stops_and_keeps(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    atomic_bool cancel = true;
    assert_int_equal(copy_objects(world->share->store, world->node->store, world->objects, OBJECTS,
                                  &(struct copy_config){.threads = 2}, NULL, &cancel, &err),
                     -1);
    assert_int_equal(err.code, ERR_CANCELLED);
}

/* Another process of this node has the object under way and dies: the copy waits for it and then takes over. */
static void test_waits_for_the_other_writer(void **state)
{
    struct world *world = *state;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err err = ERR_INIT;
        struct partial *partial = store_partial_open(world->node->store, world->ids[0], size_of(0), &err);
        if (!partial || write(ready[1], "x", 1) != 1)
            _exit(1);
        usleep(300000);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct err err = ERR_INIT;
    uint64_t bytes;
    int64_t start_ms = clock_monotonic_ms();
    assert_int_equal(copy_all(world, &(struct copy_config){.threads = 3}, &bytes, &err), 0);
    assert_true(clock_monotonic_ms() - start_ms >= 100);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]);
    close(ready[1]);
    check_all(world);
}

static int small_disk_run(struct world *world, const char *options, uint64_t floor_bytes)
{
    struct err err = ERR_INIT;
    uint64_t bytes;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", world->node->path, "tmpfs", 0, options) != 0)
        return 10;
    struct fixture disk = {.root = open(world->node->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    struct store *real = world->node->store;
    world->node->store = store_open(disk.root, "node-a", NULL, &err);
    if (!world->node->store)
        return 11;
    int result = copy_all(world, &(struct copy_config){.threads = 2, .floor_bytes = floor_bytes}, &bytes, &err);
    if (result == 0)
        return 1;
    if (err.code != ERR_EXHAUSTED || !strstr(err.message, "free"))
        return 12;
    if (fixture_count(world->node, "incoming") != 0)
        return 14;
    store_free(world->node->store);
    world->node->store = real;
    /* Nothing of a partial may go on filling the disk. */
    return umount(world->node->path) == 0 || errno == EBUSY ? 0 : 13;
}

static void test_full_disk_and_floor(void **state) /* row 106 */
{
    struct world *world = *state;
    static const struct {
        const char *options;
        uint64_t floor_bytes;
        int expected;
    } cases[] = {{"size=1m", 0, 0}, {"size=16m", 0, 1}, {"size=16m", 4u << 20, 1}, {"size=16m", 13u << 20, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(small_disk_run(world, cases[i].options, cases[i].floor_bytes));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), cases[i].expected);
    }
}

#define COPY_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        COPY_TEST(test_copies_all_with_any_number_of_threads),
        COPY_TEST(test_sums_go_along_and_are_made_where_there_are_none),
        COPY_TEST(test_rotten_object_goes_to_quarantine),
        COPY_TEST(test_object_that_is_not_in_the_share),
        COPY_TEST(test_interrupted_copy_goes_on),
        COPY_TEST(test_killed_copy_goes_on),
        COPY_TEST(test_cancel_stops_and_keeps),
        COPY_TEST(test_waits_for_the_other_writer),
        COPY_TEST(test_full_disk_and_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
