/* What is taken from a node's taints, and when a driver counts as registered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "csi/startup_taint.h"

#define KEY "csi.sharedcache.io/agent-not-ready"
#define OURS "{\"key\":\"" KEY "\",\"effect\":\"NoExecute\"}"
#define OTHER "{\"effect\":\"NoSchedule\",\"key\":\"gpu\",\"value\":\"a\"}"

static const struct {
    const char *taints; /* NULL: the node has none */
    const char *kept;   /* NULL: no patch */
} patches[] = {
    {NULL, NULL},
    {"[]", NULL},
    {"[" OTHER "]", NULL},
    {"[{\"key\":\"" KEY "x\"},{\"effect\":\"NoExecute\"},{\"key\":7},null,\"" KEY "\"]", NULL},
    {"[" OURS "]", "[]"},
    {"[" OTHER "," OURS "]", "[" OTHER "]"},
    {"[" OURS "," OTHER ",{\"key\":\"" KEY "\",\"effect\":\"NoSchedule\"}]", "[" OTHER "]"},
    {"\"" KEY "\"", NULL},
};

static void only_our_taint_goes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(patches) / sizeof(patches[0]); i++) {
        json_auto_t *taints = patches[i].taints ? json_loads(patches[i].taints, JSON_DECODE_ANY, NULL) : NULL;
        json_auto_t *node = json_pack("{s:{s:O*}}", "spec", "taints", taints);
        json_auto_t *patch = startup_taint_patch(node, KEY);
        json_auto_t *kept = patches[i].kept ? json_loads(patches[i].kept, 0, NULL) : NULL;
        json_auto_t *expected = kept
                                    ? json_pack("[{s:s,s:s,s:O},{s:s,s:s,s:O}]", "op", "test", "path", "/spec/taints",
                                                "value", taints, "op", "replace", "path", "/spec/taints", "value", kept)
                                    : NULL;
        if (kept ? !json_equal(patch, expected) : patch != NULL)
            fail_msg("row %zu", i);
    }
}

static void a_driver_is_listed_by_its_whole_name(void **state)
{
    static const struct {
        const char *csinode;
        bool is_listed;
    } rows[] = {
        {"{}", false},
        {"{\"spec\":{\"drivers\":null}}", false},
        {"{\"spec\":{\"drivers\":[]}}", false},
        {"{\"spec\":{\"drivers\":[{\"name\":\"a.b\"},{\"nodeID\":\"d\"},7]}}", false},
        {"{\"spec\":{\"drivers\":[{\"name\":\"dd\"}]}}", false},
        {"{\"spec\":{\"drivers\":[{\"name\":\"a.b\"},{\"name\":\"d\"}]}}", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_auto_t *csinode = json_loads(rows[i].csinode, 0, NULL);
        assert_non_null(csinode);
        if (startup_taint_is_listed(csinode, "d") != rows[i].is_listed)
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_our_taint_goes),
        cmocka_unit_test(a_driver_is_listed_by_its_whole_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
