/* What a request says of who asks: tokens, roles, the service account. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tests/unit/cachecore/jwt_text.h"
#include "tests/unit/csi/request_sample.h"

static const struct request_rules strict = {"/var/lib/kubelet", true, 1780000000};

/* Among the secrets or in the context, where the former is kubelet's own for sure; none is a secret that sources see. */
static void test_tokens(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *subject = "system:serviceaccount:ml:train";
    for (unsigned i = 0; i < 3; i++) {
        const char *kubelets = jwt_text(arena, subject, "sts", "");
        const char *text = arena_printf(arena, "{\"sts\":{\"token\":\"%s\"}}", kubelets);
        const char *forged =
            arena_printf(arena, "{\"sts\":{\"token\":\"%s\"}}", jwt_text(arena, subject, "sts", ",\"x\":1"));
        struct sample sample = {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS}, {"password", "p"}};
        sample.context[10] = POD "serviceAccount.name";
        sample.context[11] = "train";
        sample.context[12] = i > 0 ? TOKENS : NULL;
        sample.context[13] = i == 1 ? text : forged;
        sample.secrets[2] = i == 1 ? NULL : TOKENS;
        sample.secrets[3] = text;
        struct publish_request request;
        assert_int_equal(parse(arena, &sample, &strict, &request), 0);
        assert_string_equal(request.service_account, "train");
        assert_int_equal(request.secrets.count, 1);
        assert_int_equal(request.tokens.count, 1);
        assert_string_equal(secret_reveal(secret_map_get(&request.tokens, "sts")), kubelets);
        publish_request_deinit(&request);
    }
}

/* A pod's, and those of a volume that an admin or the controller made: an attribute each, no parameter of the class. */
static void test_roles(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    static const struct sample samples[] = {
        {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS, "awsRoleArn", ROLE_ARN}, {NULL}},
        {"pv-1", TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS, "awsRoleArn", ROLE_ARN}, {NULL}},
    };
    char content[SHA256_HEX] = "";
    for (size_t i = 0; i < 2; i++) {
        struct publish_request request;
        struct sample sample = samples[i];
        assert_int_equal(parse(arena, &sample, &strict, &request), 0);
        assert_string_equal(request.attributes.roles[ROLE_AWS], ROLE_ARN);
        assert_null(request.attributes.roles[ROLE_GOOGLE]);
        assert_int_equal(request.attributes.parameter_count, 0);
        memcpy(content, request.content, sizeof(content));
        publish_request_deinit(&request);
        sample.context[11] = ROLE_ARN "2";
        assert_int_equal(parse(arena, &sample, &strict, &request), 0);
        assert_string_not_equal(request.content, content);
        publish_request_deinit(&request);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
