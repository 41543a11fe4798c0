#include "cachecore/class.h"

#include <jansson.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/json_depth.h"

#define MOUNT_OPTIONS_MAX 4000u
#define PARAMETERS_MAX 100u
#define DEPTH_MAX 32u

static json_t *json_load(const char *text, size_t len, struct err *err)
{
    if (len > CLASS_JSON_MAX) {
        err_set(err, ERR_INVALID, "a class of %zu bytes is larger than the limit of %u", len, CLASS_JSON_MAX);
        return NULL;
    }
    if (!json_is_shallow(text, len, DEPTH_MAX)) {
        err_set(err, ERR_INVALID, "a class nests deeper than %u levels", DEPTH_MAX);
        return NULL;
    }
    json_error_t why;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        err_set(err, ERR_INVALID, "a class is not valid JSON: line %d, column %d", why.line, why.column);
    return root;
}

static const char *text_get(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Parameters that belong to the CSI sidecars and stand in every driver's classes. */
static bool is_sidecar_key(const char *key)
{
    static const char prefix[] = "csi.storage.k8s.io/";
    if (!str_starts_with(key, prefix))
        return false;
    return str_ends_with(key, "-secret-name") || str_ends_with(key, "-secret-namespace");
}

static int parameters_read(struct arena *arena, json_t *object, struct class *class, struct err *err)
{
    const char *key;
    json_t *value;
    if (!object || json_is_null(object))
        return 0;
    if (!json_is_object(object) || json_object_size(object) > PARAMETERS_MAX)
        return err_set(err, ERR_INVALID, "class parameters must be an object of at most %u texts", PARAMETERS_MAX);
    json_object_foreach(object, key, value)
    {
        if (is_sidecar_key(key))
            continue;
        if (class_knows(key) && !json_is_string(value))
            return err_set(err, ERR_INVALID, "class parameter '%s' must be a text (in quotes)", key);
        if (class_set(arena, class, key, json_is_string(value) ? json_string_value(value) : "", err) != 0)
            return -1;
    }
    return 0;
}

static bool is_mount_option(const char *text)
{
    size_t len = text ? strlen(text) : 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] >= 0x7f || strchr("\\\"'", text[i]))
            return false;
    }
    return len > 0;
}

static int mount_options_read(struct arena *arena, const json_t *array, struct class *class, struct err *err)
{
    _cleanup_(str_deinitp) struct str joined = STR_INIT;
    if (!array || json_is_null(array))
        return 0;
    if (!json_is_array(array))
        return err_set(err, ERR_INVALID, "a class's mountOptions must be a list of texts");
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *option = json_string_value(json_array_get(array, i));
        if (!is_mount_option(option))
            return err_set(err, ERR_INVALID, "a class's mountOptions[%zu] is not a mount option", i);
        str_printf(&joined, "%s%s", i ? "," : "", option);
        if (joined.len > MOUNT_OPTIONS_MAX)
            return err_set(err, ERR_INVALID, "a class's mountOptions are longer than %u bytes", MOUNT_OPTIONS_MAX);
    }
    class->mount_options = joined.len > 0 ? arena_strdup(arena, joined.data) : "";
    return 0;
}

static int identity_read(struct arena *arena, const json_t *root, const char *driver_name, struct class *class,
                         struct err *err)
{
    const char *kind = text_get(root, "kind");
    const char *name = text_get(json_object_get(root, "metadata"), "name");
    const char *provisioner = text_get(root, "provisioner");
    if (!json_is_object(root))
        return err_set(err, ERR_INVALID, "a class must be a JSON object");
    if (kind && strcmp(kind, "StorageClass") != 0)
        return err_set(err, ERR_INVALID, "the object is no StorageClass (see 'kind')");
    if (!name || *name == '\0' || strlen(name) > 253)
        return err_set(err, ERR_INVALID, "a class has no metadata.name of 1 to 253 bytes");
    if (!provisioner || strcmp(provisioner, driver_name) != 0)
        return err_set(err, ERR_INVALID, "the class's provisioner is not %s", driver_name);
    class->name = arena_strdup(arena, name);
    return 0;
}

int class_parse_json(struct arena *arena, const char *text, size_t len, const char *driver_name, struct class *out,
                     struct err *err)
{
    struct class class;
    json_auto_t *root = json_load(text, len, err);
    if (!root)
        return -1;
    class_default(&class);
    if (identity_read(arena, root, driver_name, &class, err) != 0)
        return -1;
    if (parameters_read(arena, json_object_get(root, "parameters"), &class, err) != 0 ||
        mount_options_read(arena, json_object_get(root, "mountOptions"), &class, err) != 0 ||
        class_check(&class, err) != 0)
        return err_prefix(err, "class '%.64s'", class.name);
    *out = class;
    return 0;
}
