#include "cachecore/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/str.h"

#define ENTRY_MAX 64u

/* A range that is refused, in the text form of address_rules_parse. exact: only a CIDR of this one address allows it. */
struct refused {
    const char *cidr;
    const char *what;
    bool exact;
};

static const struct refused refused[] = {
    {"169.254.169.254", "a metadata service", true},
    {"169.254.170.2", "a credential service", true},
    {"169.254.170.23", "a credential service", true},
    {"168.63.129.16", "a metadata service", true},
    {"100.100.100.200", "a metadata service", true},
    {"192.0.0.192", "a metadata service", true},
    {"fd00:ec2::254", "a metadata service", true},
    {"fd00:ec2::23", "a credential service", true},
    {"fd20:ce::254", "a metadata service", true},
    {"127.0.0.0/8", "a loopback address", false},
    {"169.254.0.0/16", "a link-local address", false},
    {"10.0.0.0/8", "a private address", false},
    {"172.16.0.0/12", "a private address", false},
    {"192.168.0.0/16", "a private address", false},
    {"100.64.0.0/10", "a private address", false},
    {"255.255.255.255", "the broadcast address", false},
    {"0.0.0.0/8", "an unspecified address", false},
    {"192.0.0.0/24", "a reserved address", false},
    {"192.0.2.0/24", "a reserved address", false},
    {"192.88.99.0/24", "a reserved address", false},
    {"198.18.0.0/15", "a reserved address", false},
    {"198.51.100.0/24", "a reserved address", false},
    {"203.0.113.0/24", "a reserved address", false},
    {"224.0.0.0/4", "a multicast address", false},
    {"240.0.0.0/4", "a reserved address", false},
    {"::", "an unspecified address", false},
    {"::1", "a loopback address", false},
    {"fe80::/10", "a link-local address", false},
    {"fec0::/10", "a private address", false},
    {"fc00::/7", "a private address", false},
    {"ff00::/8", "a multicast address", false},
    {"100::/64", "a reserved address", false},
    {"2001:db8::/32", "a reserved address", false},
    {"64:ff9b:1::/48", "a private address", false},
    {"5f00::/16", "a reserved address", false},
};

/* Where IPv6 forms hold an IPv4 address. The order matters: ::/96 holds "::" and "::1", which are no IPv4 addresses. */
static const struct embedding {
    const char *cidr;
    unsigned offset;
    bool inverted;
} embeddings[] = {
    {"64:ff9b::/96", 12, false},
    {"2002::/16", 2, false},
    {"2001::/32", 12, true},
    {"::/96", 12, false},
};

/* SSH, telnet, mail, databases, etcd, the Kubernetes API, kubelet and its neighbours. */
static const uint16_t refused_ports[] = {22,   23,    25,    53,    111,   139,   389,   445,   465,   587,
                                         2049, 2375,  2376,  2379,  2380,  3306,  3389,  5432,  6379,  6443,
                                         9200, 10248, 10249, 10250, 10255, 10256, 10257, 10259, 11211, 27017};

static void map_ipv4(const uint8_t ipv4[4], uint8_t out[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(out, prefix, sizeof(prefix));
    memcpy(out + 12, ipv4, 4);
}

static int range_parse(const char *text, struct address_range *out)
{
    char address[ENTRY_MAX];
    uint8_t ipv4[4];
    uint64_t bits = 128;
    size_t len = strcspn(text, "/");
    if (len >= sizeof(address))
        return -1;
    memcpy(address, text, len);
    address[len] = '\0';
    bool is_ipv4 = inet_pton(AF_INET, address, ipv4) == 1;
    if (is_ipv4)
        map_ipv4(ipv4, out->bytes);
    else if (inet_pton(AF_INET6, address, out->bytes) != 1)
        return -1;
    if (text[len] == '/') {
        if (str_parse_u64(text + len + 1, is_ipv4 ? 32 : 128, &bits) != 0)
            return -1;
        bits += is_ipv4 ? 96 : 0;
    }
    out->bits = (unsigned)bits;
    return 0;
}

static bool range_holds(const struct address_range *range, const uint8_t bytes[16])
{
    unsigned whole = range->bits / 8;
    unsigned rest = range->bits % 8;
    if (memcmp(range->bytes, bytes, whole) != 0)
        return false;
    return rest == 0 || (range->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

static bool cidr_holds(const char *cidr, const uint8_t bytes[16])
{
    struct address_range range;
    return range_parse(cidr, &range) == 0 && range_holds(&range, bytes);
}

static int entry_add(const char *text, size_t len, struct address_rules *rules, struct err *err)
{
    char entry[ENTRY_MAX];
    if (len == 1 && text[0] == '*') {
        rules->all = true;
        return 0;
    }
    if (rules->count == ADDRESS_RANGES_MAX)
        return err_set(err, ERR_INVALID, "more than %u address ranges", ADDRESS_RANGES_MAX);
    if (len < sizeof(entry)) {
        memcpy(entry, text, len);
        entry[len] = '\0';
        if (range_parse(entry, &rules->ranges[rules->count]) == 0) {
            rules->count++;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "entry %zu is not an address range such as 10.0.0.0/8 or fd00::/8",
                   rules->count + 1);
}

int address_rules_parse(const char *text, struct address_rules *out, struct err *err)
{
    struct address_rules rules = {0};
    for (const char *p = text; p && *p;) {
        p += strspn(p, " ");
        size_t len = strcspn(p, ",");
        const char *next = p[len] == ',' ? p + len + 1 : NULL;
        while (len > 0 && p[len - 1] == ' ')
            len--;
        if (entry_add(p, len, &rules, err) != 0)
            return -1;
        p = next;
    }
    *out = rules;
    return 0;
}

/* Replaces an embedding form by the mapped form of what it embeds. */
static void unwrap(uint8_t bytes[16])
{
    if (cidr_holds("::/127", bytes))
        return;
    for (size_t i = 0; i < sizeof(embeddings) / sizeof(embeddings[0]); i++) {
        if (!cidr_holds(embeddings[i].cidr, bytes))
            continue;
        uint8_t ipv4[4];
        for (unsigned j = 0; j < 4; j++)
            ipv4[j] = bytes[embeddings[i].offset + j] ^ (embeddings[i].inverted ? 0xff : 0);
        map_ipv4(ipv4, bytes);
        return;
    }
}

static bool is_allowed(const struct address_rules *rules, const uint8_t bytes[16], bool exact)
{
    for (size_t i = 0; i < rules->count; i++) {
        if ((!exact || rules->ranges[i].bits == 128) && range_holds(&rules->ranges[i], bytes))
            return true;
    }
    return false;
}

static const char *port_refusal(uint16_t port)
{
    for (size_t i = 0; i < sizeof(refused_ports) / sizeof(refused_ports[0]); i++) {
        if (refused_ports[i] == port)
            return "at a port that serves no files";
    }
    return NULL;
}

static const char *bytes_refusal(const struct address_rules *rules, uint8_t bytes[16], uint16_t port)
{
    uint8_t plain[16];
    memcpy(plain, bytes, sizeof(plain));
    unwrap(plain);
    bool allowed = is_allowed(rules, bytes, false) || is_allowed(rules, plain, false);
    bool exactly = is_allowed(rules, bytes, true) || is_allowed(rules, plain, true);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        bool holds = cidr_holds(refused[i].cidr, bytes) || cidr_holds(refused[i].cidr, plain);
        if (holds && !(refused[i].exact ? exactly : allowed))
            return refused[i].what;
    }
    return allowed ? NULL : port_refusal(port);
}

/* False: of another family than IPv4 and IPv6. */
static bool address_read(const struct sockaddr *address, socklen_t len, uint8_t bytes[16], uint16_t *port)
{
    if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in ipv4;
        memcpy(&ipv4, address, sizeof(ipv4));
        map_ipv4((const uint8_t *)&ipv4.sin_addr, bytes);
        *port = ntohs(ipv4.sin_port);
        return true;
    }
    if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 ipv6;
        memcpy(&ipv6, address, sizeof(ipv6));
        memcpy(bytes, &ipv6.sin6_addr, sizeof(ipv6.sin6_addr));
        *port = ntohs(ipv6.sin6_port);
        return true;
    }
    return false;
}

const char *address_refusal(const struct address_rules *rules, const struct sockaddr *address, socklen_t len)
{
    uint8_t bytes[16];
    uint16_t port;
    if (!address_read(address, len, bytes, &port))
        return "an address of an unknown family";
    return rules->all ? NULL : bytes_refusal(rules, bytes, port);
}

bool address_is_private(const struct sockaddr *address, socklen_t len)
{
    static const char *const own[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"};
    uint8_t bytes[16];
    uint16_t port;
    bool is_own = false;
    if (!address_read(address, len, bytes, &port))
        return false;
    if (address->sa_family == AF_INET6 && cidr_holds("::ffff:0:0/96", bytes))
        return false;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        is_own = is_own || cidr_holds(own[i], bytes);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (refused[i].exact && cidr_holds(refused[i].cidr, bytes))
            return false;
    }
    return is_own;
}
