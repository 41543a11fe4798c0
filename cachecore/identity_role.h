/*
 * Whom a pod may be at a cloud: the four names that attributes, annotations and classes give (struct identity_facts). Pure. Whether it may be
 * that is for the cloud to say, when it is shown the pod's token.
 */
#pragma once

#include "base/err.h"
#include "cachecore/identity.h"

enum identity_role { ROLE_AWS, ROLE_GOOGLE, ROLE_AZURE_CLIENT, ROLE_AZURE_TENANT, IDENTITY_ROLES };

/* ERR_INVALID says what it must be, such as "must be the ARN of an IAM role (..)": to be prefixed with where it stands. */
int identity_role_check(enum identity_role role, const char *text, struct err *err);

/* Where facts have it. */
const char **identity_role_in(struct identity_facts *facts, enum identity_role role);
