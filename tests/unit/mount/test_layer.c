/* Metadata layers on disk: complete, or not there. */
#include "tests/unit/mount/world.h"

#include <pthread.h>
#include <sys/xattr.h>

#define ID_A "aa00000000000000000000000000000000000000000000000000000000000001"
#define ID_B "ab00000000000000000000000000000000000000000000000000000000000002"

static const struct view_file files[] = {
    {.path = "ab", .object = ID_A, .size = 5, .mtime_s = 1000, .mtime_ns = 5},
    {.path = "dir/b", .object = ID_B, .size = 6, .mtime_s = 1700000000},
    {.path = "dir/deep/er/c", .object = ID_A, .size = 123456789012},
};
static const struct view_tree tree = {.files = files, .count = 3};

static void layers_are_complete_or_not_there(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct stat before;
    struct stat after;
    _cleanup_(closep) int layers = world_dir("layers");
    assert_false(view_layer_exists(layers, "whole"));
    close(world_dir("layers/whole.building-0123456789abcdef-0/dir")); /* an earlier process was killed here */
    must_ok(view_layer_build(layers, "whole", &tree, VIEW_DATA_ONLY, &err), err);
    assert_true(view_layer_exists(layers, "whole"));
    assert_int_equal(access(world_path("layers/whole.building-0123456789abcdef-0"), F_OK), -1);
    must(stat(world_path("layers/whole/dir/b"), &before) == 0);
    assert_int_equal(before.st_size, 6);
    assert_int_equal(before.st_mtim.tv_sec, 1700000000);
    must_ok(view_layer_build(layers, "whole", &tree, VIEW_DATA_ONLY, &err), err);
    must(stat(world_path("layers/whole/dir/b"), &after) == 0);
    assert_int_equal(before.st_ino, after.st_ino); /* kept as it is */
    must(stat(world_path("layers/whole/dir/deep"), &after) == 0);
    assert_int_equal(after.st_mtim.tv_sec, 946684800);
    assert_int_equal(after.st_mode, S_IFDIR | 0755);
    char value[128] = "";
    assert_int_equal(getxattr(world_path("layers/whole/dir/b"), "trusted.overlay.redirect", value, sizeof(value)), 68);
    assert_string_equal(value, "/ab/" ID_B);
    assert_int_equal(getxattr(world_path("layers/whole/dir/b"), "trusted.overlay.metacopy", value, sizeof(value)), 0);
    must_ok(view_layer_remove(layers, "whole", &err), err);
    assert_false(view_layer_exists(layers, "whole"));
    must_ok(view_layer_remove(layers, "whole", &err), err);
    static const char *const names[] = {"", "..", "a/b", "A", "x.building-1"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(view_layer_build(layers, names[i], &tree, VIEW_DATA_ONLY, &err), -1);
        assert_int_equal(view_layer_remove(layers, names[i], &err), -1);
    }
}

/* A file larger than the file system can hold: nothing stays behind. */
static void a_layer_that_cannot_be_built_leaves_nothing(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    static const struct view_file huge[] = {{.path = "a/b", .object = ID_A, .size = 1},
                                            {.path = "a/huge", .object = ID_A, .size = INT64_MAX}};
    const struct view_tree huge_tree = {.files = huge, .count = 2};
    _cleanup_(closep) int layers = world_dir("layers-huge");
    char names[256];
    assert_int_equal(view_layer_build(layers, "huge", &huge_tree, VIEW_DATA_ONLY, &err), -1);
    assert_non_null(strstr(err.message, "a/huge"));
    assert_int_equal(names_in("layers-huge", names, sizeof(names)), 0);
}

/* The older form hides the store's 256 directories; a user's own of such a name is opaque. */
static void whiteouts_hide_the_store(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct stat info;
    char value[8] = "";
    static const struct view_file hidden[] = {{.path = "0a", .object = ID_A, .size = 1},
                                              {.path = "ff/ff/x", .object = ID_A, .size = 1},
                                              {.path = "other/x", .object = ID_A, .size = 1}};
    const struct view_tree hidden_tree = {.files = hidden, .count = 3};
    _cleanup_(closep) int layers = world_dir("layers");
    must_ok(view_layer_build(layers, "hidden", &hidden_tree, VIEW_WHITEOUTS, &err), err);
    unsigned count = 0;
    for (unsigned i = 0; i < 256; i++) {
        char path[64];
        snprintf(path, sizeof(path), "layers/hidden/%02x", i);
        must(lstat(world_path(path), &info) == 0);
        count += S_ISCHR(info.st_mode) && info.st_rdev == 0;
    }
    assert_int_equal(count, 254);
    assert_int_equal(getxattr(world_path("layers/hidden/ff"), "trusted.overlay.opaque", value, sizeof(value)), 1);
    assert_int_equal(value[0], 'y');
    assert_int_equal(getxattr(world_path("layers/hidden/ff/ff"), "trusted.overlay.opaque", value, sizeof(value)), -1);
    assert_int_equal(getxattr(world_path("layers/hidden/other"), "trusted.overlay.opaque", value, sizeof(value)), -1);
}

struct building {
    int layers;
    struct err err;
};

static void *build_on_a_thread(void *argument)
{
    struct building *building = argument;
    view_layer_build(building->layers, "raced", &tree, VIEW_DATA_ONLY, &building->err);
    return NULL;
}

/* Pods with the same inputs build the same layer at the same time: one is kept, nobody fails. */
static void builders_of_one_layer_do_not_disturb_each_other(void **state)
{
    (void)state;
    char names[256];
    _cleanup_(closep) int layers = world_dir("layers-raced");
    struct building buildings[8];
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) {
        buildings[i] = (struct building){.layers = layers, .err = ERR_INIT};
        must(pthread_create(&threads[i], NULL, build_on_a_thread, &buildings[i]) == 0);
    }
    for (size_t i = 0; i < 8; i++) {
        must(pthread_join(threads[i], NULL) == 0);
        if (buildings[i].err.code)
            fail_msg("%s", buildings[i].err.message);
    }
    assert_int_equal(names_in("layers-raced", names, sizeof(names)), 1);
    assert_string_equal(names, "raced|");
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "mount-helper") == 0)
        return mount_helper_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_complete_or_not_there),
        cmocka_unit_test(a_layer_that_cannot_be_built_leaves_nothing),
        cmocka_unit_test(whiteouts_hide_the_store),
        cmocka_unit_test(builders_of_one_layer_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, world_start, world_end);
}
