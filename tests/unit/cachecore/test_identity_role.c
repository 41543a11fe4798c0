/* The names of roles and clients: what is one, and what only looks so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/identity_role.h"

#define ARN "arn:aws:iam::123456789012:role/"
#define UUID "0b7c1d52-6a0e-4f6e-9A52-1a2b3c4d5e6f"

static const struct {
    enum identity_role role;
    const char *text;
} good[] =
    {
        {ROLE_AWS, ARN "reader"},
        {ROLE_AWS, ARN "team/a/Reader_1+=,.@-x"},
        {ROLE_AWS, "arn:aws-cn:iam::123456789012:role/r"},
        {ROLE_AWS, "arn:aws-us-gov:iam::123456789012:role/r"},
        {ROLE_AWS, "arn:aws-iso-b:iam::123456789012:role/r"},
        {ROLE_GOOGLE, "reader@acme-prod.iam.gserviceaccount.com"},
        {ROLE_GOOGLE, "123-compute@developer.gserviceaccount.com"},
        {ROLE_GOOGLE, "reader@proj.example.com.iam.gserviceaccount.com"},
        {ROLE_AZURE_CLIENT, UUID},
        {ROLE_AZURE_TENANT, UUID},
        {ROLE_AZURE_TENANT, "contoso.onmicrosoft.com"},
},
  bad[] = {
      {ROLE_AWS, ""},
      {ROLE_AWS, "reader"},
      {ROLE_AWS, ARN},
      {ROLE_AWS, ARN "path/"},
      {ROLE_AWS, ARN "a b"},
      {ROLE_AWS, ARN "a\n"},
      {ROLE_AWS, ARN "a&Action=GetFederationToken"},
      {ROLE_AWS, "arn:aws:iam::12345678901:role/r"},
      {ROLE_AWS, "arn:aws:iam::1234567890123:role/r"},
      {ROLE_AWS, "arn:aws:iam::123456789012:user/u"},
      {ROLE_AWS, "arn:aws:sts::123456789012:assumed-role/r/s"},
      {ROLE_AWS, "arn:awsx:iam::123456789012:role/r"},
      {ROLE_AWS, "arn:aws-:iam::123456789012:role/r"},
      {ROLE_AWS, "arn:gcp:iam::123456789012:role/r"},
      {ROLE_AWS, " " ARN "r"},
      {ROLE_GOOGLE, "reader"},
      {ROLE_GOOGLE, "@p.iam.gserviceaccount.com"},
      {ROLE_GOOGLE, "reader@localhost"},
      {ROLE_GOOGLE, "reader@.com"},
      {ROLE_GOOGLE, "reader@a..com"},
      {ROLE_GOOGLE, "a/../b@p.iam.gserviceaccount.com"},
      {ROLE_GOOGLE, "reader@p.com:generateAccessToken"},
      {ROLE_GOOGLE, "reader@p.com\n"},
      {ROLE_AZURE_CLIENT, ""},
      {ROLE_AZURE_CLIENT, "0b7c1d52-6a0e-4f6e-9a52-1a2b3c4d5e6"},
      {ROLE_AZURE_CLIENT, UUID "0"},
      {ROLE_AZURE_CLIENT, "0b7c1d52_6a0e-4f6e-9a52-1a2b3c4d5e6f"},
      {ROLE_AZURE_CLIENT, "0b7c1d52-6a0e-4f6e-9a52-1a2b3c4d5e6g"},
      {ROLE_AZURE_CLIENT, "contoso.com"},
      {ROLE_AZURE_TENANT, "common"},
      {ROLE_AZURE_TENANT, "../oauth2"},
      {ROLE_AZURE_TENANT, "contoso.com/x"},
      {ROLE_AZURE_TENANT, "-contoso.com"},
};

static void names_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct err err = ERR_INIT;
        if (identity_role_check(good[i].role, good[i].text, &err) != 0)
            fail_msg("%s: %s", good[i].text, err.message);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = ERR_INIT;
        if (identity_role_check(bad[i].role, bad[i].text, &err) == 0)
            fail_msg("'%s' is accepted", bad[i].text);
        assert_int_equal(err.code, ERR_INVALID);
        assert_ptr_equal(strstr(err.message, "must be "), err.message);
    }
}

static void names_are_bounded(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    char text[3000];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text, ARN, strlen(ARN));
    assert_int_equal(identity_role_check(ROLE_AWS, text, &err), -1);
    text[2048] = '\0';
    assert_int_equal(identity_role_check(ROLE_AWS, text, &err), 0);
    memset(text, 'a', 2048);
    memcpy(text, "r@", 2);
    text[250] = '.';
    text[254] = '\0';
    assert_int_equal(identity_role_check(ROLE_GOOGLE, text, &err), 0);
    text[254] = 'a';
    text[255] = '\0';
    assert_int_equal(identity_role_check(ROLE_GOOGLE, text, &err), -1);
    memcpy(text, "aa", 2);
    text[254] = '\0';
    assert_int_equal(identity_role_check(ROLE_AZURE_TENANT, text, &err), -1);
}

static void each_has_its_place(void **state)
{
    (void)state;
    struct identity_facts facts = {.namespace = NULL};
    static const char *const names[] = {"aws", "google", "client", "tenant"};
    for (size_t i = 0; i < IDENTITY_ROLES; i++)
        *identity_role_in(&facts, (enum identity_role)i) = names[i];
    assert_string_equal(facts.aws_role_arn, "aws");
    assert_string_equal(facts.google_service_account, "google");
    assert_string_equal(facts.azure_client_id, "client");
    assert_string_equal(facts.azure_tenant_id, "tenant");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(each_has_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
