#include <string.h>

#include "mount/view.h"

/* Byte order in which '/' is lowest, so that what lies in a directory follows its name at once. */
static int path_compare(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    int left = *a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0;
    int right = *b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0;
    return left - right;
}

static bool path_is_fit(const char *path)
{
    unsigned depth = 0;
    if (strnlen(path, VIEW_PATH_MAX + 1) > VIEW_PATH_MAX)
        return false;
    for (;;) {
        size_t len = strcspn(path, "/");
        bool dots = path[0] == '.' && (len == 1 || (len == 2 && path[1] == '.'));
        if (len == 0 || len > 255 || dots || ++depth > VIEW_DEPTH_MAX)
            return false;
        path += len;
        if (*path == '\0')
            return true;
        path++;
    }
}

static bool object_is_fit(const char *object)
{
    return strnlen(object, VIEW_OBJECT_LEN + 1) == VIEW_OBJECT_LEN &&
           strspn(object, "0123456789abcdef") == VIEW_OBJECT_LEN;
}

static int file_check(const struct view_file *file, size_t number, struct err *err)
{
    if (!path_is_fit(file->path))
        return err_set(err, ERR_INVALID, "file %zu of the view: '%.200s' is not a fit path", number, file->path);
    if (!object_is_fit(file->object))
        return err_set(err, ERR_INVALID, "file %zu of the view names no object", number);
    if (file->size > INT64_MAX)
        return err_set(err, ERR_INVALID, "file %zu of the view has an impossible size", number);
    if (file->mtime_ns > 999999999)
        return err_set(err, ERR_INVALID, "file %zu of the view has an impossible time", number);
    return 0;
}

static int order_check(const struct view_file *before, const struct view_file *file, size_t number, struct err *err)
{
    size_t len = strlen(before->path);
    if (path_compare(before->path, file->path) >= 0)
        return err_set(err, ERR_INVALID, "file %zu of the view is not in order: '%.200s'", number, file->path);
    if (strncmp(before->path, file->path, len) == 0 && file->path[len] == '/')
        return err_set(err, ERR_INVALID, "file %zu of the view lies below the file '%.200s'", number, before->path);
    return 0;
}

int view_tree_check(const struct view_tree *tree, struct err *err)
{
    if (tree->count > VIEW_FILES_MAX)
        return err_set(err, ERR_INVALID, "a view of more than %u files", VIEW_FILES_MAX);
    for (size_t i = 0; i < tree->count; i++) {
        if (file_check(&tree->files[i], i + 1, err) != 0)
            return -1;
        if (i > 0 && order_check(&tree->files[i - 1], &tree->files[i], i + 1, err) != 0)
            return -1;
    }
    return 0;
}
