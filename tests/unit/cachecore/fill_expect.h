/* What a fill must have come to. */
#pragma once

#include "fill_fixture.h"

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
