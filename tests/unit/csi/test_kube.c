/* The client of the Kubernetes API against a server with TLS and tokens that answers rightly, wrongly, slowly and not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "csi/kube.h"
#include "tests/unit/csi/kube_server.h"

#define TOKEN "token-of-the-node"

static struct kube_server server;

static struct kube *client(const char *ca_file)
{
    struct err err = ERR_INIT;
    struct kube_config config = {server.url, server.token_file, ca_file};
    struct kube *kube = kube_new(&config, &err);
    if (!kube)
        fail_msg("%s", err.message);
    return kube;
}

static int call(struct kube *kube, enum kube_verb verb, const char *path, const json_t *body, json_t **out,
                struct err *err)
{
    struct kube_request request = {verb, path, body, clock_monotonic_ms() + 5000};
    return kube_call(kube, &request, out, err);
}

static int get(struct kube *kube, const char *path, json_t **out, struct err *err)
{
    return call(kube, KUBE_GET, path, NULL, out, err);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void tokens_reset(void)
{
    char accepted[SCRATCH_PATH_MAX + 16];
    snprintf(accepted, sizeof(accepted), "%s/accepted", server.dir);
    kube_server_write(accepted, TOKEN "\n");
    kube_server_write(server.token_file, TOKEN "\n");
}

static const struct {
    enum kube_verb verb;
    const char *method;
    const char *type; /* NULL: none */
    const char *body; /* NULL: none */
} verbs[] = {
    {KUBE_GET, "GET", NULL, NULL},
    {KUBE_POST, "POST", "application/json", "{\"a\":1}"},
    {KUBE_JSON_PATCH, "PATCH", "application/json-patch+json", "[{\"op\":\"test\"}]"},
    {KUBE_MERGE_PATCH, "PATCH", "application/merge-patch+json", "{\"a\":null}"},
};

static void verbs_and_bodies_arrive(void **state)
{
    struct kube *kube = client(server.ca_file);
    (void)state;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        struct err err = ERR_INIT;
        json_t *answer = NULL;
        json_auto_t *body = verbs[i].body ? json_loads(verbs[i].body, 0, NULL) : NULL;
        if (call(kube, verbs[i].verb, "/fault/echo", body, &answer, &err) != 0)
            fail_msg("%s: %s", verbs[i].method, err.message);
        assert_string_equal(text_of(answer, "method"), verbs[i].method);
        assert_string_equal(text_of(answer, "body"), verbs[i].body ? verbs[i].body : "");
        if (verbs[i].type)
            assert_string_equal(text_of(answer, "type"), verbs[i].type);
        else
            assert_true(json_is_null(json_object_get(answer, "type")));
        json_decref(answer);
    }
    kube_free(kube);
}

static const struct {
    const char *path;
    enum err_code code;
    const char *cause;
} failures[] = {
    {"/apis/none", ERR_NOT_FOUND, "GET /apis/none: HTTP status 404: apis \"none\" not found"},
    {"/fault/status/400", ERR_INVALID, "HTTP status 400: line one line two  of the API's own words"},
    {"/fault/status/403", ERR_DENIED, "403"},
    {"/fault/status/409", ERR_EXISTS, "409"},
    {"/fault/status/410", ERR_INVALID, "410"},
    {"/fault/status/422", ERR_INVALID, "422"},
    {"/fault/status/429", ERR_EXHAUSTED, "429"},
    {"/fault/status/500", ERR_UNAVAILABLE, "500"},
    {"/fault/status/503", ERR_UNAVAILABLE, "503"},
    {"/fault/bare-status/502", ERR_UNAVAILABLE, "HTTP status 502"},
    {"/fault/bare-status/404", ERR_NOT_FOUND, "HTTP status 404"},
    {"/fault/moved", ERR_UNAVAILABLE, "HTTP status 302"},
    {"/fault/body/garbage", ERR_CORRUPT, "not a JSON object"},
    {"/fault/body/text", ERR_CORRUPT, "not a JSON object"},
    {"/fault/body/array", ERR_CORRUPT, "not a JSON object"},
    {"/fault/body/nothing", ERR_CORRUPT, "not a JSON object"},
    {"/fault/body/latin1", ERR_CORRUPT, "not a JSON object"},
    {"/fault/body/deep", ERR_CORRUPT, "not a JSON object"},
    {"/fault/body/twice", ERR_CORRUPT, "not a JSON object"},
    {"/fault/long", ERR_CORRUPT, "more than the limit of 4194304"},
    {"/fault/long-declared", ERR_CORRUPT, "more than the limit of 4194304"},
    /* an early end, or a broken connection: libcurls differ */
    {"/fault/early", ERR_UNAVAILABLE, "host '127.0.0.1'"},
    {"/fault/reset", ERR_UNAVAILABLE, "host '127.0.0.1'"},
};

static void failures_have_codes_and_causes(void **state)
{
    struct kube *kube = client(server.ca_file);
    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        struct err err = ERR_INIT;
        json_t *answer = NULL;
        assert_int_equal(get(kube, failures[i].path, &answer, &err), -1);
        if (err.code != failures[i].code || !strstr(err.message, failures[i].cause))
            fail_msg("%s: %s: %s", failures[i].path, err_code_name(err.code), err.message);
        assert_null(answer);
        assert_null(strstr(err.message, TOKEN));
        assert_null(strstr(err.message, "s3cret"));
        assert_null(strpbrk(err.message, "\n\a"));
        assert_true(strlen(err.message) < 700);
    }
    kube_free(kube);
}

static void the_largest_answer_is_taken(void **state)
{
    struct kube *kube = client(server.ca_file);
    struct err err = ERR_INIT;
    json_t *answer = NULL;
    (void)state;
    if (get(kube, "/fault/body/whole", &answer, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(json_string_length(json_object_get(answer, "a")), (4 << 20) - 8);
    json_decref(answer);
    kube_free(kube);
}

static void slow_servers_cost_the_deadline_and_no_more(void **state)
{
    static const char *const paths[] = {"/fault/silent", "/fault/drip"};
    struct kube *kube = client(server.ca_file);
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct err err = ERR_INIT;
        int64_t start_ms = clock_monotonic_ms();
        struct kube_request request = {KUBE_GET, paths[i], NULL, start_ms + 700};
        assert_int_equal(kube_call(kube, &request, NULL, &err), -1);
        assert_int_equal(err.code, ERR_DEADLINE);
        assert_non_null(strstr(err.message, "no whole answer within"));
        int64_t took_ms = clock_monotonic_ms() - start_ms;
        assert_true(took_ms >= 690 && took_ms < 8000);
    }
    kube_free(kube);
}

static void nobody_listens(void **state)
{
    struct err err = ERR_INIT;
    struct kube_config config = {"https://127.0.0.1:1", server.token_file, server.ca_file};
    (void)state;
    struct kube *kube = kube_new(&config, &err);
    assert_non_null(kube);
    assert_int_equal(get(kube, "/apis/none", NULL, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "cannot connect"));
    kube_free(kube);
}

/* Two CAs that know nothing of each other; the file is then replaced under the same client, as a rotation does. */
static void another_ca_is_refused_and_a_rotated_one_counts(void **state)
{
    char link[SCRATCH_PATH_MAX + 16];
    struct err err = ERR_INIT;
    (void)state;
    snprintf(link, sizeof(link), "%s/link.crt", server.dir);
    assert_int_equal(symlink("other-ca.crt", link), 0);
    struct kube *kube = client(link);
    assert_int_equal(get(kube, "/fault/echo", NULL, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "certificate problem"));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(get(kube, "/fault/echo", NULL, &err), -1);
    assert_non_null(strstr(err.message, "--kube-ca-file"));
    assert_int_equal(symlink("ca.crt", link), 0);
    if (get(kube, "/fault/echo", NULL, &err) != 0)
        fail_msg("%s", err.message);
    kube_free(kube);
}

static void rotated_tokens_count(void **state)
{
    struct kube *kube = client(server.ca_file);
    struct err err = ERR_INIT;
    (void)state;
    if (get(kube, "/fault/401-once", NULL, &err) != 0 || get(kube, "/fault/rotate", NULL, &err) != 0 ||
        get(kube, "/fault/echo", NULL, &err) != 0)
        fail_msg("%s", err.message);
    kube_server_write(server.token_file, "stolen");
    assert_int_equal(get(kube, "/fault/echo", NULL, &err), -1);
    assert_int_equal(err.code, ERR_UNAUTHENTICATED);
    assert_null(strstr(err.message, "stolen"));
    tokens_reset();
    if (get(kube, "/fault/echo", NULL, &err) != 0)
        fail_msg("%s", err.message);
    kube_free(kube);
}

static void a_token_that_cannot_be_one_is_not_sent(void **state)
{
    static const struct {
        const char *text;
        const char *cause;
    } tokens[] = {{"", "holds no token"}, {" \n", "holds no token"}, {"a\r\nX-Evil: b", "control character"}};
    struct kube *kube = client(server.ca_file);
    struct err err = ERR_INIT;
    (void)state;
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        kube_server_write(server.token_file, tokens[i].text);
        assert_int_equal(get(kube, "/fault/echo", NULL, &err), -1);
        assert_non_null(strstr(err.message, tokens[i].cause));
    }
    assert_int_equal(unlink(server.token_file), 0);
    assert_int_equal(get(kube, "/fault/echo", NULL, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "--kube-token-file"));
    tokens_reset();
    kube_free(kube);
}

static long long client_port(struct kube *kube)
{
    struct err err = ERR_INIT;
    json_t *answer = NULL;
    if (get(kube, "/fault/echo", &answer, &err) != 0)
        return -1;
    long long port = json_integer_value(json_object_get(answer, "client"));
    json_decref(answer);
    return port;
}

static void connections_are_kept(void **state)
{
    struct kube *kube = client(server.ca_file);
    struct err err = ERR_INIT;
    (void)state;
    long long first = client_port(kube);
    assert_true(first > 0);
    assert_int_equal(get(kube, "/fault/status/404", NULL, &err), -1);
    assert_int_equal(client_port(kube), first);
    assert_int_equal(get(kube, "/fault/reset", NULL, &err), -1);
    long long second = client_port(kube);
    assert_true(second > 0);
    assert_int_not_equal(second, first);
    kube_free(kube);
}

#define CALLERS 12

struct caller {
    struct kube *kube;
    pthread_t thread;
    long long ports[5];
};

static void *caller_run(void *context)
{
    struct caller *caller = context;
    for (size_t i = 0; i < 5; i++)
        caller->ports[i] = client_port(caller->kube);
    return NULL;
}

static void many_callers_share_few_connections(void **state)
{
    struct kube *kube = client(server.ca_file);
    struct caller callers[CALLERS] = {0};
    long long known[CALLERS * 5];
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i].kube = kube;
        assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_run, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
    for (size_t i = 0; i < (size_t)CALLERS * 5; i++) {
        long long port = callers[i / 5].ports[i % 5];
        size_t j = 0;
        assert_true(port > 0);
        while (j < count && known[j] != port)
            j++;
        if (j == count)
            known[count++] = port;
    }
    assert_true(count >= 1 && count <= 4);
    kube_free(kube);
}

static void in_a_cluster_the_environment_says_where(void **state)
{
    static const struct {
        const char *host, *port, *url; /* url NULL: an error */
    } rows[] = {
        {"10.0.0.1", "443", "https://10.0.0.1:443"},
        {"fd00::1", "6443", "https://[fd00::1]:6443"},
        {"kubernetes.default.svc", "443", "https://kubernetes.default.svc:443"},
        {"10.0.0.1/x", "443", NULL},
        {"user@host", "443", NULL},
        {"10.0.0.1", "0", NULL},
        {"10.0.0.1", "65536", NULL},
        {"10.0.0.1", "443x", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct kube_config config = {0};
        struct err err = ERR_INIT;
        setenv("KUBERNETES_SERVICE_HOST", rows[i].host, 1);
        setenv("KUBERNETES_SERVICE_PORT", rows[i].port, 1);
        int failed = kube_config_complete(arena, &config, &err);
        assert_int_equal(failed, rows[i].url ? 0 : -1);
        if (failed)
            assert_int_equal(err.code, ERR_INVALID);
        else
            assert_string_equal(config.url, rows[i].url);
    }
    unsetenv("KUBERNETES_SERVICE_PORT");
}

static void outside_of_a_cluster_there_is_no_url(void **state)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct kube_config config = {.token_file = "/t"};
    struct err err = ERR_INIT;
    (void)state;
    unsetenv("KUBERNETES_SERVICE_HOST");
    assert_int_equal(kube_config_complete(arena, &config, &err), 0);
    assert_null(config.url);
    assert_string_equal(config.token_file, "/t");
    assert_string_equal(config.ca_file, "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
}

static void only_https_without_a_path_will_do(void **state)
{
    static const char *const wrong[] = {
        "http://127.0.0.1:1", "https://h/path", "https://h?q", "https://u:p@h", "h:1", "https://"};
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct err err = ERR_INIT;
        struct kube_config config = {wrong[i], "/t", "/c"};
        if (kube_new(&config, &err))
            fail_msg("%s was taken", wrong[i]);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

static int start(void **state)
{
    (void)state;
    return kube_server_start(&server);
}

static int stop(void **state)
{
    (void)state;
    kube_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verbs_and_bodies_arrive),
        cmocka_unit_test(failures_have_codes_and_causes),
        cmocka_unit_test(the_largest_answer_is_taken),
        cmocka_unit_test(slow_servers_cost_the_deadline_and_no_more),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(another_ca_is_refused_and_a_rotated_one_counts),
        cmocka_unit_test(rotated_tokens_count),
        cmocka_unit_test(a_token_that_cannot_be_one_is_not_sent),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(many_callers_share_few_connections),
        cmocka_unit_test(in_a_cluster_the_environment_says_where),
        cmocka_unit_test(outside_of_a_cluster_there_is_no_url),
        cmocka_unit_test(only_https_without_a_path_will_do),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
