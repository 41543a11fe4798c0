/* Which hosts are a cloud's own, and which addresses are those of a private endpoint. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/address.h"
#include "cachecore/provider.h"

static const char *const known[] = {
    "s3.amazonaws.com",
    "acme.s3.amazonaws.com",
    "s3.eu-west-1.amazonaws.com",
    "acme.s3.eu-west-1.amazonaws.com",
    "acme.dotted.name.s3.eu-west-1.amazonaws.com",
    "s3.dualstack.eu-west-1.amazonaws.com",
    "acme.s3.dualstack.eu-west-1.amazonaws.com",
    "acme.s3-fips.us-gov-west-1.amazonaws.com",
    "point-123456789012.s3-accesspoint.eu-west-1.amazonaws.com",
    "bucket.vpce-0abc-12de.s3.eu-west-1.vpce.amazonaws.com",
    "acme.s3.cn-north-1.amazonaws.com.cn",
    "sts.amazonaws.com",
    "sts.eu-west-1.amazonaws.com",
    "vpce-0abc-12de.sts.eu-west-1.vpce.amazonaws.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
    "storage-acme.p.googleapis.com",
    "acme.storage.googleapis.com",
    "acme.blob.core.windows.net",
    "acme.privatelink.blob.core.windows.net",
    "acme.blob.core.chinacloudapi.cn",
    "acme.blob.core.usgovcloudapi.net",
};

/* What customers choose, stand behind or can have a certificate for. */
static const char *const strange[] = {
    "",
    ".",
    "com",
    "localhost",
    "10.0.0.1",
    "amazonaws.com",
    "evil.amazonaws.com",
    "s3.amazonaws.com.evil.test",
    "evils3.amazonaws.com",
    "s3.evil-eu-west-1.elb.amazonaws.com",
    "my.s3.eu-west-1.elb.amazonaws.com",
    "ec2-1-2-3-4.eu-west-1.compute.amazonaws.com",
    "abc.execute-api.eu-west-1.amazonaws.com",
    "vpce-0abc.vpce-svc-0123.eu-west-1.vpce.amazonaws.com",
    "s3.eu-west-1.vpce.amazonaws.com",
    "x.sts.eu-west-1.amazonaws.com",
    "s3..amazonaws.com",
    ".s3.amazonaws.com",
    "googleapis.com",
    "evilgoogleapis.com",
    "storage.googleapis.com.evil.test",
    "acme.run.app",
    "blob.core.windows.net",
    "evilblob.core.windows.net",
    "a.b.blob.core.windows.net",
    "acme.file.core.windows.net",
    "acme.azurewebsites.net",
    "acme.blob.core.windows.net.",
};

static void hosts_of_clouds_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!provider_host_is_known(known[i]))
            fail_msg("%s", known[i]);
    }
    for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
        if (provider_host_is_known(strange[i]))
            fail_msg("%s", strange[i]);
    }
}

static const struct {
    const char *address;
    bool is_private;
} addresses[] = {
    {"10.0.0.1", true},      {"172.31.255.255", true},   {"192.168.1.1", true},      {"100.64.0.1", true},
    {"fd12::1", true},       {"fc00::1", true},          {"8.8.8.8", false},         {"127.0.0.1", false},
    {"169.254.1.1", false},  {"169.254.169.254", false}, {"100.100.100.200", false}, {"168.63.129.16", false},
    {"0.0.0.0", false},      {"224.0.0.1", false},       {"192.0.0.192", false},     {"::1", false},
    {"fe80::1", false},      {"fec0::1", false},         {"fd00:ec2::254", false},   {"fd00:ec2::23", false},
    {"fd20:ce::254", false}, {"::ffff:10.0.0.1", false}, {"64:ff9b::a00:1", false},  {"2002:a00:1::", false},
};

static void private_addresses_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct sockaddr_in ipv4 = {.sin_family = AF_INET};
        struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
        bool is_ipv4 = inet_pton(AF_INET, addresses[i].address, &ipv4.sin_addr) == 1;
        assert_true(is_ipv4 || inet_pton(AF_INET6, addresses[i].address, &ipv6.sin6_addr) == 1);
        bool found = is_ipv4 ? address_is_private((struct sockaddr *)&ipv4, sizeof(ipv4))
                             : address_is_private((struct sockaddr *)&ipv6, sizeof(ipv6));
        if (found != addresses[i].is_private)
            fail_msg("%s", addresses[i].address);
    }
    assert_false(address_is_private(&(struct sockaddr){.sa_family = AF_UNIX}, sizeof(struct sockaddr)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_of_clouds_are_told),
        cmocka_unit_test(private_addresses_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
