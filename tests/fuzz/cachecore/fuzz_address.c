/* Any text as a list of ranges, then any address under it: with no range at all, what is let through is never 127/8. */
#include <assert.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cachecore/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct address_rules *rules, const uint8_t bytes[16])
{
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    memcpy(&ipv6.sin6_addr, bytes, 16);
    memcpy(&ipv4.sin_addr, bytes, 4);
    address_refusal(rules, (struct sockaddr *)&ipv6, sizeof(ipv6));
    const char *why = address_refusal(rules, (struct sockaddr *)&ipv4, sizeof(ipv4));
    assert(why || rules->all || rules->count > 0 || bytes[0] != 127);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct address_rules rules;
    if (size < 16)
        return 0;
    char *text = strndup((const char *)data + 16, size - 16);
    assert(text);
    if (address_rules_parse(text, &rules, &err) == 0)
        judge(&rules, data);
    else
        assert(err.code == ERR_INVALID && err.message[0] != '\0');
    free(text);
    return 0;
}
