/* The store when system calls fail (store_faults.h). */
#include "tests/unit/cachecore/store_faults.h"

struct commit_case {
    const char *name;
    struct step steps[2];
    enum err_code code; /* ERR_NONE: the commit succeeds */
    const char *message;
    bool is_resumable; /* after an error: all parts are still there */
};

static const struct commit_case commit_cases[] = {
    /* row 73: the work was done, the reply lost */
    {"link, reply lost", {{LINKAT, EIO, 1, true}}, ERR_NONE, "", false},
    {"link, repeated by the client", {{LINKAT, EEXIST, 1, true}}, ERR_NONE, "", false},
    {"rename, reply lost", {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, EIO, 1, true}}, ERR_NONE, "", false},
    {"rename, repeated by the client",
     {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, ENOENT, 1, true}},
     ERR_NONE,
     "",
     false},
    /* file systems without links */
    {"no links", {{LINKAT, EPERM, 1, false}}, ERR_NONE, "", false},
    {"too many links", {{LINKAT, EMLINK, 1, false}}, ERR_NONE, "", false},
    {"no links, no noreplace", {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, EINVAL, 1, false}}, ERR_NONE, "", false},
    {"sharing violation that passes",
     {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, EACCES, 3, false}},
     ERR_NONE,
     "",
     false}, /* row 79 */
    {"busy that stays", {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, EBUSY, 11, false}}, ERR_UNAVAILABLE, "name", true},
    {"link fails", {{LINKAT, EIO, 1, false}}, ERR_UNAVAILABLE, "name", true},
    {"link on a stale handle", {{LINKAT, ESTALE, 1, false}}, ERR_UNAVAILABLE, "name", true},
    {"link on a full disk", {{LINKAT, ENOSPC, 1, false}}, ERR_EXHAUSTED, "free", true},
    /* rows 71 and 72 */
    {"fsync EIO", {{FSYNC, EIO, 1, false}}, ERR_UNAVAILABLE, "cannot write an object", false},
    {"fsync ENOSPC", {{FSYNC, ENOSPC, 1, false}}, ERR_EXHAUSTED, "free", false},
    {"fsync EDQUOT", {{FSYNC, EDQUOT, 1, false}}, ERR_EXHAUSTED, "quota", false},
    {"close EIO", {{CLOSE, EIO, 1, true}}, ERR_UNAVAILABLE, "cannot write an object", false},
    {"close ENOSPC", {{CLOSE, ENOSPC, 1, true}}, ERR_EXHAUSTED, "free", false},
    {"close EDQUOT", {{CLOSE, EDQUOT, 1, true}}, ERR_EXHAUSTED, "quota", false},
};

static void commit_check_success(struct fixture *fixture, const struct partial *partial, uint32_t crc)
{
    (void)partial;
    uint8_t bytes[3000];
    fixture_bytes(1, 0, bytes, sizeof(bytes));
    assert_int_equal(crc, crc32c(0, bytes, sizeof(bytes)));
    fixture_check_object(fixture->store, 1, 3000);
    assert_int_equal(fixture_count(fixture, "incoming"), 0);
    assert_int_equal(fixture_count(fixture, "objects"), 3); /* its directory, itself, its sums: no guard is left */
}

static void commit_check_failure(struct fixture *fixture, const struct commit_case *test)
{
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    uint32_t crc;
    size_t count;
    fixture_object(1, object);
    assert_int_equal(store_object_find(fixture->store, object, 3000, &err), 0);
    assert_int_equal(fixture_count(fixture, "incoming"), test->is_resumable ? 2 : 0);
    _cleanup_(partial_closep) struct partial *again = store_partial_open(fixture->store, object, 3000, &err);
    assert_non_null(again);
    partial_parts(again, &count);
    assert_int_equal(count, test->is_resumable ? 3 : 0);
    for (unsigned i = 0; i < 3 && !test->is_resumable; i++)
        assert_int_equal(fixture_part(again, 1, 1000ULL * i, 1000, &err), 0);
    assert_int_equal(partial_commit(again, &crc, &err), 0);
    fixture_check_object(fixture->store, 1, 3000);
}

static void commit_case_run(struct fixture *fixture, const struct commit_case *test)
{
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    uint32_t crc = 0;
    fixture_object(1, object);
    struct partial *partial = store_partial_open(fixture->store, object, 3000, &err);
    assert_non_null(partial);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(fixture_part(partial, 1, 1000ULL * i, 1000, &err), 0);
    faults_set(test->steps, 2);
    int result = partial_commit(partial, &crc, &err);
    faults_were_hit(test->steps, 2);
    faults_clear();
    partial_close(partial);
    if (result != (test->code == ERR_NONE ? 0 : -1) || err.code != test->code || !strstr(err.message, test->message))
        fail_msg("%s: %d %s '%s'", test->name, result, err_code_name(err.code), err.message);
    if (result == 0)
        commit_check_success(fixture, partial, crc);
    else
        commit_check_failure(fixture, test);
}

static void test_commit_faults(void **state) /* rows 71, 72, 73, 79 */
{
    (void)state;
    for (size_t i = 0; i < sizeof(commit_cases) / sizeof(commit_cases[0]); i++) {
        struct fixture *fixture = fixture_new();
        commit_case_run(fixture, &commit_cases[i]);
        fixture_free(fixture);
    }
}

static ino_t inode_of(int dirfd, const char *path)
{
    struct stat info;
    assert_int_equal(fstatat(dirfd, path, &info, AT_SYMLINK_NOFOLLOW), 0);
    return info.st_ino;
}

/* Whichever way the name is given: who comes second adopts. */
static void test_second_writer_adopts_on_every_kind_of_file_system(void **state) /* rows 74, 98 */
{
    (void)state;
    static const struct {
        bool is_late; /* the other one comes between this one's look and its rename */
        struct step steps[2];
    } ways[] = {
        {false, {{LINKAT, EEXIST, 1, false}}},
        {false, {{LINKAT, EOPNOTSUPP, 1, false}}},
        {false, {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, EINVAL, 1, false}}},
        {false, {{LINKAT, EIO, 1, false}}}, /* the request was lost, but the object is there */
        {true, {{LINKAT, EOPNOTSUPP, 1, false}}},
        {true, {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, EINVAL, 1, false}}},
        {true, {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, EIO, 1, false}}},
    };
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct err err = ERR_INIT;
        char object[SHA256_HEX];
        uint32_t crc = 0;
        char path[STORE_NAME_SIZE];
        struct fixture *fixture = fixture_new();
        fixture_object(1, object);
        struct store *other = fixture_open(fixture, "node-b");
        struct partial *partial = store_partial_open(fixture->store, object, 1000, &err);
        assert_int_equal(fixture_part(partial, 1, 0, 1000, &err), 0);
        ino_t own = inode_of(fixture->store->incoming, partial->name);
        if (!ways[i].is_late)
            fixture_must_fill(other, 1, 1000);
        faults_set(ways[i].steps, 2);
        meanwhile = ways[i].is_late ? other : NULL;
        assert_int_equal(partial_commit(partial, &crc, &err), 0);
        faults_clear();
        partial_close(partial);
        store_path(object, "", path);
        assert_true(inode_of(fixture->store->objects, path) != own); /* what readers may have open was not replaced */
        fixture_check_object(fixture->store, 1, 1000);
        assert_int_equal(fixture_count(fixture, "incoming"), 0);
        store_free(other);
        fixture_free(fixture);
    }
}

/* A guard left by a writer that died is no obstacle for ever. */
static void test_dead_guard_is_removed(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    static const struct step steps[2] = {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, EINVAL, 1, false}};
    char object[SHA256_HEX];
    char path[STORE_NAME_SIZE];
    uint32_t crc;
    fixture_object(1, object);
    store_path(object, ".lock", path);
    assert_int_equal(mkdirat(fixture->store->objects, (char[]){object[0], object[1], '\0'}, 0755), 0);
    int fd = openat(fixture->store->objects, path, O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    close(fd);
    struct partial *partial = store_partial_open(fixture->store, object, 1000, &err);
    assert_int_equal(fixture_part(partial, 1, 0, 1000, &err), 0);
    faults_set(steps, 2);
    assert_int_equal(partial_commit(partial, &crc, &err), 0);
    faults_were_hit(steps, 2);
    faults_clear();
    partial_close(partial);
    fixture_check_object(fixture->store, 1, 1000);
    assert_int_equal(fixture_count(fixture, "objects"), 3);
}

static void test_reserving_room(void **state) /* row 71 */
{
    struct fixture *fixture = *state;
    static const struct {
        int errnum;
        enum err_code code;
    } cases[] = {
        {EOPNOTSUPP, ERR_NONE}, {ENOSYS, ERR_NONE}, {EINTR, ERR_NONE}, {ENOSPC, ERR_EXHAUSTED}, {EIO, ERR_UNAVAILABLE}};
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        char object[SHA256_HEX];
        fixture_object(i, object);
        const struct step step = {FALLOCATE, cases[i].errnum, 1, false};
        faults_set(&step, 1);
        struct partial *partial = store_partial_open(fixture->store, object, 1000, &err);
        faults_were_hit(&step, 1);
        faults_clear();
        assert_int_equal(partial != NULL, cases[i].code == ERR_NONE);
        assert_int_equal(err.code, cases[i].code);
        if (cases[i].code == ERR_EXHAUSTED) {
            assert_non_null(strstr(err.message, "free"));
            assert_int_equal(fixture_count(fixture, "incoming"), 6);
        }
        partial_close(partial);
    }
}

static void test_lock_counts_only_on_the_file_that_has_the_name(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    char name[STORE_NAME_SIZE];
    fixture_object(1, object);
    store_partial_name(fixture->store, object, name);
    strcat(name, ".journal");
    vanishing.dirfd = fixture->store->incoming;
    vanishing.name = name;
    struct partial *partial = store_partial_open(fixture->store, object, 1000, &err);
    assert_non_null(partial);
    assert_null(vanishing.name);
    assert_int_equal(faccessat(fixture->store->incoming, name, F_OK, 0), 0);
    assert_null(store_partial_open(fixture->store, object, 1000, &err));
    assert_int_equal(err.code, ERR_BUSY);
    partial_close(partial);
}

static void test_share_without_locks_is_named(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    const struct step step = {FLOCK, ENOLCK, 1, false};
    fixture_object(1, object);
    faults_set(&step, 1);
    assert_null(store_partial_open(fixture->store, object, 1000, &err));
    faults_clear();
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "nolock"));
}

/* A journal line that a full disk cut short: the part is not recorded, and the next line is not lost with it. */
static void test_torn_journal_line(void **state) /* row 71 */
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    char object[SHA256_HEX];
    size_t count;
    const struct step step = {WRITE, ENOSPC, 1, false};
    fixture_object(1, object);
    struct partial *partial = store_partial_open(fixture->store, object, 3000, &err);
    assert_int_equal(fixture_part(partial, 1, 0, 1000, &err), 0);
    faults_set(&step, 1);
    assert_int_equal(fixture_part(partial, 1, 1000, 1000, &err), -1);
    faults_were_hit(&step, 1);
    faults_clear();
    assert_int_equal(err.code, ERR_EXHAUSTED);
    partial_parts(partial, &count);
    assert_int_equal(count, 1);
    assert_int_equal(fixture_part(partial, 1, 2000, 1000, &err), 0);
    partial_close(partial);
    partial = store_partial_open(fixture->store, object, 3000, &err);
    assert_int_equal(partial_parts(partial, &count)[1].offset, 2000);
    assert_int_equal(count, 2);
    partial_close(partial);
}

static void test_snapshot_survives_faults(void **state) /* rows 71, 72, 73 */
{
    (void)state;
    static const struct {
        struct step step;
        enum err_code code;
    } cases[] = {
        {{LINKAT, EIO, 1, true}, ERR_NONE},          {{LINKAT, EOPNOTSUPP, 1, false}, ERR_NONE},
        {{LINKAT, EIO, 1, false}, ERR_UNAVAILABLE},  {{FSYNC, EIO, 1, false}, ERR_UNAVAILABLE},
        {{FSYNC, EDQUOT, 3, false}, ERR_EXHAUSTED},  {{FSYNC_DIR, EIO, 1, false}, ERR_UNAVAILABLE},
        {{FSYNC_DIR, EINVAL, 100, false}, ERR_NONE}, /* SMB */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = ERR_INIT;
        struct snapshot snapshot;
        struct snapshot_file file = {.path = "a", .size = 100, .validator = "v"};
        char id[SHA256_HEX];
        struct fixture *fixture = fixture_new();
        fixture_object(1, file.object);
        fixture_must_fill(fixture->store, 1, 100);
        assert_int_equal(snapshot_make(NULL, &file, 1, &snapshot, &err), 0);
        snapshot_id(&snapshot, id);
        faults_set(&cases[i].step, 1);
        int result = store_snapshot_commit(fixture->store, &snapshot, "x", &err);
        assert_true(faults[cases[i].step.call].hits > 0);
        faults_clear();
        assert_int_equal(result, cases[i].code == ERR_NONE ? 0 : -1);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(store_snapshot_find(fixture->store, id, &err), cases[i].code == ERR_NONE);
        assert_int_equal(store_snapshot_commit(fixture->store, &snapshot, "x", &err), 0);
        assert_int_equal(store_snapshot_find(fixture->store, id, &err), 1);
        assert_int_equal(fixture_count(fixture, "incoming"), 0);
        fixture_free(fixture);
    }
}

static void test_format_survives_a_lost_reply(void **state) /* row 73 */
{
    struct fixture *fixture = *state;
    static const struct step ways[][2] = {{{LINKAT, EIO, 1, true}},
                                          {{LINKAT, EOPNOTSUPP, 1, false}},
                                          {{LINKAT, EOPNOTSUPP, 1, false}, {RENAMEAT2, EIO, 1, true}}};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        char name[] = {'d', (char)('0' + i), '\0'};
        struct err err = ERR_INIT;
        assert_int_equal(mkdirat(fixture->root, name, 0755), 0);
        _cleanup_(closep) int root = openat(fixture->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        faults_set(ways[i], 2);
        struct store *store = store_open(root, "node-a", NULL, &err);
        faults_were_hit(ways[i], 2);
        faults_clear();
        assert_non_null(store);
        struct store *again = store_open(root, "node-b", store_id(store), &err);
        assert_non_null(again);
        store_free(store);
        store_free(again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_faults),
        cmocka_unit_test(test_second_writer_adopts_on_every_kind_of_file_system),
        STORE_TEST(test_dead_guard_is_removed),
        STORE_TEST(test_reserving_room),
        STORE_TEST(test_lock_counts_only_on_the_file_that_has_the_name),
        STORE_TEST(test_share_without_locks_is_named),
        STORE_TEST(test_torn_journal_line),
        cmocka_unit_test(test_snapshot_survives_faults),
        STORE_TEST(test_format_survives_a_lost_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
