/* Events: their text, how often they may be sent, and the machine against a server with TLS (tests/servers/kube_api.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "csi/event_limit.h"
#include "csi/events.h"
#include "tests/unit/csi/kube_server.h"

static const struct event_source source = {"csi.sharedcache.io", "node-1"};

static struct event event_of(enum event_reason reason, const char *pod, const char *message)
{
    return (struct event){
        .reason = reason, .namespace = "team-a", .pod = pod, .uid = "8f6e-1", .volume = "csi-abc", .message = message};
}

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void test_object(void **state)
{
    (void)state;
    struct event event = event_of(EVENT_FAILED, "train-0", "input 1 (s3://b/k): HTTP 403");
    json_t *object = event_object(&event, &source, 1767225600);
    char *text = json_dumps(object, JSON_COMPACT);
    assert_string_equal(
        text,
        "{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"train-0.006653357e76e5a2\",\"namespace\":"
        "\"team-a\"},\"involvedObject\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"namespace\":\"team-a\",\"name\":"
        "\"train-0\",\"uid\":\"8f6e-1\"},\"type\":\"Warning\",\"reason\":\"InputDownloadFailed\",\"message\":"
        "\"input 1 (s3://b/k): HTTP 403\",\"firstTimestamp\":\"2026-01-01T00:00:00Z\",\"lastTimestamp\":"
        "\"2026-01-01T00:00:00Z\",\"count\":1,\"source\":{\"component\":\"csi.sharedcache.io\",\"host\":\"node-1\"},"
        "\"reportingComponent\":\"csi.sharedcache.io\",\"reportingInstance\":\"node-1\"}");
    free(text);
    json_decref(object);
    json_t *renewal = event_renewal(&event, 7, 1767225661);
    text = json_dumps(renewal, JSON_COMPACT);
    assert_string_equal(text,
                        "{\"message\":\"input 1 (s3://b/k): HTTP 403\",\"lastTimestamp\":\"2026-01-01T00:01:01Z\","
                        "\"count\":7}");
    free(text);
    json_decref(renewal);
}

static void test_names(void **state)
{
    (void)state;
    char pod[EVENT_NAME_MAX + 1];
    char name[EVENT_NAME_MAX + 1];
    char other[EVENT_NAME_MAX + 1];
    memset(pod, 'a', EVENT_NAME_MAX);
    pod[EVENT_NAME_MAX] = '\0';
    pod[234] = '-';
    pod[235] = '.';
    struct event event = event_of(EVENT_COPYING, pod, "");
    event_name(&event, name);
    assert_int_equal(strlen(name), 234 + 1 + 16); /* no label ends with '-' */
    assert_true(name[233] == 'a' && name[234] == '.');
    event.reason = EVENT_READY;
    event_name(&event, other);
    assert_string_not_equal(name, other);
    event.reason = EVENT_COPYING;
    event.uid = "8f6e-2";
    event_name(&event, other);
    assert_string_not_equal(name, other);
    event.uid = "8f6e-1";
    event.volume = "csi-abd";
    event_name(&event, other);
    assert_string_not_equal(name, other);
}

static void test_messages(void **state)
{
    (void)state;
    static char long_text[EVENT_MESSAGE_MAX + 100];
    memset(long_text, 'x', sizeof(long_text) - 1);
    memcpy(long_text + EVENT_MESSAGE_MAX - 1, "\xc3\xa9", 2); /* would be cut in the middle */
    struct event event = event_of(EVENT_COPYING, "p", long_text);
    json_t *object = event_object(&event, &source, 0);
    assert_int_equal(strlen(text_at(object, "message")), EVENT_MESSAGE_MAX - 1);
    json_decref(object);
    event.message = "a\nb\x7f\xff\xc3";
    object = event_object(&event, &source, 0);
    assert_string_equal(text_at(object, "message"), "a b ??");
    json_decref(object);
}

/* What would stand in a path of the API is a name, or there is no event. */
static void test_soundness(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a/b", "..", "a..b", "A", "-a", "a-", "a%2f", "a b", "a\n"};
    struct event event = event_of(EVENT_COPYING, "train-0.x", "");
    assert_true(event_is_sound(&event));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        event = event_of(EVENT_COPYING, bad[i], "");
        assert_false(event_is_sound(&event));
        event = event_of(EVENT_COPYING, "a", "");
        event.namespace = bad[i];
        assert_false(event_is_sound(&event));
    }
    event = event_of(EVENT_COPYING, "a", "");
    event.namespace = "a.b";
    assert_false(event_is_sound(&event));
}

static void test_bucket(void **state)
{
    (void)state;
    struct event_bucket bucket = {.burst = 25, .per_second = 5};
    unsigned taken = 0;
    for (int64_t now_ms = 100000; now_ms < 100001; now_ms++)
        while (event_bucket_take(&bucket, now_ms) == 0)
            taken++;
    assert_int_equal(taken, 25);
    assert_int_equal(event_bucket_take(&bucket, 100000), 200);
    assert_int_equal(event_bucket_take(&bucket, 100199), 1);
    assert_int_equal(event_bucket_take(&bucket, 100200), 0);
    for (int64_t now_ms = 100201; now_ms <= 160200; now_ms++)
        taken += event_bucket_take(&bucket, now_ms) == 0;
    assert_int_equal(taken, 25 + 60 * 5);
    taken = 0;
    while (event_bucket_take(&bucket, 10000000) == 0) /* hours of silence save up one burst */
        taken++;
    assert_int_equal(taken, 25);
}

static void test_schedule(void **state)
{
    (void)state;
    static const int64_t due_s[] = {2, 15, 45, 105, 165, 225, 285};
    int64_t now_ms = 5000000;
    for (size_t i = 0; i < sizeof(due_s) / sizeof(due_s[0]); i++) {
        assert_int_equal(event_progress_next(5000000, now_ms), 5000000 + due_s[i] * 1000);
        now_ms = 5000000 + due_s[i] * 1000;
        assert_int_equal(event_progress_next(5000000, now_ms - 1), now_ms);
    }
}

static struct kube_server server;

static double counted(struct metrics *metrics, const char *result)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    _cleanup_(str_deinitp) struct str key = STR_INIT;
    double value = 0;
    metrics_print(metrics, &text);
    str_printf(&key, "events_total{result=\"%s\"} ", result);
    const char *at = text.data ? strstr(text.data, key.data) : NULL;
    if (at)
        sscanf(at + key.len, "%lf", &value);
    return value;
}

static void wait_for(struct metrics *metrics, const char *result, double value, int64_t within_ms)
{
    int64_t until_ms = clock_monotonic_ms() + within_ms;
    while (counted(metrics, result) < value) {
        if (clock_monotonic_ms() > until_ms)
            fail_msg("%s: %.0f of %.0f", result, counted(metrics, result), value);
        poll(NULL, 0, 10);
    }
}

static struct kube *client(const char *url)
{
    struct err err = ERR_INIT;
    const struct kube_config config = {url, server.token_file, server.ca_file};
    struct kube *kube = kube_new(&config, &err);
    assert_non_null(kube);
    return kube;
}

static struct events *machine(struct kube *kube, struct metrics *metrics)
{
    struct err err = ERR_INIT;
    const struct events_config config = {kube, source, metrics};
    struct events *events = events_new(&config, &err);
    assert_non_null(events);
    return events;
}

static json_t *stored(struct kube *kube, const struct event *event)
{
    struct err err = ERR_INIT;
    json_t *object = NULL;
    char name[EVENT_NAME_MAX + 1];
    _cleanup_(str_deinitp) struct str path = STR_INIT;
    event_name(event, name);
    str_printf(&path, "/api/v1/namespaces/team-a/events/%s", name);
    const struct kube_request request = {KUBE_GET, path.data, NULL, clock_monotonic_ms() + 5000};
    if (kube_call(kube, &request, &object, &err) != 0)
        fail_msg("%s", err.message);
    return object;
}

/* Made once, renewed after that, also by the plugin's successor. */
static void test_sent_and_renewed(void **state)
{
    (void)state;
    _cleanup_(kube_freep) struct kube *kube = client(server.url);
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    struct events *events = machine(kube, metrics);
    struct event event = event_of(EVENT_COPYING, "renewed", "cached 1 of 9");
    for (int i = 1; i <= 3; i++) {
        events_post(events, &event);
        wait_for(metrics, "sent", i, 5000);
        event.message = "cached 8 of 9";
    }
    events_free(events);
    json_t *object = stored(kube, &event);
    assert_string_equal(text_at(object, "message"), "cached 8 of 9");
    assert_int_equal(json_integer_value(json_object_get(object, "count")), 3);
    assert_string_equal(text_at(object, "reason"), "InputCopying");
    json_decref(object);
    events = machine(kube, metrics);
    event.message = "cached 9 of 9";
    events_post(events, &event);
    wait_for(metrics, "sent", 4, 5000);
    events_free(events);
    object = stored(kube, &event);
    assert_string_equal(text_at(object, "message"), "cached 9 of 9");
    assert_string_equal(text_at(object, "type"), "Normal");
    json_decref(object);
}

static void test_failures_once_a_minute(void **state)
{
    (void)state;
    _cleanup_(kube_freep) struct kube *kube = client(server.url);
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    _cleanup_(events_freep) struct events *events = machine(kube, metrics);
    struct event event = event_of(EVENT_FAILED, "failing", "HTTP 403");
    for (int i = 0; i < 10; i++) {
        events_post(events, &event);
        wait_for(metrics, i == 0 ? "sent" : "merged", i == 0 ? 1 : i, 10000);
    }
    assert_true(counted(metrics, "sent") == 1);
}

/* A thousand at once: the poster never waits, a burst goes out, the queue is bounded, and all are accounted for. */
static void test_flood(void **state)
{
    (void)state;
    _cleanup_(kube_freep) struct kube *kube = client(server.url);
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    struct events *events = machine(kube, metrics);
    int64_t start_ms = clock_monotonic_ms();
    for (int i = 0; i < 1000; i++) {
        char pod[32];
        snprintf(pod, sizeof(pod), "flood-%d", i);
        struct event event = event_of(EVENT_READY, pod, "ready");
        events_post(events, &event);
    }
    assert_true(clock_monotonic_ms() - start_ms < 1000);
    wait_for(metrics, "sent", 25, 10000);
    double seconds = (double)(clock_monotonic_ms() - start_ms) / 1000;
    assert_true(counted(metrics, "sent") <= 25 + 5 * seconds + 1);
    assert_true(counted(metrics, "dropped") >= 1000 - 256 - 25 - 5 * seconds - 1);
    assert_true(counted(metrics, "failed") == 0);
    events_free(events);
}

/* What waits for its turn gives way to a newer one: of a burst's rest the last is sent, once. */
static void test_merged(void **state)
{
    (void)state;
    _cleanup_(kube_freep) struct kube *kube = client(server.url);
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    _cleanup_(events_freep) struct events *events = machine(kube, metrics);
    char text[32];
    struct event event = event_of(EVENT_COPYING, "merged", text);
    for (int i = 1; i <= 1000; i++) {
        snprintf(text, sizeof(text), "cached %d of 1000", i);
        events_post(events, &event);
    }
    double merged = counted(metrics, "merged");
    assert_true(merged > 900);
    wait_for(metrics, "sent", 1000 - merged, 10000);
    json_t *object = stored(kube, &event);
    assert_string_equal(text_at(object, "message"), "cached 1000 of 1000");
    assert_int_equal(json_integer_value(json_object_get(object, "count")), 1000 - (json_int_t)merged);
    json_decref(object);
}

/* Nobody listens at the API's address: posting costs nothing, what cannot be sent is given up, the end comes soon. */
static void test_nobody_there(void **state)
{
    (void)state;
    _cleanup_(kube_freep) struct kube *kube = client("https://127.0.0.1:1");
    _cleanup_(metrics_freep) struct metrics *metrics = metrics_new();
    struct events *events = machine(kube, metrics);
    struct event event = event_of(EVENT_READY, "lost", "ready");
    events_post(events, &event);
    wait_for(metrics, "failed", 1, 10000); /* after two more tries */
    for (int i = 0; i < 5; i++) {
        char pod[32];
        snprintf(pod, sizeof(pod), "lost-%d", i);
        event.pod = pod;
        events_post(events, &event);
    }
    wait_for(metrics, "failed", 6, 3000); /* no more tries while it is away */
    assert_true(counted(metrics, "merged") == 0);
    int64_t start_ms = clock_monotonic_ms();
    events_free(events);
    assert_true(clock_monotonic_ms() - start_ms < 3500);
}

static int start_server(void **state)
{
    (void)state;
    return kube_server_start(&server);
}

static int stop_server(void **state)
{
    (void)state;
    kube_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_soundness),
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_sent_and_renewed),
        cmocka_unit_test(test_failures_once_a_minute),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_merged),
        cmocka_unit_test(test_nobody_there),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
