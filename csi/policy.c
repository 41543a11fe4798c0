#include "csi/policy.h"

#include <string.h>

#include "cachecore/input.h"

static bool has_option(const char *options, const char *option, size_t len)
{
    while (*options) {
        size_t next = strcspn(options, ",");
        if (next == len && strncmp(options, option, len) == 0)
            return true;
        options += next + (options[next] == ',');
    }
    return false;
}

static const char *join_options(struct arena *arena, const char *options, const char *flags)
{
    while (*flags) {
        size_t len = strcspn(flags, ",");
        if (len > 0 && !has_option(options, flags, len))
            options = arena_printf(arena, "%s%s%.*s", options, options[0] ? "," : "", (int)len, flags);
        flags += len + (flags[len] == ',');
    }
    return options;
}

int policy_complete(struct class *class, const struct request_pair *parameters, size_t count, const char *mount_flags,
                    struct arena *arena, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (class_set(arena, class, parameters[i].key, parameters[i].value, err) != 0)
            return -1;
    class->mount_options = join_options(arena, class->mount_options ? class->mount_options : "", mount_flags);
    return class_check(class, err);
}

int policy_class(struct class_source *classes, const struct volume_attributes *attributes, const char *mount_flags,
                 struct arena *arena, struct class *out, struct err *err)
{
    struct class class;
    if (!attributes->storage_class && attributes->parameter_count > 0)
        class_default(&class); /* what a PersistentVolume says is whole in itself */
    else if (class_get(classes, attributes->storage_class, arena, &class, err) != 0)
        return -1;
    /* A volume that knows its class follows it: what the class said when the claim was bound is out of date, or the same twice. */
    if (attributes->is_provisioned && attributes->storage_class)
        mount_flags = "";
    if (policy_complete(&class, attributes->parameters, attributes->parameter_count, mount_flags, arena, err) != 0)
        return -1;
    *out = class;
    return 0;
}

static int choose_copy(struct class *class, const char *wish, struct err *err)
{
    if (!wish)
        return 0;
    if (!class->pod_may_choose_copy)
        return err_set(err, ERR_INVALID,
                       "attribute 'copyPolicy': StorageClass '%s' does not let a pod choose it (podMayChoose)",
                       class->name ? class->name : "built-in");
    class->copy_policy = strcmp(wish, "copy") == 0 ? COPY_LOCAL : COPY_DIRECT;
    return 0;
}

static int check_url(const struct class *class, const struct url *url, struct err *err)
{
    if (class_allows_source(class, url->canonical))
        return 0;
    return err_set(err, ERR_DENIED, "%s: StorageClass '%s' does not allow this source (allowedSources)", url->display,
                   class->name ? class->name : "built-in");
}

/* The text was parsed without error when the request was. */
static int check_sources(const struct class *class, const struct volume_attributes *attributes, struct arena *arena,
                         struct err *err)
{
    struct inputs inputs;
    struct url url;
    if (attributes->inputs_from) {
        if (url_parse(arena, attributes->inputs_from, strlen(attributes->inputs_from), &url, err) != 0)
            return -1;
        return check_url(class, &url, err);
    }
    if (inputs_parse(arena, attributes->inputs, strlen(attributes->inputs), &inputs, err) != 0)
        return -1;
    for (size_t i = 0; i < inputs.count; i++)
        if (check_url(class, &inputs.items[i].url, err) != 0)
            return err_prefix(err, "inputs line %u", inputs.items[i].line);
    return 0;
}

int policy_volume(struct class *class, const struct volume_attributes *attributes, const char *namespace,
                  struct arena *arena, struct err *err)
{
    if (choose_copy(class, attributes->copy_policy, err) != 0)
        return -1;
    if (!class_allows_namespace(class, namespace))
        return err_set(err, ERR_DENIED, "StorageClass '%s' does not allow namespace '%s' (allowedNamespaces)",
                       class->name ? class->name : "built-in", namespace);
    return check_sources(class, attributes, arena, err);
}
