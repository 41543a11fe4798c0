/*
 * Views: the read-only tree that a pod sees. A metadata layer (names, modes, sizes, mtimes; each file points to its
 * object by overlayfs' redirect attribute) lies over the objects directories of one or more stores; the kernel serves it.
 * Three forms, found by trying at start: data-only layers (Linux 6.5), the older form with whiteouts, and bind mounts of
 * single objects where overlayfs refuses the file system. See Documentation/filesystems/overlayfs.rst, "Data-only lower
 * layers" and "metadata only copy up".
 *
 * Every mount made here is read-only, nosuid, nodev, and noexec where asked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mount/mounts.h"

#define VIEW_OBJECT_LEN 64
#define VIEW_DATA_MAX 4
#define VIEW_BINDS_MAX 1000
#define VIEW_FILES_MAX 4000000u
#define VIEW_PATH_MAX 3000 /* the target's own path comes on top: PATH_MAX is 4096 */
#define VIEW_DEPTH_MAX 128

enum view_form { VIEW_DATA_ONLY, VIEW_WHITEOUTS, VIEW_BINDS };

struct view_file {
    const char
        *path; /* relative, '/'-separated; no empty, "." or ".." component, each at most 255 bytes; limits above */
    const char *object; /* 64 lowercase hex digits: <objects>/<first two>/<all> holds the bytes */
    uint64_t size;
    int64_t mtime_s;
    uint32_t mtime_ns;
};

struct view_tree {
    const struct view_file
        *files; /* sorted by path (bytes, '/' lowest), no path twice, no file that is also a directory */
    size_t count;
};

/* ERR_INVALID when the tree breaks a rule above: checked again here, on the privileged side, whoever made it. Pure. */
int view_tree_check(const struct view_tree *tree, struct err *err);

/* What the kernel here can do over the file system of objects_fd, by building and mounting a small view below
 * scratch_fd (a directory of ours on a plain local file system). */
int view_form_probe(struct mounts *mounts, int scratch_fd, int objects_fd, int64_t deadline_ms, enum view_form *out,
                    struct err *err);
const char *view_form_name(enum view_form form);

/*
 * Makes the metadata layer <layers_fd>/<name> (name: [a-z0-9-], at most 80) complete or not at all (built aside, renamed).
 * One that is there already is kept as it is: name must be a function of the tree. For VIEW_BINDS the layer holds empty files.
 */
int view_layer_build(int layers_fd, const char *name, const struct view_tree *tree, enum view_form form,
                     struct err *err);
bool view_layer_exists(int layers_fd, const char *name);
int view_layer_remove(int layers_fd, const char *name, struct err *err);

struct view_spec {
    int layers_fd;
    const char *layer;           /* name given to view_layer_build */
    int data_fds[VIEW_DATA_MAX]; /* objects directories, searched in this order */
    size_t data_count;
    enum view_form form;
    bool noexec;
    const char *selinux_context; /* for context=; NULL where SELinux is off */
};

/*
 * Mounts the view at target_fd (O_PATH descriptor of an existing empty directory, opened without following links); in a
 * helper, by deadline_ms. On error nothing is left mounted. ERR_UNSUPPORTED when VIEW_BINDS would need more than
 * VIEW_BINDS_MAX mounts (names copyPolicy: copy as the way out); ERR_EXHAUSTED at fs.mount-max.
 */
int view_mount(struct mounts *mounts, const struct view_spec *spec, int target_fd, int64_t deadline_ms,
               struct err *err);

/* Unmounts whatever is mounted at target and below (absolute path, as the mount table has it; nothing mounted is fine):
 * plain first, then lazily; never stats the target, never touches the share. */
int view_unmount(struct mounts *mounts, const char *target, int64_t deadline_ms, struct err *err);
