#include "csi/class_source.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"

#define NAME_MAX_BYTES 240 /* with ".json" still a file name */

struct class_source {
    const struct class_source_ops *ops;
    void *backend;
    char *default_class; /* NULL: the built-in one */
};

struct directory {
    int fd; /* -1: none */
    char *driver_name;
};

static bool is_class_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= NAME_MAX_BYTES && isalnum((unsigned char)name[0]) &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len;
}

struct class_source *class_source_new(const struct class_source_ops *ops, void *backend, const char *default_class)
{
    struct class_source *source = mem_alloc(sizeof(*source));
    *source = (struct class_source){ops, backend, default_class ? mem_strdup(default_class) : NULL};
    return source;
}

void class_source_free(struct class_source *source)
{
    if (!source)
        return;
    source->ops->free(source->backend);
    free(source->default_class);
    free(source);
}

int class_get(struct class_source *source, const char *name, struct arena *arena, struct class *out, struct err *err)
{
    if (!name)
        name = source->default_class;
    if (!name) {
        class_default(out);
        return 0;
    }
    if (!is_class_name(name))
        return err_set(err, ERR_INVALID, "storageClass: '%.100s' is not the name of a StorageClass", name);
    return source->ops->get(source->backend, name, arena, out, err);
}

static int directory_get(void *backend, const char *name, struct arena *arena, struct class *out, struct err *err)
{
    const struct directory *directory = backend;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    char file[NAME_MAX_BYTES + 8];
    struct err read_err = ERR_INIT;
    if (directory->fd < 0)
        return err_set(err, ERR_NOT_FOUND, "StorageClass '%s' does not exist: no --class-dir is given", name);
    snprintf(file, sizeof(file), "%s.json", name);
    if (fs_read_file(directory->fd, file, CLASS_JSON_MAX, &text, &read_err) != 0) {
        if (read_err.code == ERR_NOT_FOUND)
            return err_set(err, ERR_NOT_FOUND, "StorageClass '%s' does not exist", name);
        return err_set(err, ERR_PRECONDITION, "StorageClass '%s': %s", name, read_err.message);
    }
    if (class_parse_json(arena, text.data ? text.data : "", text.len, directory->driver_name, out, err) != 0)
        return err_prefix(err, "StorageClass '%s'", name);
    if (!out->name || strcmp(out->name, name) != 0)
        return err_set(err, ERR_PRECONDITION, "StorageClass '%s': the file %s holds a class of another name", name,
                       file);
    return 0;
}

static void directory_free(void *backend)
{
    struct directory *directory = backend;
    if (directory->fd >= 0)
        close(directory->fd);
    free(directory->driver_name);
    free(directory);
}

struct class_source *class_source_directory(const char *path, const char *driver_name, const char *default_class,
                                            struct err *err)
{
    static const struct class_source_ops ops = {directory_get, directory_free};
    int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (path && fd < 0) {
        err_set(err, ERR_INVALID, "--class-dir: cannot open directory '%.200s'", path);
        return NULL;
    }
    struct directory *directory = mem_alloc(sizeof(*directory));
    *directory = (struct directory){fd, mem_strdup(driver_name)};
    return class_source_new(&ops, directory, default_class);
}
