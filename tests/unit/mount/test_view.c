/* Views as the kernel serves them: real mounts, over the machine's disk and over a tmpfs. */
#include "tests/unit/mount/world.h"

#include <sys/mman.h>
#include <sys/xattr.h>

#define ID_A "aa00000000000000000000000000000000000000000000000000000000000001"
#define ID_B "ab00000000000000000000000000000000000000000000000000000000000002"
#define ID_C "ab00000000000000000000000000000000000000000000000000000000000003"
#define ID_GONE "ff00000000000000000000000000000000000000000000000000000000000005"

static const struct view_file files[] = {
    {.path = "ab", .object = ID_A, .size = 5, .mtime_s = 1000, .mtime_ns = 5},
    {.path = "dir/b", .object = ID_B, .size = 6, .mtime_s = 1700000000},
    {.path = "dir/deep/er/c", .object = ID_C, .size = 5, .mtime_s = -5},
    {.path = "dir-2", .object = ID_A, .size = 5},
    {.path = "fe/inside", .object = ID_B, .size = 6},
    {.path = "gone", .object = ID_GONE, .size = 123456789012},
    {.path = "odd, name:\\ \"\xc3\xa9\n", .object = ID_C, .size = 5},
};
static const struct view_tree tree = {.files = files, .count = sizeof(files) / sizeof(files[0])};

static void store_make(const char *objects)
{
    char path[512];
    static const char *const subs[] = {"", "/aa", "/ab", "/fe"};
    for (size_t i = 0; i < sizeof(subs) / sizeof(subs[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", objects, subs[i]);
        close(world_dir(path));
    }
    snprintf(path, sizeof(path), "%s/aa/" ID_A, objects);
    world_write(path, "alpha");
    snprintf(path, sizeof(path), "%s/ab/" ID_B, objects);
    world_write(path, "bravo!");
    snprintf(path, sizeof(path), "%s/fe/secret", objects);
    world_write(path, "not for this pod");
}

/* Two stores: the first lacks nothing but C, which the second has. */
static void stores_make(const char *where, int fds[2])
{
    char path[512];
    snprintf(path, sizeof(path), "%s/one/objects", where);
    store_make(path);
    fds[0] = world_dir(path);
    snprintf(path, sizeof(path), "%s/two/objects/ab", where);
    close(world_dir(path));
    snprintf(path, sizeof(path), "%s/two/objects/ab/" ID_C, where);
    world_write(path, "charl");
    snprintf(path, sizeof(path), "%s/two/objects/ab/" ID_B, where);
    world_write(path, "WRONG!");
    snprintf(path, sizeof(path), "%s/two/objects", where);
    fds[1] = world_dir(path);
}

static struct err try_mount(const struct view_spec *spec, const char *target)
{
    struct err err = ERR_INIT;
    close(world_dir(target));
    _cleanup_(closep) int fd = open(world_path(target), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    must(fd >= 0);
    if (view_mount(world.mounts, spec, fd, soon(), &err) == 0)
        assert_int_equal(err.code, ERR_NONE);
    return err;
}

static void mount_ok(const struct view_spec *spec, const char *target)
{
    struct err err = try_mount(spec, target);
    if (err.code != ERR_NONE)
        fail_msg("%s", err.message);
}

static void unmount_ok(const char *target)
{
    struct err err = ERR_INIT;
    must_ok(view_unmount(world.mounts, world_path(target), soon(), &err), err);
    assert_int_equal(world_mounts_below(target), 0);
    must(rmdir(world_path(target)) == 0);
}

static size_t names_in(const char *dir, char *out, size_t size)
{
    struct dirent **list;
    int count = scandir(world_path(dir), &list, NULL, alphasort);
    must(count >= 2);
    out[0] = '\0';
    for (int i = 0; i < count; i++) {
        if (list[i]->d_name[0] != '.')
            snprintf(out + strlen(out), size - strlen(out), "%s|", list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return (size_t)count - 2;
}

static void assert_contents(enum view_form form)
{
    char names[1024];
    struct stat info;
    assert_int_equal(names_in("target", names, sizeof(names)), 6);
    assert_string_equal(names, "ab|dir|dir-2|fe|gone|odd, name:\\ \"\xc3\xa9\n|");
    assert_int_equal(names_in("target/fe", names, sizeof(names)), 1);
    assert_string_equal(names, "inside|");
    assert_string_equal(world_read("target/ab"), "alpha");
    assert_string_equal(world_read("target/dir/b"), "bravo!");
    assert_string_equal(world_read("target/dir/deep/er/c"), "charl");
    assert_string_equal(world_read("target/fe/inside"), "bravo!");
    assert_string_equal(world_read("target/odd, name:\\ \"\xc3\xa9\n"), "charl");
    assert_string_equal(world_read("target/aa/" ID_A), "errno 2");
    assert_string_equal(world_read("target/fe/secret"), "errno 2");
    must(stat(world_path("target/dir"), &info) == 0);
    assert_int_equal(info.st_mode, S_IFDIR | 0755);
    must(stat(world_path("target/ab"), &info) == 0);
    assert_int_equal(info.st_size, 5);
    if (form == VIEW_BINDS)
        return; /* times and modes are the objects' own there */
    assert_int_equal(info.st_mode, S_IFREG | 0444);
    assert_int_equal(info.st_mtim.tv_sec, 1000);
    assert_int_equal(info.st_mtim.tv_nsec, 5);
    must(stat(world_path("target/dir/deep/er/c"), &info) == 0);
    assert_int_equal(info.st_mtim.tv_sec, -5);
    /* An object that no store has. The older form needs the data layer for a stat already. */
    assert_string_equal(world_read("target/gone"), form == VIEW_DATA_ONLY ? "errno 2" : "errno 5");
    if (form != VIEW_DATA_ONLY)
        return;
    must(stat(world_path("target/gone"), &info) == 0);
    assert_int_equal(info.st_size, 123456789012);
}

/* row 35: a write gives EROFS. */
static void assert_read_only(void)
{
    struct statvfs info;
    assert_int_equal(open(world_path("target/new"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(open(world_path("target/ab"), O_WRONLY | O_CLOEXEC), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(unlink(world_path("target/ab")), -1);
    assert_int_equal(errno, EROFS);
    assert_int_equal(chmod(world_path("target/dir"), 0777), -1);
    assert_int_equal(errno, EROFS);
    must(statvfs(world_path("target"), &info) == 0);
    assert_true(info.f_flag & ST_RDONLY);
}

/* A shared library of the pod's would be mapped like this; files are never executable by mode. */
static bool can_map_code(const char *name)
{
    _cleanup_(closep) int fd = open(world_path(name), O_RDONLY | O_CLOEXEC);
    must(fd >= 0);
    void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    if (code == MAP_FAILED)
        assert_int_equal(errno, EPERM);
    else
        munmap(code, 4096);
    return code != MAP_FAILED;
}

static bool has_option(const char *options, const char *name)
{
    char wrapped[512];
    char wanted[64];
    snprintf(wrapped, sizeof(wrapped), ",%s,", options);
    snprintf(wanted, sizeof(wanted), ",%s,", name);
    return strstr(wrapped, wanted) != NULL;
}

static void assert_options(bool noexec)
{
    const struct mount_entry *entry = world_mount_at("target");
    assert_non_null(entry);
    assert_true(has_option(entry->options, "ro"));
    assert_true(has_option(entry->options, "nosuid"));
    assert_true(has_option(entry->options, "nodev"));
    assert_int_equal(has_option(entry->options, "noexec"), noexec);
    assert_int_equal(can_map_code("target/ab"), !noexec);
}

static const struct {
    const char *where; /* the stores: disk or tmpfs */
    enum view_form form;
    bool noexec;
} cases[] = {
    {"disk", VIEW_DATA_ONLY, false}, {"disk", VIEW_DATA_ONLY, true}, {"ram/s", VIEW_DATA_ONLY, false},
    {"disk", VIEW_WHITEOUTS, false}, {"disk", VIEW_WHITEOUTS, true}, {"ram/s", VIEW_WHITEOUTS, false},
};

static void overlay_views_show_the_tree_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[32];
        char where[64];
        struct err err = ERR_INIT;
        int fds[2];
        snprintf(name, sizeof(name), "tree-%zu", i);
        snprintf(where, sizeof(where), "%s-%zu", cases[i].where, i);
        stores_make(where, fds);
        _cleanup_(closep) int layers = world_dir("layers");
        must_ok(view_layer_build(layers, name, &tree, cases[i].form, &err), err);
        struct view_spec spec = {.layers_fd = layers,
                                 .layer = name,
                                 .data_fds = {fds[0], fds[1]},
                                 .data_count = 2,
                                 .form = cases[i].form,
                                 .noexec = cases[i].noexec};
        mount_ok(&spec, "target");
        assert_int_equal(world_mounts_below("target"), 1);
        assert_string_equal(world_mount_at("target")->fstype, "overlay");
        assert_contents(cases[i].form);
        assert_read_only();
        assert_options(cases[i].noexec);
        unmount_ok("target");
        close(fds[0]);
        close(fds[1]);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "mount-helper") == 0)
        return mount_helper_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlay_views_show_the_tree_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, world_start, world_end);
}
