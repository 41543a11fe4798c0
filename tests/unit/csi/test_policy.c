/* What applies to a volume: class, its own parameters, mount flags, and what a pod may choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "csi/policy.h"

/* One class, "fast". */
static int get(void *backend, const char *name, struct arena *arena, struct class *out, struct err *err)
{
    (void)backend;
    if (strcmp(name, "fast") != 0)
        return err_set(err, ERR_NOT_FOUND, "no class '%s'", name);
    class_default(out);
    out->name = "fast";
    out->mount_options = "nconnect=8";
    return class_set(arena, out, "shareType", "nfs", err) != 0 || class_set(arena, out, "share", "s:/x", err) != 0 ||
                   class_set(arena, out, "allowedNamespaces", "ml-*", err) != 0
               ? -1
               : 0;
}

static void nothing_to_free(void *backend)
{
    (void)backend;
}

static const struct {
    struct volume_attributes attributes;
    const char *flags;
    const char *options;    /* expected; NULL: an error */
    const char *namespaces; /* expected */
} volumes[] = {
    {{.storage_class = "fast"}, "", "nconnect=8", "ml-*"},
    {{0}, "", "nconnect=8", "ml-*"}, /* the default class */
    {{.storage_class = "slow"}, "", NULL, NULL},
    /* provisioned: the class as it is now, not as it was */
    {{.storage_class = "fast", .is_provisioned = true}, "nconnect=4,soft", "nconnect=8", "ml-*"},
    /* an admin's own volume: the class, and more */
    {{.storage_class = "fast"}, "soft", "nconnect=8,soft", "ml-*"},
    {{.storage_class = "fast", .parameters = (struct request_pair[]){{"allowedNamespaces", "a"}}, .parameter_count = 1},
     "",
     "nconnect=8",
     "a"},
    {{.storage_class = "fast", .parameters = (struct request_pair[]){{"subPath", "/../x"}}, .parameter_count = 1},
     "",
     NULL,
     NULL},
    /* parameters alone are whole: the default class has no part in them */
    {{.parameters = (struct request_pair[]){{"maxFiles", "7"}}, .parameter_count = 1}, "", "", NULL},
    {{.is_provisioned = true, .parameters = (struct request_pair[]){{"maxFiles", "7"}}, .parameter_count = 1},
     "ro",
     "ro",
     NULL},
};

static void volumes_get_their_class(void **state)
{
    static const struct class_source_ops ops = {get, nothing_to_free};
    _cleanup_(class_source_freep) struct class_source *source = class_source_new(&ops, NULL, "fast");
    (void)state;
    for (size_t i = 0; i < sizeof(volumes) / sizeof(volumes[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct class class;
        int failed = policy_class(source, &volumes[i].attributes, volumes[i].flags, arena, &class, &err);
        if (failed != (volumes[i].options ? 0 : -1))
            fail_msg("row %zu: %s", i, err.message);
        if (failed)
            continue;
        assert_string_equal(class.mount_options ? class.mount_options : "", volumes[i].options);
        if (volumes[i].namespaces)
            assert_string_equal(class.allowed_namespaces, volumes[i].namespaces);
        else
            assert_null(class.allowed_namespaces);
    }
}

static const struct {
    const char *namespace, *copy, *inputs;
    const char *allowed_namespaces, *allowed_sources;
    bool may_choose;
    enum err_code code;
} pods[] = {
    {"ml-a", NULL, "https://h/x", "ml-*", NULL, false, ERR_NONE},
    {"a", NULL, "https://h/x", "ml-*", NULL, false, ERR_DENIED},
    {"", NULL, "https://h/x", "ml-*", NULL, false, ERR_DENIED},
    {"a", "copy", "https://h/x", NULL, NULL, true, ERR_NONE},
    {"a", "copy", "https://h/x", NULL, NULL, false, ERR_INVALID},
    {"a", "direct", "https://h/x", NULL, NULL, false, ERR_INVALID},
    {"a", NULL, "https://h/x", NULL, "https://h/", false, ERR_NONE},
    {"a", NULL, "https://h/x\nhttps://h2/y", NULL, "https://h/", false, ERR_DENIED},
    {"a", NULL, "http://h/x", NULL, "https://h/", false, ERR_DENIED},
};

static void pods_get_what_the_class_gives(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pods) / sizeof(pods[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct class class;
        class_default(&class);
        class.allowed_namespaces = pods[i].allowed_namespaces;
        class.allowed_sources = pods[i].allowed_sources;
        class.pod_may_choose_copy = pods[i].may_choose;
        struct volume_attributes attributes = {.inputs = pods[i].inputs, .copy_policy = pods[i].copy};
        int failed = policy_volume(&class, &attributes, pods[i].namespace, arena, &err);
        if (failed != (pods[i].code ? -1 : 0) || err.code != pods[i].code)
            fail_msg("row %zu: %s %s", i, err_code_name(err.code), err.message);
        if (!failed && pods[i].copy)
            assert_int_equal(class.copy_policy, COPY_LOCAL);
    }
}

/* A PersistentVolume with the mountOptions of its class is the same mount of the same share. */
static void flags_are_added_once(void **state)
{
    (void)state;
    static const struct {
        const char *options, *flags, *both;
    } cases[] = {
        {"", "", ""},
        {"nconnect=8", "", "nconnect=8"},
        {"", "nconnect=8,hard", "nconnect=8,hard"},
        {"nconnect=8,noresvport", "nconnect=8,noresvport", "nconnect=8,noresvport"},
        {"nconnect=8,noresvport", "noresvport,nconnect=8", "nconnect=8,noresvport"},
        {"nconnect=8", "nconnect=16", "nconnect=8,nconnect=16"},
        {"nconnect=16", "nconnect=1", "nconnect=16,nconnect=1"},
        {"a", "b,b", "a,b"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct class class;
        struct err err = ERR_INIT;
        class_default(&class);
        class.mount_options = cases[i].options;
        assert_int_equal(policy_complete(&class, NULL, 0, cases[i].flags, arena, &err), 0);
        assert_string_equal(class.mount_options, cases[i].both);
    }
}

static void the_whole_is_checked(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const struct request_pair copy[] = {{"copyPolicy", "copy"}, {"maxFiles", "7"}};
    const struct request_pair half[] = {{"shareType", "nfs"}};
    struct class class;
    struct err err = ERR_INIT;
    class_default(&class);
    assert_int_equal(policy_complete(&class, copy, 2, "", arena, &err), 0);
    assert_int_equal(class.copy_policy, COPY_LOCAL);
    assert_int_equal(class.max_files, 7);
    assert_int_equal(policy_complete(&class, half, 1, "", arena, &err), -1); /* the whole is checked, too */
    assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(volumes_get_their_class),
        cmocka_unit_test(pods_get_what_the_class_gives),
        cmocka_unit_test(flags_are_added_once),
        cmocka_unit_test(the_whole_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
