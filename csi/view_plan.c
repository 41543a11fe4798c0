#include "csi/view_plan.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/digest.h"

struct planned {
    struct view_file file;
    size_t input;
};

/* '/' sorts below every other byte, so that a directory's files stand right behind its name. */
static int compare_paths(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    int left = *a == '/' ? 1 : (unsigned char)*a + (*a != '\0');
    int right = *b == '/' ? 1 : (unsigned char)*b + (*b != '\0');
    return left - right;
}

static int compare_planned(const void *a, const void *b)
{
    const struct planned *left = a;
    const struct planned *right = b;
    int order = compare_paths(left->file.path, right->file.path);
    if (order != 0)
        return order;
    return left->input < right->input ? -1 : left->input > right->input;
}

static const char *file_path(struct arena *arena, const struct fills_input *input, const struct snapshot_file *file)
{
    if (input->is_file)
        return input->place;
    return input->place[0] ? arena_printf(arena, "%s/%s", input->place, file->path) : file->path;
}

static int collect(struct arena *arena, const struct fills_input *input, size_t index, struct planned *out,
                   struct err *err)
{
    if (input->is_file && input->list.count != 1)
        return err_set(err, ERR_CORRUPT, "input %zu (%s): one file was asked for, %zu came", index + 1, input->display,
                       input->list.count);
    for (size_t i = 0; i < input->list.count; i++) {
        const struct snapshot_file *file = &input->list.files[i];
        out[i].input = index;
        out[i].file = (struct view_file){.path = file_path(arena, input, file),
                                         .object = file->object,
                                         .size = file->size,
                                         .mtime_s = file->mtime_s,
                                         .mtime_ns = file->mtime_ns};
    }
    return 0;
}

static bool is_same_file(const struct view_file *a, const struct view_file *b)
{
    return strcmp(a->object, b->object) == 0 && a->size == b->size && a->mtime_s == b->mtime_s &&
           a->mtime_ns == b->mtime_ns;
}

static bool is_below(const char *path, const char *directory)
{
    size_t len = strlen(directory);
    return strncmp(path, directory, len) == 0 && path[len] == '/';
}

static int conflict(const struct fills_result *result, const struct planned *a, const struct planned *b,
                    struct err *err)
{
    bool is_directory = strcmp(a->file.path, b->file.path) != 0;
    return err_set(err, ERR_INVALID, "input %zu (%s) and input %zu (%s) conflict at '%.200s': %s", a->input + 1,
                   result->inputs[a->input].display, b->input + 1, result->inputs[b->input].display, a->file.path,
                   is_directory ? "a file in one, a directory in the other" : "different files");
}

/* sorted is in order; what stands twice alike is kept once. */
static int merge(const struct fills_result *result, const struct planned *sorted, size_t count, struct view_file *files,
                 struct view_plan *out, struct err *err)
{
    const struct planned *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct planned *next = &sorted[i];
        bool is_equal = last && strcmp(last->file.path, next->file.path) == 0;
        if (last && (is_equal ? !is_same_file(&last->file, &next->file) : is_below(next->file.path, last->file.path)))
            return conflict(result, last, next, err);
        if (is_equal)
            continue;
        files[out->tree.count++] = next->file;
        out->bytes += next->file.size;
        last = next;
    }
    out->tree.files = files;
    return 0;
}

int view_plan_make(struct arena *arena, const struct fills_result *result, uint64_t max_files, struct view_plan *out,
                   struct err *err)
{
    struct view_plan plan = {.bytes = 0};
    size_t total = 0;
    for (size_t i = 0; i < result->count; i++)
        total += result->inputs[i].list.count;
    if (total > max_files)
        return err_set(err, ERR_EXHAUSTED, "the inputs have %zu files: the class allows %llu (maxFiles)", total,
                       (unsigned long long)max_files);
    struct planned *sorted = arena_calloc(arena, total + 1, sizeof(*sorted));
    size_t at = 0;
    for (size_t i = 0; i < result->count; at += result->inputs[i].list.count, i++)
        if (collect(arena, &result->inputs[i], i, sorted + at, err) != 0)
            return -1;
    qsort(sorted, total, sizeof(*sorted), compare_planned);
    if (merge(result, sorted, total, arena_calloc(arena, total + 1, sizeof(struct view_file)), &plan, err) != 0)
        return -1;
    *out = plan;
    return 0;
}

void view_plan_layer(const struct view_tree *tree, enum view_form form, char out[VIEW_LAYER_NAME])
{
    static const char *const forms[] = {"data", "white", "bind"};
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    uint8_t digest[SHA256_LEN];
    char hex[SHA256_HEX];
    for (size_t i = 0; i < tree->count; i++) {
        const struct view_file *file = &tree->files[i];
        char numbers[64];
        int len = snprintf(numbers, sizeof(numbers), "%llu %lld.%09u", (unsigned long long)file->size,
                           (long long)file->mtime_s, file->mtime_ns);
        sha256_field(sha, file->path, strlen(file->path));
        sha256_field(sha, file->object, strlen(file->object));
        sha256_field(sha, numbers, (size_t)len);
    }
    sha256_final(sha, digest);
    str_hex(digest, SHA256_LEN, hex);
    snprintf(out, VIEW_LAYER_NAME, "%s-%.60s", forms[form], hex);
}
