/* The rules of a view's tree, and the packets that go to a helper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mount/plan.h"
#include "mount/view.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
    const char *paths[4];
    bool fit;
} trees[] = {
    {{"a", "b"}, true},
    {{"a/b", "a/c", "a-b"}, true}, /* '/' is the lowest byte */
    {{"a-b", "a/b"}, false},
    {{"\xc3\xa9", "\xc3\xa9/x"}, false},
    {{"a", "a"}, false},
    {{"b", "a"}, false},
    {{"a", "a/b"}, false}, /* both file and directory */
    {{"a/b", "a/b/c"}, false},
    {{"a", "a b"}, true},
    {{""}, false},
    {{"/a"}, false},
    {{"a/"}, false},
    {{"a//b"}, false},
    {{"."}, false},
    {{".."}, false},
    {{"a/./b"}, false},
    {{"a/../b"}, false},
    {{"..."}, true},
    {{".a/..b"}, true},
    {{"a\nb"}, true},
};

static void paths_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++) {
        struct view_file files[4];
        struct view_tree tree = {.files = files, .count = 0};
        struct err err = ERR_INIT;
        for (; tree.count < 4 && trees[i].paths[tree.count]; tree.count++)
            files[tree.count] = (struct view_file){.path = trees[i].paths[tree.count], .object = ID};
        int failed = view_tree_check(&tree, &err);
        if ((failed == 0) != trees[i].fit)
            fail_msg("row %zu: %s", i, failed ? err.message : "accepted");
        assert_int_equal(err.code, failed ? ERR_INVALID : ERR_NONE);
    }
}

static int check_one(struct view_file file)
{
    struct err err = ERR_INIT;
    const struct view_tree tree = {.files = &file, .count = 1};
    return view_tree_check(&tree, &err);
}

static void sizes_times_and_objects_are_checked(void **state)
{
    (void)state;
    assert_int_equal(check_one((struct view_file){.path = "a", .object = ID, .size = INT64_MAX}), 0);
    assert_int_equal(check_one((struct view_file){.path = "a", .object = ID, .size = (uint64_t)INT64_MAX + 1}), -1);
    assert_int_equal(check_one((struct view_file){.path = "a", .object = ID, .mtime_ns = 999999999}), 0);
    assert_int_equal(check_one((struct view_file){.path = "a", .object = ID, .mtime_ns = 1000000000}), -1);
    assert_int_equal(check_one((struct view_file){.path = "a", .object = ID "0"}), -1);
    assert_int_equal(check_one((struct view_file){.path = "a", .object = ""}), -1);
    assert_int_equal(check_one((struct view_file){
                         .path = "a", .object = "../3456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}),
                     -1);
    char path[VIEW_PATH_MAX + 2];
    for (size_t i = 0; i + 1 < sizeof(path); i++)
        path[i] = i % 100 == 99 ? '/' : 'x';
    path[VIEW_PATH_MAX + 1] = '\0';
    assert_int_equal(check_one((struct view_file){.path = path, .object = ID}), -1);
    path[VIEW_PATH_MAX - 1] = '\0';
    assert_int_equal(check_one((struct view_file){.path = path, .object = ID}), 0);
    memset(path, 'x', 256);
    path[256] = '\0';
    assert_int_equal(check_one((struct view_file){.path = path, .object = ID}), -1);
    path[255] = '\0';
    assert_int_equal(check_one((struct view_file){.path = path, .object = ID}), 0);
    for (size_t i = 0; i < 2 * VIEW_DEPTH_MAX + 1; i++)
        path[i] = i % 2 ? '/' : 'x';
    path[2 * VIEW_DEPTH_MAX + 1] = '\0';
    assert_int_equal(check_one((struct view_file){.path = path, .object = ID}), -1);
    path[2 * VIEW_DEPTH_MAX - 1] = '\0';
    assert_int_equal(check_one((struct view_file){.path = path, .object = ID}), 0);
}

static void plans_come_back_as_they_were_sent(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(str_deinitp) struct str packet = STR_INIT;
    struct err err = ERR_INIT;
    struct plan out;
    const struct plan plan = {.op = PLAN_SHARE_OPEN,
                              .uid = 65532,
                              .form = 2,
                              .noexec = 1,
                              .key = "key",
                              .source = "host:/x",
                              .sub_path = "",
                              .password = "pass,word\"",
                              .context = "a:b:c"};
    assert_int_equal(plan_encode(&plan, &packet, &err), 0);
    assert_int_equal(plan_decode(arena, packet.data, packet.len, &out, &err), 0);
    assert_int_equal(out.op, PLAN_SHARE_OPEN);
    assert_int_equal(out.uid, 65532);
    assert_int_equal(out.form, 2);
    assert_int_equal(out.noexec, 1);
    assert_string_equal(out.key, "key");
    assert_string_equal(out.source, "host:/x");
    assert_string_equal(out.sub_path, "");
    assert_string_equal(out.password, "pass,word\"");
    assert_string_equal(out.context, "a:b:c");
    assert_null(out.fstype);
    assert_null(out.username);
    for (size_t len = 0; len < packet.len; len++)
        assert_int_equal(plan_decode(arena, packet.data, len, &out, &err), -1);
    str_append_char(&packet, 'x');
    assert_int_equal(plan_decode(arena, packet.data, packet.len, &out, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
}

static void too_large_a_plan_is_refused(void **state)
{
    (void)state;
    _cleanup_(str_deinitp) struct str packet = STR_INIT;
    struct err err = ERR_INIT;
    static char text[PLAN_BYTES_MAX + 1];
    memset(text, 'x', PLAN_BYTES_MAX);
    const struct plan plan = {.op = PLAN_UNMOUNT, .target = text};
    assert_int_equal(plan_encode(&plan, &packet, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void replies_are_checked(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct reply out;
    struct reply reply = {.code = ERR_BUSY, .message = "text"};
    assert_int_equal(reply_decode(&reply, sizeof(reply), &out, &err), 0);
    assert_int_equal(out.code, ERR_BUSY);
    assert_int_equal(reply_decode(&reply, sizeof(reply) - 1, &out, &err), -1);
    reply.code = ERR_INTERNAL + 1;
    assert_int_equal(reply_decode(&reply, sizeof(reply), &out, &err), -1);
    reply.code = ERR_NONE;
    memset(reply.message, 'x', sizeof(reply.message));
    assert_int_equal(reply_decode(&reply, sizeof(reply), &out, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_checked),
        cmocka_unit_test(sizes_times_and_objects_are_checked),
        cmocka_unit_test(plans_come_back_as_they_were_sent),
        cmocka_unit_test(too_large_a_plan_is_refused),
        cmocka_unit_test(replies_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
