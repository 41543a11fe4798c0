/* The plan: a pure diff of snapshots against what is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/plan.h"

struct world {
    const char *present; /* first letters of the ids that are there */
    int asked;
};

static int present(void *context, const char *object, uint64_t size, struct err *err)
{
    struct world *world = context;
    (void)size;
    world->asked++;
    if (object[0] == 'e')
        return err_set(err, ERR_UNAVAILABLE, "the share does not answer");
    return strchr(world->present, object[0]) != NULL;
}

/* "c5 b1": object ccc.. of 5 bytes, bbb.. of 1; all in one snapshot. */
static struct snapshot snapshot_of(struct arena *arena, const char *text)
{
    struct snapshot snapshot = {.files = arena_calloc(arena, strlen(text), sizeof(struct snapshot_file))};
    for (; *text; text += *text == ' ') {
        struct snapshot_file *file = &snapshot.files[snapshot.count++];
        memset(file->object, *text++, 64);
        for (; *text >= '0' && *text <= '9'; text++)
            file->size = file->size * 10 + (uint64_t)(*text - '0');
        snapshot.bytes += file->size;
    }
    return snapshot;
}

static void test_plans(void **state)
{
    (void)state;
    static const struct {
        const char *snapshots[3];
        const char *present;
        struct plan_limits limits;
        const char *missing; /* first letters in order; NULL: an error */
        enum err_code code;
        uint64_t hit, missed, bytes;
        int asked;
        const char *message;
    } cases[] = {
        {{""}, "", {0, 0}, "", ERR_NONE, 0, 0, 0, 0, ""},
        {{"a5"}, "", {0, 0}, "a", ERR_NONE, 0, 5, 5, 1, ""},
        {{"a5"}, "a", {0, 0}, "", ERR_NONE, 5, 0, 5, 1, ""},
        {{"a5 b9 c7"}, "", {0, 0}, "bca", ERR_NONE, 0, 21, 21, 3, ""},
        {{"c5 b5 a5"}, "", {0, 0}, "abc", ERR_NONE, 0, 15, 15, 3, ""},
        {{"a5 b9", "b9 c7", "b9"}, "c", {0, 0}, "ba", ERR_NONE, 7, 14, 39, 3, ""},
        {{"a0 a0"}, "", {0, 0}, "a", ERR_NONE, 0, 0, 0, 1, ""},
        {{"a5 b5"}, "", {10, 2}, "ab", ERR_NONE, 0, 10, 10, 2, ""},
        {{"a5 b6"}, "ab", {10, 0}, NULL, ERR_EXHAUSTED, 0, 0, 0, 0, "11 bytes"},
        {{"a5 b5", "a5"}, "ab", {0, 2}, NULL, ERR_EXHAUSTED, 0, 0, 0, 0, "3 files, its limit is 2"},
        {{"a5", "a6"}, "", {0, 0}, NULL, ERR_CORRUPT, 0, 0, 0, 0, "two sizes"},
        {{"a5 e1"}, "", {0, 0}, NULL, ERR_UNAVAILABLE, 0, 0, 0, 2, "does not answer"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *arena = arena_new();
        struct snapshot snapshots[3];
        const struct snapshot *list[3];
        size_t count = 0;
        for (; count < 3 && cases[i].snapshots[count]; count++) {
            snapshots[count] = snapshot_of(arena, cases[i].snapshots[count]);
            list[count] = &snapshots[count];
        }
        struct world world = {.present = cases[i].present};
        struct plan plan = {.count = 99};
        struct err err = ERR_INIT;
        int result = plan_make(arena, list, count, &cases[i].limits, present, &world, &plan, &err);
        assert_int_equal(result, cases[i].missing ? 0 : -1);
        assert_int_equal(err.code, cases[i].code);
        assert_non_null(strstr(err.message, cases[i].message));
        assert_int_equal(world.asked, cases[i].asked);
        assert_int_equal(plan.count, cases[i].missing ? strlen(cases[i].missing) : 99);
        if (cases[i].missing) {
            for (size_t j = 0; j < plan.count; j++)
                assert_int_equal(plan.missing[j].object[0], cases[i].missing[j]);
            assert_int_equal(plan.bytes_hit, cases[i].hit);
            assert_int_equal(plan.bytes_missed, cases[i].missed);
            assert_int_equal(plan.bytes, cases[i].bytes);
        }
        arena_free(arena);
    }
}

static void test_sizes_beyond_64_bits_pass_no_limit(void **state)
{
    (void)state;
    struct snapshot huge = {.bytes = INT64_MAX};
    const struct snapshot *const list[] = {&huge, &huge, &huge};
    struct plan plan;
    struct err err = ERR_INIT;
    struct arena *arena = arena_new();
    struct world world = {.present = ""};
    assert_int_equal(plan_make(arena, list, 3, &(struct plan_limits){UINT64_MAX - 1, 0}, present, &world, &plan, &err),
                     -1);
    assert_int_equal(err.code, ERR_EXHAUSTED);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_sizes_beyond_64_bits_pass_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
