/*
 * Where classes come from: one interface, a back end for each place. Here a directory of StorageClass objects, for use without
 * Kubernetes: a class is read anew at each call (the files are small and local), so that an admin's change counts from the next
 * publish on. csi/class_kube.h has the Kubernetes API.
 */
#pragma once

#include "cachecore/class.h"

struct class_source;

/* A back end. get answers ERR_NOT_FOUND for a name that it does not have. */
struct class_source_ops {
    int (*get)(void *backend, const char *name, struct arena *arena, struct class *out, struct err *err);
    void (*free)(void *backend);
};

/* Takes over backend. */
struct class_source *class_source_new(const struct class_source_ops *ops, void *backend, const char *default_class);
void class_source_free(struct class_source *source);
DEFINE_CLEANUP(struct class_source *, class_source_free);

/* directory NULL: there is only the built-in class. */
struct class_source *class_source_directory(const char *directory, const char *driver_name, const char *default_class,
                                            struct err *err);

/* name NULL: the default class. ERR_INVALID for a name that is no StorageClass name; ERR_NOT_FOUND names what was looked for.
 * Thread-safe. */
int class_get(struct class_source *source, const char *name, struct arena *arena, struct class *out, struct err *err);
