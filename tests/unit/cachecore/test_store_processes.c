/* Several processes and threads on one store: races, and kill -9 at any time. */
#include <pthread.h>
#include <signal.h>

#include "tests/unit/cachecore/store_children.h"

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

static void check_mark(struct fixture *fixture)
{
    struct err err = ERR_INIT;
    struct snapshot_file files[2];
    struct snapshot snapshot = fixture_two_files(files);
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
        char hit[300];
        struct fixture *fresh = fixture_new();
        snprintf(hit, sizeof(hit), "%s/hit-%s", fixture->path, points[i]);
        setenv("SHAREDCACHE_CRASH_AT", points[i], 1);
        setenv("SHAREDCACHE_CRASH_HIT", hit, 1);
        int status = child_wait(child_start(fresh, 0, fixture_fill_all));
        unsetenv("SHAREDCACHE_CRASH_AT");
        unsetenv("SHAREDCACHE_CRASH_HIT");
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(access(hit, F_OK), 0);
        check_mark(fresh);
        assert_int_equal(child_wait(child_start(fresh, 0, fixture_fill_all)), 0);
        check_mark(fresh);
        assert_int_equal(store_partials_reap(fresh->store, 0, &err), 0);
        assert_int_equal(fixture_count(fresh, "incoming"), 0);
        assert_int_equal(fixture_count(fresh, "quarantine"), 0);
        fixture_free(fresh);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_creators_agree_on_one_store),
        STORE_TEST(test_many_nodes_commit_the_same_objects),
        STORE_TEST(test_killed_writer_loses_nothing_that_was_recorded),
        STORE_TEST(test_kill_at_each_step),
        STORE_TEST(test_threads_record_into_one_partial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
