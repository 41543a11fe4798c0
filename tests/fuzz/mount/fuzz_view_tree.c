/* One path a line. What is accepted must be buildable: every rule of view.h, checked here in another way. */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "mount/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void assert_components(const char *path)
{
    assert(path[0] && path[0] != '/' && strlen(path) <= VIEW_PATH_MAX && path[strlen(path) - 1] != '/');
    assert(!strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../"));
    assert(strncmp(path, "./", 2) != 0 && strncmp(path, "../", 3) != 0 && strcmp(path, ".") != 0 &&
           strcmp(path, "..") != 0);
}

static void assert_pairs(const struct view_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        for (size_t k = 0; k < tree->count; k++) {
            const char *file = tree->files[i].path;
            const char *other = tree->files[k].path;
            size_t len = strlen(file);
            assert(i == k || strcmp(file, other) != 0);
            assert(strncmp(file, other, len) != 0 || other[len] != '/');
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct view_file files[64];
    struct view_tree tree = {.files = files, .count = 0};
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    for (char *line = arena_strndup(arena, (const char *)data, size); line && tree.count < 64;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        files[tree.count++] = (struct view_file){
            .path = line, .object = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"};
        line = end ? end + 1 : NULL;
    }
    if (view_tree_check(&tree, &err) != 0) {
        assert(err.code == ERR_INVALID);
        return 0;
    }
    for (size_t i = 0; i < tree.count; i++)
        assert_components(tree.files[i].path);
    assert_pairs(&tree);
    return 0;
}
