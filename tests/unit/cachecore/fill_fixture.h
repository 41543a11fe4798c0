/* A store, an engine and a web server of the test's own, and fills between them. */
#pragma once

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "cachecore/fetch.h"
#include "origin.h"

#define PART ((uint64_t)64 << 10)
#define SIZE ((size_t)1 << 20)
#define SOON_MS 30000

struct fixture {
    char path[4096];
    int scratch, store_dir;
    struct store *store;
    struct engine *engine;
    struct origin *origin;
    struct class class;
    unsigned char *data, *other;
};

/* A fill as a test sees it. */
struct run {
    struct fixture *fixture;
    struct store *store;
    struct engine *engine;
    char *inputs;
    char *inputs_from;
    struct store *local;
    uint64_t max_bytes, max_files;
    atomic_bool cancel;
    struct fill_progress progress;
    struct arena *arena;
    struct fill_result result;
    struct err err;
    int outcome;
};

static inline struct store *fixture_store(const struct fixture *fixture, const char *name)
{
    struct err err = ERR_INIT;
    mkdirat(fixture->scratch, name, 0755);
    _cleanup_(closep) int dir = openat(fixture->scratch, name, O_DIRECTORY | O_CLOEXEC);
    struct store *store = store_open(dir, "node", NULL, &err);
    if (!store)
        fail_msg("%s", err.message);
    return store;
}

static inline unsigned char *fixture_bytes(uint64_t seed)
{
    unsigned char *data = malloc(SIZE);
    assert_non_null(data);
    for (size_t i = 0; i < SIZE; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        data[i] = (unsigned char)(seed >> 56);
    }
    return data;
}

static inline int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    const char *scratch = getenv("SC_SCRATCH");
    snprintf(fixture->path, sizeof(fixture->path), "%s/test_fill.XXXXXX", scratch ? scratch : "/tmp");
    assert_non_null(mkdtemp(fixture->path));
    fixture->scratch = open(fixture->path, O_DIRECTORY | O_CLOEXEC);
    fixture->store = fixture_store(fixture, "store");
    fixture->store_dir = openat(fixture->scratch, "store", O_DIRECTORY | O_CLOEXEC);
    fixture->engine = engine_new(&(struct engine_config){.transfers = 4, .part_size = PART});
    fixture->origin = origin_start();
    class_default(&fixture->class);
    fixture->class.allowed_addresses = "127.0.0.0/8";
    fixture->data = fixture_bytes(1);
    fixture->other = fixture_bytes(2);
    *state = fixture;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    engine_free(fixture->engine);
    origin_stop(fixture->origin);
    store_free(fixture->store);
    close(fixture->store_dir);
    close(fixture->scratch);
    _cleanup_(closep) int root = open("/", O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fs_remove_tree(root, fixture->path + 1, &err), 0);
    free(fixture->data);
    free(fixture->other);
    free(fixture);
    return 0;
}

/* text: lines of inputs, in which '@' stands for http://127.0.0.1:<port>. Heap. */
static inline char *fixture_text(const struct fixture *fixture, const char *text)
{
    struct str out = STR_INIT;
    for (; *text; text++) {
        if (*text == '@')
            str_printf(&out, "http://127.0.0.1:%u", fixture->origin->port);
        else
            str_append_char(&out, *text);
    }
    return str_steal(&out);
}

static inline struct run *run_new(struct fixture *fixture, const char *text)
{
    struct run *run = calloc(1, sizeof(*run));
    assert_non_null(run);
    run->fixture = fixture;
    run->store = fixture->store;
    run->engine = fixture->engine;
    run->inputs = fixture_text(fixture, text);
    run->max_bytes = fixture->class.max_bytes;
    run->max_files = fixture->class.max_files;
    run->arena = arena_new();
    return run;
}

static inline void *run_fill(void *argument)
{
    struct run *run = argument;
    struct inputs inputs = {.count = 0};
    struct secret_map secrets = SECRET_MAP_INIT;
    struct class class = run->fixture->class;
    class.max_bytes = run->max_bytes;
    const struct fill_request request = {
        .inputs = &inputs,
        .inputs_from = run->inputs_from,
        .context = {.class = &class, .secrets = &secrets, .identity = "", .volume = "00"},
        .store = run->store,
        .local_store = run->local,
        .max_bytes = run->max_bytes,
        .max_files = run->max_files};
    run->outcome = -1;
    if (run->inputs_from || inputs_parse(run->arena, run->inputs, strlen(run->inputs), &inputs, &run->err) == 0)
        run->outcome =
            fill_run(run->engine, &request, run->arena, &run->progress, &run->result, &run->cancel, &run->err);
    return NULL;
}

static inline void run_free(struct run *run)
{
    free(run->inputs);
    free(run->inputs_from);
    arena_free(run->arena);
    free(run);
}

static inline void expect_content(struct store *store, const char *object, const unsigned char *data, size_t size)
{
    struct err err = ERR_INIT;
    struct str text = STR_INIT;
    _cleanup_(closep) int fd = store_object_open(store, object, &err);
    if (fd < 0)
        fail_msg("%s", err.message);
    assert_int_equal(fs_read_fd(fd, 64u << 20, &text, &err), 0);
    assert_int_equal(text.len, size);
    if (size > 0)
        assert_memory_equal(text.data, data, size);
    str_deinit(&text);
}

static inline void expect_done(const struct run *run)
{
    if (run->outcome != 0)
        fail_msg("%s", run->err.message);
}

/* The input's one file has these bytes, in the store and in the snapshot's words. */
static inline void expect_input(const struct run *run, size_t index, const unsigned char *data, size_t size)
{
    expect_done(run);
    assert_true(index < run->result.count);
    const struct snapshot *list = &run->result.inputs[index].list;
    assert_int_equal(list->count, 1);
    assert_int_equal(list->files[0].size, size);
    expect_content(run->store, list->files[0].object, data, size);
}

static inline void expect_error(const struct run *run, enum err_code code, const char *text)
{
    assert_int_equal(run->outcome, -1);
    if (run->err.code != code || !strstr(run->err.message, text))
        fail_msg("%s \"%s\" is not %s with \"%s\"", err_code_name(run->err.code), run->err.message, err_code_name(code),
                 text);
}

/* Nothing is left of downloads: no partial, no object. */
static inline void expect_objects(const struct fixture *fixture, uint64_t objects)
{
    struct err err = ERR_INIT;
    struct store_usage usage;
    assert_int_equal(store_usage(fixture->store, &usage, &err), 0);
    assert_int_equal(usage.objects, objects);
}

static inline size_t incoming_count(const struct fixture *fixture)
{
    _cleanup_(closedirp) DIR *dir = fdopendir(openat(fixture->store_dir, "incoming", O_DIRECTORY | O_CLOEXEC));
    size_t count = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    return count;
}

static inline void serve(const struct fixture *fixture, struct origin_object object)
{
    if (!object.data && object.status == 0) {
        object.data = fixture->data;
        object.size = object.size > 0 ? object.size : SIZE;
    }
    origin_add(fixture->origin, &object);
}
