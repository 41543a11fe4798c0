/* Records and their files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "csi/record_text.h"
#include "csi/records.h"
#include "csi/state_file.h"
#include "tests/unit/csi/scratch.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char scratch[SCRATCH_PATH_MAX];
static int scratch_fd = -1;
static unsigned damaged_count;

static void on_damaged(const char *name, const char *cause)
{
    assert_non_null(strstr(name, ".json"));
    assert_true(cause[0] != '\0');
    damaged_count++;
}

static int set_up(void **state)
{
    (void)state;
    damaged_count = 0;
    if (scratch_make(scratch) != 0)
        return -1;
    scratch_fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return scratch_fd < 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(scratch_fd);
    return scratch_remove(scratch);
}

static struct records *open_records(void)
{
    struct err err = ERR_INIT;
    struct records *records = records_open(scratch_fd, on_damaged, &err);
    assert_non_null(records);
    return records;
}

static const char *const snapshots[] = {HEX};
static const struct record sample = {
    .kind = RECORD_PUBLISHED,
    .volume_id = "csi-" HEX,
    .target = "/var/lib/kubelet/pods/a/volumes/kubernetes.io~csi/x/mount",
    .arguments = HEX,
    .class = "shared-efs",
    .share = "nfs-0123",
    .layer = "data-0123",
    .snapshots = snapshots,
    .snapshot_count = 1,
    .bytes = 1234567890123,
    .files = 3,
    .published_s = 1700000000,
    .is_exclusive = true,
};

static void assert_sample(const struct record *record)
{
    assert_string_equal(record->volume_id, sample.volume_id);
    assert_string_equal(record->target, sample.target);
    assert_string_equal(record->arguments, sample.arguments);
    assert_string_equal(record->class, sample.class);
    assert_string_equal(record->share, sample.share);
    assert_string_equal(record->layer, sample.layer);
    assert_int_equal(record->snapshot_count, 1);
    assert_string_equal(record->snapshots[0], HEX);
    assert_true(record->bytes == sample.bytes && record->files == sample.files);
    assert_int_equal(record->published_s, sample.published_s);
    assert_true(record->is_exclusive);
}

static void put(struct records *records, const struct record *record)
{
    struct err err = ERR_INIT;
    assert_int_equal(records_put(records, record, &err), 0);
}

static void test_survives_restart(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct records *records = open_records();
    struct record found;
    struct err err = ERR_INIT;
    put(records, &sample);
    put(records, &sample); /* the same again replaces */
    records_free(records);
    records = open_records();
    assert_true(records_find(records, RECORD_PUBLISHED, sample.volume_id, sample.target, arena, &found));
    assert_sample(&found);
    assert_true(records_find_target(records, sample.target, arena, &found));
    assert_false(records_find(records, RECORD_STAGED, sample.volume_id, sample.target, arena, &found));
    assert_false(records_find_other(records, RECORD_PUBLISHED, sample.volume_id, sample.target, arena, &found));
    assert_true(records_find_other(records, RECORD_PUBLISHED, sample.volume_id, "/elsewhere", arena, &found));
    assert_int_equal(records_using_layer(records, "data-0123"), 1);
    assert_int_equal(records_using_share(records, "nfs-0123"), 1);
    assert_int_equal(records_using_share(records, "nfs-9"), 0);
    assert_int_equal(records_drop(records, RECORD_PUBLISHED, sample.volume_id, sample.target, &err), 0);
    assert_int_equal(records_drop(records, RECORD_PUBLISHED, sample.volume_id, sample.target, &err), 0);
    records_free(records);
    records = open_records();
    assert_int_equal(records_using_layer(records, "data-0123"), 0);
    assert_int_equal(damaged_count, 0);
    records_free(records);
}

/* row 92: truncated, zeroed and mixed files are set aside; the whole ones beside them are kept. */
static void test_row_92_damaged(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct records *records = open_records();
    char name[RECORD_FILE_MAX];
    char path[RECORD_FILE_MAX + 16];
    struct str text = STR_INIT;
    struct record found;
    struct err err = ERR_INIT;
    put(records, &sample);
    records_free(records);
    record_print(&sample, &text);
    record_file_name(sample.volume_id, sample.target, name);
    snprintf(path, sizeof(path), "volumes/%s", name);
    for (size_t len = 0; len < text.len; len += 1 + len / 8) {
        int fd = openat(scratch_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(fs_write_all(fd, text.data, len), 0);
        if (len % 2)
            assert_int_equal(ftruncate(fd, (off_t)text.len), 0); /* the rest is zeros */
        close(fd);
        damaged_count = 0;
        records = open_records();
        assert_int_equal(damaged_count, 1);
        assert_false(records_find_target(records, sample.target, arena, &found));
        put(records, &sample);
        records_free(records);
        records = open_records();
        assert_true(records_find_target(records, sample.target, arena, &found));
        assert_int_equal(damaged_count, 1);
        records_free(records);
    }
    assert_int_equal(fs_write_file(scratch_fd, "copied", text.data, text.len, 0600, &err), 0);
    assert_int_equal(renameat(scratch_fd, "copied", scratch_fd, "staged/other.json"), 0);
    damaged_count = 0;
    records_free(open_records()); /* a whole file under another's name */
    assert_int_equal(damaged_count, 1);
    str_deinit(&text);
}

static void test_bad_fields(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        const char *value; /* JSON */
    } cases[] = {
        {"volumeId", "\"../x\""},   {"volumeId", "7"},
        {"target", "\"relative\""}, {"target", "\"/a\\u0000b\""},
        {"layer", "\"../../etc\""}, {"share", "\"A\""},
        {"kind", "\"other\""},      {"bytes", "-1"},
        {"files", "\"3\""},         {"snapshots", "[\"xyz\"]"},
        {"snapshots", "{}"},        {"publishedAt", "null"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct record record;
        struct err err = ERR_INIT;
        json_t *object = record_to_json(&sample);
        json_object_set_new(object, cases[i].field, json_loads(cases[i].value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL));
        assert_int_equal(record_from_json(object, arena, &record, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_survives_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_row_92_damaged, set_up, tear_down),
        cmocka_unit_test(test_bad_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
