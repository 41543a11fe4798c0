/* Where the endpoint for probes and metrics listens: "127.0.0.1:9808", "[::1]:9808", or ":9808" for every address. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"

struct health_address {
    struct sockaddr_storage address;
    socklen_t len;
    bool is_any; /* ":9808": IPv4 and IPv6 */
};

/* Pure. ERR_INVALID: not an address and a port. Names are not looked up. Port 0 stands for any free one. */
int health_address_parse(const char *text, struct health_address *out, struct err *err);

/* A listening socket, not blocking. ERR_UNAVAILABLE and so on: somebody has the port, the address is not this node's. */
int health_listen(const char *text, struct err *err);
