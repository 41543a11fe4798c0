/*
 * Addresses: which ones a socket may be opened to. Pure; http.c asks for every socket, after name resolution, on every hop.
 *
 * Refused unless allowed by a CIDR of the class: loopback, link-local, private (RFC 1918, RFC 4193, RFC 6598), unspecified,
 * multicast, broadcast, reserved and documentation ranges (IANA special-purpose registries), and every IPv6 form that embeds such
 * an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo). Metadata services are allowed only by a CIDR that names the one address. Ports of
 * services that speak no HTTP, or that steer the cluster, are refused on addresses that no CIDR allows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

#define ADDRESS_RANGES_MAX 64u

/* IPv4 is held in its mapped form, ::ffff:a.b.c.d with 96 bits more. */
struct address_range {
    uint8_t bytes[16];
    unsigned bits;
};

struct address_rules {
    bool all; /* "*" */
    size_t count;
    struct address_range ranges[ADDRESS_RANGES_MAX];
};

/* Comma-separated CIDRs or single addresses, or "*"; NULL and "": none. ERR_INVALID names the entry. */
int address_rules_parse(const char *text, struct address_rules *out, struct err *err);

/* NULL: a socket may be opened. Else why not, for a message: "a loopback address". Other families than IPv4 and IPv6 are refused. */
const char *address_refusal(const struct address_rules *rules, const struct sockaddr *address, socklen_t len);

/* Of a network of one's own (RFC 1918, RFC 4193, RFC 6598), and no metadata or credential service: where private endpoints of clouds are. Forms
 * that embed an IPv4 address are none. */
bool address_is_private(const struct sockaddr *address, socklen_t len);
