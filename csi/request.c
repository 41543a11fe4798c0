#include "csi/request.h"

#include <limits.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/credentials.h"
#include "csi/context.h"

#define NAME_COMPONENT_MAX 255
#define ACCESS_MODE(name) CSI__V1__VOLUME_CAPABILITY__ACCESS_MODE__MODE__##name

static int require(const char *value, const char *field, struct err *err)
{
    if (!value || !value[0])
        return err_set(err, ERR_INVALID, "%s is required", field);
    return 0;
}

/* Components are checked as they were sent: nothing is resolved or cut away but repeated and final slashes. */
static int clean_path(struct arena *arena, const char *field, const char *path, char **out, struct err *err)
{
    if (path[0] != '/')
        return err_set(err, ERR_INVALID, "%s must be an absolute path", field);
    if (strlen(path) >= PATH_MAX)
        return err_set(err, ERR_INVALID, "%s is longer than %d bytes", field, PATH_MAX - 1);
    char *clean = arena_alloc(arena, strlen(path) + 2);
    size_t len = 0;
    for (const char *p = path; *p;) {
        p += strspn(p, "/");
        size_t component = strcspn(p, "/");
        if (component == 0)
            break;
        if ((component == 1 && p[0] == '.') || (component == 2 && p[0] == '.' && p[1] == '.'))
            return err_set(err, ERR_INVALID, "%s must not hold '.' or '..'", field);
        if (component > NAME_COMPONENT_MAX)
            return err_set(err, ERR_INVALID, "%s has a component of more than %d bytes", field, NAME_COMPONENT_MAX);
        clean[len++] = '/';
        memcpy(clean + len, p, component);
        len += component;
        p += component;
    }
    *out = clean;
    return 0;
}

static int check_target(struct arena *arena, const char *path, const struct request_rules *rules, const char **out,
                        struct err *err)
{
    char *clean = NULL;
    size_t base = strlen(rules->kubelet_dir);
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return err_set(err, ERR_INVALID, "target_path must not hold control characters");
    if (clean_path(arena, "target_path", path, &clean, err) != 0)
        return -1;
    if (strncmp(clean, rules->kubelet_dir, base) != 0 || clean[base] != '/')
        return err_set(err, ERR_INVALID, "target_path must lie beneath %.200s (see --kubelet-dir)", rules->kubelet_dir);
    *out = clean + base + 1;
    return 0;
}

int request_capability_check(const Csi__V1__VolumeCapability *capability, bool *is_exclusive, struct err *err)
{
    if (!capability)
        return err_set(err, ERR_INVALID, "volume_capability is required");
    if (capability->access_type_case == CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK)
        return err_set(err, ERR_INVALID, "volume_capability: only mount volumes are served, not block");
    if (capability->access_type_case != CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT)
        return err_set(err, ERR_INVALID, "volume_capability: access_type is required");
    if (!capability->access_mode)
        return err_set(err, ERR_INVALID, "volume_capability: access_mode is required");
    switch (capability->access_mode->mode) {
    case ACCESS_MODE(SINGLE_NODE_WRITER):
    case ACCESS_MODE(SINGLE_NODE_READER_ONLY):
    case ACCESS_MODE(SINGLE_NODE_SINGLE_WRITER):
        if (is_exclusive)
            *is_exclusive = true;
        return 0;
    case ACCESS_MODE(SINGLE_NODE_MULTI_WRITER):
    case ACCESS_MODE(MULTI_NODE_READER_ONLY):
    case ACCESS_MODE(MULTI_NODE_SINGLE_WRITER):
    case ACCESS_MODE(MULTI_NODE_MULTI_WRITER):
        if (is_exclusive)
            *is_exclusive = false;
        return 0;
    default:
        return err_set(err, ERR_INVALID, "volume_capability: access_mode is unknown");
    }
}

static bool is_flag(const char *flag)
{
    for (const char *p = flag; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return false;
    return flag[0] != '\0';
}

/* What the flags may say is for the share's type to decide (mount/share.h); none is shown, as they may be sensitive. */
int request_mount_flags(struct arena *arena, const Csi__V1__VolumeCapability *capability, const char **out,
                        struct err *err)
{
    const Csi__V1__VolumeCapability__MountVolume *mount = capability->mount;
    struct str joined = STR_INIT;
    size_t count = mount ? mount->n_mount_flags : 0;
    int failed = 0;
    for (size_t i = 0; i < count && !failed; i++) {
        if (!is_flag(mount->mount_flags[i]))
            failed = err_set(err, ERR_INVALID, "mount_flags: flag %zu is empty or holds a space or control character",
                             i + 1);
        else if (joined.len + strlen(mount->mount_flags[i]) > REQUEST_FLAGS_MAX)
            failed = err_set(err, ERR_INVALID, "mount_flags: more than %u bytes", REQUEST_FLAGS_MAX);
        else
            str_printf(&joined, "%s%s", joined.len ? "," : "", mount->mount_flags[i]);
    }
    if (!failed)
        *out = arena_strdup(arena, joined.data ? joined.data : "");
    str_deinit(&joined);
    return failed;
}

static int check_secret(const char *key, const char *value, struct err *err)
{
    size_t len = strlen(key);
    size_t fit = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (strcmp(key, TOKENS_KEY) != 0 && (len == 0 || len > NAME_COMPONENT_MAX || fit != len))
        return err_set(err, ERR_INVALID, "secrets: a key must be 1 to %d letters, digits, '.', '_' or '-'",
                       NAME_COMPONENT_MAX);
    if (!credentials_key_is_file(key) && strpbrk(value, "\r\n"))
        return err_set(err, ERR_INVALID, "secrets: the value of '%.100s' holds a line end (make it without one)", key);
    return 0;
}

/* With serviceAccountTokenInSecrets (Kubernetes 1.35) the tokens come among them, and are none. */
static int parse_secrets(Csi__V1__NodePublishVolumeRequest__SecretsEntry *const *entries, size_t count,
                         struct secret_map *out, const char **tokens, struct err *err)
{
    size_t total = 0;
    if (count > REQUEST_ENTRIES_MAX)
        return err_set(err, ERR_INVALID, "secrets: %zu keys: at most %u are allowed", count, REQUEST_ENTRIES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (check_secret(entries[i]->key, entries[i]->value, err) != 0)
            return -1;
        if (secret_map_get(out, entries[i]->key))
            return err_set(err, ERR_INVALID, "secrets: key '%.100s' is given twice", entries[i]->key);
        total += strlen(entries[i]->key) + strlen(entries[i]->value);
        if (total > REQUEST_SECRETS_MAX)
            return err_set(err, ERR_INVALID, "secrets: more than %u bytes", REQUEST_SECRETS_MAX);
        if (strcmp(entries[i]->key, TOKENS_KEY) == 0)
            *tokens = entries[i]->value;
        else
            secret_map_add(out, entries[i]->key, entries[i]->value, strlen(entries[i]->value));
    }
    return 0;
}

/* Tokens among the secrets are kubelet's own for sure: no Secret can have a key of this name. So they go first. */
static int parse_shown(const Csi__V1__NodePublishVolumeRequest *message, const struct context_map *context,
                       const struct request_rules *rules, struct publish_request *out, struct err *err)
{
    const struct tokens_owner owner = {out->pod_namespace, out->service_account};
    const char *tokens = context_get(context, TOKENS_KEY);
    if (parse_secrets(message->secrets, message->n_secrets, &out->secrets, &tokens, err) != 0)
        return -1;
    return tokens ? tokens_parse(tokens, &owner, rules->now_s, &out->tokens, err) : 0;
}

static bool is_namespace(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 63 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* It becomes part of a path of the API, too. */
static bool is_service_account(const char *name)
{
    size_t len = strlen(name);
    return len <= 253 && name[0] != '.' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == len;
}

static int pod_info(struct arena *arena, const struct context_map *context, const struct request_rules *rules,
                    struct publish_request *out, struct err *err)
{
    const char *names[] = {"csi.storage.k8s.io/pod.namespace", "csi.storage.k8s.io/pod.name",
                           "csi.storage.k8s.io/pod.uid", "csi.storage.k8s.io/ephemeral"};
    const char *values[4];
    for (size_t i = 0; i < 4; i++) {
        values[i] = context_get(context, names[i]);
        if (!values[i] && rules->pod_info)
            return err_set(err, ERR_PRECONDITION,
                           "volume_context lacks '%s': the CSIDriver object must set podInfoOnMount: true", names[i]);
    }
    if (values[0] && !is_namespace(values[0]))
        return err_set(err, ERR_INVALID, "volume_context: '%s' is not a namespace", names[0]);
    if (values[3] && strcmp(values[3], "true") != 0 && strcmp(values[3], "false") != 0)
        return err_set(err, ERR_INVALID, "volume_context: '%s' must be true or false", names[3]);
    out->pod_namespace = arena_strdup(arena, values[0] ? values[0] : "");
    out->pod_name = arena_strdup(arena, values[1] ? values[1] : "");
    out->pod_uid = arena_strdup(arena, values[2] ? values[2] : "");
    const char *account = context_get(context, "csi.storage.k8s.io/serviceAccount.name");
    if (account && !is_service_account(account))
        return err_set(err, ERR_INVALID, "volume_context: 'csi.storage.k8s.io/serviceAccount.name' is not a name");
    out->service_account = arena_strdup(arena, account ? account : "");
    out->is_ephemeral = values[3] ? strcmp(values[3], "true") == 0 : volume_id_is_inline(out->volume_id);
    return 0;
}

static int check_kind(const Csi__V1__NodePublishVolumeRequest *message, const struct publish_request *request,
                      struct err *err)
{
    if (request->is_ephemeral && !volume_id_is_inline(request->volume_id))
        return err_set(err, ERR_INVALID, "volume_id: an inline volume's is csi-<64 hex digits>");
    if (!request->is_ephemeral && volume_id_is_inline(request->volume_id))
        return err_set(err, ERR_INVALID, "volume_id: csi-<64 hex digits> is for inline volumes (ephemeral: true) only");
    if (!request->is_ephemeral && !message->staging_target_path[0])
        return err_set(err, ERR_PRECONDITION, "staging_target_path is required: this driver stages volumes");
    return 0;
}

static void digests(const Csi__V1__NodePublishVolumeRequest *message, const struct context_map *context,
                    struct publish_request *out)
{
    struct str more = STR_INIT;
    str_printf(&more, "%s\n%s\n%s", out->pod_namespace, out->mount_flags, out->service_account);
    context_digest(context, more.data, out->content);
    str_clear(&more);
    str_printf(&more, "%s\n%s", out->pod_namespace, out->mount_flags); /* records hold this one */
    str_printf(&more, "\n%d %d %s", (int)message->volume_capability->access_mode->mode, message->readonly,
               message->volume_capability->mount ? message->volume_capability->mount->fs_type : "");
    context_digest(context, more.data, out->arguments);
    str_deinit(&more);
}

static int parse_publish(const Csi__V1__NodePublishVolumeRequest *message, const struct request_rules *rules,
                         struct arena *arena, struct publish_request *out, struct err *err)
{
    struct context_map context = CONTEXT_MAP(arena, message->volume_context, message->n_volume_context);
    if (volume_id_check(message->volume_id, err) != 0 ||
        check_target(arena, message->target_path, rules, &out->target, err) != 0)
        return -1;
    out->volume_id = arena_strdup(arena, message->volume_id);
    if (context_check(&context, err) != 0 || pod_info(arena, &context, rules, out, err) != 0 ||
        check_kind(message, out, err) != 0)
        return -1;
    enum context_owner owner = out->is_ephemeral ? CONTEXT_POD : CONTEXT_ADMIN;
    if (context_attributes(arena, &context, owner, &out->attributes, err) != 0 ||
        request_mount_flags(arena, message->volume_capability, &out->mount_flags, err) != 0 ||
        parse_shown(message, &context, rules, out, err) != 0)
        return -1;
    if (out->is_ephemeral && out->mount_flags[0])
        return err_set(err, ERR_INVALID, "mount_flags: an inline volume may give none");
    digests(message, &context, out);
    return 0;
}

int request_publish(const Csi__V1__NodePublishVolumeRequest *message, const struct request_rules *rules,
                    struct arena *arena, struct publish_request *out, struct err *err)
{
    struct publish_request request = {.secrets = SECRET_MAP_INIT};
    if (require(message->volume_id, "volume_id", err) != 0 || require(message->target_path, "target_path", err) != 0 ||
        request_capability_check(message->volume_capability, &request.is_exclusive, err) != 0)
        return -1;
    if (parse_publish(message, rules, arena, &request, err) != 0) {
        publish_request_deinit(&request);
        return -1;
    }
    *out = request;
    return 0;
}

void publish_request_deinit(struct publish_request *request)
{
    secret_map_deinit(&request->secrets);
    secret_map_deinit(&request->tokens);
}

int request_unpublish(const Csi__V1__NodeUnpublishVolumeRequest *message, const struct request_rules *rules,
                      struct arena *arena, struct unpublish_request *out, struct err *err)
{
    if (require(message->volume_id, "volume_id", err) != 0 || require(message->target_path, "target_path", err) != 0 ||
        volume_id_check(message->volume_id, err) != 0 ||
        check_target(arena, message->target_path, rules, &out->target, err) != 0)
        return -1;
    out->volume_id = arena_strdup(arena, message->volume_id);
    return 0;
}

static int check_staging(const char *volume_id, const char *path, struct err *err)
{
    if (volume_id_check(volume_id, err) != 0)
        return -1;
    if (path[0] != '/' || strlen(path) >= PATH_MAX)
        return err_set(err, ERR_INVALID, "staging_target_path must be an absolute path of less than %d bytes",
                       PATH_MAX);
    return 0;
}

int request_stage(const Csi__V1__NodeStageVolumeRequest *message, struct arena *arena, struct stage_request *out,
                  struct err *err)
{
    if (require(message->volume_id, "volume_id", err) != 0 ||
        require(message->staging_target_path, "staging_target_path", err) != 0 ||
        request_capability_check(message->volume_capability, NULL, err) != 0 ||
        check_staging(message->volume_id, message->staging_target_path, err) != 0)
        return -1;
    struct context_map context = CONTEXT_MAP(arena, message->volume_context, message->n_volume_context);
    struct stage_request request = {.volume_id = arena_strdup(arena, message->volume_id),
                                    .staging_path = arena_strdup(arena, message->staging_target_path)};
    if (context_check(&context, err) != 0 ||
        context_attributes(arena, &context, CONTEXT_ADMIN, &request.attributes, err) != 0 ||
        request_mount_flags(arena, message->volume_capability, &request.mount_flags, err) != 0)
        return -1;
    context_digest(&context, request.mount_flags, request.arguments);
    *out = request;
    return 0;
}

int request_unstage(const Csi__V1__NodeUnstageVolumeRequest *message, struct err *err)
{
    if (require(message->volume_id, "volume_id", err) != 0 ||
        require(message->staging_target_path, "staging_target_path", err) != 0)
        return -1;
    return check_staging(message->volume_id, message->staging_target_path, err);
}
