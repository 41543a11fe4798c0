/* View plans: snapshots merged into one tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "csi/view_plan.h"

#define FILES_MAX 6
#define INPUTS_COUNT 3

/* A file is "path object-letter"; NULL ends the list. */
struct planned_input {
    const char *place;
    bool is_file;
    const char *files[FILES_MAX];
};

static void make(struct arena *arena, const struct planned_input *inputs, struct fills_result *out)
{
    out->inputs = arena_calloc(arena, INPUTS_COUNT, sizeof(struct fills_input));
    out->count = 0;
    for (size_t i = 0; i < INPUTS_COUNT && inputs[i].place; i++) {
        struct fills_input *input = &out->inputs[out->count++];
        *input = (struct fills_input){.place = inputs[i].place, .is_file = inputs[i].is_file, .display = "url"};
        input->list.files = arena_calloc(arena, FILES_MAX, sizeof(struct snapshot_file));
        for (size_t f = 0; f < FILES_MAX && inputs[i].files[f]; f++) {
            struct snapshot_file *file = &input->list.files[input->list.count++];
            const char *space = strchr(inputs[i].files[f], ' ');
            file->path = arena_strndup(arena, inputs[i].files[f], (size_t)(space - inputs[i].files[f]));
            memset(file->object, space[1], 64);
            file->size = 10;
        }
    }
}

static const struct {
    const char *what;
    struct planned_input inputs[INPUTS_COUNT];
    enum err_code code;
    const char *result; /* the paths, in order; or what the error says */
} cases[] = {
    {"one file", {{"a/b.bin", true, {"b.bin a"}}}, ERR_NONE, "a/b.bin "},
    {"a prefix", {{"train", false, {"x a", "y/z b"}}}, ERR_NONE, "train/x train/y/z "},
    {"at the root", {{"", false, {"x a"}}}, ERR_NONE, "x "},
    {"'/' sorts lowest",
     {{"d", false, {"a/x a", "a-b a", "a.c a"}}, {"d/a0", true, {"a0 a"}}},
     ERR_NONE,
     "d/a/x d/a-b d/a.c d/a0 "},
    {"the same twice", {{"a", true, {"a a"}}, {"a", true, {"a a"}}}, ERR_NONE, "a "},
    {"row 25: different files",
     {{"a", true, {"a a"}}, {"z", true, {"z a"}}, {"a", true, {"a b"}}},
     ERR_INVALID,
     "input 1 (url) and input 3 (url) conflict at 'a'"},
    {"row 25: file and directory",
     {{"a", true, {"a a"}}, {"a/b", false, {"c a"}}},
     ERR_INVALID,
     "a file in one, a directory in the other"},
    {"file and directory, neighbours between",
     {{"a", true, {"a a"}}, {"a-", true, {"a- a"}}, {"a/b", true, {"b a"}}},
     ERR_INVALID,
     "a file in one, a directory in the other"},
    {"one file was asked for", {{"a", true, {"x a", "y a"}}}, ERR_CORRUPT, "one file was asked for"},
    {"too many", {{"a", false, {"1 a", "2 a", "3 a", "4 a", "5 a", "6 a"}}}, ERR_EXHAUSTED, "maxFiles"},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        _cleanup_(str_deinitp) struct str paths = STR_INIT;
        struct fills_result result;
        struct view_plan plan = {.bytes = 0};
        struct err err = ERR_INIT;
        make(arena, cases[i].inputs, &result);
        int failed = view_plan_make(arena, &result, 5, &plan, &err);
        if (err.code != cases[i].code)
            fail_msg("%s: %s '%s'", cases[i].what, err_code_name(err.code), err.message);
        for (size_t f = 0; !failed && f < plan.tree.count; f++)
            str_printf(&paths, "%s ", plan.tree.files[f].path);
        if (failed ? !strstr(err.message, cases[i].result) : strcmp(paths.data, cases[i].result) != 0)
            fail_msg("%s: '%s'", cases[i].what, failed ? err.message : paths.data);
        if (!failed) {
            assert_int_equal(view_tree_check(&plan.tree, &err), 0); /* what mount/ insists on */
            assert_int_equal(plan.bytes, 10 * plan.tree.count);
        }
    }
}

static void test_layer_name(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const struct planned_input inputs[INPUTS_COUNT] = {{"a", true, {"a a"}}, {"b", true, {"b a"}}};
    struct fills_result result;
    struct view_plan plan;
    struct err err = ERR_INIT;
    char first[VIEW_LAYER_NAME];
    char other[VIEW_LAYER_NAME];
    make(arena, inputs, &result);
    assert_int_equal(view_plan_make(arena, &result, 5, &plan, &err), 0);
    struct view_file *files = arena_memdup(arena, plan.tree.files, 2 * sizeof(*files));
    struct view_tree tree = {files, 2};
    view_plan_layer(&tree, VIEW_DATA_ONLY, first);
    view_plan_layer(&tree, VIEW_DATA_ONLY, other);
    assert_string_equal(first, other);
    view_plan_layer(&tree, VIEW_WHITEOUTS, other);
    assert_string_not_equal(first, other);
    files[1].mtime_ns = 1;
    view_plan_layer(&tree, VIEW_DATA_ONLY, other);
    assert_string_not_equal(first, other);
    tree.count = 1;
    view_plan_layer(&tree, VIEW_DATA_ONLY, first);
    assert_string_not_equal(first, other);
    assert_true(strlen(first) <= 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_layer_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
