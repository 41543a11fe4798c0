/*
 * Share types: from what a StorageClass says to what mount(2) is given. Pure: no I/O. One table holds a row for each type;
 * each fills in the options that its vendor recommends, and the class's own options are added to them (an option of the
 * same name replaces ours). What cannot be served safely (EFS with TLS, IAM or access points; Kerberos; options that
 * would make the mount writable for others, executable, suid, or soft) is refused here with the way out.
 * Vendors' sources for the options: comments beside each row.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"

struct share_spec {
    const char *type;  /* local nfs efs filestore smb azurefile */
    const char *share; /* "host:/export", "//host/share", an absolute path for local; NULL for the embedded default */
    const char *sub_path;      /* relative, below the share's root; NULL or "" for the root */
    const char *mount_options; /* the class's, comma-separated; NULL or "" for none */
};

struct share_plan {
    bool is_local;        /* nothing to mount: source is a directory of this node */
    const char *type;     /* as in the spec */
    const char *fstype;   /* "nfs", "nfs4", "cifs"; NULL when local */
    const char *source;   /* as mount(8) takes it */
    const char *options;  /* all of them, comma-separated, without any secret */
    const char *sub_path; /* "" or relative, each component checked */
    const char *identity; /* canonical text of type, source and options: one mount on a node for each identity */
    const char *host;     /* for messages and for a "not reachable" check; NULL when local */
    bool wants_password;  /* SMB: username and password come from the class's shareSecret */
};

/* ERR_INVALID names the class parameter (shareType, share, subPath, mountOptions); ERR_UNSUPPORTED names what is refused. */
int share_plan_make(struct arena *arena, const struct share_spec *spec, struct share_plan *out, struct err *err);
