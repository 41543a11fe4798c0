/* Several processes and threads on one store: races, kill -9 at any time, read-only shares, full disks. */
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/unit/cachecore/store_fixture.h"

/* A child's checks: cmocka's would return into the parent's tests. */
#define REQUIRE(condition)                                                                    \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, err.message); \
            _exit(1);                                                                         \
        }                                                                                     \
    } while (0)

typedef void (*child_run)(struct fixture *fixture, unsigned number);

static pid_t child_start(struct fixture *fixture, unsigned number, child_run run)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run(fixture, number);
        _exit(0);
    }
    return child;
}

static int child_wait(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* Starts count children together: each waits for the gate to open. */
static int gate[2];

static void gate_wait(void)
{
    char byte;
    close(gate[1]);
    (void)!read(gate[0], &byte, 1);
}

static void children_race(struct fixture *fixture, unsigned count, child_run run)
{
    pid_t children[16];
    assert_int_equal(pipe(gate), 0);
    for (unsigned i = 0; i < count; i++)
        children[i] = child_start(fixture, i, run);
    close(gate[0]);
    close(gate[1]);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(child_wait(children[i]), 0);
}

static void create_run(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    char node[16];
    char name[16];
    snprintf(node, sizeof(node), "node-%u", number);
    gate_wait();
    int root = openat(fixture->root, "fresh", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store *store = store_open(root, node, NULL, &err);
    REQUIRE(store);
    snprintf(name, sizeof(name), "id-%u", number);
    REQUIRE(fs_write_file(fixture->root, name, store_id(store), STORE_ID_LEN, 0644, &err) == 0);
}

static void test_creators_agree_on_one_store(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned round = 0; round < 20; round++) {
        struct err err = ERR_INIT;
        assert_int_equal(fs_remove_tree(fixture->root, "fresh", &err), 0);
        assert_int_equal(mkdirat(fixture->root, "fresh", 0755), 0);
        children_race(fixture, 6, create_run);
        struct str first = STR_INIT;
        assert_int_equal(fs_read_file(fixture->root, "id-0", 100, &first, &err), 0);
        for (unsigned i = 1; i < 6; i++) {
            char name[16];
            _cleanup_(str_deinitp) struct str id = STR_INIT;
            snprintf(name, sizeof(name), "id-%u", i);
            assert_int_equal(fs_read_file(fixture->root, name, 100, &id, &err), 0);
            assert_string_equal(id.data, first.data);
        }
        str_deinit(&first);
    }
}

static void commit_run(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    char node[16];
    uint32_t crc;
    snprintf(node, sizeof(node), "node-%u", number);
    struct store *store = store_open(fixture->root, node, NULL, &err);
    REQUIRE(store);
    gate_wait();
    for (unsigned i = 0; i < 20; i++)
        REQUIRE(fixture_fill(store, i, 5000, 1000 + number, &crc, &err) == 0);
    store_free(store);
}

static void test_many_nodes_commit_the_same_objects(void **state) /* row 98 */
{
    struct fixture *fixture = *state;
    children_race(fixture, 6, commit_run);
    for (unsigned i = 0; i < 20; i++) {
        struct err err = ERR_INIT;
        struct sums sums;
        char object[SHA256_HEX];
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        fixture_check_object(fixture->store, i, 5000);
        fixture_object(i, object);
        assert_int_equal(store_sums_read(fixture->store, object, arena, &sums, &err), 1);
    }
    assert_int_equal(fixture_count(fixture, "incoming"), 0);
    assert_int_equal(fixture_count(fixture, "quarantine"), 0);
}

#define BIG_PARTS 400u
#define BIG_PART 3000u

/* One byte for each part that the writer may do: so it is never far ahead of what it told, and dies in the middle of work. */
static int allowance[2];
#define AHEAD 5u

/* Tells through the gate of each part that is recorded. */
static void big_run(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    uint32_t crc;
    (void)number;
    fixture_object(1, object);
    struct partial *partial = store_partial_open(fixture->store, object, BIG_PARTS * BIG_PART, &err);
    REQUIRE(partial);
    for (uint64_t offset = 0; offset < BIG_PARTS * BIG_PART; offset += BIG_PART) {
        if (parts_overlap(&partial->locked.parts, offset, BIG_PART))
            continue;
        char byte;
        REQUIRE(read(allowance[0], &byte, 1) == 1);
        REQUIRE(fixture_part(partial, 1, offset, BIG_PART, &err) == 0);
        REQUIRE(write(gate[1], "x", 1) == 1);
    }
    REQUIRE(partial_commit(partial, &crc, &err) == 0);
}

/* Lets a writer record some parts, and kills it while it works on. How many it told of. */
static size_t big_run_and_kill(struct fixture *fixture, size_t parts)
{
    char bytes[BIG_PARTS + AHEAD] = {0};
    size_t told = 0;
    assert_int_equal(pipe(gate), 0);
    assert_int_equal(pipe(allowance), 0);
    assert_int_equal(write(allowance[1], bytes, parts + AHEAD), parts + AHEAD);
    pid_t child = child_start(fixture, 0, big_run);
    close(gate[1]);
    for (ssize_t got = 1; told < parts && got > 0; told += (size_t)got) {
        got = read(gate[0], bytes, parts - told);
        assert_true(got >= 0);
    }
    kill(child, SIGKILL);
    child_wait(child);
    close(gate[0]);
    close(allowance[0]);
    close(allowance[1]);
    return told;
}

/* How many good parts the partial has now; one more when the object is there. */
static size_t big_progress(struct fixture *fixture)
{
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    size_t count;
    fixture_object(1, object);
    if (store_object_find(fixture->store, object, BIG_PARTS * BIG_PART, &err) == 1)
        return BIG_PARTS + 1;
    _cleanup_(partial_closep) struct partial *partial =
        store_partial_open(fixture->store, object, BIG_PARTS * BIG_PART, &err);
    assert_non_null(partial);
    partial_parts(partial, &count);
    return count;
}

static void test_killed_writer_loses_nothing_that_was_recorded(void **state) /* row 84 */
{
    struct fixture *fixture = *state;
    static const size_t steps[] = {1, 90, 0, 7, 150, 3};
    size_t before = 0;
    unsigned at_risk = 0;
    for (size_t i = 0; before <= BIG_PARTS; i++) {
        size_t told = big_run_and_kill(fixture, i < 6 ? steps[i] : BIG_PARTS);
        size_t now = big_progress(fixture);
        assert_true(now >= before + told);
        at_risk += told > 0 && now < BIG_PARTS;
        before = now;
        assert_true(i < 20);
    }
    assert_true(at_risk >= 5); /* else the kills proved nothing */
    struct err err = ERR_INIT;
    assert_int_equal(store_partials_reap(fixture->store, 0, &err), 0);
    fixture_check_object(fixture->store, 1, BIG_PARTS * BIG_PART);
    assert_int_equal(fixture_count(fixture, "incoming"), 0);
}

static struct snapshot two_files(struct snapshot_file files[2])
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

static void whole_run(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    uint32_t crc;
    struct snapshot_file files[2];
    (void)number;
    for (unsigned i = 0; i < 2; i++)
        REQUIRE(fixture_fill(fixture->store, i, 3000, 1000, &crc, &err) == 0);
    struct snapshot snapshot = two_files(files);
    REQUIRE(store_snapshot_commit(fixture->store, &snapshot, "x", &err) == 0);
}

static void check_mark(struct fixture *fixture)
{
    struct err err = ERR_INIT;
    struct snapshot_file files[2];
    struct snapshot snapshot = two_files(files);
    char id[SHA256_HEX];
    snapshot_id(&snapshot, id);
    if (store_snapshot_find(fixture->store, id, &err) == 0)
        return;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    assert_int_equal(store_snapshot_read(fixture->store, id, &text, &err), 0);
    fixture_check_object(fixture->store, 0, 3000);
    fixture_check_object(fixture->store, 1, 3000);
}

static void test_kill_at_each_step(void **state) /* rows 84, 85 */
{
    struct fixture *fixture = *state;
    static const char *const points[] = {"fill.partial_created", "fill.part_recorded",    "fill.object_synced",
                                         "fill.object_linked",   "fill.snapshot_written", "fill.snapshot_marked"};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        struct err err = ERR_INIT;
        struct fixture *fresh;
        char hit[300];
        assert_int_equal(fixture_setup((void **)&fresh), 0);
        snprintf(hit, sizeof(hit), "%s/hit-%s", fixture->path, points[i]);
        setenv("SHAREDCACHE_CRASH_AT", points[i], 1);
        setenv("SHAREDCACHE_CRASH_HIT", hit, 1);
        int status = child_wait(child_start(fresh, 0, whole_run));
        unsetenv("SHAREDCACHE_CRASH_AT");
        unsetenv("SHAREDCACHE_CRASH_HIT");
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(access(hit, F_OK), 0);
        check_mark(fresh);
        assert_int_equal(child_wait(child_start(fresh, 0, whole_run)), 0);
        check_mark(fresh);
        assert_int_equal(store_partials_reap(fresh->store, 0, &err), 0);
        assert_int_equal(fixture_count(fresh, "incoming"), 0);
        assert_int_equal(fixture_count(fresh, "quarantine"), 0);
        assert_int_equal(fixture_teardown((void **)&fresh), 0);
    }
}

struct recorder {
    struct partial *partial;
    unsigned number;
    int failures;
};

static void *recorder_run(void *context)
{
    struct recorder *recorder = context;
    struct err err = ERR_INIT;
    for (uint64_t part = recorder->number; part < 200; part += 4)
        recorder->failures += fixture_part(recorder->partial, 1, part * 1000, 1000, &err) != 0;
    return NULL;
}

static void test_threads_record_into_one_partial(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    uint32_t crc;
    pthread_t threads[4];
    struct recorder recorders[4];
    fixture_object(1, object);
    struct partial *partial = store_partial_open(fixture->store, object, 200000, &err);
    assert_non_null(partial);
    for (unsigned i = 0; i < 4; i++) {
        recorders[i] = (struct recorder){.partial = partial, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, recorder_run, &recorders[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(recorders[i].failures, 0);
    }
    assert_int_equal(partial_commit(partial, &crc, &err), 0);
    partial_close(partial);
    fixture_check_object(fixture->store, 1, 200000);
}

static void read_only_check(struct store *store, const char *uid_text)
{
    struct err err = ERR_INIT;
    struct snapshot_file files[2];
    struct snapshot snapshot = two_files(files);
    struct str text = STR_INIT;
    char id[SHA256_HEX];
    char object[SHA256_HEX];
    snapshot_id(&snapshot, id);
    REQUIRE(!store_is_writable(store));
    REQUIRE(store_object_find(store, files[0].object, 3000, &err) == 1);
    REQUIRE(store_snapshot_find(store, id, &err) == 1);
    REQUIRE(store_snapshot_read(store, id, &text, &err) == 0);
    REQUIRE(store_snapshot_touch(store, id, &err) == 0);
    REQUIRE(store_snapshot_commit(store, &snapshot, "x", &err) == 0);
    REQUIRE(store_object_open(store, files[0].object, &err) >= 0);
    fixture_object(9, object);
    REQUIRE(store_object_find(store, object, 3000, &err) == 0);
    REQUIRE(!store_partial_open(store, object, 3000, &err) && err.code == ERR_PRECONDITION);
    REQUIRE(strstr(err.message, uid_text));
    files[1].path = "c";
    REQUIRE(store_snapshot_commit(store, &snapshot, "x", &err) != 0 && err.code == ERR_PRECONDITION);
    REQUIRE(store_partials_reap(store, 0, &err) != 0 && err.code == ERR_PRECONDITION);
}

static void other_uid_run(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    (void)number;
    REQUIRE(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
    struct store *store = store_open(fixture->root, "node-b", store_id(fixture->store), &err);
    REQUIRE(store);
    read_only_check(store, "not writable as uid 65534");
}

static void read_only_mount_run(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    (void)number;
    REQUIRE(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    REQUIRE(mount(fixture->path, fixture->path, NULL, MS_BIND, NULL) == 0);
    REQUIRE(mount(NULL, fixture->path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
    int root = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store *store = store_open(root, "node-b", store_id(fixture->store), &err);
    REQUIRE(store);
    read_only_check(store, "not writable as uid 0");
}

static void empty_read_only_run(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    (void)number;
    REQUIRE(mkdirat(fixture->root, "fresh", 0755) == 0);
    int root = openat(fixture->root, "fresh", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
    REQUIRE(!store_open(root, "node-b", NULL, &err) && err.code == ERR_PRECONDITION);
    REQUIRE(strstr(err.message, "not writable as uid 65534"));
}

static void test_read_only_shares_serve_what_is_there(void **state) /* row 75 */
{
    struct fixture *fixture = *state;
    assert_int_equal(fchmod(fixture->root, 0755), 0);
    whole_run(fixture, 0);
    assert_int_equal(child_wait(child_start(fixture, 0, other_uid_run)), 0);
    assert_int_equal(child_wait(child_start(fixture, 0, read_only_mount_run)), 0);
    assert_int_equal(child_wait(child_start(fixture, 0, empty_read_only_run)), 0);
}

static struct store *tmpfs_store(struct fixture *fixture, const char *options, struct fixture *disk)
{
    struct err err = ERR_INIT;
    REQUIRE(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    REQUIRE(mount("tmpfs", fixture->path, "tmpfs", 0, options) == 0);
    snprintf(disk->path, sizeof(disk->path), "%s", fixture->path);
    disk->root = open(fixture->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store *store = store_open(disk->root, "node-a", NULL, &err);
    REQUIRE(store);
    return store;
}

static void full_disk_run(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    struct fixture disk;
    uint32_t crc;
    char object[SHA256_HEX];
    (void)number;
    struct store *store = tmpfs_store(fixture, "size=1m", &disk);
    REQUIRE(fixture_fill(store, 1, 400000, 100000, &crc, &err) == 0);
    fixture_object(2, object);
    REQUIRE(!store_partial_open(store, object, 800000, &err) && err.code == ERR_EXHAUSTED); /* row 57: before a byte */
    REQUIRE(strstr(err.message, "781.2 KiB") && strstr(err.message, "KiB free"));
    REQUIRE(fixture_count(&disk, "incoming") == 0);
    struct partial *first = store_partial_open(store, object, 400000, &err);
    REQUIRE(first);
    fixture_object(3, object);
    REQUIRE(!store_partial_open(store, object, 400000, &err) && err.code == ERR_EXHAUSTED); /* the other has reserved */
    REQUIRE(partial_discard(first, &err) == 0);
    partial_close(first);
    struct partial *second = store_partial_open(store, object, 400000, &err);
    REQUIRE(second);
    /* A stream, whose size nobody could reserve: the write says it. */
    fixture_object(4, object);
    struct partial *stream = store_partial_open(store, object, STORE_SIZE_UNKNOWN, &err);
    REQUIRE(stream && fixture_part(stream, 4, 0, 300000, &err) != 0);
}

static void no_inodes_run(struct fixture *fixture, unsigned number)
{
    struct err err = ERR_INIT;
    struct fixture disk;
    uint32_t crc;
    unsigned filled = 0;
    (void)number;
    struct store *store = tmpfs_store(fixture, "size=1m,nr_inodes=20", &disk);
    while (filled < 100 && fixture_fill(store, filled, 100, 100, &crc, &err) == 0)
        filled++;
    REQUIRE(filled > 0 && filled < 20 && err.code == ERR_EXHAUSTED);
    for (unsigned i = 0; i < filled; i++) {
        char object[SHA256_HEX];
        fixture_object(i, object);
        REQUIRE(store_object_find(store, object, 100, &err) == 1);
    }
    struct store *again = store_open(disk.root, "node-a", NULL, &err);
    REQUIRE(again && store_is_writable(again));
}

static void test_full_disk(void **state) /* rows 57, 71 */
{
    assert_int_equal(child_wait(child_start(*state, 0, full_disk_run)), 0);
    assert_int_equal(child_wait(child_start(*state, 0, no_inodes_run)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_creators_agree_on_one_store),
        STORE_TEST(test_many_nodes_commit_the_same_objects),
        STORE_TEST(test_killed_writer_loses_nothing_that_was_recorded),
        STORE_TEST(test_kill_at_each_step),
        STORE_TEST(test_threads_record_into_one_partial),
        STORE_TEST(test_read_only_shares_serve_what_is_there),
        STORE_TEST(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
