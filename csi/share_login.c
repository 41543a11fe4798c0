#include "csi/share_login.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

#define LOGIN_MAX 4096

static const struct {
    const char *username;
    const char *password;
} forms[] = {{"username", "password"}, {"azurestorageaccountname", "azurestorageaccountkey"}};

static bool is_secret_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 253 && isalnum((unsigned char)name[0]) &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len && !strstr(name, "..");
}

static void wipe(struct str *text)
{
    if (text->data)
        explicit_bzero(text->data, text->capacity);
    str_deinit(text);
}

/* A mounted Kubernetes secret is made of links into its own ..data: followed here, below a name that is the admin's. What ends in one
 * line end was made by an editor; that is no part of it. */
static struct secret *read_one(int dir_fd, const char *key)
{
    _cleanup_(closep) int fd = openat(dir_fd, key, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct str text = STR_INIT;
    struct err ignored = ERR_INIT;
    struct secret *secret = NULL;
    if (fd >= 0 && fs_read_fd(fd, LOGIN_MAX, &text, &ignored) == 0 && text.len > 0) {
        size_t len = text.len;
        len -= text.data[len - 1] == '\n';
        len -= len > 0 && text.data[len - 1] == '\r';
        if (len > 0 && !memchr(text.data, '\0', len) && !memchr(text.data, '\n', len))
            secret = secret_new(text.data, len);
    }
    wipe(&text);
    return secret;
}

int share_login_read(const char *secrets_dir, const char *name, struct login *out, struct err *err)
{
    if (!is_secret_name(name))
        return err_set(err, ERR_INVALID, "shareSecret: '%.100s' is not the name of a secret", name);
    if (!secrets_dir)
        return err_set(err, ERR_PRECONDITION, "shareSecret '%s' cannot be read: no --secrets-dir is given", name);
    _cleanup_(closep) int base = open(secrets_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(closep) int dir = base >= 0 ? openat(base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (dir < 0)
        return err_set_errno(err, ERR_PRECONDITION, errno, "shareSecret '%s' cannot be opened in --secrets-dir", name);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct login login = {read_one(dir, forms[i].username), read_one(dir, forms[i].password)};
        if (login.username && login.password) {
            *out = login;
            return 0;
        }
        share_login_deinit(&login);
    }
    return err_set(err, ERR_PRECONDITION,
                   "shareSecret '%s' holds neither username and password nor azurestorageaccountname and "
                   "azurestorageaccountkey",
                   name);
}

void share_login_deinit(struct login *login)
{
    secret_free(login->username);
    secret_free(login->password);
    *login = (struct login){NULL, NULL};
}
