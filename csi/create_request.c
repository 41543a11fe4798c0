#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "csi/controller.h"

#define NAME_MAX_BYTES 128

/* Given by the external provisioner with --extra-create-metadata; all others below csi.storage.k8s.io/ are kubelet's. */
#define CLAIM_NAME "csi.storage.k8s.io/pvc/name"
#define CLAIM_NAMESPACE "csi.storage.k8s.io/pvc/namespace"
static const char *const provisioner_keys[] = {CLAIM_NAME, CLAIM_NAMESPACE, "csi.storage.k8s.io/pv/name"};

/* The specification's list of characters that a name must not hold: controls but tab and line ends, and the noncharacters at
 * the end of the plane. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
            return false;
        if (c == 0xc2 && (unsigned char)name[i + 1] <= 0x9f && (unsigned char)name[i + 1] != 0x85)
            return false;
        if (c == 0xef && (unsigned char)name[i + 1] == 0xbf && (unsigned char)name[i + 2] >= 0xbe)
            return false;
    }
    return true;
}

static bool is_provisioner_key(const char *key)
{
    for (size_t i = 0; i < sizeof(provisioner_keys) / sizeof(provisioner_keys[0]); i++)
        if (strcmp(provisioner_keys[i], key) == 0)
            return true;
    return false;
}

static int keep_parameters(const struct context_map *all, struct arena *arena, struct context_map *out, struct err *err)
{
    out->pairs = arena_calloc(arena, all->count + 1, sizeof(struct request_pair));
    for (size_t i = 0; i < all->count; i++) {
        if (is_provisioner_key(all->pairs[i].key))
            continue;
        if (context_is_reserved(all->pairs[i].key))
            return err_set(err, ERR_INVALID, "'%.100s' is reserved for Kubernetes", all->pairs[i].key);
        out->pairs[out->count++] =
            (struct request_pair){arena_strdup(arena, all->pairs[i].key), arena_strdup(arena, all->pairs[i].value)};
    }
    return 0;
}

static int check_capacity(const Csi__V1__CapacityRange *range, struct err *err)
{
    if (!range)
        return 0;
    if (range->required_bytes < 0 || range->limit_bytes < 0)
        return err_set(err, ERR_RANGE, "capacity_range must not be negative");
    if (range->limit_bytes != 0 && range->limit_bytes < range->required_bytes)
        return err_set(err, ERR_RANGE, "capacity_range: limit_bytes is less than required_bytes");
    return 0;
}

static int check_capabilities(const Csi__V1__CreateVolumeRequest *message, struct err *err)
{
    if (message->n_volume_capabilities == 0)
        return err_set(err, ERR_INVALID, "volume_capabilities is required");
    for (size_t i = 0; i < message->n_volume_capabilities; i++)
        if (request_capability_check(message->volume_capabilities[i], NULL, err) != 0)
            return -1;
    return 0;
}

static int check_fields(const Csi__V1__CreateVolumeRequest *message, struct err *err)
{
    if (!message->name[0])
        return err_set(err, ERR_INVALID, "name is required");
    if (check_capabilities(message, err) != 0)
        return -1;
    if (!is_name(message->name))
        return err_set(err, ERR_INVALID, "name must be 1 to %d bytes without control characters", NAME_MAX_BYTES);
    if (message->volume_content_source)
        return err_set(err, ERR_INVALID, "volume_content_source: a volume cannot be made from another or a snapshot");
    if (message->n_mutable_parameters > 0)
        return err_set(err, ERR_INVALID, "mutable_parameters: none are supported");
    return check_capacity(message->capacity_range, err);
}

static int compare_modes(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Access modes, whatever their order; mount flags and file system type do not change what the volume is. */
static const char *modes_text(const Csi__V1__CreateVolumeRequest *message, struct arena *arena)
{
    size_t count = message->n_volume_capabilities;
    int *modes = arena_calloc(arena, count, sizeof(int));
    const char *text = "";
    for (size_t i = 0; i < count; i++)
        modes[i] = (int)message->volume_capabilities[i]->access_mode->mode;
    qsort(modes, count, sizeof(int), compare_modes);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || modes[i] != modes[i - 1])
            text = arena_printf(arena, "%s %d", text, modes[i]);
    return text;
}

static const char *get_copy(struct arena *arena, const struct context_map *map, const char *key)
{
    const char *value = context_get(map, key);
    return value ? arena_strdup(arena, value) : NULL;
}

int create_request_parse(const Csi__V1__CreateVolumeRequest *message, struct arena *arena, struct create_request *out,
                         struct err *err)
{
    struct create_request request = {.name = NULL};
    char hex[SHA256_HEX];
    if (check_fields(message, err) != 0 ||
        request_mount_flags(arena, message->volume_capabilities[0], &request.mount_flags, err) != 0)
        return -1;
    struct context_map all = CONTEXT_MAP(arena, message->parameters, message->n_parameters);
    if (context_check(&all, err) != 0 || keep_parameters(&all, arena, &request.parameters, err) != 0)
        return err_prefix(err, "parameters");
    request.claim = (struct claim_key){get_copy(arena, &all, CLAIM_NAMESPACE), get_copy(arena, &all, CLAIM_NAME)};
    request.name = arena_strdup(arena, message->name);
    digest_sha256_hex(message->name, strlen(message->name), hex);
    snprintf(request.id, sizeof(request.id), "sc-%s", hex);
    context_digest(&request.parameters, modes_text(message, arena), request.digest);
    *out = request;
    return 0;
}
