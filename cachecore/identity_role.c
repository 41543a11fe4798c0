#include "cachecore/identity_role.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/str.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

#define ARN_MAX 2048u /* RoleArn of AssumeRoleWithWebIdentity */
#define EMAIL_MAX 254u
#define DOMAIN_MAX 253u
#define UUID_LEN 36u

/* arn:aws:iam::123456789012:role/path/name, also of the partitions aws-cn, aws-us-gov and what may come. */
static bool is_role_arn(const char *text)
{
    if (strlen(text) > ARN_MAX || !str_starts_with(text, "arn:aws"))
        return false;
    text += strlen("arn:aws");
    size_t partition = strspn(text, LOWER "-");
    if (partition > 0 && (text[0] != '-' || partition == 1))
        return false;
    text += partition;
    if (!str_starts_with(text, ":iam::"))
        return false;
    text += strlen(":iam::");
    if (strspn(text, DIGITS) != 12 || !str_starts_with(text + 12, ":role/"))
        return false;
    text += 12 + strlen(":role/");
    size_t name = strspn(text, LOWER UPPER DIGITS "_+=,.@/-");
    return name > 0 && text[name] == '\0' && text[name - 1] != '/';
}

/* At least two labels. */
static bool is_domain(const char *text)
{
    size_t len = strspn(text, LOWER UPPER DIGITS ".-");
    return len > 0 && len <= DOMAIN_MAX && text[len] == '\0' && strchr(text, '.') && !strstr(text, "..") &&
           isalnum((unsigned char)text[0]) && isalnum((unsigned char)text[len - 1]);
}

static bool is_email(const char *text)
{
    size_t name = strspn(text, LOWER UPPER DIGITS "._-");
    return name > 0 && strlen(text) <= EMAIL_MAX && text[name] == '@' && is_domain(text + name + 1);
}

static bool is_uuid(const char *text)
{
    if (strlen(text) != UUID_LEN)
        return false;
    for (size_t i = 0; i < UUID_LEN; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    }
    return true;
}

static bool is_tenant(const char *text)
{
    return is_uuid(text) || is_domain(text);
}

static const struct {
    bool (*is)(const char *text);
    const char *wanted;
} roles[IDENTITY_ROLES] = {
    [ROLE_AWS] = {is_role_arn, "the ARN of an IAM role (arn:aws:iam::123456789012:role/name)"},
    [ROLE_GOOGLE] = {is_email, "the email address of a Google service account (name@project.iam.gserviceaccount.com)"},
    [ROLE_AZURE_CLIENT] = {is_uuid, "a client id (a UUID)"},
    [ROLE_AZURE_TENANT] = {is_tenant, "a tenant (a UUID or a domain name)"},
};

int identity_role_check(enum identity_role role, const char *text, struct err *err)
{
    return roles[role].is(text) ? 0 : err_set(err, ERR_INVALID, "must be %s", roles[role].wanted);
}

const char **identity_role_in(struct identity_facts *facts, enum identity_role role)
{
    switch (role) {
    case ROLE_AWS:
        return &facts->aws_role_arn;
    case ROLE_GOOGLE:
        return &facts->google_service_account;
    case ROLE_AZURE_CLIENT:
        return &facts->azure_client_id;
    default:
        assert(role == ROLE_AZURE_TENANT);
        return &facts->azure_tenant_id;
    }
}
