/* The store on a local directory, without faults: format, objects, snapshots. Partials: test_store_partial.c. */
#include <time.h>

#include "tests/unit/cachecore/store_objects.h"

static void test_layout_is_made_once_and_found_again(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {"objects", "snapshots", "incoming", "claims", "nodes", "quarantine"};
    struct stat info;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(fstatat(fixture->root, names[i], &info, 0), 0);
        assert_int_equal(info.st_mode & 07777, 0755);
    }
    assert_int_equal(strlen(store_id(fixture->store)), 32);
    assert_true(store_is_writable(fixture->store));
    assert_int_equal(fixture_count(fixture, "incoming"), 0);
    _cleanup_(store_freep) struct store *again = fixture_open(fixture, "node-b");
    assert_string_equal(store_id(again), store_id(fixture->store));
}

static void test_root_may_be_a_path_descriptor(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    _cleanup_(closep) int root = open(fixture->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(store_freep) struct store *store = store_open(root, "node-b", NULL, &err);
    assert_non_null(store);
    fixture_must_fill(store, 1, 1000);
    fixture_check_object(store, 1, 1000);
}

static void open_refuses(const struct fixture *fixture, const char *expected_id, enum err_code code, const char *text)
{
    struct err err = ERR_INIT;
    struct store *store = store_open(fixture->root, "node-a", expected_id, &err);
    assert_null(store);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, text))
        fail_msg("'%s' does not say '%s'", err.message, text);
}

static void test_replaced_share_is_refused(void **state) /* row 81 */
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    _cleanup_(store_freep) struct store *same = store_open(fixture->root, "node-a", store_id(fixture->store), &err);
    assert_non_null(same);
    open_refuses(fixture, "00000000000000000000000000000000", ERR_PRECONDITION, "was the share replaced?");
}

static void format_set(const struct fixture *fixture, const char *text)
{
    struct err err = ERR_INIT;
    assert_int_equal(fs_write_file(fixture->root, "FORMAT", text, strlen(text), 0444, &err), 0);
}

static void test_newer_format_is_refused(void **state) /* row 82 */
{
    format_set(*state, "sharedcache-store 2\nsomething new\n");
    open_refuses(*state, NULL, ERR_PRECONDITION, "upgrade the driver");
}

static void test_damaged_format_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "\n",
        "sharedcache-store 0\n",
        "sharedcache-store 01\n",
        "sharedcache-store 1",
        "sharedcache-store 1\n",
        "sharedcache-store 1\nid 00112233445566778899aabbccddeeff\ncreated 1\ncrc32c 00000000\n",
        "sharedcache-store 99999999999999999999\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        format_set(*state, texts[i]);
        open_refuses(*state, NULL, ERR_CORRUPT, "FORMAT is damaged");
    }
}

static void test_foreign_directory_is_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(unlinkat(fixture->root, "FORMAT", 0), 0);
    open_refuses(fixture, NULL, ERR_PRECONDITION, "is not empty");
    assert_int_equal(faccessat(fixture->root, "FORMAT", F_OK, 0), -1);
}

/* The node makes objects/ when it mounts a share, before the fetcher opens the store. */
static void test_empty_objects_are_no_foreign_store(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    assert_int_equal(mkdirat(fixture->root, "fresh", 0755), 0);
    assert_int_equal(mkdirat(fixture->root, "fresh/objects", 0755), 0);
    _cleanup_(closep) int fresh = fs_open_beneath(fixture->root, "fresh", O_RDONLY | O_DIRECTORY, 0);
    _cleanup_(store_freep) struct store *store = store_open(fresh, "n", NULL, &err);
    assert_non_null(store);
    assert_int_equal(mkdirat(fixture->root, "other", 0755), 0);
    assert_int_equal(mkdirat(fixture->root, "other/objects", 0755), 0);
    assert_int_equal(mkdirat(fixture->root, "other/objects/ab", 0755), 0);
    _cleanup_(closep) int other = fs_open_beneath(fixture->root, "other", O_RDONLY | O_DIRECTORY, 0);
    assert_null(store_open(other, "n", NULL, &err));
    assert_int_equal(err.code, ERR_PRECONDITION);
}

static void test_format_is_not_followed_through_a_link(void **state) /* row 77 */
{
    struct fixture *fixture = *state;
    assert_int_equal(renameat(fixture->root, "FORMAT", fixture->root, "elsewhere"), 0);
    assert_int_equal(symlinkat("elsewhere", fixture->root, "FORMAT"), 0);
    struct err err = ERR_INIT;
    assert_null(store_open(fixture->root, "node-a", NULL, &err));
}

static void test_object_appears_whole_with_its_sums(void **state)
{
    struct fixture *fixture = *state;
    static const uint64_t sizes[] = {0, 1, 999, 1000, 1001, 70000};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct err err = ERR_INIT;
        uint32_t crc = 1;
        char object[SHA256_HEX];
        fixture_object(i, object);
        assert_int_equal(store_object_find(fixture->store, object, sizes[i], &err), 0);
        assert_int_equal(fixture_fill(fixture->store, i, sizes[i], 1000, &crc, &err), 0);
        fixture_check_object(fixture->store, i, sizes[i]);
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct sums sums;
        assert_int_equal(store_sums_read(fixture->store, object, arena, &sums, &err), 1);
        assert_int_equal(sums.size, sizes[i]);
        assert_int_equal(sums.count, (sizes[i] + 999) / 1000);
        assert_int_equal(sums.crc32c, crc);
    }
    assert_int_equal(fixture_count(fixture, "incoming"), 0);
}

static void test_truncated_object_goes_to_quarantine_and_is_filled_again(void **state) /* row 76 */
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    char path[STORE_NAME_SIZE];
    fixture_object(9, object);
    fixture_must_fill(fixture->store, 9, 1000);
    store_path(object, "", path);
    int fd = openat(fixture->store->objects, path, O_RDONLY);
    assert_int_equal(fchmod(fd, 0644), 0);
    close(fd);
    fd = openat(fixture->store->objects, path, O_WRONLY);
    assert_int_equal(ftruncate(fd, 500), 0);
    close(fd);
    assert_int_equal(store_object_find(fixture->store, object, 1000, &err), 0);
    assert_int_equal(fixture_count(fixture, "quarantine"), 2); /* with its sums */
    fixture_must_fill(fixture->store, 9, 1000);
    fixture_check_object(fixture->store, 9, 1000);
}

static int foreign_plant(int objects, const char *path, unsigned kind)
{
    switch (kind) {
    case 0:
        return symlinkat("/etc/passwd", objects, path);
    case 1:
        return mkdirat(objects, path, 0755);
    case 2:
        return mknodat(objects, path, S_IFIFO | 0644, 0);
    default:
        return mknodat(objects, path, S_IFCHR | 0644, 0); /* 0:0, overlayfs' whiteout */
    }
}

static void test_foreign_files_are_not_served(void **state) /* row 77 */
{
    struct fixture *fixture = *state;
    size_t planted = 0;
    for (unsigned kind = 0; kind < 4; kind++) {
        struct err err = ERR_INIT;
        char object[SHA256_HEX];
        char path[STORE_NAME_SIZE];
        int objects = fixture->store->objects;
        fixture_object(20 + kind, object);
        store_path(object, "", path);
        mkdirat(objects, (char[]){object[0], object[1], '\0'}, 0755);
        if (foreign_plant(objects, path, kind) != 0) {
            assert_true(fixture_fixes_modes(objects)); /* SMB has no such thing */
            continue;
        }
        planted++;
        assert_int_equal(store_object_open(fixture->store, object, &err), -1);
        assert_int_equal(store_object_find(fixture->store, object, STORE_SIZE_UNKNOWN, &err), 0);
        fixture_must_fill(fixture->store, 20 + kind, 100);
        fixture_check_object(fixture->store, 20 + kind, 100);
    }
    assert_true(planted >= 2);
    assert_int_equal(fixture_count(fixture, "quarantine"), planted);
}

static void test_linked_directory_is_not_followed(void **state) /* row 77 */
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    uint32_t crc;
    fixture_object(30, object);
    assert_int_equal(mkdirat(fixture->root, "outside", 0755), 0);
    assert_int_equal(symlinkat("../outside", fixture->store->objects, (char[]){object[0], object[1], '\0'}), 0);
    assert_int_equal(fixture_fill(fixture->store, 30, 100, 100, &crc, &err), -1);
    assert_int_equal(err.code, ERR_PRECONDITION);
    assert_int_equal(fixture_count(fixture, "outside"), 0);
}

static struct snapshot snapshot_of(struct snapshot_file *files, size_t count, uint64_t size)
{
    struct snapshot snapshot;
    struct err err = ERR_INIT;
    static const char *const paths[] = {"a", "b/c", "b/d"};
    for (size_t i = 0; i < count; i++) {
        files[i] = (struct snapshot_file){.path = paths[i], .size = size, .validator = "etag:x"};
        fixture_object((unsigned)i, files[i].object);
    }
    assert_int_equal(snapshot_make(NULL, files, count, &snapshot, &err), 0);
    return snapshot;
}

static int each_seen(void *context, const char *id, const struct snapshot *snapshot, const char *description,
                     int64_t last_used_s)
{
    assert_int_equal(strlen(id), 64);
    assert_int_equal(snapshot->count, 3);
    assert_string_equal(description, "s3://bucket/x?y");
    assert_true(last_used_s > 1600000000);
    ++*(int *)context;
    return 0;
}

static void object_remove(struct store *store, unsigned seed)
{
    char object[SHA256_HEX];
    char path[STORE_NAME_SIZE];
    fixture_object(seed, object);
    store_path(object, "", path);
    assert_int_equal(unlinkat(store->objects, path, 0), 0);
}

static void test_snapshot_is_complete_only_with_all_objects(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    struct snapshot_file files[3];
    struct snapshot snapshot = snapshot_of(files, 3, 500);
    char id[SHA256_HEX];
    snapshot_id(&snapshot, id);
    fixture_must_fill(fixture->store, 0, 500);
    fixture_must_fill(fixture->store, 1, 500);
    assert_int_equal(store_snapshot_commit(fixture->store, &snapshot, "s3://bucket/x\ny", &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(store_snapshot_find(fixture->store, id, &err), 0);
    fixture_must_fill(fixture->store, 2, 500);
    object_remove(fixture->store, 1);
    assert_int_equal(store_snapshot_commit(fixture->store, &snapshot, "s3://bucket/x\ny", &err), -1);
    assert_non_null(strstr(err.message, "is not in the store"));
    assert_int_equal(store_snapshot_find(fixture->store, id, &err), 0);
    fixture_must_fill(fixture->store, 1, 500);
    assert_int_equal(store_snapshot_commit(fixture->store, &snapshot, "s3://bucket/x\ny", &err), 0);
    assert_int_equal(store_snapshot_find(fixture->store, id, &err), 1);
    assert_int_equal(store_snapshot_commit(fixture->store, &snapshot, "other", &err), 0);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    _cleanup_(str_deinitp) struct str expected = STR_INIT;
    snapshot_write(&snapshot, &expected);
    assert_int_equal(store_snapshot_read(fixture->store, id, &text, &err), 0);
    assert_string_equal(text.data, expected.data);
    int seen = 0;
    assert_int_equal(store_snapshots_each(fixture->store, each_seen, &seen, &err), 0);
    assert_int_equal(seen, 1);
    struct store_usage usage;
    assert_int_equal(store_usage(fixture->store, &usage, &err), 0);
    assert_int_equal(usage.objects, 3);
    assert_int_equal(usage.object_bytes, 1500);
    assert_int_equal(usage.snapshots, 1);
    assert_true(usage.free_bytes > 0 && usage.total_bytes >= usage.free_bytes);
}

static void test_damaged_snapshot_list_is_written_again(void **state) /* row 76 */
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    struct snapshot_file files[1];
    struct snapshot snapshot = snapshot_of(files, 1, 100);
    char id[SHA256_HEX];
    snapshot_id(&snapshot, id);
    fixture_must_fill(fixture->store, 0, 100);
    assert_int_equal(store_snapshot_commit(fixture->store, &snapshot, "", &err), 0);
    _cleanup_(closep) int fan = store_fan_open(fixture->store, fixture->store->snapshots, id, &err);
    assert_int_equal(fs_write_file(fan, id, "bad", 3, 0444, &err), 0);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    assert_int_equal(store_snapshot_read(fixture->store, id, &text, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(store_snapshot_find(fixture->store, id, &err), 0);
    assert_int_equal(store_snapshot_commit(fixture->store, &snapshot, "", &err), 0);
    str_clear(&text);
    assert_int_equal(store_snapshot_read(fixture->store, id, &text, &err), 0);
}

static void test_touch_renews_an_old_stamp_only(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    struct snapshot_file files[1];
    struct snapshot snapshot = snapshot_of(files, 1, 100);
    char id[SHA256_HEX];
    char path[STORE_NAME_SIZE];
    struct stat info;
    snapshot_id(&snapshot, id);
    fixture_must_fill(fixture->store, 0, 100);
    assert_int_equal(store_snapshot_commit(fixture->store, &snapshot, "", &err), 0);
    store_path(id, ".used", path);
    int64_t now_s = (int64_t)time(NULL);
    static const struct {
        int64_t age_s;
        bool is_renewed;
    } cases[] = {{5, false}, {3600, true}, {-86400, true}}; /* row 80: a stamp from the future */
    for (size_t i = 0; i < 3; i++) {
        struct timespec times[2] = {{.tv_sec = now_s - cases[i].age_s}, {.tv_sec = now_s - cases[i].age_s}};
        assert_int_equal(utimensat(fixture->store->snapshots, path, times, 0), 0);
        assert_int_equal(store_snapshot_touch(fixture->store, id, &err), 0);
        assert_int_equal(fstatat(fixture->store->snapshots, path, &info, 0), 0);
        assert_int_equal(info.st_mtim.tv_sec != now_s - cases[i].age_s, cases[i].is_renewed);
    }
}

static void test_node_names_make_file_names(void **state)
{
    struct fixture *fixture = *state;
    static const char *const nodes[] = {"",
                                        "ip-10-0-0-1.eu-west-1.compute.internal",
                                        "../../etc",
                                        "Node",
                                        "node",
                                        "a234567890123456789012345678901234567890123456789012345678901234567890",
                                        "a234567890123456789012345678901234567890123456789012345678901234567891"};
    enum { COUNT = sizeof(nodes) / sizeof(nodes[0]) };
    char names[COUNT][STORE_NODE_MAX + 1];
    for (size_t i = 0; i < COUNT; i++) {
        _cleanup_(store_freep) struct store *store = fixture_open(fixture, nodes[i]);
        snprintf(names[i], sizeof(names[i]), "%s", store->node);
        assert_int_equal(strspn(names[i], "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(names[i]));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_layout_is_made_once_and_found_again),
        STORE_TEST(test_root_may_be_a_path_descriptor),
        STORE_TEST(test_replaced_share_is_refused),
        STORE_TEST(test_newer_format_is_refused),
        STORE_TEST(test_damaged_format_is_refused),
        STORE_TEST(test_foreign_directory_is_refused),
        STORE_TEST(test_empty_objects_are_no_foreign_store),
        STORE_TEST(test_format_is_not_followed_through_a_link),
        STORE_TEST(test_object_appears_whole_with_its_sums),
        STORE_TEST(test_truncated_object_goes_to_quarantine_and_is_filled_again),
        STORE_TEST(test_foreign_files_are_not_served),
        STORE_TEST(test_linked_directory_is_not_followed),
        STORE_TEST(test_snapshot_is_complete_only_with_all_objects),
        STORE_TEST(test_damaged_snapshot_list_is_written_again),
        STORE_TEST(test_touch_renews_an_old_stamp_only),
        STORE_TEST(test_node_names_make_file_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
