/* What a ServiceAccount's annotations say, what is remembered of them, and whom a publish asks as. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "csi/requester.h"
#include "tests/unit/csi/kube_server.h"

#define ARN "arn:aws:iam::123456789012:role/reader"
#define EMAIL "reader@acme.iam.gserviceaccount.com"
#define UUID "0b7c1d52-6a0e-4f6e-9a52-1a2b3c4d5e6f"
#define PATH "/api/v1/namespaces/ml/serviceaccounts/"

static const struct service_account_key train = {"ml", "train"};

static void parse(struct arena *arena, const char *text, struct service_account *out)
{
    json_auto_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    service_account_parse(arena, object, &train, out);
}

static void annotations_are_read(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct service_account account;
    parse(arena,
          "{\"metadata\": {\"annotations\": {\"eks.amazonaws.com/role-arn\": \"" ARN
          "\", \"iam.gke.io/gcp-service-account\": \"" EMAIL "\", \"azure.workload.identity/client-id\": \"" UUID
          "\", \"azure.workload.identity/tenant-id\": \"contoso.com\", \"x\": 7}}}",
          &account);
    assert_string_equal(account.roles[ROLE_AWS], ARN);
    assert_string_equal(account.roles[ROLE_GOOGLE], EMAIL);
    assert_string_equal(account.roles[ROLE_AZURE_CLIENT], UUID);
    assert_string_equal(account.roles[ROLE_AZURE_TENANT], "contoso.com");
    assert_null(account.note);
    static const char *const none[] = {"{}", "[]", "{\"metadata\": {}}", "{\"metadata\": {\"annotations\": null}}",
                                       "{\"metadata\": {\"annotations\": {\"eks.amazonaws.com/role-arn\": 7}}}"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        parse(arena, none[i], &account);
        for (size_t k = 0; k < IDENTITY_ROLES; k++)
            assert_null(account.roles[k]);
        assert_null(account.note);
    }
}

static void what_is_no_role_is_noted(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct service_account account;
    parse(arena,
          "{\"metadata\": {\"annotations\": {\"eks.amazonaws.com/role-arn\": \"a&b\", "
          "\"azure.workload.identity/client-id\": \"\", \"azure.workload.identity/tenant-id\": \"" UUID "\"}}}",
          &account);
    assert_null(account.roles[ROLE_AWS]);
    assert_null(account.roles[ROLE_AZURE_CLIENT]);
    assert_string_equal(account.roles[ROLE_AZURE_TENANT], UUID);
    assert_non_null(
        strstr(account.note, "'eks.amazonaws.com/role-arn' of ServiceAccount ml/train is not used: it must be"));
    assert_non_null(strstr(account.note, "'azure.workload.identity/client-id'"));
    assert_null(strstr(account.note, "a&b"));
}

/* --- with an API --- */

struct world {
    struct kube_server server;
    struct kube *kube;
    struct service_accounts *accounts;
};

static int start(void **state)
{
    char path[SCRATCH_PATH_MAX + 32];
    struct err err = ERR_INIT;
    struct world *world = calloc(1, sizeof(*world));
    if (!world || scratch_make(world->server.dir) != 0)
        return -1;
    snprintf(path, sizeof(path), "%s/objects.json", world->server.dir);
    kube_server_write(path,
                      "{\"" PATH "train\": {\"metadata\": {\"annotations\": {\"eks.amazonaws.com/role-arn\": \"" ARN
                      "\"}}}, \"" PATH "plain\": {\"metadata\": {}}}");
    if (kube_server_start(&world->server) != 0)
        return -1;
    struct kube_config config = {world->server.url, world->server.token_file, world->server.ca_file};
    world->kube = kube_new(&config, &err);
    world->accounts = service_accounts_new(world->kube);
    *state = world;
    return 0;
}

static int stop(void **state)
{
    struct world *world = *state;
    service_accounts_free(world->accounts);
    kube_free(world->kube);
    kube_server_stop(&world->server);
    free(world);
    return 0;
}

static int get(struct world *world, const char *name, struct arena *arena, struct service_account *out, struct err *err)
{
    const struct service_account_key key = {"ml", name};
    return service_account_get(world->accounts, &key, arena, out, err);
}

static void an_answer_counts_when_the_api_has_gone(void **state)
{
    struct world *world = *state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct service_account account;
    struct err err = ERR_INIT;
    assert_int_equal(get(world, "train", arena, &account, &err), 0);
    assert_string_equal(account.roles[ROLE_AWS], ARN);
    assert_int_equal(get(world, "gone", arena, &account, &err), 0);
    assert_null(account.roles[ROLE_AWS]);
    assert_null(account.note);
    kill(world->server.child, SIGKILL);
    waitpid(world->server.child, NULL, 0);
    world->server.child = 0;
    assert_int_equal(get(world, "train", arena, &account, &err), 0);
    assert_string_equal(account.roles[ROLE_AWS], ARN);
    assert_int_equal(get(world, "plain", arena, &account, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "ServiceAccount ml/plain cannot be read"));
}

struct asking {
    struct world *world;
    pthread_t thread;
    unsigned number;
    bool failed;
};

static void *ask_all(void *argument)
{
    struct asking *asking = argument;
    for (unsigned i = 0; i < 60; i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct service_account account;
        struct err err = ERR_INIT;
        char name[32];
        unsigned which = (i + asking->number) % 30;
        snprintf(name, sizeof(name), which ? "absent-%u" : "train", which);
        if (get(asking->world, name, arena, &account, &err) != 0 || (account.roles[ROLE_AWS] != NULL) != (which == 0))
            asking->failed = true;
    }
    return NULL;
}

/* For the thread sanitizer, too. */
static void many_ask_at_once(void **state)
{
    struct asking asking[8];
    for (unsigned i = 0; i < 8; i++) {
        asking[i] = (struct asking){.world = *state, .number = i};
        assert_int_equal(pthread_create(&asking[i].thread, NULL, ask_all, &asking[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(asking[i].thread, NULL);
        assert_false(asking[i].failed);
    }
}

static struct publish_request request_of(const char *account, const char *role, const char *token)
{
    struct publish_request request = {.pod_namespace = "ml", .service_account = account};
    request.attributes.roles[ROLE_AWS] = role;
    if (token)
        secret_map_add(&request.tokens, "a", token, strlen(token));
    return request;
}

static void whom_a_publish_asks_as(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *account, *role, *token;
        bool no_cluster;
        const char *asks_as; /* NULL: whoever the class says */
    } cases[] = {
        {"train", NULL, "t", false, ARN}, {"train", ARN "2", "t", false, ARN "2"}, {"train", NULL, NULL, false, NULL},
        {"train", NULL, "t", true, NULL}, {"plain", NULL, "t", false, NULL},       {"", NULL, "t", false, NULL},
        {"plain", ARN, "t", false, ARN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct publish_request request = request_of(cases[i].account, cases[i].role, cases[i].token);
        struct requester requester;
        struct err err = ERR_INIT;
        assert_int_equal(
            requester_find(cases[i].no_cluster ? NULL : world->accounts, &request, arena, &requester, &err), 0);
        if (!cases[i].asks_as)
            assert_null(requester.facts.aws_role_arn);
        else
            assert_string_equal(requester.facts.aws_role_arn, cases[i].asks_as);
        assert_string_equal(requester.facts.namespace, "ml");
        assert_string_equal(requester.facts.service_account, cases[i].account);
        assert_null(requester.note);
        publish_request_deinit(&request);
    }
}

/* A role that only an annotation may give is waited for; with an attribute the pod goes on, and a refusal says what was not known. */
static void an_api_that_is_away_holds_up_who_needs_it(void **state)
{
    struct world *world = *state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct publish_request request = request_of("train", NULL, "t");
    struct requester requester;
    struct err err = ERR_INIT;
    kill(world->server.child, SIGKILL);
    assert_int_equal(requester_find(world->accounts, &request, arena, &requester, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    request.attributes.roles[ROLE_GOOGLE] = EMAIL;
    assert_int_equal(requester_find(world->accounts, &request, arena, &requester, &err), 0);
    assert_string_equal(requester.facts.google_service_account, EMAIL);
    err_set(&err, ERR_DENIED, "input 1: no");
    requester_explain(&requester, &err);
    assert_ptr_equal(strstr(err.message, "input 1: no (ServiceAccount ml/train cannot be read: "), err.message);
    err_set(&err, ERR_NOT_FOUND, "input 1: no");
    requester_explain(&requester, &err);
    assert_string_equal(err.message, "input 1: no");
    publish_request_deinit(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(annotations_are_read),
        cmocka_unit_test(what_is_no_role_is_noted),
        cmocka_unit_test_setup_teardown(an_answer_counts_when_the_api_has_gone, start, stop),
        cmocka_unit_test_setup_teardown(many_ask_at_once, start, stop),
        cmocka_unit_test_setup_teardown(whom_a_publish_asks_as, start, stop),
        cmocka_unit_test_setup_teardown(an_api_that_is_away_holds_up_who_needs_it, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
