/* Classes from the API: what is remembered, for how long, and that what pods name pushes nothing out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "csi/class_kube.h"
#include "tests/unit/csi/kube_server.h"

#define DRIVER "csi.sharedcache.io"
#define EACH (CLASS_KUBE_CLASSES_MAX + 6)

struct world {
    struct kube_server server;
    struct kube *kube;
    struct class_source *source;
};

static void class_write(FILE *file, const char *name, unsigned number, const char *provisioner)
{
    fprintf(file,
            "%s\"/apis/storage.k8s.io/v1/storageclasses/%s-%u\": {\"kind\": \"StorageClass\", \"metadata\": {\"name\": "
            "\"%s-%u\", \"managedFields\": [{\"manager\": \"x\"}]}, \"provisioner\": \"%s\", \"parameters\": "
            "{\"maxFiles\": \"%u\"}, \"mountOptions\": [\"nconnect=8\", \"ro\"]}",
            number == 0 && name[0] == 'o' ? "" : ",", name, number, name, number, provisioner, number + 1);
}

static int start(void **state)
{
    char path[SCRATCH_PATH_MAX + 32];
    struct err err = ERR_INIT;
    struct world *world = calloc(1, sizeof(*world));
    if (!world || scratch_make(world->server.dir) != 0)
        return -1;
    snprintf(path, sizeof(path), "%s/objects.json", world->server.dir);
    FILE *file = fopen(path, "w");
    if (!file)
        return -1;
    fputc('{', file);
    for (unsigned i = 0; i < EACH; i++)
        class_write(file, "ours", i, DRIVER);
    for (unsigned i = 0; i < EACH; i++)
        class_write(file, "theirs", i, "nfs.csi.k8s.io");
    fputs(",\"/apis/storage.k8s.io/v1/storageclasses/alias\": {\"kind\": \"StorageClass\", \"metadata\": {\"name\": "
          "\"other\"}, \"provisioner\": \"" DRIVER "\"}}",
          file);
    fclose(file);
    if (kube_server_start(&world->server) != 0)
        return -1;
    struct kube_config config = {world->server.url, world->server.token_file, world->server.ca_file};
    world->kube = kube_new(&config, &err);
    world->source = class_source_kube(world->kube, DRIVER, "ours-1");
    *state = world;
    return 0;
}

static int stop(void **state)
{
    struct world *world = *state;
    class_source_free(world->source);
    kube_free(world->kube);
    kube_server_stop(&world->server);
    free(world);
    return 0;
}

/* The number is the class's own, so that no mix-up goes unseen. */
static enum err_code get(struct class_source *source, const char *name, unsigned number)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct class class;
    char full[64];
    snprintf(full, sizeof(full), "%s-%u", name, number);
    if (class_get(source, full, arena, &class, &err) != 0)
        return err.code;
    return strcmp(class.name, full) == 0 && class.max_files == number + 1 ? ERR_NONE : ERR_INTERNAL;
}

static void a_class_is_read_as_from_a_file(void **state)
{
    struct world *world = *state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct class class;
    assert_int_equal(class_get(world->source, NULL, arena, &class, &err), 0);
    assert_string_equal(class.name, "ours-1");
    assert_string_equal(class.mount_options, "nconnect=8,ro");
    assert_int_equal(get(world->source, "theirs", 0), ERR_INVALID);
    assert_int_equal(get(world->source, "nobodys", 0), ERR_NOT_FOUND);
    assert_int_equal(class_get(world->source, "alias", arena, &class, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "answers with 'other'"));
}

/* A stopped server tells what is remembered: all else cannot be had. */
static void memory_is_bounded_and_holds_ours(void **state)
{
    struct world *world = *state;
    for (unsigned i = 0; i < EACH; i++)
        assert_int_equal(get(world->source, "ours", i), ERR_NONE);
    assert_int_equal(get(world->source, "ours", 6), ERR_NONE); /* remembered: used again, not read again */
    for (unsigned i = 0; i < EACH; i++)
        assert_int_equal(get(world->source, "theirs", i), ERR_INVALID);
    for (unsigned i = 0; i < EACH; i++)
        assert_int_equal(get(world->source, "nobodys", i), ERR_NOT_FOUND);
    assert_int_equal(kill(world->server.child, SIGKILL), 0);
    unsigned remembered = 0;
    for (unsigned i = 0; i < EACH; i++)
        remembered += get(world->source, "ours", i) == ERR_NONE;
    assert_int_equal(remembered, CLASS_KUBE_CLASSES_MAX);
    assert_int_equal(get(world->source, "ours", 0), ERR_UNAVAILABLE);
    assert_int_equal(get(world->source, "ours", EACH - 1), ERR_NONE);
    assert_int_equal(get(world->source, "theirs", EACH - 1), ERR_UNAVAILABLE);
}

#define CALLERS 8

struct caller {
    pthread_t thread;
    struct class_source *source;
    unsigned number;
    unsigned wrong;
};

/* Names that everybody wants, that one alone wants, and that push others out. */
static void *caller_run(void *context)
{
    struct caller *caller = context;
    for (unsigned i = 0; i < 12; i++) {
        caller->wrong += get(caller->source, "ours", i % 3) != ERR_NONE;
        caller->wrong += get(caller->source, "ours", (caller->number * 7 + i) % EACH) != ERR_NONE;
        caller->wrong += get(caller->source, "theirs", i % 2) != ERR_INVALID;
        caller->wrong += get(caller->source, "nobodys", i % 2) != ERR_NOT_FOUND;
    }
    return NULL;
}

static void callers_at_once_get_what_they_asked_for(void **state)
{
    struct world *world = *state;
    struct caller callers[CALLERS];
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.source = world->source, .number = i};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_run, &callers[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
        assert_int_equal(callers[i].wrong, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_class_is_read_as_from_a_file, start, stop),
        cmocka_unit_test_setup_teardown(callers_at_once_get_what_they_asked_for, start, stop),
        cmocka_unit_test_setup_teardown(memory_is_bounded_and_holds_ours, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
