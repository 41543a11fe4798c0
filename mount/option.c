#include "mount/option.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

struct refusal {
    const char *name;
    const char *value; /* pattern; NULL: any, or none */
    enum option_fs fs;
    const char *why;
};

/* The first row that fits decides. */
static const struct refusal refusals[] = {
    {"tls", NULL, OPTION_ANY,
     "EFS in-transit encryption needs Amazon's mount helper; mount without tls and protect the path by network policy"},
    {"iam", NULL, OPTION_ANY,
     "EFS IAM authorization needs Amazon's mount helper; use a file system policy by network, or security groups"},
    {"accesspoint", NULL, OPTION_ANY, "EFS access points need Amazon's mount helper; use subPath instead"},
    {"awsprofile", NULL, OPTION_ANY, "it belongs to Amazon's mount helper, which is not used"},
    {"stunnel", NULL, OPTION_ANY, "it belongs to Amazon's mount helper, which is not used"},
    {"xprtsec", "none", OPTION_NFS, NULL},
    {"xprtsec", NULL, OPTION_NFS, "NFS over TLS needs a daemon on the node; mount without it"},
    {"sec", "krb5*", OPTION_ANY, "Kerberos is not supported: use sec=sys (NFS), or a user name and password (SMB)"},
    {"sec", "sys", OPTION_NFS, NULL},
    {"sec", NULL, OPTION_NFS, "only sec=sys is supported on NFS"},
    {"cruid", NULL, OPTION_ANY, "Kerberos is not supported: use a user name and password in shareSecret"},
    {"soft", NULL, OPTION_NFS, "a soft NFS mount can corrupt what is written: leave it out (hard is used)"},
    {"softerr", NULL, OPTION_NFS, "a soft NFS mount can corrupt what is written: leave it out (hard is used)"},
    {"nocto", NULL, OPTION_NFS, "nodes see each other's work through close-to-open consistency: leave it out"},
    {"lookupcache", "all", OPTION_NFS, "a new object could stay unseen for a minute: use positive or none"},
    {"bg", NULL, OPTION_NFS, "mounts are tried again by kubelet: leave it out"},
    {"vers", "2*", OPTION_NFS, "NFS version 2 is not supported: use vers=4.1 or vers=3"},
    {"vers", "4.0", OPTION_NFS, "NFS 4.0 calls back to the client: use vers=4.1, vers=4.2 or vers=3"},
    {"minorversion", NULL, OPTION_NFS, "write vers=4.1 or vers=4.2"},
    {"v?", NULL, OPTION_NFS, "write vers=3, vers=4.1 or vers=4.2"},
    {"v?.?", NULL, OPTION_NFS, "write vers=3, vers=4.1 or vers=4.2"},
    {"vers", "1.0", OPTION_CIFS, "SMB 1 is not safe: use vers=3.1.1"},
    {"vers", "2.0", OPTION_CIFS, "SMB 2.0 is not safe: use vers=3.1.1"},
    {"nocase", NULL, OPTION_CIFS, "overlayfs refuses case-insensitive mounts: leave it out"},
    {"ignorecase", NULL, OPTION_CIFS, "overlayfs refuses case-insensitive mounts: leave it out"},
    {"multiuser", NULL, OPTION_CIFS, "one login serves the whole node: leave it out"},
    {"user", NULL, OPTION_ANY, "logins come from shareSecret only"},
    {"username", NULL, OPTION_ANY, "logins come from shareSecret only"},
    {"pass*", NULL, OPTION_ANY, "logins come from shareSecret only"},
    {"cred*", NULL, OPTION_ANY, "logins come from shareSecret only"},
    {"users", NULL, OPTION_ANY, "only root mounts shares"},
    {"owner", NULL, OPTION_ANY, "only root mounts shares"},
    {"group", NULL, OPTION_ANY, "only root mounts shares"},
    {"exec", NULL, OPTION_ANY, "shares are mounted noexec; the class parameter noexec decides for pods"},
    {"suid", NULL, OPTION_ANY, "shares are mounted nosuid"},
    {"dev", NULL, OPTION_ANY, "shares are mounted nodev"},
    {"addr", NULL, OPTION_ANY, "addresses follow from share"},
    {"ip", NULL, OPTION_ANY, "addresses follow from share"},
    {"clientaddr", NULL, OPTION_ANY, "addresses follow from share"},
    {"mountaddr", NULL, OPTION_ANY, "addresses follow from share"},
    {"mounthost", NULL, OPTION_ANY, "addresses follow from share"},
    {"unc", NULL, OPTION_ANY, "the server follows from share"},
    {"target", NULL, OPTION_ANY, "the server follows from share"},
    {"prefixpath", NULL, OPTION_ANY, "use subPath"},
    {"source", NULL, OPTION_ANY, "use the class parameter share"},
    {"remount", NULL, OPTION_ANY, "it is not for a class to say"},
    {"bind", NULL, OPTION_ANY, "it is not for a class to say"},
    {"rbind", NULL, OPTION_ANY, "it is not for a class to say"},
    {"move", NULL, OPTION_ANY, "it is not for a class to say"},
    {"loop", NULL, OPTION_ANY, "it is not for a class to say"},
    {"*shared", NULL, OPTION_ANY, "mount propagation is not for a class to say"},
    {"*slave", NULL, OPTION_ANY, "mount propagation is not for a class to say"},
    {"*private", NULL, OPTION_ANY, "mount propagation is not for a class to say"},
    {"*unbindable", NULL, OPTION_ANY, "mount propagation is not for a class to say"},
    {"helper", NULL, OPTION_ANY, "mount helpers are not used"},
    {"uhelper", NULL, OPTION_ANY, "mount helpers are not used"},
    {"*context", NULL, OPTION_ANY, "SELinux labels of views are set by the plugin: leave it out"},
    {"seclabel", NULL, OPTION_ANY, "SELinux labels of views are set by the plugin: leave it out"},
    {"x-*", NULL, OPTION_ANY, "it belongs to mount(8) and systemd, which are not used"},
    {"X-*", NULL, OPTION_ANY, "it belongs to mount(8) and systemd, which are not used"},
};

/* Harmless habits from fstab that mean nothing here. "retry" and "fg" are mount.nfs's own; kubelet tries again. */
static const char *const ignored[] = {"defaults", "_netdev", "nofail", "auto", "noauto", "fg", "retry", "retrycnt"};

/* Options that shut each other out: one of a row replaces any other of it. */
static const char *const families[][4] = {
    {"vers", "nfsvers"},
    {"hard", "soft", "softerr"},
    {"resvport", "noresvport"},
    {"lock", "nolock"},
    {"ro", "rw"},
    {"sync", "async"},
    {"ac", "noac"},
    {"cto", "nocto"},
    {"brl", "nobrl"},
    {"sharesock", "nosharesock"},
    {"serverino", "noserverino"},
    {"atime", "noatime", "relatime", "strictatime"},
    {"sharecache", "nosharecache"},
    {"rdirplus", "nordirplus"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t family_of(const char *name)
{
    for (size_t i = 0; i < COUNT(families); i++) {
        for (size_t k = 0; k < COUNT(families[i]) && families[i][k]; k++) {
            if (strcmp(families[i][k], name) == 0)
                return i;
        }
    }
    return SIZE_MAX;
}

static bool same_family(const char *a, const char *b)
{
    size_t family = family_of(a);
    return strcmp(a, b) == 0 || (family != SIZE_MAX && family == family_of(b));
}

static void option_put(struct options *options, struct option option)
{
    for (size_t i = 0; i < options->count; i++) {
        if (same_family(options->entries[i].name, option.name)) {
            options->entries[i] = option;
            return;
        }
    }
    assert(options->count < OPTIONS_MAX);
    options->entries[options->count++] = option;
}

/* "name" or "name=value" of the given length. */
static struct option option_split(struct arena *arena, const char *text, size_t len)
{
    char *copy = arena_strndup(arena, text, len);
    char *equals = strchr(copy, '=');
    if (equals)
        *equals = '\0';
    const char *name = strcmp(copy, "nfsvers") == 0 ? "vers" : copy;
    return (struct option){.name = name, .value = equals ? equals + 1 : NULL};
}

void options_add_own(struct arena *arena, struct options *options, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, ",");
        option_put(options, option_split(arena, text, len));
        text += len + (text[len] == ',');
    }
}

static bool all_of(const char *text, const char *others)
{
    for (; *text; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || (*text >= '0' && *text <= '9');
        if (!plain && !strchr(others, *text))
            return false;
    }
    return true;
}

static int spelling_check(const struct option *option, struct err *err)
{
    if (option->name[0] == '\0')
        return err_set(err, ERR_INVALID, "mountOptions: an option without a name");
    if (strlen(option->name) > 32 || !all_of(option->name, "_-."))
        return err_set(err, ERR_INVALID, "mountOptions: '%.40s' is not a name of letters, digits, '_', '-', '.'",
                       option->name);
    if (!option->value)
        return 0;
    if (option->value[0] == '\0' || strlen(option->value) > 256 || !all_of(option->value, "_-.:/@+%"))
        return err_set(
            err, ERR_INVALID,
            "mountOptions: the value of '%s' is empty, too long, or has a character other than letters, digits "
            "and _-.:/@+%%",
            option->name);
    return 0;
}

/* File and directory modes of SMB: a share that others may write would let any process of the node poison the cache. */
static int mode_check(const struct option *option, struct err *err)
{
    if (strcmp(option->name, "file_mode") != 0 && strcmp(option->name, "dir_mode") != 0)
        return 0;
    char *end = NULL;
    unsigned long mode = option->value ? strtoul(option->value, &end, 8) : 0;
    if (!option->value || *end || mode > 0777)
        return err_set(err, ERR_INVALID, "mountOptions: '%s' takes an octal mode such as 0755", option->name);
    if (mode & 022)
        return err_set(err, ERR_UNSUPPORTED,
                       "mountOptions: %s=%s would let others write to the store: use 0755 or less", option->name,
                       option->value);
    return 0;
}

static int refusal_check(const struct option *option, enum option_fs fs, struct err *err)
{
    for (size_t i = 0; i < COUNT(refusals); i++) {
        const struct refusal *row = &refusals[i];
        if (!(row->fs & fs) || !str_matches(row->name, option->name))
            continue;
        if (row->value && !(option->value && str_matches(row->value, option->value)))
            continue;
        if (!row->why)
            return 0;
        return err_set(err, ERR_UNSUPPORTED, "mountOptions: '%s' is not supported: %s", option->name, row->why);
    }
    return mode_check(option, err);
}

static bool is_ignored(const char *name)
{
    for (size_t i = 0; i < COUNT(ignored); i++) {
        if (strcmp(ignored[i], name) == 0)
            return true;
    }
    return false;
}

static int class_option_add(struct options *options, const struct option *option, enum option_fs fs, struct err *err)
{
    if (spelling_check(option, err) != 0 || refusal_check(option, fs, err) != 0)
        return -1;
    if (is_ignored(option->name))
        return 0;
    if (options->count == OPTIONS_MAX)
        return err_set(err, ERR_INVALID, "mountOptions: more than %d options", OPTIONS_MAX);
    option_put(options, *option);
    return 0;
}

int options_add_class(struct arena *arena, struct options *options, const char *text, enum option_fs fs,
                      struct err *err)
{
    if (strlen(text) > OPTIONS_TEXT_MAX)
        return err_set(err, ERR_INVALID, "mountOptions: longer than %d bytes", OPTIONS_TEXT_MAX);
    while (*text) {
        size_t len = strcspn(text, ",");
        struct option option = option_split(arena, text, len);
        if (class_option_add(options, &option, fs, err) != 0)
            return -1;
        if (text[len] == ',' && text[len + 1] == '\0')
            return err_set(err, ERR_INVALID, "mountOptions: an option without a name");
        text += len + (text[len] == ',');
    }
    return 0;
}

static const struct option *option_find(const struct options *options, const char *name)
{
    for (size_t i = 0; i < options->count; i++) {
        if (strcmp(options->entries[i].name, name) == 0)
            return &options->entries[i];
    }
    return NULL;
}

bool options_have(const struct options *options, const char *name)
{
    return option_find(options, name) != NULL;
}

const char *options_value(const struct options *options, const char *name)
{
    const struct option *option = option_find(options, name);
    return option ? option->value : NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct option *)a)->name, ((const struct option *)b)->name);
}

const char *options_print(struct arena *arena, struct options *options)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    qsort(options->entries, options->count, sizeof(options->entries[0]), by_name);
    for (size_t i = 0; i < options->count; i++) {
        const struct option *option = &options->entries[i];
        str_printf(&text, "%s%s%s%s", i > 0 ? "," : "", option->name, option->value ? "=" : "",
                   option->value ? option->value : "");
    }
    return arena_strdup(arena, text.data ? text.data : "");
}
