/* Shares that cannot be written to, and disks that are full. */
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>

#include "tests/unit/cachecore/store_children.h"

static void read_only_check(struct store *store, const char *uid_text)
{
    struct err err = ERR_INIT;
    struct snapshot_file files[2];
    struct snapshot snapshot = fixture_two_files(files);
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
    REQUIRE(fchmod(root, 0755) == 0);
    REQUIRE(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
    REQUIRE(!store_open(root, "node-b", NULL, &err) && err.code == ERR_PRECONDITION);
    REQUIRE(strstr(err.message, "not writable as uid 65534"));
}

static void test_read_only_shares_serve_what_is_there(void **state) /* row 75 */
{
    struct fixture *fixture = *state;
    assert_int_equal(fchmod(fixture->root, 0755), 0);
    fixture_fill_all(fixture, 0);
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
    REQUIRE(store_floor_bytes(store) == (1u << 20) / 20); /* row 106: a small disk's share, not the whole gibibyte */
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

/* EFS states 8 EiB, others nothing at all, the last one 60 blocks more than 2^64 bytes: what is written tells. */
static void odd_sizes_run(struct fixture *fixture, unsigned number)
{
    static const struct {
        const char *options;
        uint64_t total, floor;
    } cases[] = {{"size=0", 0, 0}, {"size=8E", 1ULL << 63, 1 << 30}, {"nr_blocks=4503599627370556", UINT64_MAX, 0}};
    struct err err = ERR_INIT;
    struct fixture disk;
    uint64_t total;
    uint64_t free_bytes;
    uint32_t crc;
    struct store *store = tmpfs_store(fixture, cases[number].options, &disk);
    store_space(store, &total, &free_bytes);
    REQUIRE(total == cases[number].total && free_bytes <= total);
    REQUIRE(store_floor_bytes(store) == cases[number].floor);
    REQUIRE(fixture_fill(store, 1, 400000, 100000, &crc, &err) == 0);
}

static void test_odd_sizes(void **state) /* row 78 */
{
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(child_wait(child_start(*state, i, odd_sizes_run)), 0);
}

static void test_full_disk(void **state) /* rows 57, 71 */
{
    assert_int_equal(child_wait(child_start(*state, 0, full_disk_run)), 0);
    assert_int_equal(child_wait(child_start(*state, 0, no_inodes_run)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_read_only_shares_serve_what_is_there),
        STORE_TEST(test_full_disk),
        STORE_TEST(test_odd_sizes),
    };
    umask(077); /* what others must read is readable all the same */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
