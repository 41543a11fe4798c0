/* Requests: one table of what is refused (rows of the table of faults by number), one of what comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csi/context.h"
#include "csi/controller.h"
#include "csi/request.h"
#include "tests/unit/cachecore/jwt_text.h"
#include "tests/unit/csi/request_sample.h"

static const struct request_rules strict = {"/var/lib/kubelet", true, 1780000000};
static const struct request_rules relaxed = {"/var/lib/kubelet", false, 0};

static char long_id[130];
static char long_path[5000];
static char long_value[5000];
static char long_name[400];

static const struct {
    const char *row; /* and what is wrong */
    struct sample sample;
    enum err_code code;
    const char *says;
} refused[] = {
    {"1 no id", {"", TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS}, {NULL}}, ERR_INVALID, "volume_id"},
    {"1 no target", {INLINE_ID, "", "", 1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "target_path"},
    {"1 no capability", {INLINE_ID, TARGET, "", -1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "volume_capability"},
    {"2 no access type", {INLINE_ID, TARGET, "", -2, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "access_type"},
    {"2 no access mode", {INLINE_ID, TARGET, "", -4, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "access_mode"},
    {"2 unknown mode", {INLINE_ID, TARGET, "", 0, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "access_mode"},
    {"2 mode out of enum", {INLINE_ID, TARGET, "", 99, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "access_mode"},
    {"3 block", {INLINE_ID, TARGET, "", -3, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "only mount volumes"},
    {"4 relative", {INLINE_ID, "var/lib/kubelet/x", "", 1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "absolute"},
    {"4 dots", {INLINE_ID, "/var/lib/kubelet/../x", "", 1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "'..'"},
    {"4 dot", {INLINE_ID, "/var/lib/kubelet/./x", "", 1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "'.'"},
    {"4 outside", {INLINE_ID, "/var/lib/kubeletx/y", "", 1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "beneath"},
    {"4 the root itself", {INLINE_ID, "/var/lib/kubelet/", "", 1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "beneath"},
    {"4 too long", {INLINE_ID, long_path, "", 1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "longer"},
    {"4 long component", {INLINE_ID, long_name, "", 1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "component"},
    {"4 newline", {INLINE_ID, "/var/lib/kubelet/a\nb", "", 1, false, NULL, {NULL}, {NULL}}, ERR_INVALID, "control"},
    {"11 129 bytes",
     {long_id, TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "volume_id"},
    {"11 dots",
     {"../x", TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "volume_id"},
    {"11 slash", {"/", TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS}, {NULL}}, ERR_INVALID, "volume_id"},
    {"11 newline",
     {"a\nb", TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "volume_id"},
    {"11 not ASCII",
     {"\xff", TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "volume_id"},
    {"22 no input",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO}, {NULL}},
     ERR_INVALID,
     "'inputs' (or 'inputsFrom')"},
    {"22 empty inputs",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", "# none\n"}, {NULL}},
     ERR_INVALID,
     "input"},
    {"22 both",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS, "inputsFrom", INPUTS}, {NULL}},
     ERR_INVALID,
     "exclude"},
    {"23 mountOptions",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS, "mountOptions", "rw"}, {NULL}},
     ERR_INVALID,
     "storageClass, inputs, inputsFrom, copyPolicy, awsRoleArn, googleServiceAccount, azureClientId, azureTenantId"},
    {"23 class parameter",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS, "share", "h:/x"}, {NULL}},
     ERR_INVALID,
     "unknown attribute 'share'"},
    {"23 unknown in a claim",
     {"pv-1", TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS, "server", "x"}, {NULL}},
     ERR_INVALID,
     "server"},
    {"24 case",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS, "Inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "differ in case only"},
    {"24 wrong case alone",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "Inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "unknown attribute 'Inputs'"},
    {"25 arrow with nothing",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS " ->"}, {NULL}},
     ERR_INVALID,
     "line 1"},
    {"25 one place twice",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS "\nhttps://b.example.com/a.bin"}, {NULL}},
     ERR_INVALID,
     "line"},
    {"26 over 4 KiB",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", long_value}, {NULL}},
     ERR_INVALID,
     "4096"},
    {"27 no pod info",
     {INLINE_ID, TARGET, "", 1, false, NULL, {"inputs", INPUTS}, {NULL}},
     ERR_PRECONDITION,
     "podInfoOnMount: true"},
    {"27 no ephemeral key",
     {INLINE_ID,
      TARGET,
      "",
      1,
      false,
      NULL,
      {POD "pod.namespace", "ml", POD "pod.name", "p", POD "pod.uid", "u", "inputs", INPUTS},
      {NULL}},
     ERR_PRECONDITION,
     "podInfoOnMount: true"},
    {"29 inline with a claim's id",
     {"pv-1", TARGET, "/s", 1, false, NULL, {POD_INFO, "inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "csi-<64 hex"},
    {"29 claim with an inline id",
     {INLINE_ID, TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "csi-<64 hex"},
    {"29 ephemeral is neither",
     {INLINE_ID,
      TARGET,
      "",
      1,
      false,
      NULL,
      {POD "pod.namespace", "ml", POD "pod.name", "p", POD "pod.uid", "u", POD "ephemeral", "yes", "inputs", INPUTS},
      {NULL}},
     ERR_INVALID,
     "true or false"},
    {"30 short digest",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS " sha256=ab"}, {NULL}},
     ERR_INVALID,
     "line 1"},
    {"31 dots in a place",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS " -> ../x"}, {NULL}},
     ERR_INVALID,
     "line 1"},
    {"31 .nfs",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS " -> .nfs1"}, {NULL}},
     ERR_INVALID,
     "line 1"},
    {"32 copyPolicy",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS, "copyPolicy", "auto"}, {NULL}},
     ERR_INVALID,
     "direct nor copy"},
    {"32 a claim's budget",
     {"pv-1", TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS, "budget", "1e9"}, {NULL}},
     ERR_INVALID,
     "budget"},
    {"34 line end",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS}, {"key", "a\r\nb"}},
     ERR_INVALID,
     "line end"},
    {"34 line end in a name like a key file's",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS}, {"my-key.json", "{\n}"}},
     ERR_INVALID,
     "line end"},
    {"34 key",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS}, {"a key", "b"}},
     ERR_INVALID,
     "key"},
    {"34 key twice",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS}, {"k", "a", "k", "b"}},
     ERR_INVALID,
     "twice"},
    {"33 token is no JSON",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS, TOKENS, "{a\r\nb"}, {NULL}},
     ERR_UNAUTHENTICATED,
     "serviceAccount.tokens"},
    {"33 token is empty",
     {INLINE_ID,
      TARGET,
      "",
      1,
      false,
      NULL,
      {POD_INFO, "inputs", INPUTS, TOKENS, "{\"s\": {\"token\": \"\"}}"},
      {NULL}},
     ERR_UNAUTHENTICATED,
     "serviceAccount.tokens"},
    {"33 token is no object, among secrets",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS}, {TOKENS, "{\"s\": \"t\"}"}},
     ERR_UNAUTHENTICATED,
     "serviceAccount.tokens"},
    {"33 token is no token",
     {INLINE_ID,
      TARGET,
      "",
      1,
      false,
      NULL,
      {POD_INFO, "inputs", INPUTS, TOKENS, "{\"s\": {\"token\": \"a\\r\\nb\"}}"},
      {NULL}},
     ERR_UNAUTHENTICATED,
     "audience 's'"},
    {"service account",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS, POD "serviceAccount.name", "a/b"}, {NULL}},
     ERR_INVALID,
     "serviceAccount.name"},
    {"role",
     {INLINE_ID, TARGET, "", 1, false, NULL, {POD_INFO, "inputs", INPUTS, "awsRoleArn", "reader"}, {NULL}},
     ERR_INVALID,
     "attribute 'awsRoleArn': must be the ARN of an IAM role"},
    {"role of a volume that an admin made",
     {"pv-1", TARGET, "/s", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS, "azureClientId", ""}, {NULL}},
     ERR_INVALID,
     "attribute 'azureClientId': must be a client id"},
    {"staging path missing",
     {"pv-1", TARGET, "", 1, false, NULL, {CLAIM_INFO, "inputs", INPUTS}, {NULL}},
     ERR_PRECONDITION,
     "staging_target_path"},
    {"flags of an inline volume",
     {INLINE_ID, TARGET, "", 1, false, "exec", {POD_INFO, "inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "mount_flags"},
    {"flag with a space",
     {"pv-1", TARGET, "/s", 1, false, "a b", {CLAIM_INFO, "inputs", INPUTS}, {NULL}},
     ERR_INVALID,
     "mount_flags"},
    {"namespace",
     {INLINE_ID,
      TARGET,
      "",
      1,
      false,
      NULL,
      {POD "pod.namespace", "A/b", POD "pod.name", "p", POD "pod.uid", "u", POD "ephemeral", "true", "inputs", INPUTS},
      {NULL}},
     ERR_INVALID,
     "namespace"},
};

static int set_up(void **state)
{
    (void)state;
    memset(long_id, 'a', 129);
    strcpy(long_path, "/var/lib/kubelet");
    for (size_t i = strlen(long_path); i < 4200; i++)
        long_path[i] = i % 100 == 16 ? '/' : 'a';
    snprintf(long_value, sizeof(long_value), "%s\n#", INPUTS);
    memset(long_value + strlen(long_value), 'x', 4200);
    strcpy(long_name, "/var/lib/kubelet/");
    memset(long_name + strlen(long_name), 'a', 256);
    return 0;
}

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct publish_request request;
        struct err err = ERR_INIT;
        if (request_publish(make(arena, &refused[i].sample), &strict, arena, &request, &err) == 0)
            fail_msg("row %s: accepted", refused[i].row);
        if (err.code != refused[i].code || !strstr(err.message, refused[i].says))
            fail_msg("row %s: %s '%s'", refused[i].row, err_code_name(err.code), err.message);
        assert_null(strstr(err.message, "a\r\nb"));
    }
}

static const struct sample inline_sample = {
    INLINE_ID,
    TARGET,
    "",
    MODE(SINGLE_NODE_WRITER),
    false,
    NULL,
    {POD_INFO, "inputs", INPUTS, "storageClass", "c", "copyPolicy", "copy", POD "serviceAccount.tokens", "{}"},
    {"key_id", "secret-value", "key.json", "{\r\n}\n"}};

static void test_inline(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct publish_request request;
    assert_int_equal(parse(arena, &inline_sample, &strict, &request), 0);
    assert_string_equal(request.volume_id, INLINE_ID);
    assert_string_equal(request.target, "pods/u/volumes/kubernetes.io~csi/x/mount");
    assert_true(request.is_ephemeral && request.is_exclusive);
    assert_string_equal(request.pod_namespace, "ml");
    assert_string_equal(request.attributes.storage_class, "c");
    assert_string_equal(request.attributes.inputs, INPUTS);
    assert_string_equal(request.attributes.copy_policy, "copy");
    assert_int_equal(request.attributes.parameter_count, 0);
    assert_string_equal(secret_reveal(secret_map_get(&request.secrets, "key_id")), "secret-value");
    assert_string_equal(secret_reveal(secret_map_get(&request.secrets, "key.json")), "{\r\n}\n");
    publish_request_deinit(&request);
}

static void test_claim(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const struct sample sample = {"pv-1",
                                  "//var/lib/kubelet//pods/x/",
                                  "/s",
                                  MODE(SINGLE_NODE_MULTI_WRITER),
                                  false,
                                  "nconnect=8",
                                  {CLAIM_INFO, "inputs", INPUTS, "copyPolicy", "copy", "maxBytes", "1Gi",
                                   "storage.kubernetes.io/csiProvisionerIdentity", "1-csi"},
                                  {NULL}};
    struct publish_request request;
    assert_int_equal(parse(arena, &sample, &strict, &request), 0);
    assert_string_equal(request.target, "pods/x");
    assert_false(request.is_ephemeral || request.is_exclusive);
    assert_int_equal(request.attributes.parameter_count, 2);
    assert_null(request.attributes.copy_policy);
    assert_string_equal(request.mount_flags, "nconnect=8");
    publish_request_deinit(&request);
}

/* Rows 9 and 36: secrets and tokens may rotate, everything else makes another request. */
static void test_arguments(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct publish_request first;
    struct publish_request other;
    struct sample sample = inline_sample;
    assert_int_equal(parse(arena, &sample, &strict, &first), 0);
    sample.context[15] = arena_printf(arena, "{\"sts\":{\"token\":\"%s\"}}",
                                      jwt_text(arena, "system:serviceaccount:ml:train", "sts", "")); /* the token */
    sample.secrets[1] = "rotated";
    assert_int_equal(parse(arena, &sample, &strict, &other), 0);
    assert_string_equal(first.arguments, other.arguments);
    publish_request_deinit(&other);
    sample.readonly = true;
    assert_int_equal(parse(arena, &sample, &strict, &other), 0);
    assert_string_not_equal(first.arguments, other.arguments);
    assert_string_equal(first.content, other.content);
    publish_request_deinit(&other);
    sample = inline_sample;
    sample.context[11] = "d"; /* the class */
    assert_int_equal(parse(arena, &sample, &strict, &other), 0);
    assert_string_not_equal(first.arguments, other.arguments);
    assert_string_not_equal(first.content, other.content);
    publish_request_deinit(&other);
    sample = inline_sample;
    sample.mode = MODE(MULTI_NODE_READER_ONLY);
    assert_int_equal(parse(arena, &sample, &strict, &other), 0);
    assert_string_not_equal(first.arguments, other.arguments);
    publish_request_deinit(&other);
    publish_request_deinit(&first);
}

static void test_without_pod_info(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const struct sample claim = {"vol-1", TARGET, "/s", 1, false, NULL, {"inputs", INPUTS}, {NULL}};
    const struct sample inlined = {INLINE_ID, TARGET, "", 1, false, NULL, {"inputs", INPUTS}, {NULL}};
    struct publish_request request;
    assert_int_equal(parse(arena, &claim, &relaxed, &request), 0);
    assert_false(request.is_ephemeral);
    assert_int_equal(parse(arena, &inlined, &relaxed, &request), 0);
    assert_true(request.is_ephemeral);
    assert_string_equal(request.pod_namespace, "");
}

struct create_case {
    const char *row;
    const char *name;
    int mode;
    const char *parameters[2 * PAIRS_MAX];
    int64_t required, limit;
    bool has_source;
    enum err_code code;
};

static Csi__V1__CreateVolumeRequest *make_create(struct arena *arena, const struct create_case *sample)
{
    struct sample publish = {.volume_id = "", .target = "", .mode = sample->mode};
    Csi__V1__CreateVolumeRequest *request = arena_alloc(arena, sizeof(*request));
    Csi__V1__NodePublishVolumeRequest *donor = make(arena, &publish);
    csi__v1__create_volume_request__init(request);
    request->name = TEXT(sample->name);
    request->n_volume_capabilities = sample->mode == -1 ? 0 : 1;
    request->volume_capabilities = arena_alloc(arena, sizeof(void *));
    request->volume_capabilities[0] = donor->volume_capability;
    request->capacity_range = arena_alloc(arena, sizeof(*request->capacity_range));
    csi__v1__capacity_range__init(request->capacity_range);
    request->capacity_range->required_bytes = sample->required;
    request->capacity_range->limit_bytes = sample->limit;
    if (sample->has_source) {
        request->volume_content_source = arena_alloc(arena, sizeof(*request->volume_content_source));
        csi__v1__volume_content_source__init(request->volume_content_source);
    }
    request->parameters = arena_calloc(arena, PAIRS_MAX, sizeof(void *));
    for (size_t i = 0; sample->parameters[2 * i]; i++) {
        Csi__V1__CreateVolumeRequest__ParametersEntry *entry = arena_alloc(arena, sizeof(*entry));
        csi__v1__create_volume_request__parameters_entry__init(entry);
        entry->key = TEXT(sample->parameters[2 * i]);
        entry->value = TEXT(sample->parameters[2 * i + 1]);
        request->parameters[request->n_parameters++] = entry;
    }
    return request;
}

static const struct create_case create_cases[] = {
    {"good", "pvc-1", 1, {"inputs", INPUTS, "copyPolicy", "copy"}, 0, 0, false, ERR_NONE},
    {"good, with metadata",
     "pvc-1",
     1,
     {"inputs", INPUTS, POD "pvc/name", "a", POD "pv/name", "b"},
     1,
     2,
     false,
     ERR_NONE},
    {"20 no name", "", 1, {"inputs", INPUTS}, 0, 0, false, ERR_INVALID},
    {"20 no capability", "a", -1, {"inputs", INPUTS}, 0, 0, false, ERR_INVALID},
    {"20 control", "a\x01", 1, {"inputs", INPUTS}, 0, 0, false, ERR_INVALID},
    {"20 C1 control", "a\xc2\x80", 1, {"inputs", INPUTS}, 0, 0, false, ERR_INVALID},
    {"20 noncharacter", "a\xef\xbf\xbf", 1, {"inputs", INPUTS}, 0, 0, false, ERR_INVALID},
    {"20 source", "a", 1, {"inputs", INPUTS}, 0, 0, true, ERR_INVALID},
    {"21 negative", "a", 1, {"inputs", INPUTS}, -1, 0, false, ERR_RANGE},
    {"21 limit", "a", 1, {"inputs", INPUTS}, 2, 1, false, ERR_RANGE},
    {"22 no inputs", "a", 1, {NULL}, 0, 0, false, ERR_INVALID},
    {"23 unknown", "a", 1, {"inputs", INPUTS, "x", "y"}, 0, 0, false, ERR_INVALID},
    {"28 reserved", "a", 1, {"inputs", INPUTS, POD "pod.namespace", "kube-system"}, 0, 0, false, ERR_INVALID},
    {"3 block", "a", -3, {"inputs", INPUTS}, 0, 0, false, ERR_INVALID},
    {"unicode", "\xc3\xa4\xe2\x82\xac", 1, {"inputs", INPUTS}, 0, 0, false, ERR_NONE},
};

static void test_create(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(create_cases) / sizeof(create_cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct create_request request;
        struct err err = ERR_INIT;
        struct context_map context;
        if (create_request_parse(make_create(arena, &create_cases[i]), arena, &request, &err) == 0)
            create_request_alone(&request, arena, &context, &err);
        if (err.code != create_cases[i].code)
            fail_msg("row %s: %s '%s'", create_cases[i].row, err_code_name(err.code), err.message);
    }
}

static void test_create_digest(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct create_case a = {"", "n", 1, {"inputs", INPUTS, "maxBytes", "1Gi"}, 0, 0, false, ERR_NONE};
    struct create_case b = {"", "n", 1, {"maxBytes", "1Gi", "inputs", INPUTS}, 5, 0, false, ERR_NONE};
    struct create_case c = {"", "n", 1, {"maxBytes", "2Gi", "inputs", INPUTS}, 0, 0, false, ERR_NONE};
    struct create_case d = {"", "n", 5, {"inputs", INPUTS, "maxBytes", "1Gi"}, 0, 0, false, ERR_NONE};
    struct create_case *cases[] = {&a, &b, &c, &d};
    struct create_request requests[4];
    struct err err = ERR_INIT;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(create_request_parse(make_create(arena, cases[i]), arena, &requests[i], &err), 0);
    assert_string_equal(requests[0].digest, requests[1].digest);
    assert_string_not_equal(requests[0].digest, requests[2].digest);
    assert_string_not_equal(requests[0].digest, requests[3].digest);
    assert_string_equal(requests[0].id, requests[3].id);
    assert_int_equal(strlen(requests[0].id), CREATED_ID_LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_inline),           cmocka_unit_test(test_claim),
        cmocka_unit_test(test_arguments),     cmocka_unit_test(test_without_pod_info), cmocka_unit_test(test_create),
        cmocka_unit_test(test_create_digest),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
