/*
 * What applies to a volume: its attributes joined with the admin's class, and whether this pod may have it. Decided before any
 * share or store is looked at.
 */
#pragma once

#include "csi/class_source.h"
#include "csi/request.h"

/* The class named by the volume, with a persistent volume's own parameters and mount flags on top; the flags of one that was provisioned
 * from a class that it names are that class's, as they were, and do not count. ERR_NOT_FOUND names the class. */
int policy_class(struct class_source *classes, const struct volume_attributes *attributes, const char *mount_flags,
                 struct arena *arena, struct class *out, struct err *err);

/* Parameters and mount flags on top of a class, checked as a whole. Flags that it has already (people copy a class's
 * mountOptions into a PersistentVolume) are not added: they would make another mount of the same share. Pure. */
int policy_complete(struct class *class, const struct request_pair *parameters, size_t count, const char *mount_flags,
                    struct arena *arena, struct err *err);

/* A volume's wishes and a namespace's rights, applied to the class: copyPolicy (ERR_INVALID unless podMayChoose has it), the
 * namespace and the sources (ERR_DENIED). Pure. A list in an object (inputsFrom) is checked by the fetcher when it is read. */
int policy_volume(struct class *class, const struct volume_attributes *attributes, const char *namespace,
                  struct arena *arena, struct err *err);
