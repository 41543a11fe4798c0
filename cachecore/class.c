#include "cachecore/class.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/address.h"
#include "cachecore/snapshot.h"
#include "cachecore/url.h"

#define VALUE_MAX 4096u
#define DURATION_MAX_S (UINT64_C(30) * 86400)

/* One StorageClass parameter: how its text becomes a field. */
struct parameter {
    const char *key;
    int (*set)(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
               struct err *err);
    size_t offset;
    const char *const *words; /* of an enumeration */
};

static void *field(struct class *class, const struct parameter *parameter)
{
    return (char *)class + parameter->offset;
}

static int bad(const struct parameter *parameter, struct err *err, const char *wanted)
{
    return err_set(err, ERR_INVALID, "class parameter '%s' must be %s", parameter->key, wanted);
}

static int set_text(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                    struct err *err)
{
    if (*value == '\0')
        return bad(parameter, err, "a text that is not empty (or left out)");
    *(const char **)field(class, parameter) = arena_strdup(arena, value);
    return 0;
}

static int set_bool(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                    struct err *err)
{
    (void)arena;
    bool is_true = strcmp(value, "true") == 0;
    if (!is_true && strcmp(value, "false") != 0)
        return bad(parameter, err, "\"true\" or \"false\"");
    *(bool *)field(class, parameter) = is_true;
    return 0;
}

/* The position of value among the words, -1 if it is none of them. */
static int word_find(const struct parameter *parameter, const char *value, struct err *err)
{
    for (int i = 0; parameter->words[i]; i++) {
        if (strcmp(parameter->words[i], value) == 0)
            return i;
    }
    char known[128] = "";
    for (int i = 0; parameter->words[i]; i++) {
        strncat(known, i ? ", " : "one of ", sizeof(known) - strlen(known) - 1);
        strncat(known, parameter->words[i], sizeof(known) - strlen(known) - 1);
    }
    return bad(parameter, err, known);
}

static int set_enum(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                    struct err *err)
{
    (void)arena;
    int word = word_find(parameter, value, err);
    if (word < 0)
        return -1;
    *(int *)field(class, parameter) = word;
    return 0;
}

static int set_word(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                    struct err *err)
{
    if (word_find(parameter, value, err) < 0)
        return -1;
    return set_text(arena, parameter, class, value, err);
}

static int set_bytes(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                     struct err *err)
{
    (void)arena;
    uint64_t bytes;
    if (str_parse_bytes(value, &bytes) != 0 || bytes == 0 || bytes >= CLASS_PERCENT)
        return bad(parameter, err, "a number of bytes such as 500Gi or 10Ti");
    *(uint64_t *)field(class, parameter) = bytes;
    return 0;
}

static int set_free(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                    struct err *err)
{
    size_t len = strlen(value);
    if (!str_ends_with(value, "%"))
        return set_bytes(arena, parameter, class, value, err);
    uint64_t percent;
    char *digits = arena_strndup(arena, value, len - 1);
    if (str_parse_u64(digits, 99, &percent) != 0 || percent == 0)
        return bad(parameter, err, "a number of bytes such as 500Gi, or 1% to 99%");
    *(uint64_t *)field(class, parameter) = CLASS_PERCENT | percent;
    return 0;
}

static int set_count(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                     struct err *err)
{
    (void)arena;
    uint64_t count;
    if (str_parse_u64(value, 100000000, &count) != 0 || count == 0)
        return bad(parameter, err, "a number from 1 to 100000000");
    *(uint64_t *)field(class, parameter) = count;
    return 0;
}

/* "90s", "5m", "12h", "2d" */
static int set_seconds(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                       struct err *err)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t len = strlen(value);
    uint64_t number;
    for (size_t i = 0; len > 1 && i < sizeof(units) / sizeof(units[0]); i++) {
        if (value[len - 1] != units[i].unit)
            continue;
        if (str_parse_u64(arena_strndup(arena, value, len - 1), DURATION_MAX_S / units[i].seconds, &number) != 0)
            break;
        *(uint64_t *)field(class, parameter) = number * units[i].seconds;
        return 0;
    }
    return bad(parameter, err, "a time such as 30s, 5m or 12h, at most 30d");
}

static int set_path(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                    struct err *err)
{
    struct err why = ERR_INIT;
    size_t start = strspn(value, "/");
    size_t len = strlen(value);
    while (len > start && value[len - 1] == '/')
        len--;
    if (len == start) {
        *(const char **)field(class, parameter) = "";
        return 0;
    }
    if (snapshot_path_check(value + start, len - start, &why) != 0)
        return err_set(err, ERR_INVALID, "class parameter '%s': %s", parameter->key, why.message);
    *(const char **)field(class, parameter) = arena_strndup(arena, value + start, len - start);
    return 0;
}

static int set_absolute(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                        struct err *err)
{
    struct err why = ERR_INIT;
    if (value[0] != '/' || snapshot_path_check(value + 1, strlen(value + 1), &why) != 0)
        return bad(parameter, err, "the absolute path of a file, without '.' or '..'");
    return set_text(arena, parameter, class, value, err);
}

static int set_url(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                   struct err *err)
{
    struct err why = ERR_INIT;
    struct url url;
    if (url_parse(arena, value, strlen(value), &url, &why) != 0)
        return err_set(err, ERR_INVALID, "class parameter '%s': %s", parameter->key, why.message);
    if (url.port == 0 || url.query || strcmp(url.path, "/") != 0)
        return bad(parameter, err, "http://host[:port] or https://host[:port], without path and query");
    *(const char **)field(class, parameter) = arena_strndup(arena, url.display, strlen(url.display) - 1);
    return 0;
}

static int set_name(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                    struct err *err)
{
    size_t len = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-.");
    if (len == 0 || len > 253 || value[len] != '\0' || !isalnum((unsigned char)value[0]) ||
        !isalnum((unsigned char)value[len - 1]) || strstr(value, ".."))
        return bad(parameter, err, "a name of lowercase letters, digits, '-' and '.'");
    return set_text(arena, parameter, class, value, err);
}

static int set_addresses(struct arena *arena, const struct parameter *parameter, struct class *class, const char *value,
                         struct err *err)
{
    struct address_rules rules;
    struct err why = ERR_INIT;
    if (address_rules_parse(value, &rules, &why) != 0)
        return err_set(err, ERR_INVALID, "class parameter '%s': %s", parameter->key, why.message);
    return set_text(arena, parameter, class, value, err);
}

static const char *const share_types[] = {"efs", "filestore", "azurefile", "nfs", "smb", "local", NULL};
static const char *const copy_policies[] = {[COPY_DIRECT] = "direct", [COPY_LOCAL] = "copy", NULL};
static const char *const pod_choices[] = {"", "copyPolicy", NULL};
static const char *const authorize_rules[] = {[AUTHORIZE_PREFIX] = "prefix", [AUTHORIZE_OBJECT] = "object", NULL};

static int set_pod_choice(struct arena *arena, const struct parameter *parameter, struct class *class,
                          const char *value, struct err *err)
{
    (void)arena;
    int word = word_find(parameter, value, err);
    if (word < 0)
        return -1;
    *(bool *)field(class, parameter) = word == 1;
    return 0;
}

static int set_path_style(struct arena *arena, const struct parameter *parameter, struct class *class,
                          const char *value, struct err *err)
{
    if (set_bool(arena, parameter, class, value, err) != 0)
        return -1;
    class->s3_path_style_is_given = true;
    return 0;
}

static int set_s3_endpoint(struct arena *arena, const struct parameter *parameter, struct class *class,
                           const char *value, struct err *err)
{
    if (set_url(arena, parameter, class, value, err) != 0)
        return -1;
    if (!class->s3_path_style_is_given)
        class->s3_path_style = true;
    return 0;
}

#define AT(member) offsetof(struct class, member)

static const struct parameter parameters[] = {
    {"allowedAddresses", set_addresses, AT(allowed_addresses), NULL},
    {"allowedNamespaces", set_text, AT(allowed_namespaces), NULL},
    {"allowedSources", set_text, AT(allowed_sources), NULL},
    {"answerTTL", set_seconds, AT(answer_ttl_s), NULL},
    {"authorize", set_enum, AT(authorize), authorize_rules},
    {"awsMetadataEndpoint", set_url, AT(aws_metadata_endpoint), NULL},
    {"awsPodIdentityEndpoint", set_url, AT(aws_pod_identity_endpoint), NULL},
    {"awsRoleArn", set_text, AT(aws_role_arn), NULL},
    {"awsStsEndpoint", set_url, AT(aws_sts_endpoint), NULL},
    {"azureAuthority", set_url, AT(azure_authority), NULL},
    {"azureClientId", set_text, AT(azure_client_id), NULL},
    {"azureEndpoint", set_url, AT(azure_endpoint), NULL},
    {"azureMetadataEndpoint", set_url, AT(azure_metadata_endpoint), NULL},
    {"azureTenantId", set_text, AT(azure_tenant_id), NULL},
    {"budget", set_bytes, AT(budget_bytes), NULL},
    {"caBundle", set_absolute, AT(ca_bundle), NULL},
    {"copyPolicy", set_enum, AT(copy_policy), copy_policies},
    {"evictBelowFree", set_free, AT(evict_below_free), NULL},
    {"evictToFree", set_free, AT(evict_to_free), NULL},
    {"gcsEndpoint", set_url, AT(gcs_endpoint), NULL},
    {"googleIamEndpoint", set_url, AT(google_iam_endpoint), NULL},
    {"googleMetadataEndpoint", set_url, AT(google_metadata_endpoint), NULL},
    {"googleProvider", set_text, AT(google_provider), NULL},
    {"googleServiceAccount", set_text, AT(google_service_account), NULL},
    {"googleStsEndpoint", set_url, AT(google_sts_endpoint), NULL},
    {"googleTokenEndpoint", set_url, AT(google_token_endpoint), NULL},
    {"maxBytes", set_bytes, AT(max_bytes), NULL},
    {"maxFiles", set_count, AT(max_files), NULL},
    {"nodeIdentity", set_bool, AT(node_identity), NULL},
    {"noexec", set_bool, AT(noexec), NULL},
    {"podMayChoose", set_pod_choice, AT(pod_may_choose_copy), pod_choices},
    {"proxy", set_url, AT(proxy), NULL},
    {"s3Endpoint", set_s3_endpoint, AT(s3_endpoint), NULL},
    {"s3PathStyle", set_path_style, AT(s3_path_style), NULL},
    {"s3Region", set_name, AT(s3_region), NULL},
    {"share", set_text, AT(share), NULL},
    {"shareSecret", set_name, AT(share_secret), NULL},
    {"shareType", set_word, AT(share_type), share_types},
    {"subPath", set_path, AT(sub_path), NULL},
    {"unreachableGrace", set_seconds, AT(unreachable_grace_s), NULL},
};
#define PARAMETER_COUNT (sizeof(parameters) / sizeof(parameters[0]))

static const struct parameter *parameter_find(const char *key)
{
    for (size_t i = 0; i < PARAMETER_COUNT; i++) {
        if (strcmp(parameters[i].key, key) == 0)
            return &parameters[i];
    }
    return NULL;
}

bool class_knows(const char *key)
{
    return parameter_find(key) != NULL;
}

static int key_unknown(const char *key, struct err *err)
{
    char known[900] = "";
    for (size_t i = 0; i < PARAMETER_COUNT; i++) {
        strncat(known, i ? ", " : "", sizeof(known) - strlen(known) - 1);
        strncat(known, parameters[i].key, sizeof(known) - strlen(known) - 1);
    }
    size_t plain = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/");
    return err_set(err, ERR_INVALID, "unknown class parameter '%.*s': known are %s", (int)(plain < 64 ? plain : 64),
                   key, known);
}

static int value_check(const char *key, const char *value, struct err *err)
{
    size_t len = strlen(value);
    if (len > VALUE_MAX)
        return err_set(err, ERR_INVALID, "class parameter '%s' is longer than %u bytes", key, VALUE_MAX);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
            return err_set(err, ERR_INVALID, "class parameter '%s' holds a control character", key);
    }
    return 0;
}

int class_set(struct arena *arena, struct class *class, const char *key, const char *value, struct err *err)
{
    const struct parameter *parameter = parameter_find(key);
    if (!parameter)
        return key_unknown(key, err);
    if (value_check(key, value, err) != 0)
        return -1;
    return parameter->set(arena, parameter, class, value, err);
}

void class_default(struct class *out)
{
    *out = (struct class){
        .name = "default",
        .share_type = "local",
        .sub_path = "",
        .mount_options = "",
        .max_bytes = UINT64_C(16) << 40,
        .max_files = 1000000,
        .answer_ttl_s = 5,
    };
}

int class_check(const struct class *class, struct err *err)
{
    if (strcmp(class->share_type, "local") != 0 && !class->share)
        return err_set(err, ERR_INVALID, "class parameter 'share' is required with shareType %s", class->share_type);
    bool both = class->evict_below_free && class->evict_to_free;
    bool same_unit = (class->evict_below_free & CLASS_PERCENT) == (class->evict_to_free & CLASS_PERCENT);
    if (both && same_unit && class->evict_to_free < class->evict_below_free)
        return err_set(err, ERR_INVALID, "class parameter 'evictToFree' must not be less than 'evictBelowFree'");
    return 0;
}
