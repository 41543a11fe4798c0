/*
 * csi.v1.Controller, the little that a cache needs: a volume is a declaration of inputs, given back as volume context. Nothing is
 * downloaded and no space is set aside.
 *
 * In Kubernetes the parameters are those of a StorageClass and name a claim (the external-provisioner's --extra-create-metadata);
 * the inputs come from the claim's annotations (csi/claim.h), and the context is the class's name and the inputs: the node takes
 * everything else from the class. Without Kubernetes the parameters hold both, and are the context.
 *
 * The record of a volume, named by the digest of the volume's name, only tells a repeated call from one with other arguments.
 * When it is lost, the repeated call makes the same volume again.
 */
#pragma once

#include "base/arena.h"
#include "csi/claim.h"
#include "csi/context.h"
#include "csi/dispatch.h"
#include "csi/guard.h"

/* What the service works with; open, and constant while the server runs. */
struct controller {
    struct kube *kube; /* NULL: not in Kubernetes */
    struct guards *guards;
    int records_fd; /* directory of the volumes that were made */
};

/* Called with a struct controller. */
extern const struct dispatch_method controller_methods[];
extern const size_t controller_method_count;

#define CREATED_ID_LEN 67 /* "sc-" and 64 hex digits */

struct create_request {
    const char *name;
    char id[CREATED_ID_LEN + 1];
    struct context_map parameters; /* as they came, without the provisioner's own */
    const char *mount_flags;       /* comma-separated, of the class; "" */
    struct claim_key claim;        /* NULL where the provisioner did not say it */
    char digest[SHA256_HEX];       /* of parameters and capabilities: what "the same" means for a repeated call */
};

/* All of this is pure. Rows 20, 21 and 28 of the table of faults. */
int create_request_parse(const Csi__V1__CreateVolumeRequest *message, struct arena *arena, struct create_request *out,
                         struct err *err);

/* Without Kubernetes: the parameters, checked. */
int create_request_alone(const struct create_request *request, struct arena *arena, struct context_map *out,
                         struct err *err);

/* The class is checked, too, with its mount options and its share, and what it allows this claim. ERR_INVALID for the class, ERR_DENIED,
 * ERR_PRECONDITION for what the claim's author has to mend. */
int create_request_claim(const struct create_request *request, const struct claim *claim, struct arena *arena,
                         struct context_map *out, struct err *err);

/* ERR_NOT_FOUND when the volume's name says that it was asked for by another claim of the same name, which is gone. */
int create_request_owner(const struct create_request *request, const struct claim *claim, struct err *err);
