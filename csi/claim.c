#include "csi/claim.h"

#include <string.h>

#include "base/str.h"
#include "cachecore/input.h"

/* Before storageClassName there was this; Kubernetes still lets it go first. */
#define OLD_CLASS_ANNOTATION "volume.beta.kubernetes.io/storage-class"

static const char *const annotations[] = {"inputs", "inputs-from", "copy-policy"};
#define ANNOTATION_COUNT (sizeof(annotations) / sizeof(annotations[0]))

static const char *text_get(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static bool is_of_pod(const json_t *metadata)
{
    size_t i;
    const json_t *owner;
    json_array_foreach(json_object_get(metadata, "ownerReferences"), i, owner)
    {
        const char *kind = text_get(owner, "kind");
        if (kind && strcmp(kind, "Pod") == 0)
            return true;
    }
    return false;
}

static int missing(const json_t *metadata, struct err *err)
{
    static const char what[] = "one input a line, such as 's3://bucket/model.bin -> models/model.bin'";
    if (is_of_pod(metadata))
        return err_set(err, ERR_PRECONDITION,
                       "the annotation '" CLAIM_ANNOTATIONS "inputs' is missing: set it in metadata.annotations of the "
                       "pod's volumeClaimTemplate, %s, and make the pod anew",
                       what);
    return err_set(err, ERR_PRECONDITION,
                   "the annotation '" CLAIM_ANNOTATIONS "inputs' is missing: set it in the claim's "
                   "metadata.annotations, %s; or '" CLAIM_ANNOTATIONS "inputs-from', the URL of such a list",
                   what);
}

static bool is_annotation(const char *name)
{
    for (size_t i = 0; i < ANNOTATION_COUNT; i++)
        if (strcmp(name, annotations[i]) == 0)
            return true;
    for (size_t i = 0; i < IDENTITY_ROLES; i++)
        if (strcmp(name, role_names[i].annotation) == 0)
            return true;
    return false;
}

static int unknown_annotation(const char *key, struct err *err)
{
    _cleanup_(str_deinitp) struct str known = STR_INIT;
    for (size_t i = 0; i < ANNOTATION_COUNT; i++)
        str_printf(&known, "%s%s", i ? ", " : "", annotations[i]);
    for (size_t i = 0; i < IDENTITY_ROLES; i++)
        str_printf(&known, ", %s", role_names[i].annotation);
    return err_set(err, ERR_INVALID, "unknown annotation '%.100s': below " CLAIM_ANNOTATIONS " there are %s", key,
                   known.data);
}

/* A misspelt one would be ignored without a word. */
static int check_known(json_t *all, struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(all, key, value)
    {
        if (str_starts_with(key, CLAIM_ANNOTATIONS) && !is_annotation(key + strlen(CLAIM_ANNOTATIONS)))
            return unknown_annotation(key, err);
    }
    return 0;
}

static int check_values(struct arena *arena, const struct claim *claim, struct err *err)
{
    struct inputs inputs;
    struct url url;
    if (claim->inputs && claim->inputs_from)
        return err_set(err, ERR_INVALID,
                       "the annotations '" CLAIM_ANNOTATIONS "inputs' and '" CLAIM_ANNOTATIONS
                       "inputs-from' exclude each other: remove one");
    if (claim->inputs && inputs_parse(arena, claim->inputs, strlen(claim->inputs), &inputs, err) != 0)
        return err_prefix(err, "annotation '" CLAIM_ANNOTATIONS "inputs'");
    if (claim->inputs_from && url_parse(arena, claim->inputs_from, strlen(claim->inputs_from), &url, err) != 0)
        return err_prefix(err, "annotation '" CLAIM_ANNOTATIONS "inputs-from'");
    if (claim->copy_policy && strcmp(claim->copy_policy, "direct") != 0 && strcmp(claim->copy_policy, "copy") != 0)
        return err_set(err, ERR_INVALID,
                       "annotation '" CLAIM_ANNOTATIONS "copy-policy': '%.40s' is neither direct nor copy",
                       claim->copy_policy);
    return 0;
}

static const char *get_copy(struct arena *arena, const json_t *object, const char *key)
{
    const char *text = text_get(object, key);
    return text ? arena_strdup(arena, text) : NULL;
}

static int read_roles(struct arena *arena, const json_t *all, struct claim *out, struct err *err)
{
    for (size_t i = 0; i < IDENTITY_ROLES; i++) {
        const char *key = arena_printf(arena, CLAIM_ANNOTATIONS "%s", role_names[i].annotation);
        out->roles[i] = get_copy(arena, all, key);
        if (out->roles[i] && identity_role_check((enum identity_role)i, out->roles[i], err) != 0)
            return err_prefix(err, "annotation '%s'", key);
    }
    return 0;
}

static const char *get_class(struct arena *arena, const json_t *object, const json_t *all)
{
    const char *old = get_copy(arena, all, OLD_CLASS_ANNOTATION);
    return old ? old : get_copy(arena, json_object_get(object, "spec"), "storageClassName");
}

int claim_mistake(struct err *err)
{
    if (err->code == ERR_INVALID)
        err->code = ERR_PRECONDITION;
    return -1;
}

int claim_parse(struct arena *arena, const json_t *object, struct claim *out, struct err *err)
{
    const char *kind = text_get(object, "kind");
    const json_t *metadata = json_object_get(object, "metadata");
    json_t *all = json_object_get(metadata, "annotations");
    struct claim claim = {
        .uid = get_copy(arena, metadata, "uid"),
        .storage_class = get_class(arena, object, all),
        .inputs = get_copy(arena, all, CLAIM_ANNOTATIONS "inputs"),
        .inputs_from = get_copy(arena, all, CLAIM_ANNOTATIONS "inputs-from"),
        .copy_policy = get_copy(arena, all, CLAIM_ANNOTATIONS "copy-policy"),
    };
    if (!kind || strcmp(kind, "PersistentVolumeClaim") != 0 || !claim.uid)
        return err_set(err, ERR_CORRUPT, "the API's answer is no PersistentVolumeClaim");
    if (!claim.storage_class || !claim.storage_class[0])
        return err_set(err, ERR_PRECONDITION, "spec.storageClassName is missing");
    if (check_known(all, err) != 0)
        return claim_mistake(err);
    if (!claim.inputs && !claim.inputs_from)
        return missing(metadata, err);
    if (check_values(arena, &claim, err) != 0 || read_roles(arena, all, &claim, err) != 0)
        return claim_mistake(err);
    *out = claim;
    return 0;
}

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 253 && name[0] != '.' && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == len;
}

/* What the API thinks of our request is not what the claim's author has to mend. */
static int explain(struct err *err)
{
    switch (err->code) {
    case ERR_NOT_FOUND:
        return err_set(err, ERR_NOT_FOUND, "it does not exist any more");
    case ERR_DENIED:
    case ERR_UNAUTHENTICATED:
        err->code = ERR_PRECONDITION;
        return err_prefix(err, "the controller may not read it (its ServiceAccount needs the verb get for "
                               "persistentvolumeclaims)");
    case ERR_INVALID:
        err->code = ERR_INTERNAL;
        break;
    default:
        break;
    }
    return err_prefix(err, "cannot read it from the Kubernetes API");
}

int claim_read(struct kube *kube, const struct claim_key *key, int64_t deadline_ms, struct arena *arena,
               struct claim *out, struct err *err)
{
    json_auto_t *object = NULL;
    if (!is_name(key->namespace) || !is_name(key->name))
        return err_set(err, ERR_INVALID, "not the names of a namespace and a claim");
    struct kube_request request = {
        .verb = KUBE_GET,
        .path = arena_printf(arena, "/api/v1/namespaces/%s/persistentvolumeclaims/%s", key->namespace, key->name),
        .deadline_ms = deadline_ms,
    };
    if (kube_call(kube, &request, &object, err) != 0)
        return explain(err);
    return claim_parse(arena, object, out, err);
}
