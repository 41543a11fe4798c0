/* Target directories: rows 5, 6, 7, 12, 13 and 14 of the table of faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "csi/target.h"
#include "tests/unit/csi/scratch.h"

static char kubelet[SCRATCH_PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    return scratch_make(kubelet) == 0 && chdir(kubelet) == 0 && mkdir("pods", 0750) == 0 && mkdir("pods/a", 0750) == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return chdir("/") != 0 || scratch_remove(kubelet) != 0;
}

static enum err_code make(const char *relative, bool *made)
{
    _cleanup_(target_deinitp) struct target target = TARGET_INIT;
    struct err err = ERR_INIT;
    if (target_open(kubelet, relative, &target, &err) != 0)
        return err.code;
    _cleanup_(closep) int fd = target_make(&target, made, &err);
    if (fd < 0)
        return err.code;
    assert_true(target_parent_is_same(&target, kubelet, relative));
    return ERR_NONE;
}

static enum err_code drop(const char *relative)
{
    _cleanup_(target_deinitp) struct target target = TARGET_INIT;
    struct err err = ERR_INIT;
    if (target_open(kubelet, relative, &target, &err) != 0)
        return err.code;
    return target_remove(&target, &err) == 0 ? ERR_NONE : err.code;
}

static void put_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

static void test_make(void **state)
{
    (void)state;
    bool made = false;
    assert_int_equal(make("pods/a/mount", &made), ERR_NONE);
    assert_true(made && exists("pods/a/mount"));
    assert_int_equal(make("pods/a/mount", &made), ERR_NONE); /* an empty one is taken */
    assert_false(made);
    assert_int_equal(make("top", &made), ERR_NONE);
}

static void test_row_5_no_parent(void **state)
{
    (void)state;
    bool made = false;
    assert_int_equal(make("pods/b/mount", &made), ERR_INTERNAL);
    assert_false(exists("pods/b"));
}

static void test_row_6_file_or_link(void **state)
{
    (void)state;
    bool made = false;
    put_file("pods/a/file");
    assert_int_equal(mkdir("elsewhere", 0750), 0);
    assert_int_equal(symlink("../../elsewhere", "pods/a/link"), 0);
    assert_int_equal(symlink("a", "pods/through"), 0);
    assert_int_equal(make("pods/a/file", &made), ERR_INVALID);
    assert_int_equal(make("pods/a/link", &made), ERR_INVALID);
    assert_int_equal(make("pods/through/mount", &made), ERR_INVALID);
    assert_int_equal(make("pods/a/file/mount", &made), ERR_INVALID);
    assert_false(exists("pods/a/mount"));
    assert_int_equal(drop("pods/a/file"), ERR_PRECONDITION);
    assert_int_equal(drop("pods/a/link"), ERR_PRECONDITION);
    assert_true(exists("pods/a/file") && exists("pods/a/link") && exists("elsewhere"));
}

static void test_rows_7_and_14_not_empty(void **state)
{
    (void)state;
    bool made = false;
    assert_int_equal(mkdir("pods/a/mount", 0750), 0);
    put_file("pods/a/mount/precious");
    assert_int_equal(make("pods/a/mount", &made), ERR_PRECONDITION);
    assert_int_equal(drop("pods/a/mount"), ERR_PRECONDITION);
    assert_true(exists("pods/a/mount/precious"));
}

static void test_rows_12_and_13_remove(void **state)
{
    (void)state;
    assert_int_equal(drop("pods/a/mount"), ERR_NONE);
    assert_int_equal(mkdir("pods/a/mount", 0750), 0);
    assert_int_equal(drop("pods/a/mount"), ERR_NONE);
    assert_false(exists("pods/a/mount"));
    assert_int_equal(drop("pods/never/mount"), ERR_INTERNAL); /* unpublish takes a missing parent for "gone" itself */
}

static void test_parent_moved(void **state)
{
    (void)state;
    _cleanup_(target_deinitp) struct target target = TARGET_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(target_open(kubelet, "pods/a/mount", &target, &err), 0);
    assert_true(target_parent_is_same(&target, kubelet, "pods/a/mount"));
    assert_int_equal(rename("pods/a", "pods/c"), 0);
    assert_false(target_parent_is_same(&target, kubelet, "pods/a/mount"));
    assert_int_equal(mkdir("pods/a", 0750), 0);
    assert_false(target_parent_is_same(&target, kubelet, "pods/a/mount"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_make, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_row_5_no_parent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_row_6_file_or_link, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows_7_and_14_not_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows_12_and_13_remove, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_parent_moved, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
