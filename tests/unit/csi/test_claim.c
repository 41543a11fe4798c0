/* Claims: what their annotations may say, and what becomes of them together with a class. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "csi/controller.h"

#define UID "0b7c1d52-6a0e-4f6e-9a52-1a2b3c4d5e6f"
#define KEY "csi.sharedcache.io/inputs"
#define KEY_FROM "csi.sharedcache.io/inputs-from"
#define KEY_COPY "csi.sharedcache.io/copy-policy"
#define INPUTS "https://data.example.com/a -> b/"
#define KEY_ROLE "csi.sharedcache.io/aws-role-arn"
#define ROLE_ARN "arn:aws:iam::123456789012:role/reader"
#define PAIRS_MAX 12

/* A claim with these annotations: pairs, closed by NULL. */
static json_t *make_claim(const char *const *annotations, const char *storage_class, bool of_pod)
{
    json_t *object = json_pack("{s:s, s:{s:s, s:{}}, s:{s:s?}}", "kind", "PersistentVolumeClaim", "metadata", "uid",
                               UID, "annotations", "spec", "storageClassName", storage_class);
    json_t *metadata = json_object_get(object, "metadata");
    for (size_t i = 0; annotations[i]; i += 2)
        json_object_set_new(json_object_get(metadata, "annotations"), annotations[i], json_string(annotations[i + 1]));
    if (of_pod)
        json_object_set_new(metadata, "ownerReferences", json_pack("[{s:s, s:s}]", "kind", "Pod", "name", "p"));
    return object;
}

static int parse(struct arena *arena, const char *const *annotations, const char *storage_class, bool of_pod,
                 struct claim *out, struct err *err)
{
    json_auto_t *object = make_claim(annotations, storage_class, of_pod);
    return claim_parse(arena, object, out, err);
}

static void test_good(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *plain[] = {KEY, INPUTS, "other.example.com/inputs", "x", NULL};
    const char *from[] = {KEY_FROM, "s3://bucket/list", KEY_COPY, "copy", NULL};
    const char *old[] = {KEY, INPUTS, "volume.beta.kubernetes.io/storage-class", "old", NULL};
    struct claim claim;
    struct err err = ERR_INIT;
    assert_int_equal(parse(arena, plain, "shared", false, &claim, &err), 0);
    assert_string_equal(claim.inputs, INPUTS);
    assert_string_equal(claim.storage_class, "shared");
    assert_string_equal(claim.uid, UID);
    assert_null(claim.inputs_from);
    assert_null(claim.copy_policy);
    assert_int_equal(parse(arena, from, "shared", true, &claim, &err), 0);
    assert_string_equal(claim.inputs_from, "s3://bucket/list");
    assert_string_equal(claim.copy_policy, "copy");
    assert_null(claim.inputs);
    for (size_t i = 0; i < IDENTITY_ROLES; i++)
        assert_null(claim.roles[i]);
    const char *roles[] = {KEY,
                           INPUTS,
                           KEY_ROLE,
                           ROLE_ARN,
                           "csi.sharedcache.io/google-service-account",
                           "a@p.iam.gserviceaccount.com",
                           "csi.sharedcache.io/azure-client-id",
                           UID,
                           "csi.sharedcache.io/azure-tenant-id",
                           "contoso.com",
                           NULL};
    assert_int_equal(parse(arena, roles, "shared", false, &claim, &err), 0);
    assert_string_equal(claim.roles[ROLE_AWS], ROLE_ARN);
    assert_string_equal(claim.roles[ROLE_GOOGLE], "a@p.iam.gserviceaccount.com");
    assert_string_equal(claim.roles[ROLE_AZURE_CLIENT], UID);
    assert_string_equal(claim.roles[ROLE_AZURE_TENANT], "contoso.com");
    assert_int_equal(parse(arena, old, NULL, false, &claim, &err), 0);
    assert_string_equal(claim.storage_class, "old");
}

static const struct {
    const char *annotations[PAIRS_MAX];
    const char *storage_class;
    bool of_pod;
    const char *says[2];
} bad_cases[] = {
    {{NULL}, "shared", false, {"'csi.sharedcache.io/inputs' is missing", "set it in the claim's metadata.annotations"}},
    {{NULL}, "shared", true, {"'csi.sharedcache.io/inputs' is missing", "the pod's volumeClaimTemplate"}},
    {{KEY, INPUTS, NULL}, NULL, false, {"spec.storageClassName is missing", ""}},
    {{"csi.sharedcache.io/input", INPUTS, NULL},
     "shared",
     false,
     {"unknown annotation 'csi.sharedcache.io/input'", "inputs-from"}},
    {{"csi.sharedcache.io/Inputs", INPUTS, NULL},
     "shared",
     false,
     {"unknown annotation 'csi.sharedcache.io/Inputs'", "there are"}},
    {{KEY, INPUTS, KEY_FROM, "s3://bucket/l", NULL}, "shared", false, {"exclude each other", "remove"}},
    {{KEY, "https://a.example/x\nftp://a.example/y", NULL},
     "shared",
     false,
     {"annotation 'csi.sharedcache.io/inputs'", "line 2"}},
    {{KEY, "# nothing\n", NULL}, "shared", false, {"inputs name nothing", "annotation"}},
    {{KEY, "", NULL}, "shared", false, {"inputs name nothing", "annotation"}},
    {{KEY_FROM, "list.txt", NULL}, "shared", false, {"annotation 'csi.sharedcache.io/inputs-from'", ""}},
    {{KEY, INPUTS, KEY_COPY, "auto", NULL}, "shared", false, {"'auto' is neither", "copy-policy"}},
    {{KEY, INPUTS, KEY_ROLE, "reader", NULL}, "shared", false, {"annotation '" KEY_ROLE "': must be", "arn:aws:iam"}},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_cases) / sizeof(bad_cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct claim claim;
        struct err err = ERR_INIT;
        assert_int_equal(
            parse(arena, bad_cases[i].annotations, bad_cases[i].storage_class, bad_cases[i].of_pod, &claim, &err), -1);
        if (err.code != ERR_PRECONDITION || !strstr(err.message, bad_cases[i].says[0]) ||
            !strstr(err.message, bad_cases[i].says[1]))
            fail_msg("case %zu: %s '%s'", i, err_code_name(err.code), err.message);
    }
}

static void test_no_claim(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}", "{\"kind\": \"Status\"}", "{\"kind\": \"PersistentVolumeClaim\"}", "[]",
        "{\"kind\": \"PersistentVolumeClaim\", \"metadata\": {\"uid\": 7}, \"spec\": {\"storageClassName\": \"a\"}}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        json_auto_t *object = json_loads(texts[i], 0, NULL);
        struct claim claim;
        struct err err = ERR_INIT;
        assert_non_null(object);
        assert_int_equal(claim_parse(arena, object, &claim, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
}

/* A request as the external-provisioner makes it, with these class parameters. */
static struct create_request make_request(struct arena *arena, const char *const *parameters, const char *mount_flags)
{
    struct create_request request = {
        .name = "pvc-" UID, .mount_flags = mount_flags, .claim = {.namespace = "team-a", .name = "data"}};
    request.parameters.pairs = arena_calloc(arena, PAIRS_MAX, sizeof(struct request_pair));
    for (size_t i = 0; parameters[2 * i]; i++)
        request.parameters.pairs[request.parameters.count++] =
            (struct request_pair){parameters[2 * i], parameters[2 * i + 1]};
    return request;
}

static void test_context(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *parameters[] = {"shareType", "nfs", "share", "h:/e", "podMayChoose", "copyPolicy", NULL};
    struct create_request request = make_request(arena, parameters, "nconnect=8");
    struct claim claim = {.uid = UID, .storage_class = "shared", .inputs = INPUTS};
    struct context_map context;
    struct err err = ERR_INIT;
    assert_int_equal(create_request_claim(&request, &claim, arena, &context, &err), 0);
    assert_int_equal(context.count, 2);
    assert_string_equal(context_get(&context, "storageClass"), "shared");
    assert_string_equal(context_get(&context, "inputs"), INPUTS);
    claim = (struct claim){.uid = UID,
                           .storage_class = "shared",
                           .inputs_from = "s3://bucket/list",
                           .copy_policy = "copy",
                           .roles = {ROLE_ARN, "a@p.iam.gserviceaccount.com", UID, "contoso.com"}};
    assert_int_equal(create_request_claim(&request, &claim, arena, &context, &err), 0);
    assert_int_equal(context.count, 7);
    assert_string_equal(context_get(&context, "awsRoleArn"), ROLE_ARN);
    assert_string_equal(context_get(&context, "googleServiceAccount"), "a@p.iam.gserviceaccount.com");
    assert_string_equal(context_get(&context, "azureClientId"), UID);
    assert_string_equal(context_get(&context, "azureTenantId"), "contoso.com");
    assert_string_equal(context_get(&context, "inputsFrom"), "s3://bucket/list");
    assert_string_equal(context_get(&context, "copyPolicy"), "copy");
}

static const struct {
    const char *parameters[PAIRS_MAX];
    const char *mount_flags;
    const char *copy_policy;
    enum err_code code;
    const char *says;
} refused[] = {
    {{"shareTyp", "nfs", NULL}, "", NULL, ERR_INVALID, "StorageClass 'shared': unknown class parameter 'shareTyp'"},
    {{"inputs", "https://a.example/b", NULL}, "", NULL, ERR_INVALID, "unknown class parameter 'inputs'"},
    {{"shareType", "nfs", NULL}, "", NULL, ERR_INVALID, "StorageClass 'shared': class parameter 'share' is required"},
    {{"shareType", "nfs", "share", "nonsense", NULL}, "", NULL, ERR_INVALID, "StorageClass 'shared': "},
    {{"shareType", "nfs", "share", "h:/e", NULL}, "sec=krb5", NULL, ERR_UNSUPPORTED, "StorageClass 'shared': "},
    {{"allowedNamespaces", "team-b, ml-*", NULL}, "", NULL, ERR_DENIED, "does not allow namespace 'team-a'"},
    {{"allowedSources", "s3://ours/", NULL}, "", NULL, ERR_DENIED, "inputs line 1: https://data.example.com/a: "},
    {{NULL}, "", "copy", ERR_PRECONDITION, "podMayChoose"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct create_request request = make_request(arena, refused[i].parameters, refused[i].mount_flags);
        struct claim claim = {
            .uid = UID, .storage_class = "shared", .inputs = INPUTS, .copy_policy = refused[i].copy_policy};
        struct context_map context;
        struct err err = ERR_INIT;
        assert_int_equal(create_request_claim(&request, &claim, arena, &context, &err), -1);
        if (err.code != refused[i].code || !strstr(err.message, refused[i].says))
            fail_msg("case %zu: %s '%s'", i, err_code_name(err.code), err.message);
    }
}

/* What the node would refuse as too long is refused here, in the claim's words. */
static void test_too_long(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *none[] = {NULL};
    const size_t frame = strlen("storageClass") + strlen("shared") + strlen("inputs");
    struct create_request request = make_request(arena, none, "");
    struct context_map context;
    struct err err = ERR_INIT;
    for (size_t over = 0; over < 2; over++) {
        size_t len = REQUEST_ATTRIBUTES_MAX - frame + over;
        char *inputs = arena_alloc(arena, len + 1);
        memset(inputs, '\n', len);
        memcpy(inputs, INPUTS, strlen(INPUTS));
        inputs[len] = '\0';
        struct claim claim = {.uid = UID, .storage_class = "shared", .inputs = inputs};
        assert_int_equal(create_request_claim(&request, &claim, arena, &context, &err), over ? -1 : 0);
        if (!over)
            assert_int_equal(context_check(&context, &err), 0);
    }
    assert_int_equal(err.code, ERR_PRECONDITION);
    assert_non_null(strstr(err.message, "csi.sharedcache.io/inputs-from"));
}

static void test_owner(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int result;
    } cases[] = {
        {"pvc-" UID, 0},
        {"pvc-11111111-6a0e-4f6e-9a52-1a2b3c4d5e6f", -1},
        {"11111111-6a0e-4f6e-9a52-1a2b3c4d5e6f", -1},
        {"pvc-11111111-6a0e-4f6e-9a52-1a2b3c4d5e6", 0}, /* no UUID: the provisioner was told to shorten it */
        {"pvc-0b7c1d526a0e4f6e9a52", 0},
        {"x", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct create_request request = {.name = cases[i].name};
        struct claim claim = {.uid = UID};
        struct err err = ERR_INIT;
        assert_int_equal(create_request_owner(&request, &claim, &err), cases[i].result);
        assert_int_equal(err.code, cases[i].result ? ERR_NOT_FOUND : ERR_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_bad),     cmocka_unit_test(test_no_claim),
        cmocka_unit_test(test_context), cmocka_unit_test(test_refused), cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
