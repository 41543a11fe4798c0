/* The login for an SMB share, from <secrets_dir>/<name>/: username and password, or azurestorageaccountname and
 * azurestorageaccountkey (the keys that the Azure Files drivers use). */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"

struct login {
    struct secret *username;
    struct secret *password;
};

/* ERR_PRECONDITION names what is missing. */
int share_login_read(const char *secrets_dir, const char *name, struct login *out, struct err *err);
void share_login_deinit(struct login *login);
static inline void share_login_deinitp(struct login *login)
{
    share_login_deinit(login);
}
