#include "csi/health_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/str.h"

#define BACKLOG 64

static int set_v4(const char *host, uint16_t port, struct health_address *out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        return -1;
    memcpy(&out->address, &address, sizeof(address));
    out->len = sizeof(address);
    return 0;
}

static int set_v6(const char *host, uint16_t port, struct health_address *out)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET6, host, &address.sin6_addr) != 1)
        return -1;
    memcpy(&out->address, &address, sizeof(address));
    out->len = sizeof(address);
    return 0;
}

int health_address_parse(const char *text, struct health_address *out, struct err *err)
{
    char host[INET6_ADDRSTRLEN] = "";
    uint64_t port = 0;
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    struct health_address address = {.is_any = colon && len == 0};
    bool in_brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
    if (in_brackets) {
        text++;
        len -= 2;
    }
    if (colon && len < sizeof(host))
        memcpy(host, text, len);
    if (!colon || len >= sizeof(host) || str_parse_u64(colon + 1, UINT16_MAX, &port) != 0 ||
        (address.is_any || in_brackets ? set_v6(address.is_any ? "::" : host, (uint16_t)port, &address)
                                       : set_v4(host, (uint16_t)port, &address)) != 0)
        return err_set(err, ERR_INVALID, "must be ADDRESS:PORT, as 127.0.0.1:9808, [::1]:9808 or :9808");
    *out = address;
    return 0;
}

static int listen_at(const struct health_address *address)
{
    const int on = 1;
    const int only_v6 = address->is_any ? 0 : 1;
    _cleanup_(closep) int fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->address.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6));
    if (bind(fd, (const struct sockaddr *)&address->address, address->len) != 0 || listen(fd, BACKLOG) != 0)
        return -1;
    return STEAL_FD(fd);
}

/* A node without IPv6 has no "::" to listen at. */
static int listen_any_v4(const struct health_address *address)
{
    struct sockaddr_in6 wanted;
    struct health_address v4 = {.is_any = true};
    memcpy(&wanted, &address->address, sizeof(wanted));
    set_v4("0.0.0.0", ntohs(wanted.sin6_port), &v4);
    return listen_at(&v4);
}

int health_listen(const char *text, struct err *err)
{
    struct health_address address;
    if (health_address_parse(text, &address, err) != 0)
        return -1;
    int fd = listen_at(&address);
    if (fd < 0 && address.is_any && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        fd = listen_any_v4(&address);
    return fd >= 0 ? fd : err_set_errno(err, ERR_UNAVAILABLE, errno, "cannot listen at '%s'", text);
}
