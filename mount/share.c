#include "mount/share.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "mount/option.h"

#define SHARE_TEXT_MAX 1024
#define HOST_MAX 253
#define SUB_PATH_DEPTH_MAX 16

/* On every share: nothing on it is ever run or trusted as a device, whatever the server holds. */
#define OPTIONS_EVERYWHERE "nosuid,nodev,noexec"
/* FACTS of NFS with many writers: a negative lookup cached for a minute hides what another node published (nfs(5)). */
#define OPTIONS_NFS OPTIONS_EVERYWHERE ",hard,lookupcache=positive"
/* Without "serverino" and "cache=strict" spelled out: they are the kernel's defaults. */
#define OPTIONS_SMB OPTIONS_EVERYWHERE ",hard,nobrl,file_mode=0644,dir_mode=0755,actimeo=30"

enum syntax { SYNTAX_NFS, SYNTAX_EFS, SYNTAX_SMB, SYNTAX_AZURE_NFS };

struct share_type {
    const char *name;
    enum syntax syntax;
    const char *options;
    const char *versions; /* space-separated; the first is the default; NULL: not ours to check */
    const char *versions_why;
};

static const struct share_type types[] = {
    /* Any server. rsize and wsize are negotiated to the server's largest; timeo and retrans are the kernel's. */
    {"nfs", SYNTAX_NFS, OPTIONS_NFS, "4.1 3 4.2", "NFS 3, 4.1 and 4.2 are supported"},
    /* docs.aws.amazon.com/efs/latest/ug/mounting-fs-nfs-mount-settings.html */
    {"efs", SYNTAX_EFS, OPTIONS_NFS ",rsize=1048576,wsize=1048576,timeo=600,retrans=2,noresvport", "4.1",
     "EFS speaks NFS 4.1"},
    /* cloud.google.com/filestore/docs/mounting-fileshares: every tier speaks NFS 3, some 4.1 too. */
    {"filestore", SYNTAX_NFS, OPTIONS_NFS ",timeo=600,retrans=3,resvport", "3 4.1", "Filestore speaks NFS 3 and 4.1"},
    /* No signing or encryption is forced here: "seal" in mountOptions encrypts. */
    {"smb", SYNTAX_SMB, OPTIONS_SMB, "3.1.1 3.02 3.0 2.1", "SMB 2.1 to 3.1.1 are supported"},
    /* learn.microsoft.com/azure/storage/files/storage-how-to-use-files-linux */
    {"azurefile", SYNTAX_SMB, OPTIONS_SMB ",nosharesock", "3.1.1 3.0", "Azure Files speaks SMB 3.0 and 3.1.1"},
    /* learn.microsoft.com/azure/storage/files/nfs-performance: nconnect=4, actimeo=30, noresvport */
    {"azurefile", SYNTAX_AZURE_NFS, OPTIONS_NFS ",nconnect=4,actimeo=30,noresvport", "4.1",
     "Azure Files speaks NFS 4.1"},
};
#define TYPES_TEXT "local, nfs, efs, filestore, smb, azurefile"

static bool is_host_char(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '-';
}

/* A DNS name or an IPv4 address of len bytes. */
static bool is_host(const char *text, size_t len)
{
    if (len == 0 || len > HOST_MAX || text[0] == '-' || text[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_host_char(text[i]))
            return false;
    }
    return !memmem(text, len, "..", 2);
}

static bool is_ipv6(const char *text, size_t len)
{
    return len >= 2 && len <= 45 && strspn(text, "0123456789abcdefABCDEF:.") >= len && memchr(text, ':', len);
}

static bool is_component_char(char c)
{
    return isalnum((unsigned char)c) || strchr("._@+=~$%-", c) != NULL;
}

/* One path component of a share or sub path: nothing that any layer below could take for syntax. */
static bool is_component(const char *text, size_t len)
{
    if (len == 0 || len > 255 || (len == 1 && text[0] == '.') || (len == 2 && memcmp(text, "..", 2) == 0))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\0' || !is_component_char(text[i]))
            return false;
    }
    return true;
}

/* The number of components of a '/'-separated relative path; -1 when one is not fit. "" has none. */
static int components_count(const char *path)
{
    int count = 0;
    while (*path) {
        size_t len = strcspn(path, "/");
        if (!is_component(path, len))
            return -1;
        count++;
        path += len;
        if (*path == '/' && *++path == '\0')
            return -1;
    }
    return count;
}

static char *lowercase(struct arena *arena, const char *text, size_t len)
{
    char *copy = arena_strndup(arena, text, len);
    for (size_t i = 0; i < len; i++)
        copy[i] = (char)tolower((unsigned char)copy[i]);
    return copy;
}

static const char *without_last_slash(struct arena *arena, const char *path)
{
    size_t len = strlen(path);
    return arena_strndup(arena, path, len > 1 && path[len - 1] == '/' ? len - 1 : len);
}

/* "host:/export" or "[v6]:/export". */
static int source_nfs(struct arena *arena, const char *share, struct share_plan *out, struct err *err)
{
    bool bracketed = share[0] == '[';
    const char *end = strstr(share, bracketed ? "]:/" : ":/");
    if (!end)
        return err_set(err, ERR_INVALID, "share: '%.200s' is not host:/export", share);
    const char *host = share + bracketed;
    size_t host_len = (size_t)(end - host);
    if (bracketed ? !is_ipv6(host, host_len) : !is_host(host, host_len))
        return err_set(
            err, ERR_INVALID,
            "share: the server of '%.200s' is not a DNS name, an IPv4 address or an IPv6 address in brackets", share);
    const char *path = without_last_slash(arena, end + 1 + bracketed);
    if (components_count(path + 1) < 0)
        return err_set(err, ERR_INVALID,
                       "share: the export of '%.200s' has an empty, '.' or '..' component or an unusual character",
                       share);
    out->host = lowercase(arena, host, host_len);
    out->source = arena_printf(arena, bracketed ? "[%s]:%s" : "%s:%s", out->host, path);
    return 0;
}

/* Azure's NFS form: "account.file.core.windows.net:/account/share". */
static int source_azure_nfs(struct arena *arena, const char *share, struct share_plan *out, struct err *err)
{
    if (source_nfs(arena, share, out, err) != 0)
        return -1;
    const char *path = strstr(out->source, ":/") + 2;
    if (components_count(path) < 2)
        return err_set(err, ERR_INVALID, "share: '%.200s' is not <account>.file.core.windows.net:/<account>/<share>",
                       share);
    return 0;
}

/* Amazon's own helper completes "fs-0123:/" to a DNS name; here the whole name is asked for. */
static int source_efs(struct arena *arena, const char *share, struct share_plan *out, struct err *err)
{
    if (source_nfs(arena, share, out, err) != 0)
        return -1;
    if (!strpbrk(out->host, ".:"))
        return err_set(err, ERR_INVALID,
                       "share: '%.200s' needs the file system's whole DNS name, as in "
                       "fs-0123456789abcdef0.efs.eu-west-1.amazonaws.com:/",
                       share);
    return 0;
}

/* "//host/share" or "//host/share/directory". */
static int source_smb(struct arena *arena, const char *share, struct share_plan *out, struct err *err)
{
    size_t host_len = str_starts_with(share, "//") ? strcspn(share + 2, "/") : 0;
    if (host_len == 0)
        return err_set(err, ERR_INVALID, "share: '%.200s' is not //host/share", share);
    if (!is_host(share + 2, host_len))
        return err_set(err, ERR_INVALID, "share: the server of '%.200s' is not a DNS name or an IPv4 address", share);
    const char *path = without_last_slash(arena, share + 2 + host_len);
    if (components_count(path + (path[0] == '/')) < 1)
        return err_set(err, ERR_INVALID,
                       "share: '%.200s' names no share, or has an empty, '.' or '..' component or an unusual character",
                       share);
    out->host = lowercase(arena, share + 2, host_len);
    out->source = arena_printf(arena, "//%s%s", out->host, path);
    return 0;
}

static const struct share_type *type_find(const struct share_spec *spec)
{
    bool unc = spec->share && str_starts_with(spec->share, "//");
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, spec->type) != 0)
            continue;
        if (types[i].syntax != SYNTAX_AZURE_NFS && strcmp(spec->type, "azurefile") == 0 && !unc)
            continue;
        return &types[i];
    }
    return NULL;
}

static int source_make(struct arena *arena, const struct share_type *type, const char *share, struct share_plan *out,
                       struct err *err)
{
    if (strlen(share) > SHARE_TEXT_MAX)
        return err_set(err, ERR_INVALID, "share: longer than %d bytes", SHARE_TEXT_MAX);
    switch (type->syntax) {
    case SYNTAX_NFS:
        return source_nfs(arena, share, out, err);
    case SYNTAX_EFS:
        return source_efs(arena, share, out, err);
    case SYNTAX_AZURE_NFS:
        return source_azure_nfs(arena, share, out, err);
    case SYNTAX_SMB:
        return source_smb(arena, share, out, err);
    }
    return err_set(err, ERR_INTERNAL, "share: a type without a syntax");
}

static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);
    while (*list) {
        size_t item = strcspn(list, " ");
        if (item == len && memcmp(list, word, len) == 0)
            return true;
        list += item + (list[item] == ' ');
    }
    return false;
}

/* The version asked for, or the type's first; nolock where it is NFS 3: no statd runs in the plugin's container. */
static int version_settle(struct arena *arena, const struct share_type *type, struct options *options, struct err *err)
{
    const char *version = options_value(options, "vers");
    if (version && strcmp(version, "4") == 0)
        version = "4.1";
    if (!version)
        version = arena_strndup(arena, type->versions, strcspn(type->versions, " "));
    if (!list_has(type->versions, version))
        return err_set(err, ERR_UNSUPPORTED, "mountOptions: vers=%s is not supported: %s", version, type->versions_why);
    options_add_own(arena, options, arena_printf(arena, "vers=%s", version));
    if (strcmp(version, "3") == 0)
        options_add_own(arena, options, "nolock");
    return 0;
}

static int options_make(struct arena *arena, const struct share_type *type, const struct share_spec *spec,
                        struct share_plan *out, struct err *err)
{
    struct options options = {.count = 0};
    bool cifs = type->syntax == SYNTAX_SMB;
    options_add_own(arena, &options, type->options);
    if (spec->mount_options &&
        options_add_class(arena, &options, spec->mount_options, cifs ? OPTION_CIFS : OPTION_NFS, err) != 0)
        return -1;
    if (version_settle(arena, type, &options, err) != 0)
        return -1;
    out->options = options_print(arena, &options);
    if (strlen(out->options) > OPTIONS_TEXT_MAX)
        return err_set(err, ERR_INVALID, "mountOptions: all options together are longer than %d bytes",
                       OPTIONS_TEXT_MAX);
    out->fstype = cifs ? "cifs" : "nfs";
    out->wants_password = cifs && !options_have(&options, "guest");
    return 0;
}

static int sub_path_make(struct arena *arena, const char *sub_path, struct share_plan *out, struct err *err)
{
    out->sub_path = sub_path ? without_last_slash(arena, sub_path) : "";
    int count = strlen(out->sub_path) <= SHARE_TEXT_MAX ? components_count(out->sub_path) : -1;
    if (count < 0 || count > SUB_PATH_DEPTH_MAX)
        return err_set(
            err, ERR_INVALID,
            "subPath: '%.200s' is not a relative path of plain components (no '..', no leading '/', at most %d)",
            out->sub_path, SUB_PATH_DEPTH_MAX);
    return 0;
}

static int local_make(struct arena *arena, const struct share_spec *spec, struct share_plan *out, struct err *err)
{
    const char *share = spec->share;
    if (spec->mount_options && spec->mount_options[0])
        return err_set(err, ERR_INVALID, "mountOptions: nothing is mounted for shareType local: leave them out");
    if (share && (share[0] != '/' || strlen(share) > SHARE_TEXT_MAX ||
                  components_count(without_last_slash(arena, share) + 1) < 1))
        return err_set(err, ERR_INVALID,
                       "share: '%.200s' is not an absolute path of a directory (no '.', '..' or empty component)",
                       share);
    out->is_local = true;
    out->source = share ? without_last_slash(arena, share) : NULL;
    out->options = "";
    return 0;
}

static int remote_make(struct arena *arena, const struct share_spec *spec, struct share_plan *out, struct err *err)
{
    const struct share_type *type = type_find(spec);
    if (!type)
        return err_set(err, ERR_INVALID, "shareType: '%.40s' is not known; known are %s", spec->type, TYPES_TEXT);
    if (!spec->share || !spec->share[0])
        return err_set(err, ERR_INVALID, "share: shareType %s needs one", spec->type);
    return source_make(arena, type, spec->share, out, err) != 0 || options_make(arena, type, spec, out, err) != 0 ? -1
                                                                                                                  : 0;
}

int share_plan_make(struct arena *arena, const struct share_spec *spec, struct share_plan *out, struct err *err)
{
    struct share_plan plan = {.type = arena_strdup(arena, spec->type)};
    int failed =
        strcmp(spec->type, "local") == 0 ? local_make(arena, spec, &plan, err) : remote_make(arena, spec, &plan, err);
    if (failed || sub_path_make(arena, spec->sub_path, &plan, err) != 0)
        return -1;
    plan.identity = arena_printf(arena, "%s\n%s\n%s\n", plan.type, plan.source ? plan.source : "", plan.options);
    *out = plan;
    return 0;
}
