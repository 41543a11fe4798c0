/*
 * The whole way of a fill on one node: this program starts itself as the fetcher of real life (unprivileged, with the real
 * engine), which downloads from a web server of the test into a store that the fetcher's user owns.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../cachecore/origin.h"
#include "base/clock.h"
#include "base/fs.h"
#include "cachecore/store.h"
#include "csi/fills.h"
#include "csi/fills_job.h"

#define FETCHER_UID 65532
#define SIZE ((size_t)24 << 20)
#define SOON_MS 60000
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

struct fixture {
    char path[4096];
    int store, local;
    struct fills *fills;
    struct origin *origin;
    struct class class;
    unsigned char *data;
};

static int root_make(const struct fixture *fixture, const char *name)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/%s", fixture->path, name);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(chown(path, FETCHER_UID, FETCHER_UID), 0);
    return open(path, O_DIRECTORY | O_CLOEXEC);
}

static int setup(void **state)
{
    struct err err = ERR_INIT;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    const char *scratch = getenv("SC_SCRATCH");
    snprintf(fixture->path, sizeof(fixture->path), "%s/test_fetcher.XXXXXX", scratch ? scratch : "/tmp");
    assert_non_null(mkdtemp(fixture->path));
    fixture->store = root_make(fixture, "store");
    fixture->local = root_make(fixture, "local");
    fixture->data = malloc(SIZE);
    assert_non_null(fixture->data);
    for (size_t i = 0; i < SIZE; i++)
        fixture->data[i] = (unsigned char)(i * 2654435761u >> 13);
    fixture->origin = origin_start();
    class_default(&fixture->class);
    fixture->class.allowed_addresses = "127.0.0.0/8";
    fixture->fills = fills_new(&(struct fills_config){.uid = FETCHER_UID, .node = "node", .fills_max = 8}, &err);
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
    origin_stop(fixture->origin);
    close(fixture->store);
    close(fixture->local);
    char *name = strrchr(fixture->path, '/'); /* the scratch directory may be a mount of its own */
    *name = '\0';
    _cleanup_(closep) int parent = open(fixture->path, O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fs_remove_tree(parent, name + 1, &err), 0);
    free(fixture->data);
    free(fixture);
    return 0;
}

struct call {
    struct fixture *fixture;
    const char *volume;
    const struct secret_map *secrets;
    char inputs[256];
    int local;
    struct arena *arena;
    struct fills_result result;
    struct err err;
    int outcome;
};

static void *call_run(void *argument)
{
    struct call *call = argument;
    const struct rpc_call rpc = {.cancel_fd = -1};
    const struct fills_request request = {.volume_id = call->volume,
                                          .arguments = call->inputs,
                                          .inputs = call->inputs,
                                          .class = &call->fixture->class,
                                          .secrets = call->secrets,
                                          .store_fd = call->fixture->store,
                                          .local_store_fd = call->local};
    call->outcome = fills_wait(call->fixture->fills, &request, &rpc, clock_monotonic_ms() + SOON_MS, call->arena,
                               &call->result, &call->err);
    return NULL;
}

static struct call *call_new(struct fixture *fixture, const char *volume, const char *path)
{
    struct call *call = calloc(1, sizeof(*call));
    assert_non_null(call);
    *call = (struct call){.fixture = fixture, .volume = volume, .local = -1, .arena = arena_new()};
    snprintf(call->inputs, sizeof(call->inputs), "http://127.0.0.1:%u%s -> data/file", fixture->origin->port, path);
    return call;
}

static void call_free(struct call *call)
{
    arena_free(call->arena);
    free(call);
}

static void expect_file(const struct call *call, int root)
{
    struct err err = ERR_INIT;
    struct str text = STR_INIT;
    struct stat st;
    char path[80];
    if (call->outcome != 0)
        fail_msg("%s", call->err.message);
    assert_int_equal(call->result.count, 1);
    assert_string_equal(call->result.inputs[0].place, "data/file");
    const char *object = call->result.inputs[0].list.files[0].object;
    snprintf(path, sizeof(path), "objects/%.2s/%s", object, object);
    assert_int_equal(fs_read_file(root, path, SIZE, &text, &err), 0);
    assert_int_equal(text.len, SIZE);
    assert_memory_equal(text.data, call->fixture->data, SIZE);
    assert_int_equal(fstatat(root, path, &st, 0), 0);
    assert_int_equal(st.st_uid, FETCHER_UID);
    assert_int_equal(st.st_mode & 07777, 0444);
    str_deinit(&text);
}

/* Direct and copy, by a process that owns nothing but its uid. */
static void test_fill(void **state)
{
    struct fixture *fixture = *state;
    origin_add(fixture->origin,
               &(struct origin_object){.path = "/a", .data = fixture->data, .size = SIZE, .etag = "\"1\""});
    struct call *call = call_new(fixture, "v1", "/a");
    call->local = fixture->local;
    call_run(call);
    expect_file(call, fixture->store);
    expect_file(call, fixture->local);
    assert_int_equal(call->result.inputs[0].bytes_missed, SIZE);
    assert_int_equal(origin_seen(fixture->origin, "/a").bytes, SIZE);
    call_free(call);
}

/* row 96: many pods of one node, one download. */
static void test_many_volumes_one_download(void **state)
{
    struct fixture *fixture = *state;
    static const char *const volumes[] = {"v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"};
    struct call *calls[8];
    pthread_t threads[8];
    origin_add(fixture->origin,
               &(struct origin_object){.path = "/a", .data = fixture->data, .size = SIZE, .etag = "\"1\""});
    for (size_t i = 0; i < 8; i++) {
        calls[i] = call_new(fixture, volumes[i], "/a");
        assert_int_equal(pthread_create(&threads[i], NULL, call_run, calls[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        expect_file(calls[i], fixture->store);
        call_free(calls[i]);
    }
    assert_int_equal(origin_seen(fixture->origin, "/a").bytes, SIZE);
}

/* The fetcher's pid while it runs. The thread that owns it writes it before the channel is there. */
static pid_t fetcher_pid(struct fills *fills)
{
    int64_t deadline_ms = clock_monotonic_ms() + SOON_MS;
    pid_t pid = -1;
    while (pid < 0 && clock_monotonic_ms() < deadline_ms) {
        pthread_mutex_lock(&fills->locked.mutex);
        pid = fills->locked.channel >= 0 ? fills->process.pid : -1;
        pthread_mutex_unlock(&fills->locked.mutex);
        poll(NULL, 0, pid < 0 ? 2 : 0);
    }
    return pid;
}

/* row 84: SIGKILL in the middle; the next fetcher resumes from what is on disk and the caller never knows. */
static void test_killed_in_the_middle(void **state)
{
    struct fixture *fixture = *state;
    pthread_t thread;
    origin_add(fixture->origin,
               &(struct origin_object){.path = "/a", .data = fixture->data, .size = SIZE, .etag = "\"1\"", .slow = 4});
    struct call *call = call_new(fixture, "v1", "/a");
    assert_int_equal(pthread_create(&thread, NULL, call_run, call), 0);
    int64_t deadline_ms = clock_monotonic_ms() + SOON_MS;
    while (origin_sent(fixture->origin) < SIZE / 2 && clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, 2);
    pid_t pid = fetcher_pid(fixture->fills);
    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    size_t before = origin_sent(fixture->origin);
    pthread_join(thread, NULL);
    expect_file(call, fixture->store);
    size_t after = origin_sent(fixture->origin) - before;
    /* Three parts were on their way: at most a piece of each, and what was in the sockets, was lost. */
    assert_true(before < SIZE);
    assert_true(after < SIZE - SIZE / 8);
    assert_true(fetcher_pid(fixture->fills) != pid);
    call_free(call);
}

static void status_read(pid_t pid, struct str *out)
{
    char path[64];
    struct err err = ERR_INIT;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fs_read_fd(fd, 65536, out, &err), 0);
}

/* Does a process's writable memory hold this text? */
static bool memory_holds(pid_t pid, const char *text)
{
    char path[64];
    char line[512];
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
    _cleanup_(closep) int mem = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(maps && mem >= 0);
    while (!found && fgets(line, sizeof(line), maps)) {
        unsigned long from;
        unsigned long to;
        char write_flag;
        if (sscanf(line, "%lx-%lx r%c", &from, &to, &write_flag) != 3 || write_flag != 'w' || to - from > 64ul << 20)
            continue;
        char *bytes = malloc(to - from);
        assert_non_null(bytes);
        ssize_t got = pread(mem, bytes, to - from, (off_t)from);
        found = got > 0 && memmem(bytes, (size_t)got, text, strlen(text));
        free(bytes);
    }
    fclose(maps);
    return found;
}

static bool memory_forgets(pid_t pid, const char *text)
{
    int64_t deadline_ms = clock_monotonic_ms() + SOON_MS;
    while (memory_holds(pid, text) && clock_monotonic_ms() < deadline_ms)
        poll(NULL, 0, 500);
    return !memory_holds(pid, text);
}

/* Secrets are gone once the fill is and its threads have ended: nobody who gets into the idle process finds any. */
static void test_secrets_are_forgotten(void **state)
{
    struct fixture *fixture = *state;
    struct secret_map secrets = SECRET_MAP_INIT;
    secret_map_add(&secrets, "token", "cAnArYsEcReT", 12);
    origin_add(fixture->origin,
               &(struct origin_object){.path = "/a", .data = fixture->data, .size = SIZE, .etag = "\"1\"", .hold = 1});
    struct call *call = call_new(fixture, "v1", "/a?X-Amz-Signature=cAnArYqUeRy");
    call->secrets = &secrets;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_run, call), 0);
    pid_t pid = fetcher_pid(fixture->fills);
    while (origin_seen(fixture->origin, "/a").hold == 1 && !memory_holds(pid, "cAnArYsEcReT"))
        poll(NULL, 0, 20);
    assert_true(memory_holds(pid, "cAnArYqUeRy"));
    origin_hold(fixture->origin, "/a", 0);
    pthread_join(thread, NULL);
    expect_file(call, fixture->store);
    assert_true(memory_forgets(pid, "cAnArYsEcReT"));
    /* A sanitizer keeps the stacks of threads that have ended, and copies on them. */
    assert_true(IS_SANITIZED || memory_forgets(pid, "cAnArYqUeRy"));
    call_free(call);
    secret_map_deinit(&secrets);
}

static uint64_t private_kib(pid_t pid)
{
    char path[64];
    struct err err = ERR_INIT;
    struct str text = STR_INIT;
    unsigned long kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fs_read_fd(fd, 65536, &text, &err), 0);
    const char *line = strstr(text.data, "Pss_Anon:");
    assert_non_null(line);
    assert_int_equal(sscanf(line, "Pss_Anon: %lu", &kib), 1);
    str_deinit(&text);
    return kib;
}

/* What the fetcher may do: nothing but be its user. */
static void test_no_privileges(void **state)
{
    struct fixture *fixture = *state;
    struct str text = STR_INIT;
    status_read(fetcher_pid(fixture->fills), &text);
    static const char *const lines[] = {
        "Uid:\t65532\t65532\t65532\t65532",
        "Gid:\t65532\t65532\t65532\t65532",
        "\nGroups:\t \n",
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Threads:\t1",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (!strstr(text.data, lines[i]))
            fail_msg("%s is not in its status", lines[i]);
    }
    str_deinit(&text);
    uint64_t kib = private_kib(fetcher_pid(fixture->fills));
    print_message("idle fetcher: %lu KiB private\n", (unsigned long)kib);
    assert_true(kib < (IS_SANITIZED ? 262144 : 4096));
}

/* row 75: a store that is not the fetcher's user's to write is an error in words. */
static void test_foreign_store(void **state)
{
    struct fixture *fixture = *state;
    origin_add(fixture->origin,
               &(struct origin_object){.path = "/a", .data = fixture->data, .size = SIZE, .etag = "\"1\""});
    assert_int_equal(fchown(fixture->store, 0, 0), 0);
    struct call *call = call_new(fixture, "v1", "/a");
    call_run(call);
    assert_int_equal(call->outcome, -1);
    assert_int_equal(call->err.code, ERR_PRECONDITION);
    assert_non_null(strstr(call->err.message, "65532"));
    assert_int_equal(origin_seen(fixture->origin, "/a").bytes, 0);
    call_free(call);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "fetcher") == 0)
        return fetcher_main(argc, argv);
    const struct CMUnitTest tests[] = {
        TEST(test_fill),          TEST(test_many_volumes_one_download), TEST(test_killed_in_the_middle),
        TEST(test_no_privileges), TEST(test_secrets_are_forgotten),     TEST(test_foreign_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
