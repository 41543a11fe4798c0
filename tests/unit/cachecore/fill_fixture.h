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
    const struct secret_map *secrets; /* NULL: nobody's */
    char *inputs;
    char *inputs_from;
    struct store *local;
    unsigned opened; /* times that the store was asked for */
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
    fixture->class.answer_ttl_s = 0; /* tests change what the origin has, and ask again at once */
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
    char *name = strrchr(fixture->path, '/'); /* the scratch directory may be a mount of its own */
    *name = '\0';
    _cleanup_(closep) int parent = open(fixture->path, O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fs_remove_tree(parent, name + 1, &err), 0);
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

static inline int run_open(void *context, struct fill_stores *out, struct err *err)
{
    struct run *run = context;
    (void)err;
    run->opened++;
    *out = (struct fill_stores){.store = run->store, .local_store = run->local};
    return 0;
}

static inline void *run_fill(void *argument)
{
    struct run *run = argument;
    struct inputs inputs = {.count = 0};
    _cleanup_(identity_freep) struct identity *nobody =
        identity_new(&(struct identity_facts){.namespace = NULL}, run->secrets, NULL);
    struct class class = run->fixture->class;
    class.max_bytes = run->max_bytes;
    const struct fill_request request = {.inputs = &inputs,
                                         .inputs_from = run->inputs_from,
                                         .context = {.class = &class, .identity = nobody, .volume = "00"},
                                         .open = run_open,
                                         .open_context = run,
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
    fill_result_deinit(&run->result);
    arena_free(run->arena);
    free(run);
}
