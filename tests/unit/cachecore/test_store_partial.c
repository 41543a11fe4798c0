/* Partial downloads on a local directory: parts, resuming, one writer, commit, reaping. */
#include "tests/unit/cachecore/store_objects.h"

static void test_parts_in_any_order(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    uint32_t crc;
    size_t count;
    uint8_t whole[3000];
    fixture_object(5, object);
    fixture_bytes(5, 0, whole, sizeof(whole));
    _cleanup_(partial_closep) struct partial *partial = store_partial_open(fixture->store, object, 3000, &err);
    assert_non_null(partial);
    assert_int_equal(fixture_part(partial, 5, 2000, 1000, &err), 0);
    assert_int_equal(fixture_part(partial, 5, 0, 1000, &err), 0);
    assert_int_equal(partial_commit(partial, &crc, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(fixture_part(partial, 5, 500, 1000, &err), -1);
    assert_int_equal(err.code, ERR_INTERNAL);
    assert_int_equal(fixture_part(partial, 5, 2000, 1001, &err), -1);
    assert_int_equal(fixture_part(partial, 5, 1000, 1000, &err), 0);
    assert_int_equal(partial_parts(partial, &count)[1].offset, 1000);
    assert_int_equal(count, 3);
    assert_int_equal(partial_crc32c(partial), crc32c(0, whole, sizeof(whole)));
    assert_int_equal(partial_commit(partial, &crc, &err), 0);
    assert_int_equal(crc, crc32c(0, whole, sizeof(whole)));
    fixture_check_object(fixture->store, 5, 3000);
}

static void test_stream_of_unknown_size(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    uint32_t crc;
    uint64_t size;
    fixture_object(6, object);
    _cleanup_(partial_closep) struct partial *partial =
        store_partial_open(fixture->store, object, STORE_SIZE_UNKNOWN, &err);
    assert_non_null(partial);
    assert_int_equal(fixture_part(partial, 6, 0, 700, &err), 0);
    assert_int_equal(fs_pwrite_all(partial_fd(partial), "left by a try before", 20, 900), 0);
    assert_int_equal(partial_set_size(partial, 700, &err), 0);
    assert_int_equal(partial_commit(partial, &crc, &err), 0);
    fixture_check_object(fixture->store, 6, 700);
    assert_int_equal(store_object_stat(fixture->store, object, &size, &err), 1);
    assert_int_equal(size, 700);
}

static void test_partial_has_one_writer(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    fixture_object(1, object);
    struct partial *first = store_partial_open(fixture->store, object, 100, &err);
    assert_non_null(first);
    assert_null(store_partial_open(fixture->store, object, 100, &err));
    assert_int_equal(err.code, ERR_BUSY);
    _cleanup_(store_freep) struct store *other_node = fixture_open(fixture, "node-b");
    _cleanup_(partial_closep) struct partial *others = store_partial_open(other_node, object, 100, &err);
    assert_non_null(others);
    partial_close(first);
    first = store_partial_open(fixture->store, object, 100, &err);
    assert_non_null(first);
    partial_close(first);
}

static void test_resume_keeps_good_parts_and_drops_bad_ones(void **state) /* row 84 */
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    size_t count;
    fixture_object(2, object);
    struct partial *partial = store_partial_open(fixture->store, object, 4000, &err);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(fixture_part(partial, 2, 1000ULL * i, 1000, &err), 0);
    assert_int_equal(fs_pwrite_all(partial_fd(partial), "X", 1, 1500), 0);   /* never reached the disk */
    assert_int_equal(fs_write_all(partial->journal, "part 3000 10", 12), 0); /* torn by a crash */
    partial_close(partial);
    partial = store_partial_open(fixture->store, object, 4000, &err);
    assert_non_null(partial);
    const struct part *parts = partial_parts(partial, &count);
    assert_int_equal(count, 2);
    assert_int_equal(parts[0].offset, 0);
    assert_int_equal(parts[1].offset, 2000);
    assert_int_equal(fixture_part(partial, 2, 1000, 1000, &err), 0); /* after the torn line */
    partial_close(partial);
    uint32_t crc;
    partial = store_partial_open(fixture->store, object, 4000, &err);
    partial_parts(partial, &count);
    assert_int_equal(count, 3);
    assert_int_equal(fixture_part(partial, 2, 3000, 1000, &err), 0);
    assert_int_equal(partial_commit(partial, &crc, &err), 0);
    partial_close(partial);
    fixture_check_object(fixture->store, 2, 4000);
}

static void test_resume_starts_again_when_it_must(void **state)
{
    struct fixture *fixture = *state;
    static const char *const wrong[] = {"", "garbage\n", "sharedcache-partial 1 0 00000000\n"};
    for (unsigned i = 0; i < 5; i++) {
        struct err err = ERR_INIT;
        char object[SHA256_HEX];
        char journal[STORE_NAME_SIZE];
        size_t count;
        fixture_object(i, object);
        struct partial *partial = store_partial_open(fixture->store, object, 2000, &err);
        assert_int_equal(fixture_part(partial, i, 0, 1000, &err), 0);
        snprintf(journal, sizeof(journal), "%.200s.journal", partial->name);
        if (i == 3)
            assert_int_equal(unlinkat(fixture->store->incoming, partial->name, 0), 0);
        partial_close(partial);
        if (i < 3) {
            assert_int_equal(fs_write_file(fixture->store->incoming, journal, wrong[i], strlen(wrong[i]), 0644, &err),
                             0);
        }
        partial = store_partial_open(fixture->store, object, i == 4 ? 3000 : 2000, &err);
        assert_non_null(partial);
        partial_parts(partial, &count);
        assert_int_equal(count, 0);
        partial_close(partial);
        uint32_t crc;
        assert_int_equal(fixture_fill(fixture->store, i, i == 4 ? 3000 : 2000, 500, &crc, &err), 0);
        fixture_check_object(fixture->store, i, i == 4 ? 3000 : 2000);
    }
}

/* A writer that still has the old file open must not reach the new one. */
static void test_restart_makes_a_new_file(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    size_t count;
    uint32_t crc;
    fixture_object(3, object);
    _cleanup_(partial_closep) struct partial *partial = store_partial_open(fixture->store, object, 1000, &err);
    assert_int_equal(fixture_part(partial, 3, 0, 1000, &err), 0);
    int paused = dup(partial_fd(partial));
    assert_int_equal(partial_restart(partial, &err), 0);
    partial_parts(partial, &count);
    assert_int_equal(count, 0);
    assert_int_equal(fixture_part(partial, 3, 0, 1000, &err), 0);
    assert_int_equal(fs_pwrite_all(paused, "XXXX", 4, 0), 0);
    assert_int_equal(partial_commit(partial, &crc, &err), 0);
    assert_int_equal(fs_pwrite_all(paused, "YYYY", 4, 100), 0);
    close(paused);
    fixture_check_object(fixture->store, 3, 1000);
}

static void test_discard_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    fixture_object(4, object);
    struct partial *partial = store_partial_open(fixture->store, object, 1000, &err);
    assert_int_equal(fixture_part(partial, 4, 0, 500, &err), 0);
    assert_int_equal(partial_discard(partial, &err), 0);
    partial_close(partial); /* an SMB server shows removed names while they are open */
    assert_int_equal(fixture_count(fixture, "incoming"), 0);
}

/* What was linked to its place is an object: the leftover name must never be written through. */
static void test_leftover_name_of_an_object_is_not_written_to(void **state) /* row 85 */
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    char path[STORE_NAME_SIZE];
    fixture_object(7, object);
    struct partial *partial = store_partial_open(fixture->store, object, 1000, &err);
    assert_int_equal(fixture_part(partial, 7, 0, 1000, &err), 0);
    store_path(object, "", path);
    assert_int_equal(mkdirat(fixture->store->objects, (char[]){object[0], object[1], '\0'}, 0755), 0);
    assert_int_equal(fchmod(partial_fd(partial), 0444), 0);
    assert_int_equal(linkat(fixture->store->incoming, partial->name, fixture->store->objects, path, 0), 0);
    partial_close(partial); /* died between link and unlink */
    partial = store_partial_open(fixture->store, object, 1000, &err);
    assert_non_null(partial);
    assert_int_equal(fs_pwrite_all(partial_fd(partial), "XXXX", 4, 0), 0);
    partial_close(partial);
    fixture_check_object(fixture->store, 7, 1000);
}

static void test_losing_the_race_is_success(void **state) /* rows 74, 98 */
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    uint32_t crc = 0;
    fixture_object(8, object);
    _cleanup_(store_freep) struct store *other = fixture_open(fixture, "node-b");
    struct partial *slow = store_partial_open(fixture->store, object, 1000, &err);
    assert_int_equal(fixture_part(slow, 8, 0, 1000, &err), 0);
    fixture_must_fill(other, 8, 1000);
    assert_int_equal(partial_commit(slow, &crc, &err), 0);
    partial_close(slow);
    fixture_check_object(fixture->store, 8, 1000);
    assert_int_equal(fixture_count(fixture, "incoming"), 0);
    assert_int_equal(fixture_count(fixture, "quarantine"), 0);
}

static void partial_leave(struct store *store, unsigned seed, const char *boot)
{
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    char kept[9];
    char wanted[9];
    snprintf(kept, sizeof(kept), "%s", store->boot);
    snprintf(wanted, sizeof(wanted), "%s", boot);
    memcpy(store->boot, wanted, sizeof(wanted));
    fixture_object(seed, object);
    struct partial *partial = store_partial_open(store, object, 1000, &err);
    assert_non_null(partial);
    partial_close(partial);
    memcpy(store->boot, kept, sizeof(kept));
}

static void test_reap_takes_what_is_ours_and_free(void **state) /* row 84 */
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    size_t count;
    _cleanup_(store_freep) struct store *other = fixture_open(fixture, "node-b");
    partial_leave(fixture->store, 1, "00000000");           /* an earlier boot's: goes */
    partial_leave(fixture->store, 2, fixture->store->boot); /* young: stays */
    partial_leave(other, 3, "00000000");                    /* another node's: stays */
    assert_int_equal(fs_write_file(fixture->store->incoming, "foreign", "x", 1, 0644, &err), 0);
    assert_int_equal(fs_write_file(fixture->store->incoming, "tmp.node-a.00000000.x", "x", 1, 0644, &err), 0);
    assert_int_equal(fs_write_file(fixture->store->incoming, "tmp.node-b.00000000.x", "x", 1, 0644, &err), 0);
    fixture_object(4, object);
    struct partial *held = store_partial_open(fixture->store, object, 1000, &err);
    assert_int_equal(fixture_part(held, 4, 0, 500, &err), 0);
    assert_int_equal(store_partials_reap(fixture->store, 3600, &err), 0);
    assert_int_equal(fixture_count(fixture, "incoming"), 2 + 2 + 2 + 2);
    assert_int_equal(store_partials_reap(fixture->store, 0, &err), 0); /* all are old now; one is held */
    assert_int_equal(fixture_count(fixture, "incoming"), 2 + 2 + 2);
    partial_parts(held, &count);
    assert_int_equal(count, 1);
    assert_int_equal(fixture_part(held, 4, 500, 500, &err), 0);
    uint32_t crc;
    assert_int_equal(partial_commit(held, &crc, &err), 0);
    partial_close(held);
    fixture_check_object(fixture->store, 4, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_parts_in_any_order),
        STORE_TEST(test_stream_of_unknown_size),
        STORE_TEST(test_partial_has_one_writer),
        STORE_TEST(test_resume_keeps_good_parts_and_drops_bad_ones),
        STORE_TEST(test_resume_starts_again_when_it_must),
        STORE_TEST(test_restart_makes_a_new_file),
        STORE_TEST(test_discard_leaves_nothing),
        STORE_TEST(test_leftover_name_of_an_object_is_not_written_to),
        STORE_TEST(test_losing_the_race_is_success),
        STORE_TEST(test_reap_takes_what_is_ours_and_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
