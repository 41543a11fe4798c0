/* Shares, and helpers that hang: a FUSE mount that nobody serves stands for a server that does not answer. */
#include "tests/unit/mount/world.h"

#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/process.h"

#define STORE_UID 61234u

static struct share_plan plan_local(struct arena *arena, const char *dir, const char *sub_path)
{
    struct err err = ERR_INIT;
    struct share_plan plan;
    struct share_spec spec = {.type = "local", .share = world_path(dir), .sub_path = sub_path};
    must_ok(share_plan_make(arena, &spec, &plan, &err), err);
    return plan;
}

static struct err open_share(const char *key, const struct share_plan *plan, int64_t deadline_ms,
                             struct share_root *out)
{
    struct err err = ERR_INIT;
    *out = (struct share_root){.fd = -1, .objects_fd = -1};
    if (mounts_share_open(world.mounts, key, plan, NULL, STORE_UID, deadline_ms, out, &err) == 0)
        assert_int_equal(err.code, ERR_NONE);
    return err;
}

static void root_close(const struct share_root *root)
{
    close(root->fd);
    close(root->objects_fd);
}

static void assert_dir(const char *name, uid_t uid)
{
    struct stat info;
    must(stat(world_path(name), &info) == 0);
    assert_int_equal(info.st_mode, S_IFDIR | 0755);
    assert_int_equal(info.st_uid, uid);
}

static void a_store_is_made_for_its_user(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct share_root root;
    close(world_dir("local"));
    world_write("local/other", "something of the admin's");
    struct share_plan plan = plan_local(arena, "local", "caches/one");
    struct err err = open_share("k", &plan, soon(), &root);
    if (err.code)
        fail_msg("%s", err.message);
    assert_true(root.writable);
    assert_dir("local", 0);
    assert_dir("local/caches", STORE_UID);
    assert_dir("local/caches/one", STORE_UID);
    assert_dir("local/caches/one/objects", STORE_UID);
    struct stat a;
    struct stat b;
    must(fstat(root.objects_fd, &a) == 0 && stat(world_path("local/caches/one/objects"), &b) == 0);
    assert_int_equal(a.st_ino, b.st_ino);
    must(fstat(root.fd, &a) == 0 && stat(world_path("local/caches/one"), &b) == 0);
    assert_int_equal(a.st_ino, b.st_ino);
    root_close(&root);
    err = open_share("k", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_NONE);
    root_close(&root);
}

static void an_empty_share_is_taken_over_and_one_in_use_is_not(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct share_root root;
    close(world_dir("fresh/lost+found"));
    struct share_plan plan = plan_local(arena, "fresh", "");
    struct err err = open_share("k", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_NONE);
    assert_true(root.writable);
    assert_dir("fresh", STORE_UID);
    root_close(&root);
    close(world_dir("used"));
    world_write("used/file", "x");
    plan = plan_local(arena, "used", "");
    err = open_share("k", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_NONE);
    assert_false(root.writable); /* objects/ is the store's, the root stays root's */
    assert_dir("used", 0);
    root_close(&root);
}

/* row 75: a read-only share serves what is there; without a store there is nothing to serve. */
static void a_read_only_share(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct share_root root;
    close(world_dir("ro"));
    must(mount("ro", world_path("ro"), "tmpfs", 0, "size=1m,mode=0755") == 0);
    struct share_plan plan = plan_local(arena, "ro", "s");
    struct err err = open_share("k", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_NONE);
    root_close(&root);
    must(mount(NULL, world_path("ro"), NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    err = open_share("k", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_NONE);
    assert_false(root.writable);
    root_close(&root);
    plan = plan_local(arena, "ro", "another");
    err = open_share("k", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_PRECONDITION);
    assert_non_null(strstr(err.message, "share not writable as uid 61234"));
    must(umount(world_path("ro")) == 0);
}

static void a_share_that_is_no_directory(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct share_root root;
    struct share_plan plan = plan_local(arena, "nowhere", "");
    struct err err = open_share("k", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_PRECONDITION);
    assert_non_null(strstr(err.message, "nowhere"));
    close(world_dir("linked"));
    must(symlink("/etc", world_path("linked/sub")) == 0);
    plan = plan_local(arena, "linked", "sub");
    err = open_share("k", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_PRECONDITION);
}

/* row 65: nothing answers at the address. */
static void an_unreachable_server_is_told_soon(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct share_plan plan;
    struct share_root root;
    struct share_spec spec = {.type = "nfs", .share = "127.0.0.1:/x", .mount_options = "port=1"};
    must_ok(share_plan_make(arena, &spec, &plan, &err), err);
    err = open_share("dead", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "share not reachable: '127.0.0.1' port 1: Connection refused"));
    spec.share = "no-such-host.invalid:/x";
    must_ok(share_plan_make(arena, &spec, &plan, &err), err);
    int64_t started_ms = clock_monotonic_ms();
    err = open_share("dead", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "no-such-host.invalid"));
    assert_true(clock_monotonic_ms() - started_ms < 10000);
    must_ok(mounts_share_close(world.mounts, "dead", soon(), &err), err);
    assert_string_equal(world_read("shares/dead"), "errno 2");
}

static void a_login_is_needed_and_never_told(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    _cleanup_(secret_freep) struct secret *user = secret_new("joe", 3);
    _cleanup_(secret_freep) struct secret *password = secret_new("hunter2\0x", 9);
    struct err err = ERR_INIT;
    struct share_plan plan;
    struct share_root root;
    struct share_spec spec = {.type = "smb", .share = "//127.0.0.1/x", .mount_options = "port=1"};
    must_ok(share_plan_make(arena, &spec, &plan, &err), err);
    err = open_share("smb", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_PRECONDITION);
    assert_non_null(strstr(err.message, "shareSecret"));
    struct share_login login = {.username = user, .password = password};
    assert_int_equal(mounts_share_open(world.mounts, "smb", &plan, &login, 0, soon(), &root, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(strstr(err.message, "hunter2"));
}

static void keys_are_names(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct share_root root;
    struct share_plan plan = plan_local(arena, "local", "");
    static const char *const keys[] = {"",  "..",  "a/b",
                                       "A", "a.b", "0123456789012345678901234567890123456789012345678901234567890123x"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct err err = open_share(keys[i], &plan, soon(), &root);
        assert_int_equal(err.code, ERR_INTERNAL);
        err = (struct err)ERR_INIT;
        assert_int_equal(mounts_share_close(world.mounts, keys[i], soon(), &err), -1);
    }
}

/* Says hello, as the protocol wants (linux/fuse.h). */
static void silent_greet(int fuse)
{
    char request[FUSE_MIN_READ_BUFFER];
    struct fuse_in_header in;
    must(read(fuse, request, sizeof(request)) >= (ssize_t)sizeof(in));
    memcpy(&in, request, sizeof(in));
    assert_int_equal(in.opcode, FUSE_INIT);
    struct {
        struct fuse_out_header header;
        struct fuse_init_out init;
    } out = {.header = {.len = sizeof(out), .unique = in.unique},
             .init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096}};
    must(write(fuse, &out, sizeof(out)) == (ssize_t)sizeof(out));
}

/* A file system whose server never says another word. Returns the server's side. */
static int silent_mount(const char *name)
{
    char options[128];
    if (access("/dev/fuse", R_OK | W_OK) != 0)
        skip(); /* a kernel without FUSE */
    close(world_dir(name));
    int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    must(fuse >= 0);
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse);
    must(mount("silent", world_path(name), "fuse", 0, options) == 0);
    silent_greet(fuse);
    return fuse;
}

/* Until the kernel asks the silent server something: another process hangs in it now. */
static void request_wait(int fuse)
{
    struct pollfd poll_fd = {.fd = fuse, .events = POLLIN};
    must(poll(&poll_fd, 1, 20000) == 1);
}

/* Takes the next question and leaves it unanswered. Returns who asked. Interrupts and the like carry no pid. */
static pid_t question_take(int fuse)
{
    char request[FUSE_MIN_READ_BUFFER];
    struct fuse_in_header in = {.pid = 0};
    while (in.pid == 0) {
        request_wait(fuse);
        must(read(fuse, request, sizeof(request)) >= (ssize_t)sizeof(in));
        memcpy(&in, request, sizeof(in));
    }
    return (pid_t)in.pid;
}

/* How many children this process has, and one of them. They belong to the thread that forked them. */
static size_t children_count(pid_t *one)
{
    char path[64];
    size_t count = 0;
    _cleanup_(closedirp) DIR *tasks = opendir("/proc/self/task");
    must(tasks);
    for (struct dirent *entry = readdir(tasks); entry; entry = readdir(tasks)) {
        pid_t pid;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", entry->d_name);
        _cleanup_(fclosep) FILE *file = fopen(path, "re");
        for (; file && fscanf(file, "%d", &pid) == 1; count++)
            *one = pid;
    }
    return count;
}

/* rows 66 and 67: killed at the deadline; other shares go on; the next attempt works once the server is back. */
static void a_hanging_share_is_given_up_at_the_deadline(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct share_root root;
    int fuse = silent_mount("silent");
    struct share_plan plan = plan_local(arena, "silent", "");
    struct share_plan healthy = plan_local(arena, "local", "caches/one");
    for (int i = 0; i < 5; i++) { /* more often than helpers_max: none was lost in the kernel */
        int64_t started_ms = clock_monotonic_ms();
        struct err err = open_share("silent", &plan, started_ms + 200, &root);
        int64_t took_ms = clock_monotonic_ms() - started_ms;
        assert_int_equal(err.code, ERR_UNAVAILABLE);
        assert_non_null(strstr(err.message, "did not answer within"));
        assert_true(took_ms >= 200 && took_ms < 5000);
        assert_int_equal(mounts_helpers_abandoned(world.mounts), 0);
        err = open_share("healthy", &healthy, soon(), &root);
        assert_int_equal(err.code, ERR_NONE);
        root_close(&root);
    }
    pid_t pid;
    assert_int_equal(children_count(&pid), 1); /* the healthy share's idle helper */
    close(fuse);                               /* the server is gone for good: the mount answers ENOTCONN */
    struct err err = open_share("silent", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    must(umount2(world_path("silent"), MNT_DETACH) == 0);
    err = open_share("silent", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_NONE);
    root_close(&root);
}

/* row 68: unmounting never asks the server. */
static void a_hanging_mount_is_unmounted_at_once(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    int fuse = silent_mount("shares/hung");
    int64_t started_ms = clock_monotonic_ms();
    must_ok(mounts_share_close(world.mounts, "hung", soon(), &err), err);
    assert_true(clock_monotonic_ms() - started_ms < 5000);
    assert_int_equal(world_mounts_below("shares/hung"), 0);
    must_ok(mounts_share_close(world.mounts, "hung", soon(), &err), err); /* not mounted is fine */
    close(fuse);
}

struct opener {
    const struct share_plan *plan;
    int64_t deadline_ms;
    struct err err;
};

static void *open_on_a_thread(void *argument)
{
    struct opener *opener = argument;
    struct share_root root;
    opener->err = open_share("queue", opener->plan, opener->deadline_ms, &root);
    if (opener->err.code == ERR_NONE)
        root_close(&root);
    return NULL;
}

static void calls_for_one_share_wait_for_each_other_until_their_deadline(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct share_root root;
    int fuse = silent_mount("queue");
    struct share_plan plan = plan_local(arena, "queue", "");
    struct opener first = {.plan = &plan, .deadline_ms = clock_monotonic_ms() + 2000};
    pthread_t thread;
    must(pthread_create(&thread, NULL, open_on_a_thread, &first) == 0);
    request_wait(fuse);
    struct err err = open_share("queue", &plan, clock_monotonic_ms() + 100, &root);
    assert_int_equal(err.code, ERR_DEADLINE);
    must(pthread_join(thread, NULL) == 0);
    assert_int_equal(first.err.code, ERR_UNAVAILABLE);
    close(fuse);
    must(umount2(world_path("queue"), MNT_DETACH) == 0);
}

static void *open_healthy_on_a_thread(void *argument)
{
    struct opener *opener = argument;
    struct share_root root;
    for (int i = 0; i < 20 && opener->err.code == ERR_NONE; i++) {
        opener->err = open_share("healthy", opener->plan, opener->deadline_ms, &root);
        if (opener->err.code == ERR_NONE)
            root_close(&root);
    }
    return NULL;
}

static void many_threads_share_few_helpers(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct share_plan plan = plan_local(arena, "local", "caches/two");
    struct opener openers[8];
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) {
        openers[i] = (struct opener){.plan = &plan, .deadline_ms = soon()};
        must(pthread_create(&threads[i], NULL, open_healthy_on_a_thread, &openers[i]) == 0);
    }
    for (size_t i = 0; i < 8; i++) {
        must(pthread_join(threads[i], NULL) == 0);
        if (openers[i].err.code)
            fail_msg("%s", openers[i].err.message);
    }
    pid_t pid;
    size_t count = children_count(&pid);
    assert_true(count >= 1 && count <= 2);
}

/* A helper that died while it was idle is replaced, not reported. */
static void a_dead_idle_helper_is_replaced(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct share_root root;
    struct share_plan plan = plan_local(arena, "local", "caches/one");
    struct err err = open_share("k", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_NONE);
    root_close(&root);
    pid_t pid = 0;
    assert_true(children_count(&pid) >= 1);
    assert_true(pid > 0);
    must(kill(pid, SIGKILL) == 0);
    siginfo_t info;
    must(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
    for (int i = 0; i < 3; i++) {
        err = open_share("k", &plan, soon(), &root);
        if (err.code)
            fail_msg("%s", err.message);
        root_close(&root);
    }
}

/* A question that the server has taken is waited for even through SIGKILL: a helper that cannot be ended. */
static void hang_for_good(const struct share_plan *plan, int fuse, size_t hanging)
{
    pthread_t thread;
    struct opener opener = {.plan = plan, .deadline_ms = clock_monotonic_ms() + 1000};
    must(pthread_create(&thread, NULL, open_on_a_thread, &opener) == 0);
    question_take(fuse);
    must(pthread_join(thread, NULL) == 0);
    assert_int_equal(opener.err.code, ERR_UNAVAILABLE);
    assert_int_equal(mounts_helpers_abandoned(world.mounts), hanging);
}

/* rows 67 and 68: the number of processes stays flat, however often a dead share is tried. */
static void helpers_that_cannot_be_killed_are_counted_and_capped(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    int fuse = silent_mount("stuck");
    struct share_plan plan = plan_local(arena, "stuck", "");
    struct share_root root;
    hang_for_good(&plan, fuse, 1);
    hang_for_good(&plan, fuse, 2);
    struct err err = open_share("queue", &plan, soon(), &root);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "2 earlier attempts still hang"));
    err = (struct err)ERR_INIT;
    must_ok(mounts_share_close(world.mounts, "queue", soon(), &err), err); /* undoing is let in */
    close(fuse); /* every question is answered now: with an error */
    int64_t until_ms = soon();
    while (mounts_helpers_abandoned(world.mounts) > 0 && clock_monotonic_ms() < until_ms)
        sched_yield();
    assert_int_equal(mounts_helpers_abandoned(world.mounts), 0);
    must(umount2(world_path("stuck"), MNT_DETACH) == 0);
    err = open_share("queue", &plan, soon(), &root); /* row 66: works again */
    assert_int_equal(err.code, ERR_NONE);
    root_close(&root);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "mount-helper") == 0)
        return mount_helper_main();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_is_made_for_its_user),
        cmocka_unit_test(an_empty_share_is_taken_over_and_one_in_use_is_not),
        cmocka_unit_test(a_read_only_share),
        cmocka_unit_test(a_share_that_is_no_directory),
        cmocka_unit_test(an_unreachable_server_is_told_soon),
        cmocka_unit_test(a_login_is_needed_and_never_told),
        cmocka_unit_test(keys_are_names),
        cmocka_unit_test(a_hanging_share_is_given_up_at_the_deadline),
        cmocka_unit_test(a_hanging_mount_is_unmounted_at_once),
        cmocka_unit_test(calls_for_one_share_wait_for_each_other_until_their_deadline),
        cmocka_unit_test(many_threads_share_few_helpers),
        cmocka_unit_test(a_dead_idle_helper_is_replaced),
        cmocka_unit_test(helpers_that_cannot_be_killed_are_counted_and_capped),
    };
    return cmocka_run_group_tests(tests, world_start, world_end);
}
