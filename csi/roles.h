/* The names under which people say whom a pod is to be at a cloud (cachecore/identity_role.h). One table. */
#pragma once

#include "cachecore/identity_role.h"

struct role_names {
    const char *attribute;  /* of a volume */
    const char *annotation; /* of a claim, behind csi.sharedcache.io/ */
    const char *account;    /* annotation of a ServiceAccount, as the clouds' own webhooks read it */
};

extern const struct role_names role_names[IDENTITY_ROLES];
