#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "csi/controller.h"
#include "csi/policy.h"
#include "csi/shares.h"

#define UUID_LEN 36

int create_request_alone(const struct create_request *request, struct arena *arena, struct context_map *out,
                         struct err *err)
{
    struct volume_attributes attributes;
    if (context_attributes(arena, &request->parameters, CONTEXT_ADMIN, &attributes, err) != 0)
        return err_prefix(err, "parameters");
    *out = request->parameters;
    return 0;
}

/* The last 36 bytes, when they are a UUID: the external-provisioner names a volume "pvc-<uid of the claim>", unless it was told
 * to do otherwise. */
static const char *uid_in_name(const char *name)
{
    size_t len = strlen(name);
    const char *uid = len < UUID_LEN ? "" : name + len - UUID_LEN;
    for (size_t i = 0; uid[i]; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? uid[i] != '-' : !isxdigit((unsigned char)uid[i]))
            return NULL;
    }
    return uid[0] ? uid : NULL;
}

int create_request_owner(const struct create_request *request, const struct claim *claim, struct err *err)
{
    const char *uid = uid_in_name(request->name);
    if (!uid || strcmp(uid, claim->uid) == 0)
        return 0;
    return err_set(err, ERR_NOT_FOUND, "it was deleted, and another claim of its name was made");
}

/* The class as the node will read it from the API: the same parameters and mount options, and the same checks. */
static int make_class(const struct create_request *request, const struct claim *claim, struct arena *arena,
                      struct class *out, struct err *err)
{
    char key[RECORD_SHARE_MAX + 1];
    struct share_plan plan;
    class_default(out);
    out->name = claim->storage_class;
    if (policy_complete(out, request->parameters.pairs, request->parameters.count, request->mount_flags, arena, err) !=
        0)
        return -1;
    return out->share ? shares_key(out, arena, &plan, key, err) : 0;
}

static void add(struct context_map *map, const char *key, const char *value)
{
    if (value)
        map->pairs[map->count++] = (struct request_pair){key, value};
}

/* The node's own limit for a context, told in the claim's words. */
static int check_size(const struct context_map *context, struct err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < context->count; i++)
        total += strlen(context->pairs[i].key) + strlen(context->pairs[i].value);
    if (total <= REQUEST_ATTRIBUTES_MAX)
        return 0;
    return err_set(
        err, ERR_INVALID,
        "a volume holds at most %u bytes of inputs and class, these are %zu: put the list into an object and "
        "name it in the annotation '" CLAIM_ANNOTATIONS "inputs-from'",
        REQUEST_ATTRIBUTES_MAX, total);
}

int create_request_claim(const struct create_request *request, const struct claim *claim, struct arena *arena,
                         struct context_map *out, struct err *err)
{
    struct context_map context = {arena_calloc(arena, 4 + IDENTITY_ROLES, sizeof(struct request_pair)), 0};
    struct volume_attributes attributes = {
        .inputs = claim->inputs, .inputs_from = claim->inputs_from, .copy_policy = claim->copy_policy};
    struct class class;
    if (make_class(request, claim, arena, &class, err) != 0)
        return err_prefix(err, "StorageClass '%.100s'", claim->storage_class);
    add(&context, "storageClass", claim->storage_class);
    add(&context, "inputs", claim->inputs);
    add(&context, "inputsFrom", claim->inputs_from);
    add(&context, "copyPolicy", claim->copy_policy);
    for (size_t i = 0; i < IDENTITY_ROLES; i++)
        add(&context, role_names[i].attribute, claim->roles[i]);
    if (check_size(&context, err) != 0 || policy_volume(&class, &attributes, request->claim.namespace, arena, err) != 0)
        return claim_mistake(err);
    *out = context;
    return 0;
}
