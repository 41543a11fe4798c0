/* Answers of Amazon's credential services. */
#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "cachecore/credential_aws.h"
#include "cachecore/json_depth.h"
#include "cachecore/xml.h"

#define FIELD_MAX 16384u
#define JSON_DEPTH_MAX 8u
#define STS_RESULT "/AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/"
#define STS_ERROR "/ErrorResponse/Error/Code"

/* 0 for what is no time. */
static int64_t time_parse(const char *text)
{
    int64_t seconds;
    uint32_t ns;
    return text && clock_parse_rfc3339(text, &seconds, &ns) == 0 ? seconds : 0;
}

/* --- what both forms share --- */

/* These go into headers. */
static bool is_plain(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] <= 0x20 || (unsigned char)text[i] >= 0x7f)
            return false;
    }
    return len > 0 && len <= FIELD_MAX;
}

static int keys_check(const struct aws_keys *keys, struct err *err)
{
    const char *const values[] = {keys->access_key_id, keys->secret_key, keys->session_token};
    static const char *const names[] = {"access key id", "secret access key", "session token"};
    for (size_t i = 0; i < 3; i++) {
        if (!values[i] || !is_plain(values[i]))
            return err_set(err, ERR_PRECONDITION, "the answer holds no usable %s", names[i]);
    }
    if (keys->expires_s == 0)
        return err_set(err, ERR_PRECONDITION, "the answer does not say until when the credentials hold");
    return 0;
}

/* --- JSON --- */

/* A copy in arena; jansson's is overwritten. */
static const char *member_take(struct arena *arena, json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    if (!text || strlen(text) != json_string_length(value))
        return NULL;
    const char *copy = arena_strdup(arena, text);
    explicit_bzero((char *)(uintptr_t)text, strlen(text));
    return copy;
}

static int code_check(const char *code, struct err *err)
{
    if (!code || strcmp(code, "Success") == 0)
        return 0;
    size_t len = strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return err_set(err, ERR_PRECONDITION, "the service says %.*s", len > 0 ? (int)(len < 64 ? len : 64) : 7,
                   len > 0 ? code : "nothing");
}

static int object_read(struct arena *arena, json_t *object, struct aws_keys *out, struct err *err)
{
    struct aws_keys keys = {.access_key_id = member_take(arena, object, "AccessKeyId"),
                            .secret_key = member_take(arena, object, "SecretAccessKey"),
                            .session_token = member_take(arena, object, "Token")};
    const char *expiration = member_take(arena, object, "Expiration");
    keys.expires_s = time_parse(expiration);
    if (code_check(member_take(arena, object, "Code"), err) != 0 || keys_check(&keys, err) != 0)
        return -1;
    *out = keys;
    return 0;
}

int aws_keys_parse_json(struct arena *arena, const char *text, size_t len, struct aws_keys *out, struct err *err)
{
    json_t *object =
        json_is_shallow(text, len, JSON_DEPTH_MAX) ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    int result = json_is_object(object) ? object_read(arena, object, out, err)
                                        : err_set(err, ERR_PRECONDITION, "the answer is no JSON object");
    json_decref(object);
    return result;
}

/* --- XML --- */

struct answer {
    struct arena *arena;
    struct aws_keys keys;
    const char *expiration;
    const char *code;
};

static int field_set(const struct answer *answer, const char **field, const char *text, size_t len, struct err *err)
{
    if (*field)
        return err_set(err, ERR_PRECONDITION, "the answer holds a field twice");
    *field = arena_strndup(answer->arena, text, len);
    return 0;
}

static int on_end(void *context, const char *path, const char *text, size_t len, struct err *err)
{
    struct answer *answer = context;
    const size_t prefix = strlen(STS_RESULT);
    if (strcmp(path, STS_ERROR) == 0)
        return field_set(answer, &answer->code, text, len, err);
    if (strncmp(path, STS_RESULT, prefix) != 0)
        return 0;
    const struct {
        const char *name;
        const char **field;
    } fields[] = {{"AccessKeyId", &answer->keys.access_key_id},
                  {"SecretAccessKey", &answer->keys.secret_key},
                  {"SessionToken", &answer->keys.session_token},
                  {"Expiration", &answer->expiration}};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(path + prefix, fields[i].name) == 0)
            return field_set(answer, fields[i].field, text, len, err);
    }
    return 0;
}

static int answer_read(struct answer *answer, const char *text, size_t len, struct err *err)
{
    const struct xml_handler handler = {.end = on_end, .context = answer, .text_max = FIELD_MAX};
    _cleanup_(xml_freep) struct xml *xml = xml_new(&handler);
    return xml_feed(xml, text, len, err) == 0 ? xml_finish(xml, err) : -1;
}

int aws_keys_parse_sts(struct arena *arena, const char *text, size_t len, struct aws_keys *out, struct err *err)
{
    struct answer answer = {.arena = arena};
    if (answer_read(&answer, text, len, err) != 0)
        return -1;
    answer.keys.expires_s = time_parse(answer.expiration);
    if (keys_check(&answer.keys, err) != 0)
        return -1;
    *out = answer.keys;
    return 0;
}

const char *aws_error_code_parse(struct arena *arena, const char *text, size_t len)
{
    struct answer answer = {.arena = arena};
    struct err ignored = ERR_INIT;
    return answer_read(&answer, text, len, &ignored) == 0 && answer.code ? answer.code : "";
}

struct credentials *aws_credentials_make(const struct aws_keys *keys, const char *origin)
{
    struct credentials *made = credentials_new(CREDENTIALS_AWS, origin);
    made->access_key_id = secret_new(keys->access_key_id, strlen(keys->access_key_id));
    made->secret_key = secret_new(keys->secret_key, strlen(keys->secret_key));
    made->session_token = secret_new(keys->session_token, strlen(keys->session_token));
    made->expires_s = keys->expires_s;
    return made;
}
