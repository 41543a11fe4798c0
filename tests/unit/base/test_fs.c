#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fs.h"

struct scratch {
    char path[256];
    int fd;
};

static int scratch_make(void **state)
{
    static struct scratch scratch;
    const char *base = getenv("SC_SCRATCH");
    snprintf(scratch.path, sizeof(scratch.path), "%s/sc-fs-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(scratch.path));
    scratch.fd = open(scratch.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(scratch.fd >= 0);
    *state = &scratch;
    return 0;
}

static int scratch_remove(void **state)
{
    struct scratch *scratch = *state;
    struct err err = ERR_INIT;
    /* From the directory that holds it: removal crosses no mounts, and /tmp often is one. */
    char *name = strrchr(scratch->path, '/');
    *name++ = '\0';
    int parent = open(scratch->path, O_PATH | O_CLOEXEC);
    int result = fs_remove_tree(parent, name, &err);
    close(parent);
    close(scratch->fd);
    assert_int_equal(result, 0);
    return 0;
}

static void links_do_not_lead_out(void **state)
{
    struct scratch *scratch = *state;
    assert_int_equal(symlinkat("/etc", scratch->fd, "out"), 0);
    assert_int_equal(symlinkat("inside", scratch->fd, "in"), 0);
    assert_int_equal(mkdirat(scratch->fd, "inside", 0755), 0);
    static const char *const rows[] = {"out/passwd", "out", "in", "../etc/passwd", "/etc/passwd", "inside/../../etc"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(fs_open_beneath(scratch->fd, rows[i], O_RDONLY, 0), -1);
    int fd = fs_open_beneath(scratch->fd, "inside", O_RDONLY | O_DIRECTORY, 0);
    assert_true(fd >= 0);
    close(fd);
}

static void files_are_replaced_whole(void **state)
{
    struct scratch *scratch = *state;
    struct err err = ERR_INIT;
    assert_int_equal(fs_write_file(scratch->fd, "record", "one", 3, 0600, &err), 0);
    assert_int_equal(fs_write_file(scratch->fd, "record", "second", 6, 0600, &err), 0);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    assert_int_equal(fs_read_file(scratch->fd, "record", 100, &text, &err), 0);
    assert_string_equal(text.data, "second");
    struct stat info;
    assert_int_equal(fstatat(scratch->fd, "record", &info, 0), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(fs_write_file(scratch->fd, "a/b", "x", 1, 0600, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void reading_has_a_limit(void **state)
{
    struct scratch *scratch = *state;
    struct err err = ERR_INIT;
    assert_int_equal(fs_write_file(scratch->fd, "big", "0123456789", 10, 0600, &err), 0);
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    assert_int_equal(fs_read_file(scratch->fd, "big", 9, &text, &err), -1);
    assert_int_equal(err.code, ERR_EXHAUSTED);
    assert_int_equal(fs_read_file(scratch->fd, "none", 9, &text, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(mkfifoat(scratch->fd, "pipe", 0600), 0);
    assert_int_equal(fs_read_file(scratch->fd, "pipe", 9, &text, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
}

static void trees_are_removed_links_are_not_followed(void **state)
{
    struct scratch *scratch = *state;
    struct err err = ERR_INIT;
    assert_int_equal(mkdirat(scratch->fd, "kept", 0755), 0);
    assert_int_equal(fs_write_file(scratch->fd, "precious", "x", 1, 0600, &err), 0);
    assert_int_equal(mkdirat(scratch->fd, "tree", 0755), 0);
    assert_int_equal(mkdirat(scratch->fd, "tree/deep", 0755), 0);
    assert_int_equal(symlinkat("../../kept", scratch->fd, "tree/deep/link"), 0);
    assert_int_equal(symlinkat("../precious", scratch->fd, "tree/file"), 0);
    assert_int_equal(fs_remove_tree(scratch->fd, "tree", &err), 0);
    assert_int_equal(faccessat(scratch->fd, "tree", F_OK, 0), -1);
    assert_int_equal(faccessat(scratch->fd, "kept", F_OK, 0), 0);
    assert_int_equal(faccessat(scratch->fd, "precious", F_OK, 0), 0);
    assert_int_equal(fs_remove_tree(scratch->fd, "tree", &err), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(links_do_not_lead_out),
        TEST(files_are_replaced_whole),
        TEST(reading_has_a_limit),
        TEST(trees_are_removed_links_are_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
