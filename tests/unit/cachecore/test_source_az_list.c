/* Lists of Azure against a canned server: what is asked, what becomes of pages, and that a listed blob is the resolved one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cachecore/azure_bench.h"

struct seen {
    struct str text;
    struct source_object last;
    struct bench *bench;
};

static int on_entry(void *context, const struct source_entry *entry, struct err *err)
{
    struct seen *seen = context;
    str_append(&seen->text, entry->key, entry->key_len);
    str_printf(&seen->text, " %llu %s%s|", (unsigned long long)entry->size, entry->validator,
               entry->is_archived ? " archived" : "");
    return seen->bench->source->member(&seen->bench->call, &seen->bench->url, entry, seen->bench->arena, &seen->last,
                                       err);
}

static int on_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    struct seen *seen = context;
    (void)err;
    str_append(&seen->text, prefix, len);
    str_append_char(&seen->text, '|');
    return 0;
}

static int bench_list(struct bench *bench, const char *prefix, const char *token, struct seen *seen, const char **next,
                      struct err *err)
{
    const struct source_page page = {.url = &bench->url,
                                     .prefix = prefix,
                                     .token = token,
                                     .divides = true,
                                     .count_max = 7,
                                     .each = on_entry,
                                     .each_prefix = on_prefix,
                                     .each_context = seen};
    *seen = (struct seen){.bench = bench};
    return bench->source->list(&bench->call, &page, bench->arena, next, err);
}

static void containers_are_listed(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct source_object resolved;
    struct seen seen;
    struct err err = ERR_INIT;
    const char *next;
    bench_init(&bench);
    map_put(&bench.secrets, "azurestorageaccountkey", KEY);
    assert_int_equal(bench_resolve(&bench, "az://acme/data/d/a", &resolved, &err), 0);
    if (bench_list(&bench, "data/d/", "1!m/+", &seen, &next, &err) != 0)
        fail_msg("%s", err.message);
    assert_string_equal(seen.text.data, "data/d/a 1234 etag:\"0x8D1\"|data/d/b c 0 etag:\"0x8D2\" archived|data/d/e/|");
    assert_string_equal(next, "2!x&y");
    assert_string_equal(seen.last.canonical, "az://acme/data/d/b%20c");
    assert_false(seen.last.ranges);
    assert_true(canned_was_asked(&server, "GET /acme/data?restype=container&comp=list&include=metadata&maxresults=7&"
                                          "prefix=d%2F&delimiter=%2F&marker=1%21m%2F%2B HTTP/1.1\r\n"));
    assert_true(canned_was_asked(&server, "Authorization: SharedKey acme:"));
    str_deinit(&seen.text);
    assert_int_equal(bench_list(&bench, "empty/", NULL, &seen, &next, &err), 0);
    assert_null(next);
    assert_null(seen.text.data);
}

/* What resolve says of a blob and what a list makes of it are one thing. */
static void a_listed_blob_is_the_resolved_one(void **state)
{
    (void)state;
    __attribute__((cleanup(bench_deinit))) struct bench bench;
    struct source_object resolved, listed;
    struct err err = ERR_INIT;
    const struct source_entry entry = {
        .key = "data/d/a", .key_len = 8, .size = 1234, .mtime_s = 784111777, .validator = "etag:\"0x8D1\""};
    bench_init(&bench);
    assert_int_equal(bench_resolve(&bench, "az://acme/data/d/a", &resolved, &err), 0);
    assert_int_equal(bench.source->member(&bench.call, &bench.url, &entry, bench.arena, &listed, &err), 0);
    assert_string_equal(resolved.kind, listed.kind);
    assert_string_equal(resolved.authority, listed.authority);
    assert_string_equal(resolved.canonical, listed.canonical);
    assert_string_equal(resolved.validator, listed.validator);
    assert_string_equal(resolved.request_url, listed.request_url);
    assert_string_equal(resolved.etag, listed.etag);
    assert_true(resolved.size == listed.size && resolved.ranges == listed.ranges && resolved.mtime_s == listed.mtime_s);
}

static const struct {
    const char *prefix;
    enum err_code code;
    const char *cause;
} bad_lists[] = {
    {"nowhere/", ERR_NOT_FOUND, "ContainerNotFound"},
    {"html/", ERR_PRECONDITION, "list of blobs is something else"},
    {"", ERR_INVALID, "names no blob"},
    {"da*/", ERR_INVALID, "not a container's name"},
};

static void lists_that_fail_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_lists) / sizeof(bad_lists[0]); i++) {
        __attribute__((cleanup(bench_deinit))) struct bench bench;
        struct seen seen;
        struct err err = ERR_INIT;
        const char *next;
        bench_init(&bench);
        assert_int_equal(bench_begin(&bench, "az://acme/data/", &err), 0);
        assert_int_equal(bench_list(&bench, bad_lists[i].prefix, NULL, &seen, &next, &err), -1);
        if (err.code != bad_lists[i].code || !strstr(err.message, bad_lists[i].cause))
            fail_msg("%s: %s %s", bad_lists[i].prefix, err_code_name(err.code), err.message);
        assert_null(strstr(err.message, "s3cret"));
        str_deinit(&seen.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(containers_are_listed),
        cmocka_unit_test(a_listed_blob_is_the_resolved_one),
        cmocka_unit_test(lists_that_fail_are_named),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
