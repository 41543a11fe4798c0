#include "csi/tool_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "csi/progress.h"
#include "csi/tool_fetch_options.h"
#include "csi/tool_place.h"

#define TERMINAL_MS 200
#define PLAIN_MS 5000
#define STORE_NAME ".sharedcache"

/* The fill on its thread, and what the main thread shows of it. */
struct fetch_run {
    const struct tool_fetch_options *options;
    struct store *store;
    struct arena *arena;
    struct engine *engine;
    struct fill_progress progress;
    struct fill_result result;
    struct err err;
    int outcome;
    int ended; /* an eventfd */
};

static atomic_bool interrupted;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&interrupted, true);
}

static int store_lend(void *context, struct fill_stores *out, struct err *err)
{
    const struct fetch_run *run = context;
    (void)err;
    out->store = run->store;
    return 0;
}

static void *fetch_thread(void *argument)
{
    struct fetch_run *run = argument;
    const struct tool_fetch_options *options = run->options;
    struct inputs inputs;
    char volume[SHA256_HEX];
    uint64_t one = 1;
    _cleanup_(identity_freep) struct identity *identity =
        identity_new(&(struct identity_facts){.namespace = NULL}, &options->secrets, NULL);
    digest_sha256_hex(options->into, strlen(options->into), volume);
    const struct fill_request request = {.inputs = &inputs,
                                         .context = {.class = &options->class, .identity = identity, .volume = volume},
                                         .open = store_lend,
                                         .open_context = run,
                                         .max_bytes = options->class.max_bytes,
                                         .max_files = options->class.max_files};
    run->outcome = inputs_parse(run->arena, options->inputs.data, options->inputs.len, &inputs, &run->err);
    if (run->outcome == 0)
        run->outcome =
            fill_run(run->engine, &request, run->arena, &run->progress, &run->result, &interrupted, &run->err);
    while (write(run->ended, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
    return NULL;
}

static void progress_show(struct fetch_run *run, struct progress *progress, bool is_terminal)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    const struct wire_report report = {.stage = (enum fill_stage)atomic_load(&run->progress.stage),
                                       .bytes_done = atomic_load(&run->progress.bytes_done),
                                       .bytes_total = atomic_load(&run->progress.bytes_total),
                                       .bytes_fetched = atomic_load(&run->progress.bytes_fetched),
                                       .inputs = atomic_load(&run->progress.inputs)};
    int64_t now_ms = clock_monotonic_ms();
    progress_add(progress, &report, now_ms);
    progress_text(progress, now_ms, &text);
    fprintf(stderr, is_terminal ? "\r\033[K%s" : "%s\n", text.data);
    fflush(stderr);
}

static void progress_follow(struct fetch_run *run)
{
    bool is_terminal = isatty(STDERR_FILENO) == 1;
    struct pollfd ended = {.fd = run->ended, .events = POLLIN};
    struct progress progress = {.count = 0};
    while (poll(&ended, 1, is_terminal ? TERMINAL_MS : PLAIN_MS) <= 0)
        progress_show(run, &progress, is_terminal);
    if (is_terminal)
        fputs("\r\033[K", stderr);
}

static int absolute_path(const char *path, char out[PATH_MAX], struct err *err)
{
    char here[PATH_MAX] = "";
    if (path[0] != '/' && !getcwd(here, sizeof(here)))
        return err_set_errno(err, ERR_NONE, errno, "cannot tell the working directory");
    int len = snprintf(out, PATH_MAX, "%s%s%s", here, path[0] == '/' ? "" : "/", path);
    return len < PATH_MAX ? 0 : err_set(err, ERR_INVALID, "the path is too long");
}

static int dir_open(const char *path, struct err *err)
{
    char absolute[PATH_MAX];
    return absolute_path(path, absolute, err) == 0 ? fs_open_dir(absolute, 0755, err) : -1;
}

static struct store *tool_store(const struct tool_fetch_options *options, int into, struct err *err)
{
    _cleanup_(closep) int dir = -1;
    char node[HOST_NAME_MAX + 1] = "tool";
    gethostname(node, sizeof(node) - 1);
    if (options->store)
        dir = dir_open(options->store, err);
    else if (fs_mkdir(into, STORE_NAME, 0755, err) == 0)
        dir = openat(into, STORE_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct store *store = dir >= 0 ? store_open(dir, node, NULL, err) : NULL;
    if (!store)
        err_prefix(err, "the cache");
    return store;
}

static int file_place(const struct fetch_run *run, int into, const char *path, const struct snapshot_file *file,
                      struct err *err)
{
    if (str_starts_with(path, STORE_NAME "/"))
        return err_set(err, ERR_INVALID, "'%s' would go into the cache itself", path);
    _cleanup_(closep) int object = store_object_open(run->store, file->object, err);
    return object >= 0 ? tool_place(into, path, object, file->mtime_s, err) : -1;
}

static int input_place(const struct fetch_run *run, int into, const struct fill_input_result *input, struct err *err)
{
    const char *slash = input->place[0] ? "/" : "";
    for (size_t i = 0; i < input->list.count; i++) {
        const struct snapshot_file *file = &input->list.files[i];
        _cleanup_(str_deinitp) struct str path = STR_INIT;
        str_append_text(&path, input->place);
        if (!input->is_file)
            str_printf(&path, "%s%s", slash, file->path);
        if (file_place(run, into, path.data, file, err) != 0)
            return -1;
    }
    return 0;
}

static int files_place(const struct fetch_run *run, int into, struct err *err)
{
    for (size_t i = 0; i < run->result.count; i++) {
        if (input_place(run, into, &run->result.inputs[i], err) != 0)
            return -1;
    }
    return 0;
}

static void summary_print(const struct fetch_run *run, int64_t took_ms)
{
    uint64_t bytes = 0;
    size_t files = 0;
    char all[16];
    char fetched[16];
    for (size_t i = 0; i < run->result.count; i++) {
        bytes += run->result.inputs[i].list.bytes;
        files += run->result.inputs[i].list.count;
    }
    str_human_bytes(bytes, all);
    str_human_bytes(atomic_load(&run->progress.bytes_fetched), fetched);
    printf("%zu file%s, %s, of which %s downloaded, in %.1f s\n", files, files == 1 ? "" : "s", all, fetched,
           (double)took_ms / 1000);
}

static int fetch_finish(const struct fetch_run *run, int into, int64_t start_ms, struct err *err)
{
    if (run->outcome != 0) {
        *err = run->err;
        return -1;
    }
    if (files_place(run, into, err) != 0)
        return -1;
    summary_print(run, clock_monotonic_ms() - start_ms);
    return 0;
}

static int fetch_all(const struct tool_fetch_options *options, struct arena *arena, struct err *err)
{
    int64_t start_ms = clock_monotonic_ms();
    _cleanup_(closep) int into = dir_open(options->into, err);
    if (into < 0)
        return -1;
    _cleanup_(store_freep) struct store *store = tool_store(options, into, err);
    if (!store)
        return -1;
    _cleanup_(closep) int ended = eventfd(0, EFD_CLOEXEC);
    _cleanup_(engine_freep) struct engine *engine = engine_new(&(struct engine_config){.transfers = 0});
    struct fetch_run run = {.options = options, .store = store, .arena = arena, .engine = engine, .ended = ended};
    pthread_t thread;
    int result = pthread_create(&thread, NULL, fetch_thread, &run);
    if (result != 0)
        return err_set_errno(err, ERR_NONE, result, "cannot start a thread");
    progress_follow(&run);
    pthread_join(thread, NULL);
    result = fetch_finish(&run, into, start_ms, err);
    fill_result_deinit(&run.result);
    return result;
}

static int exit_status(enum err_code code)
{
    switch (code) {
    case ERR_INVALID:
    case ERR_UNSUPPORTED:
        return 2;
    case ERR_DENIED:
    case ERR_UNAUTHENTICATED:
        return 3;
    case ERR_NOT_FOUND:
        return 4;
    case ERR_EXHAUSTED:
        return 5;
    case ERR_BUSY:
    case ERR_UNAVAILABLE:
    case ERR_DEADLINE:
        return 75;
    case ERR_CANCELLED:
        return 130;
    default:
        return 1;
    }
}

int tool_fetch_main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct tool_fetch_options options;
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int result = tool_fetch_options(argc, argv, arena, &options, &err);
    if (result == 0 && options.is_help)
        fputs(tool_fetch_usage, stdout);
    else if (result == 0)
        result = fetch_all(&options, arena, &err);
    tool_fetch_options_deinit(&options);
    if (result == 0)
        return fflush(stdout) != 0;
    fprintf(stderr, "sharedcache fetch: %s\n", err.message);
    return exit_status(err.code);
}
