/*
 * The node's side of fills against a real fetcher process that runs a script instead of downloads: this program is also the
 * fetcher (argv[1] says so), and the inputs' text says what a fill does.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/process.h"
#include "cachecore/fetcher.h"
#include "csi/fills.h"
#include "csi/fills_job.h"

#define OBJECT "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define SOON_MS 20000

/* --- the fetcher's side --- */

static int counter_add(int store_fd, const char *name)
{
    int fd = openat(store_fd, name, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0644);
    assert(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
    return 0;
}

static size_t counter_read(int store_fd, const char *name)
{
    struct stat st;
    return fstatat(store_fd, name, &st, 0) == 0 ? (size_t)st.st_size : 0;
}

static void result_make(const struct fetcher_job *job, struct fill_result *out)
{
    struct err err = ERR_INIT;
    out->count = 1;
    out->inputs = arena_calloc(job->arena, 1, sizeof(*out->inputs));
    struct fill_input_result *input = out->inputs;
    struct snapshot_file *file = arena_calloc(job->arena, 1, sizeof(*file));
    *file = (struct snapshot_file){.path = "vocab.txt", .size = 5, .validator = "etag:1"};
    memcpy(file->object, OBJECT, sizeof(OBJECT));
    input->place = "data/vocab.txt";
    input->is_file = true;
    input->display = "https://example.com/vocab.txt";
    input->bytes_missed = 5;
    assert(snapshot_make(job->arena, file, 1, &input->list, &err) == 0);
    snapshot_id(&input->list, input->snapshot);
}

static int until_cancelled(const struct fetcher_job *job, struct err *err)
{
    while (!atomic_load(job->cancel))
        poll(NULL, 0, 5);
    counter_add(job->store_fd, "cancelled");
    return err_set(err, ERR_CANCELLED, "the fill was cancelled");
}

static void until_file(const struct fetcher_job *job, const char *name)
{
    struct stat st;
    while (fstatat(job->store_fd, name, &st, 0) != 0)
        poll(NULL, 0, 5);
}

static bool has_secret(const struct fetcher_job *job, const char *expected)
{
    struct identity_view view;
    identity_view(job->identity, &view);
    const struct secret *token = secret_map_get(&view.secrets, "token");
    const struct secret *rotated = secret_map_get(&view.tokens, "audience");
    bool has = token && strcmp(secret_reveal(token), expected) == 0 && rotated &&
               strcmp(secret_reveal(rotated), expected) == 0 && strcmp(view.facts->service_account, "train") == 0;
    identity_view_deinit(&view);
    return has;
}

static int script_run(void *context, const struct fetcher_job *job, struct fill_result *out, struct err *err)
{
    (void)context;
    const char *script = job->order->inputs;
    counter_add(job->store_fd, "runs");
    if (str_starts_with(script, "deny"))
        return err_set(err, ERR_DENIED, "input 1 (https://example.com/a): HTTP 403");
    if (str_starts_with(script, "hang"))
        return until_cancelled(job, err);
    if (str_starts_with(script, "crash"))
        kill(getpid(), SIGKILL);
    if (str_starts_with(script, "once") && counter_read(job->store_fd, "runs") == 1)
        kill(getpid(), SIGKILL);
    if (str_starts_with(script, "secret")) {
        if (!has_secret(job, "canary") || job->local_store_fd < 0 || job->order->secrets.count != 0)
            return err_set(err, ERR_UNAUTHENTICATED, "no token or no local store");
    }
    if (str_starts_with(script, "renewed")) {
        while (!has_secret(job, "new") && !atomic_load(job->cancel))
            poll(NULL, 0, 5);
        counter_add(job->store_fd, "renewals");
        if (str_starts_with(script, "renewed, then killed") && counter_read(job->store_fd, "renewals") == 2)
            kill(getpid(), SIGKILL);
    }
    if (str_starts_with(script, "slow")) {
        atomic_store(&job->progress->bytes_total, 200u << 20);
        atomic_store(&job->progress->bytes_done, 50u << 20);
        atomic_store(&job->progress->inputs, 1);
        atomic_store(&job->progress->stage, FILL_FETCHING);
        until_file(job, "go");
    }
    result_make(job, out);
    return 0;
}

/* --- the test's side --- */

struct fixture {
    char path[4096];
    int store;
    int cancel;
    struct fills *fills;
    struct class class;
    struct arena *arena;
};

static const char *scratch_dir(void)
{
    const char *dir = getenv("SC_SCRATCH");
    return dir ? dir : "/tmp";
}

static int setup(void **state)
{
    struct err err = ERR_INIT;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    snprintf(fixture->path, sizeof(fixture->path), "%s/test_fills.XXXXXX", scratch_dir());
    assert_non_null(mkdtemp(fixture->path));
    fixture->store = open(fixture->path, O_DIRECTORY | O_CLOEXEC);
    fixture->cancel = eventfd(0, EFD_CLOEXEC);
    fixture->arena = arena_new();
    fixture->class = (struct class){.name = "default", .max_files = 10, .max_bytes = 1 << 20};
    fixture->fills = fills_new(&(struct fills_config){.node = "node", .fills_max = 3}, &err);
    if (!fixture->fills)
        fail_msg("%s", err.message);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    fills_free(fixture->fills);
    arena_free(fixture->arena);
    close(fixture->store);
    close(fixture->cancel);
    _cleanup_(closep) int scratch = open(scratch_dir(), O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fs_remove_tree(scratch, strrchr(fixture->path, '/') + 1, &err), 0);
    free(fixture);
    return 0;
}

struct waiting {
    struct fixture *fixture;
    struct fills_request request;
    int64_t deadline_ms;
    struct arena *arena;
    struct fills_result result;
    struct err err;
    int outcome;
};

static struct waiting waiting_new(struct fixture *fixture, const char *volume, const char *inputs)
{
    return (struct waiting){.fixture = fixture,
                            .request = {.volume_id = volume,
                                        .arguments = inputs,
                                        .inputs = inputs,
                                        .class = &fixture->class,
                                        .store_fd = fixture->store,
                                        .local_store_fd = -1},
                            .deadline_ms = clock_monotonic_ms() + SOON_MS};
}

/* What a publish shows to sources: the same text as secret and as token. */
struct shown {
    struct secret_map secrets;
    struct secret_map tokens;
};

static void shown_set(struct shown *shown, const char *text, struct fills_request *request)
{
    static const struct identity_facts facts = {.service_account = "train"};
    *shown = (struct shown){.secrets = SECRET_MAP_INIT};
    secret_map_add(&shown->secrets, "token", text, strlen(text));
    secret_map_add(&shown->tokens, "audience", text, strlen(text));
    request->secrets = &shown->secrets;
    request->tokens = &shown->tokens;
    request->facts = &facts;
}

static void shown_free(struct shown *shown)
{
    secret_map_deinit(&shown->secrets);
    secret_map_deinit(&shown->tokens);
}

static void *wait_run(void *argument)
{
    struct waiting *waiting = argument;
    const struct rpc_call call = {.cancel_fd = waiting->fixture->cancel};
    struct arena *arena = arena_new();
    waiting->outcome = fills_wait(waiting->fixture->fills, &waiting->request, &call, waiting->deadline_ms, arena,
                                  &waiting->result, &waiting->err);
    waiting->arena = arena;
    return NULL;
}

static void expect_done(struct waiting *waiting)
{
    if (waiting->outcome != 0)
        fail_msg("%s", waiting->err.message);
    assert_int_equal(waiting->result.count, 1);
    assert_string_equal(waiting->result.inputs[0].place, "data/vocab.txt");
    assert_string_equal(waiting->result.inputs[0].list.files[0].object, OBJECT);
    assert_int_equal(waiting->result.inputs[0].bytes_missed, 5);
    arena_free(waiting->arena);
}

static void expect_error(struct waiting *waiting, enum err_code code, const char *text)
{
    assert_int_equal(waiting->outcome, -1);
    assert_int_equal(waiting->err.code, code);
    if (!strstr(waiting->err.message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, waiting->err.message);
    arena_free(waiting->arena);
}

static void counter_await(const struct fixture *fixture, const char *name, size_t count)
{
    int64_t deadline_ms = clock_monotonic_ms() + SOON_MS;
    while (counter_read(fixture->store, name) < count && clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, 5);
    assert_int_equal(counter_read(fixture->store, name), count);
}

static void file_make(const struct fixture *fixture, const char *name)
{
    counter_add(fixture->store, name);
}

static void test_done(void **state)
{
    struct waiting waiting = waiting_new(*state, "v1", "ok");
    wait_run(&waiting);
    expect_done(&waiting);
}

static void test_errors_come_through_and_are_forgotten(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 2; i++) {
        struct waiting waiting = waiting_new(fixture, "v1", "deny");
        wait_run(&waiting);
        expect_error(&waiting, ERR_DENIED, "HTTP 403");
    }
    assert_int_equal(counter_read(fixture->store, "runs"), 2);
}

static void test_secrets_and_local_store_arrive(void **state)
{
    struct fixture *fixture = *state;
    struct shown shown;
    struct waiting waiting = waiting_new(fixture, "v1", "secret");
    shown_set(&shown, "canary", &waiting.request);
    waiting.request.local_store_fd = fixture->store;
    wait_run(&waiting);
    expect_done(&waiting);
    shown_free(&shown);
}

/* A fill that runs gets what later calls bring, and so does the fetcher that takes it over. */
static void test_renewed_secrets_reach_a_running_fill(void **state)
{
    struct fixture *fixture = *state;
    static const char *const scripts[] = {"renewed", "renewed, then killed"};
    size_t runs = 0;
    for (size_t i = 0; i < 2; i++) {
        struct shown old, new;
        struct waiting first = waiting_new(fixture, "v1", scripts[i]);
        shown_set(&old, "old", &first.request);
        first.deadline_ms = clock_monotonic_ms();
        wait_run(&first);
        expect_error(&first, ERR_BUSY, "");
        counter_await(fixture, "runs", runs + 1);
        struct waiting second = waiting_new(fixture, "v1", scripts[i]);
        shown_set(&new, "new", &second.request);
        wait_run(&second);
        expect_done(&second);
        shown_free(&old);
        shown_free(&new);
        runs = counter_read(fixture->store, "runs");
    }
    assert_int_equal(runs, 3);
}

/* Renewed before any fetcher had it: the start order is the new one. Meant for the sanitizers, too. */
static void test_renewed_secrets_race_the_start(void **state)
{
    struct fixture *fixture = *state;
    struct shown shown[2];
    for (unsigned i = 0; i < 20; i++) {
        struct waiting waiting[2];
        pthread_t threads[2];
        for (size_t k = 0; k < 2; k++) {
            waiting[k] = waiting_new(fixture, "v1", "renewed");
            shown_set(&shown[k], k ? "new" : "old", &waiting[k].request);
        }
        waiting[0].deadline_ms = clock_monotonic_ms();
        assert_int_equal(pthread_create(&threads[0], NULL, wait_run, &waiting[0]), 0);
        pthread_join(threads[0], NULL);
        assert_int_equal(pthread_create(&threads[1], NULL, wait_run, &waiting[1]), 0);
        pthread_join(threads[1], NULL);
        arena_free(waiting[0].arena);
        expect_done(&waiting[1]);
        shown_free(&shown[0]);
        shown_free(&shown[1]);
    }
}

/* row 64, row 94: BUSY with progress at the deadline; later calls join the same fill and get its result. */
static size_t waiters_of(struct fills *fills, const char *volume_id)
{
    size_t count = 0;
    pthread_mutex_lock(&fills->locked.mutex);
    const struct fills_job *job = fills_job_find_locked(fills, volume_id);
    for (const struct fills_waiter *waiter = job ? job->waiters : NULL; waiter; waiter = waiter->next)
        count++;
    pthread_mutex_unlock(&fills->locked.mutex);
    return count;
}

/* Who comes after a fill has ended would start another one. */
static void until_waiters(struct fills *fills, const char *volume_id, size_t count)
{
    int64_t give_up_ms = clock_monotonic_ms() + SOON_MS;
    while (waiters_of(fills, volume_id) != count) {
        assert_true(clock_monotonic_ms() < give_up_ms);
        poll(NULL, 0, 5);
    }
}

static void test_deadline_join_and_result(void **state)
{
    struct fixture *fixture = *state;
    int64_t give_up_ms = clock_monotonic_ms() + SOON_MS;
    bool is_told = false;
    while (!is_told && clock_monotonic_ms() < give_up_ms) {
        struct waiting first = waiting_new(fixture, "v1", "slow");
        first.deadline_ms = clock_monotonic_ms() + 50;
        wait_run(&first);
        is_told = strstr(first.err.message, "cached 50.0 of 200.0 MiB (25 percent)") != NULL;
        expect_error(&first, ERR_BUSY, "");
    }
    assert_true(is_told);
    struct waiting joined[2];
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        joined[i] = waiting_new(fixture, "v1", "slow");
        assert_int_equal(pthread_create(&threads[i], NULL, wait_run, &joined[i]), 0);
    }
    struct waiting other = waiting_new(fixture, "v1", "other arguments");
    wait_run(&other);
    expect_error(&other, ERR_EXISTS, "other inputs");
    until_waiters(fixture->fills, "v1", 2);
    file_make(fixture, "go");
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        expect_done(&joined[i]);
    }
    assert_int_equal(counter_read(fixture->store, "runs"), 1);
}

/* A fill that ends between two calls keeps its result for the second. */
static void test_result_waits_for_the_retry(void **state)
{
    struct fixture *fixture = *state;
    struct waiting first = waiting_new(fixture, "v1", "slow");
    first.deadline_ms = clock_monotonic_ms();
    wait_run(&first);
    expect_error(&first, ERR_BUSY, "");
    counter_await(fixture, "runs", 1);
    file_make(fixture, "go");
    struct waiting barrier = waiting_new(fixture, "v2", "slow"); /* reported behind v1's end, as good as surely */
    wait_run(&barrier);
    expect_done(&barrier);
    struct waiting second = waiting_new(fixture, "v1", "slow");
    wait_run(&second);
    expect_done(&second);
    assert_int_equal(counter_read(fixture->store, "runs"), 2);
    struct waiting third = waiting_new(fixture, "v1", "slow");
    wait_run(&third);
    expect_done(&third);
    assert_int_equal(counter_read(fixture->store, "runs"), 3);
}

/* What a fill brought was authorised for those who asked for it: a call that shows something else starts anew. */
static void test_result_is_for_who_asked(void **state)
{
    struct fixture *fixture = *state;
    struct shown before, after;
    struct waiting first = waiting_new(fixture, "v1", "slow");
    shown_set(&before, "canary", &first.request);
    first.deadline_ms = clock_monotonic_ms();
    wait_run(&first);
    expect_error(&first, ERR_BUSY, "");
    counter_await(fixture, "runs", 1);
    file_make(fixture, "go");
    while (fills_running(fixture->fills) > 0)
        poll(NULL, 0, 5);
    struct waiting second = waiting_new(fixture, "v1", "slow");
    shown_set(&after, "another", &second.request);
    wait_run(&second);
    expect_done(&second);
    assert_int_equal(counter_read(fixture->store, "runs"), 2);
    shown_free(&before);
    shown_free(&after);
}

/* row 100: a caller that goes leaves the fill running for those who join. */
static void test_caller_gone(void **state)
{
    struct fixture *fixture = *state;
    uint64_t one = 1;
    struct waiting gone = waiting_new(fixture, "v1", "slow");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_run, &gone), 0);
    counter_await(fixture, "runs", 1);
    assert_int_equal(write(fixture->cancel, &one, sizeof(one)), sizeof(one));
    pthread_join(thread, NULL);
    expect_error(&gone, ERR_CANCELLED, "goes on");
    assert_int_equal(read(fixture->cancel, &one, sizeof(one)), sizeof(one));
    file_make(fixture, "go");
    struct waiting joined = waiting_new(fixture, "v1", "slow");
    wait_run(&joined);
    expect_done(&joined);
    assert_int_equal(counter_read(fixture->store, "runs"), 1);
}

/* row 95: unpublish cancels, waits for the end, and whoever waits hears of it. */
static void test_cancel(void **state)
{
    struct fixture *fixture = *state;
    struct waiting waiting = waiting_new(fixture, "v1", "hang");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_run, &waiting), 0);
    counter_await(fixture, "runs", 1);
    fills_cancel(fixture->fills, "v1", clock_monotonic_ms() + SOON_MS);
    assert_int_equal(counter_read(fixture->store, "cancelled"), 1);
    pthread_join(thread, NULL);
    expect_error(&waiting, ERR_CANCELLED, "cancelled");
    fills_cancel(fixture->fills, "v1", clock_monotonic_ms() + SOON_MS);
    struct waiting again = waiting_new(fixture, "v1", "ok");
    wait_run(&again);
    expect_done(&again);
}

/* row 84: the fetcher dies, another one takes the fill over, and the caller notices nothing. */
static void test_fetcher_killed_once(void **state)
{
    struct fixture *fixture = *state;
    struct waiting waiting = waiting_new(fixture, "v1", "once");
    wait_run(&waiting);
    expect_done(&waiting);
    assert_int_equal(counter_read(fixture->store, "runs"), 2);
}

static void test_fetcher_killed_by_a_fill(void **state)
{
    struct fixture *fixture = *state;
    struct waiting waiting = waiting_new(fixture, "v1", "crash");
    wait_run(&waiting);
    expect_error(&waiting, ERR_INTERNAL, "died 3 times");
    assert_int_equal(counter_read(fixture->store, "runs"), 3);
    struct waiting after = waiting_new(fixture, "v2", "ok");
    wait_run(&after);
    expect_done(&after);
}

/* row 102: over the limit is an answer, and room comes back. */
static void test_limit(void **state)
{
    struct fixture *fixture = *state;
    static const char *const volumes[] = {"v1", "v2", "v3"};
    for (size_t i = 0; i < 3; i++) {
        struct waiting waiting = waiting_new(fixture, volumes[i], "hang");
        waiting.deadline_ms = clock_monotonic_ms();
        wait_run(&waiting);
        expect_error(&waiting, ERR_BUSY, "asking the sources");
    }
    struct waiting fourth = waiting_new(fixture, "v4", "ok");
    wait_run(&fourth);
    expect_error(&fourth, ERR_EXHAUSTED, "3 fills are running");
    fills_cancel(fixture->fills, "v2", clock_monotonic_ms() + SOON_MS);
    struct waiting fifth = waiting_new(fixture, "v4", "ok");
    wait_run(&fifth);
    expect_done(&fifth);
}

static void *cancel_run(void *argument)
{
    struct fixture *fixture = argument;
    for (unsigned i = 0; i < 50; i++)
        fills_cancel(fixture->fills, "v1", clock_monotonic_ms() + SOON_MS);
    return NULL;
}

/* row 95, row 100: publish and unpublish over each other; meant for the sanitizers. */
static void test_cancel_races(void **state)
{
    struct fixture *fixture = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_run, fixture), 0);
    for (unsigned i = 0; i < 50; i++) {
        struct waiting waiting = waiting_new(fixture, "v1", i % 2 ? "ok" : "hang");
        waiting.deadline_ms = clock_monotonic_ms() + 5;
        wait_run(&waiting);
        arena_free(waiting.arena);
        if (waiting.outcome != 0)
            assert_true(waiting.err.code == ERR_BUSY || waiting.err.code == ERR_CANCELLED ||
                        waiting.err.code == ERR_EXISTS);
    }
    pthread_join(thread, NULL);
    fills_cancel(fixture->fills, "v1", clock_monotonic_ms() + SOON_MS);
    struct waiting after = waiting_new(fixture, "v1", "ok");
    wait_run(&after);
    expect_done(&after);
}

static int fetcher(void)
{
    struct err err = ERR_INIT;
    int result = fetcher_serve(PROCESS_CHANNEL_FD, script_run, NULL, &err);
    _exit(result == 0 ? 0 : 1);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "fetcher") == 0)
        return fetcher();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_come_through_and_are_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secrets_and_local_store_arrive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renewed_secrets_reach_a_running_fill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renewed_secrets_race_the_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline_join_and_result, setup, teardown),
        cmocka_unit_test_setup_teardown(test_result_waits_for_the_retry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_result_is_for_who_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_caller_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetcher_killed_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetcher_killed_by_a_fill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_races, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
