#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mount/table.h"

static int parse(struct arena *arena, const char *text, struct mount_table *out, struct err *err)
{
    return mount_table_parse(arena, text, strlen(text), out, err);
}

static void reads_the_fields_of_a_line(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct mount_table table;
    struct err err = ERR_INIT;
    assert_int_equal(parse(arena,
                           "36 35 98:12 /mnt1 /mnt\\0402\\134x\\011 rw,noatime master:1 shared:7 - ext3 /dev/root "
                           "rw,errors=continue\n"
                           "40 36 0:45 / /v ro,nosuid - overlay  ro,lowerdir=/a b::/c\n",
                           &table, &err),
                     0);
    assert_int_equal(table.count, 2);
    const struct mount_entry *first = &table.entries[0];
    assert_int_equal(first->id, 36);
    assert_int_equal(first->parent_id, 35);
    assert_int_equal(first->device_major, 98);
    assert_int_equal(first->device_minor, 12);
    assert_string_equal(first->root, "/mnt1");
    assert_string_equal(first->target, "/mnt 2\\x\t");
    assert_string_equal(first->options, "rw,noatime");
    assert_string_equal(first->fstype, "ext3");
    assert_string_equal(first->source, "/dev/root");
    assert_string_equal(first->super_options, "rw,errors=continue");
    assert_string_equal(table.entries[1].source, "");
    assert_string_equal(table.entries[1].super_options, "ro,lowerdir=/a b::/c");
}

static void refuses_what_is_not_as_proc_5_says(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "\n",
        "36\n",
        "x 35 98:0 / / rw - ext3 s rw\n",
        "36 35 980 / / rw - ext3 s rw\n",
        "36 35 98: / / rw - ext3 s rw\n",
        "36 -5 98:0 / / rw - ext3 s rw\n",
        "99999999999 35 98:0 / / rw - ext3 s rw\n",
        "36 35 98:0 / / rw shared:1 ext3 s rw\n",
        "36 35 98:0 / / rw - ext3\n",
        "36 35 98:0 / relative rw - ext3 s rw\n",
        "36 35 98:0 / / rw - ext3 s rw\n\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct mount_table table;
        struct err err = ERR_INIT;
        if (parse(arena, lines[i], &table, &err) != -1)
            fail_msg("accepted: %s", lines[i]);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
}

static void refuses_a_nul_byte_and_accepts_no_last_newline(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct mount_table table;
    struct err err = ERR_INIT;
    static const char nul[] = "36 35 98:0 / /\0 rw - ext3 s rw\n";
    assert_int_equal(mount_table_parse(arena, nul, sizeof(nul) - 1, &table, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(parse(arena, "36 35 98:0 / /a rw - ext3 s rw", &table, &err), 0);
    assert_int_equal(table.count, 1);
    assert_int_equal(parse(arena, "", &table, &err), 0);
    assert_int_equal(table.count, 0);
}

static void finds_the_uppermost_of_stacked_mounts(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct mount_table table;
    struct err err = ERR_INIT;
    /* The kernel's order is not the order of stacking when ids are reused. */
    assert_int_equal(parse(arena,
                           "1 1 8:0 / / rw - ext4 s rw\n"
                           "9 5 0:3 / /t rw - overlay middle rw\n"
                           "7 9 0:4 / /t rw - overlay top rw\n"
                           "5 1 0:2 / /t rw - overlay bottom rw\n"
                           "6 1 0:5 / /tt rw - tmpfs other rw\n"
                           "8 7 0:6 / /t/below rw - tmpfs below rw\n",
                           &table, &err),
                     0);
    assert_string_equal(mount_table_at(&table, "/t")->source, "top");
    assert_string_equal(mount_table_at(&table, "/tt")->source, "other");
    assert_null(mount_table_at(&table, "/none"));
    assert_int_equal(mount_table_below(&table, "/t"), 4);
    assert_int_equal(mount_table_below(&table, "/t/"), 4);
    assert_int_equal(mount_table_below(&table, "/"), 6);
    assert_int_equal(mount_table_below(&table, "/none"), 0);
}

static void a_table_that_is_no_tree_ends(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct mount_table table;
    struct err err = ERR_INIT;
    assert_int_equal(parse(arena, "1 2 0:1 / /t rw - a a rw\n2 1 0:1 / /t rw - b b rw\n", &table, &err), 0);
    assert_non_null(mount_table_at(&table, "/t"));
}

static void reads_the_kernels_own(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct mount_table table;
    struct err err = ERR_INIT;
    if (mount_table_read(arena, &table, &err) != 0)
        fail_msg("%s", err.message);
    assert_true(table.count > 0);
    const struct mount_entry *proc = mount_table_at(&table, "/proc");
    assert_non_null(proc);
    assert_string_equal(proc->fstype, "proc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_fields_of_a_line),
        cmocka_unit_test(refuses_what_is_not_as_proc_5_says),
        cmocka_unit_test(refuses_a_nul_byte_and_accepts_no_last_newline),
        cmocka_unit_test(finds_the_uppermost_of_stacked_mounts),
        cmocka_unit_test(a_table_that_is_no_tree_ends),
        cmocka_unit_test(reads_the_kernels_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
