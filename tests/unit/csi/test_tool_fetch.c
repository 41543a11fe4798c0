/* `sharedcache fetch` as a function: exit status, files in their places, nothing downloaded twice. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "../cachecore/origin.h"
#include "base/fs.h"
#include "cachecore/digest.h"
#include "csi/tool_fetch.h"
#include "csi/tool_fetch_options.h"

#define SIZE ((size_t)100000)

struct fixture {
    char path[4096];
    char into[4200];
    struct origin *origin;
    unsigned char *data;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    const char *scratch = getenv("SC_SCRATCH");
    snprintf(fixture->path, sizeof(fixture->path), "%s/test_tool.XXXXXX", scratch ? scratch : "/tmp");
    assert_non_null(mkdtemp(fixture->path));
    snprintf(fixture->into, sizeof(fixture->into), "%s/new/into", fixture->path);
    fixture->data = malloc(SIZE);
    assert_non_null(fixture->data);
    for (size_t i = 0; i < SIZE; i++)
        fixture->data[i] = (unsigned char)(i * 31 >> 3);
    fixture->origin = origin_start();
    origin_add(fixture->origin,
               &(struct origin_object){.path = "/a.bin", .data = fixture->data, .size = SIZE, .etag = "\"1\""});
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    origin_stop(fixture->origin);
    char *name = strrchr(fixture->path, '/'); /* the scratch directory may be a mount of its own */
    *name = '\0';
    _cleanup_(closep) int parent = open(fixture->path, O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fs_remove_tree(parent, name + 1, &err), 0);
    free(fixture->data);
    free(fixture);
    return 0;
}

static char *url_of(const struct fixture *fixture, const char *rest)
{
    struct str out = STR_INIT;
    str_printf(&out, "http://127.0.0.1:%u%s", fixture->origin->port, rest);
    return str_steal(&out);
}

/* The tool in a process of its own, as it runs in life (this program is it, see main); what it prints goes to a file. */
static int fetch(const struct fixture *fixture, const char *rest, const char *const *more)
{
    _cleanup_(freep) char *url = url_of(fixture, rest);
    const char *argv[16] = {"sharedcache", "fetch", url, "--into", fixture->into};
    int argc = 5;
    while (more && *more)
        argv[argc++] = *more++;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char path[4300];
        snprintf(path, sizeof(path), "%s/said", fixture->path);
        int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execv("/proc/self/exe", (char *const *)(uintptr_t)argv); /* the web server's threads are not copied half */
        _exit(127);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_said(const struct fixture *fixture, const char *text)
{
    struct str said = STR_INIT;
    struct err err = ERR_INIT;
    _cleanup_(closep) int dir = open(fixture->path, O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fs_read_file(dir, "said", 65536, &said, &err), 0);
    if (!strstr(said.data ? said.data : "", text))
        fail_msg("\"%s\" is not in \"%s\"", text, said.data ? said.data : "");
    str_deinit(&said);
}

static void expect_file(const struct fixture *fixture, const char *name)
{
    struct str text = STR_INIT;
    struct err err = ERR_INIT;
    _cleanup_(closep) int dir = open(fixture->into, O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fs_read_file(dir, name, SIZE, &text, &err), 0);
    assert_int_equal(text.len, SIZE);
    assert_memory_equal(text.data, fixture->data, SIZE);
    str_deinit(&text);
}

static void test_fetch_twice(void **state)
{
    struct fixture *fixture = *state;
    char sha256[SHA256_HEX];
    digest_sha256_hex(fixture->data, SIZE, sha256);
    assert_int_equal(fetch(fixture, "/a.bin -> deep/er/b.bin", NULL), 0);
    expect_said(fixture, "1 file, 97.7 KiB, of which 97.7 KiB downloaded");
    expect_file(fixture, "deep/er/b.bin");
    const char *const digest[] = {"--sha256", sha256, NULL};
    assert_int_equal(fetch(fixture, "/a.bin", digest), 0);
    expect_said(fixture, "of which 0 B downloaded");
    expect_file(fixture, "a.bin");
    assert_int_equal(fetch(fixture, "/a.bin", NULL), 0); /* over the file that is there */
    expect_file(fixture, "a.bin");
    assert_int_equal(origin_seen(fixture->origin, "/a.bin").bytes, SIZE);
}

static void test_store_elsewhere(void **state)
{
    struct fixture *fixture = *state;
    char store[4300];
    snprintf(store, sizeof(store), "%s/store", fixture->path);
    const char *const more[] = {"--store", store, NULL};
    assert_int_equal(fetch(fixture, "/a.bin", more), 0);
    expect_file(fixture, "a.bin");
    strcat(store, "/FORMAT");
    assert_int_equal(access(store, F_OK), 0);
    char inside[4300];
    snprintf(inside, sizeof(inside), "%s/.sharedcache", fixture->into);
    assert_int_equal(access(inside, F_OK), -1);
}

static void test_exit_status(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        int status;
        int exit;
        const char *text;
    } rows[] = {{404, 4, "HTTP 404"}, {403, 3, "HTTP 403"}, {401, 3, "HTTP 401"}, {418, 1, "HTTP 418"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        origin_add(fixture->origin, &(struct origin_object){.path = "/bad", .status = rows[i].status});
        assert_int_equal(fetch(fixture, "/bad?token=canary", NULL), rows[i].exit);
        expect_said(fixture, rows[i].text);
    }
    const char *const wrong[] = {"--sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", NULL};
    assert_int_equal(fetch(fixture, "/a.bin", wrong), 1);
    expect_said(fixture, "sha256 expected e3b0");
    const char *const unknown[] = {"--frobnicate", "x", NULL};
    assert_int_equal(fetch(fixture, "/a.bin", unknown), 2);
    const char *const no_value[] = {"--store", NULL};
    assert_int_equal(fetch(fixture, "/a.bin", no_value), 2);
    assert_int_equal(fetch(fixture, "/a.bin -> .sharedcache/x", NULL), 2);
    const char *const help[] = {"--help", NULL};
    assert_int_equal(fetch(fixture, "/a.bin", help), 0);
    expect_said(fixture, "usage: sharedcache fetch");
}

static void file_write(const struct fixture *fixture, const char *name, const char *text, char path[4300])
{
    struct err err = ERR_INIT;
    _cleanup_(closep) int dir = open(fixture->path, O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fs_write_file(dir, name, text, strlen(text), 0600, &err), 0);
    snprintf(path, 4300, "%s/%s", fixture->path, name);
}

/* Lists, secrets and classes come from files. */
static void test_options_from_files(void **state)
{
    struct fixture *fixture = *state;
    struct err err = ERR_INIT;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    char inputs[4300];
    char secrets[4300];
    char class[4300];
    file_write(fixture, "inputs", "https://example.com/a\nhttps://example.com/b -> c", inputs);
    file_write(fixture, "secrets", "# mine\nuser=me\n\npassword=a=b \r\n", secrets);
    file_write(fixture, "class",
               "{\"metadata\":{\"name\":\"c\"},\"provisioner\":\"csi.sharedcache.io\","
               "\"parameters\":{\"allowedSources\":\"https://example.com/*\"}}",
               class);
    const char *argv[] = {"sharedcache", "fetch",   "--inputs", inputs,   "--secrets-file",
                          secrets,       "--class", class,      "--into", "x"};
    struct tool_fetch_options options;
    if (tool_fetch_options(10, (char **)(uintptr_t)argv, arena, &options, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(options.inputs.data, "https://example.com/a\nhttps://example.com/b -> c\n");
    assert_int_equal(options.secrets.count, 2);
    assert_string_equal(secret_reveal(secret_map_get(&options.secrets, "user")), "me");
    assert_string_equal(secret_reveal(secret_map_get(&options.secrets, "password")), "a=b ");
    assert_string_equal(options.class.allowed_sources, "https://example.com/*");
    assert_null(options.class.allowed_addresses);
    tool_fetch_options_deinit(&options);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "fetch") == 0)
        return tool_fetch_main(argc, argv);
    const struct CMUnitTest tests[] = {TEST(test_fetch_twice), TEST(test_store_elsewhere), TEST(test_exit_status),
                                       TEST(test_options_from_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
