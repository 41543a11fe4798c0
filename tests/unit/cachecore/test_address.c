/* Addresses that a socket may be opened to (rows 39, 40, 41, 45 of the table of faults). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cachecore/address.h"

static const char *refusal(const char *rules_text, const char *address, uint16_t port)
{
    struct address_rules rules;
    struct err err = ERR_INIT;
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (address_rules_parse(rules_text, &rules, &err) != 0)
        fail_msg("%s: %s", rules_text, err.message);
    if (inet_pton(AF_INET, address, &ipv4.sin_addr) == 1)
        return address_refusal(&rules, (struct sockaddr *)&ipv4, sizeof(ipv4));
    assert_int_equal(inet_pton(AF_INET6, address, &ipv6.sin6_addr), 1);
    return address_refusal(&rules, (struct sockaddr *)&ipv6, sizeof(ipv6));
}

static const struct {
    const char *rules;
    const char *address;
    uint16_t port;
    const char *refusal; /* a piece of it; NULL: allowed */
} cases[] = {
    {NULL, "8.8.8.8", 443, NULL},
    {NULL, "52.95.110.1", 80, NULL},
    {NULL, "2606:4700::1111", 443, NULL},
    {NULL, "172.15.255.255", 443, NULL},
    {NULL, "172.32.0.0", 443, NULL},
    {NULL, "100.63.255.255", 443, NULL},
    /* row 39 */
    {NULL, "127.0.0.1", 443, "loopback"},
    {NULL, "127.255.1.2", 443, "loopback"},
    {NULL, "0.0.0.0", 443, "unspecified"},
    {NULL, "::", 443, "unspecified"},
    {NULL, "::1", 443, "loopback"},
    {NULL, "::ffff:7f00:1", 443, "loopback"},
    {NULL, "::7f00:1", 443, "loopback"},
    {NULL, "64:ff9b::7f00:1", 443, "loopback"},
    {NULL, "64:ff9b::a00:1", 443, "private"},
    {NULL, "64:ff9b::808:808", 443, NULL},
    {NULL, "64:ff9b:1::808:808", 443, "private"},
    {NULL, "2002:7f00:1::", 443, "loopback"},
    {NULL, "2002:c0a8:101::1", 443, "private"},
    {NULL, "2001:0:1:2:3:4:80ff:fffe", 443, "loopback"},
    {NULL, "::ffff:8.8.8.8", 443, NULL},
    {NULL, "10.1.2.3", 443, "private"},
    {NULL, "172.16.0.1", 443, "private"},
    {NULL, "172.31.255.255", 443, "private"},
    {NULL, "192.168.1.1", 443, "private"},
    {NULL, "100.64.0.1", 443, "private"},
    {NULL, "fd12::1", 443, "private"},
    {NULL, "fec0::1", 443, "private"},
    {NULL, "fe80::1", 443, "link-local"},
    {NULL, "169.254.1.1", 443, "link-local"},
    {NULL, "224.0.0.1", 443, "multicast"},
    {NULL, "ff02::1", 443, "multicast"},
    {NULL, "255.255.255.255", 443, "broadcast"},
    {NULL, "240.0.0.1", 443, "reserved"},
    /* row 40 */
    {NULL, "169.254.169.254", 80, "metadata"},
    {NULL, "fd00:ec2::254", 80, "metadata"},
    {NULL, "::ffff:169.254.169.254", 80, "metadata"},
    {NULL, "64:ff9b::a9fe:a9fe", 80, "metadata"},
    {NULL, "168.63.129.16", 80, "metadata"},
    {NULL, "100.100.100.200", 80, "metadata"},
    {"169.254.0.0/16", "169.254.169.254", 80, "metadata"},
    {"0.0.0.0/0", "169.254.169.254", 80, "metadata"},
    {"::/0", "fd00:ec2::254", 80, "metadata"},
    {"169.254.169.254", "169.254.169.254", 80, NULL},
    {"169.254.0.0/16", "169.254.1.1", 80, NULL},
    /* what a class allows */
    {"127.0.0.0/8", "127.0.0.1", 8080, NULL},
    {"127.0.0.0/8", "::ffff:127.0.0.1", 8080, NULL},
    {"127.0.0.0/8", "::1", 8080, "loopback"},
    {"127.0.0.0/8", "10.0.0.1", 8080, "private"},
    {"::1/128", "::1", 8080, NULL},
    {" 10.0.0.0/9 , fd00::/8", "10.127.0.1", 443, NULL},
    {"10.0.0.0/9,fd00::/8", "10.128.0.1", 443, "private"},
    {"10.0.0.0/9,fd00::/8", "fd12::1", 443, NULL},
    {"10.0.0.0/8", "64:ff9b::a00:1", 443, NULL},
    {"0.0.0.0/0", "10.0.0.1", 443, NULL},
    {"*", "169.254.169.254", 22, NULL},
    /* row 45 */
    {NULL, "8.8.8.8", 22, "port"},
    {NULL, "8.8.8.8", 6443, "port"},
    {NULL, "2606:4700::1111", 10250, "port"},
    {"8.8.8.0/24", "8.8.8.8", 6443, NULL},
    {"127.0.0.0/8", "8.8.8.8", 6443, "port"},
};

static void addresses_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *why = refusal(cases[i].rules, cases[i].address, cases[i].port);
        bool right = cases[i].refusal ? why && strstr(why, cases[i].refusal) : why == NULL;
        if (!right)
            fail_msg("%s under %s: %s", cases[i].address, cases[i].rules ? cases[i].rules : "no rules",
                     why ? why : "allowed");
    }
}

static void other_families_are_refused(void **state)
{
    (void)state;
    struct address_rules all = {.all = true};
    struct sockaddr_storage local = {.ss_family = AF_UNIX};
    struct sockaddr_in shortened = {.sin_family = AF_INET};
    assert_non_null(address_refusal(&all, (struct sockaddr *)&local, sizeof(local)));
    assert_non_null(address_refusal(&all, (struct sockaddr *)&shortened, 4));
}

static void bad_rules_are_named(void **state)
{
    (void)state;
    static const char *const texts[] = {"10.0.0.0/33", "x",          "10.0.0.0/", "10.0.0.0/8,,::1", "::1/129",
                                        "10.0.0/8",    "1.2.3.4/-1", "**",        "fe80::1%eth0"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct address_rules rules;
        struct err err = ERR_INIT;
        if (address_rules_parse(texts[i], &rules, &err) == 0)
            fail_msg("taken: %s", texts[i]);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.message, "entry"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_judged),
        cmocka_unit_test(other_families_are_refused),
        cmocka_unit_test(bad_rules_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
