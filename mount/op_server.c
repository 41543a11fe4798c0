#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "mount/op.h"

/* A hard mount to a silent address would hang for minutes; a connection tells within seconds (row 65: within 10 s). */
#define CONNECT_EACH_MS 3000
#define CONNECT_ALL_MS 7000
#define PORT_RPCBIND 111
#define PORT_NFS 2049
#define PORT_SMB 445

/* The value of "name=" in a comma-separated list, up to the next comma; NULL if it is not there. */
static const char *option_in(const char *options, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = options; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        if (strncmp(p, name, len) == 0 && p[len] == '=')
            return p + len + 1;
    }
    return NULL;
}

static bool is_nfs3(const struct plan *plan)
{
    const char *version = option_in(plan->options, "vers");
    return strcmp(plan->fstype, "nfs") == 0 && version && version[0] == '3';
}

/* The port that the kernel will need first. NFS 3 asks rpcbind unless both of its ports are given. */
static unsigned port_of(const struct plan *plan)
{
    const char *port = option_in(plan->options, "port");
    if (is_nfs3(plan) && !(port && option_in(plan->options, "mountport")))
        return PORT_RPCBIND;
    unsigned long number = port ? strtoul(port, NULL, 10) : 0;
    if (number > 0 && number < 65536)
        return (unsigned)number;
    return strcmp(plan->fstype, "cifs") == 0 ? PORT_SMB : PORT_NFS;
}

/* 0 when the server answered, else an errno. */
static int connect_try(const struct addrinfo *address, int64_t deadline_ms)
{
    _cleanup_(closep) int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    if (poll(&poll_fd, 1, clock_poll_timeout(deadline_ms)) <= 0)
        return ETIMEDOUT;
    int failed = 0;
    socklen_t len = sizeof(failed);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) != 0 ? errno : failed;
}

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int answering_address(const struct addrinfo *list, char out[NI_MAXHOST], int *failed)
{
    int64_t all_ms = clock_monotonic_ms() + CONNECT_ALL_MS;
    *failed = EHOSTUNREACH;
    for (const struct addrinfo *address = list; address; address = address->ai_next) {
        *failed = connect_try(address, min_ms(all_ms, clock_monotonic_ms() + CONNECT_EACH_MS));
        if (*failed == 0)
            return getnameinfo(address->ai_addr, address->ai_addrlen, out, NI_MAXHOST, NULL, 0, NI_NUMERICHOST);
        if (clock_monotonic_ms() >= all_ms)
            break;
    }
    return -1;
}

static void addrinfop(struct addrinfo **list)
{
    if (*list)
        freeaddrinfo(*list);
}

static void options_complete(const struct plan *plan, const char *address, struct str *options)
{
    if (strcmp(plan->fstype, "cifs") == 0) {
        str_printf(options, ",ip=%s", address);
        if (!option_in(plan->options, "uid"))
            str_printf(options, ",uid=%u,gid=%u,forceuid,forcegid", (unsigned)plan->uid, (unsigned)plan->uid);
        return;
    }
    str_printf(options, ",addr=%s", address);
    /* The kernel's own mount client would use UDP, which cloud firewalls drop. */
    if (is_nfs3(plan) && !option_in(plan->options, "mountproto"))
        str_printf(options, ",mountproto=%s", strchr(address, ':') ? "tcp6" : "tcp");
}

int op_server_find(const struct plan *plan, struct str *options, struct err *err)
{
    char service[8];
    char address[NI_MAXHOST];
    int failed;
    unsigned port = port_of(plan);
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    _cleanup_(addrinfop) struct addrinfo *list = NULL;
    int status = getaddrinfo(plan->host, service, &hints, &list);
    if (status != 0)
        return err_set(err, ERR_UNAVAILABLE, "share not reachable: the address of '%s' cannot be found: %s", plan->host,
                       gai_strerror(status));
    if (answering_address(list, address, &failed) != 0)
        return err_set_errno(err, ERR_UNAVAILABLE, failed, "share not reachable: '%s' port %u", plan->host, port);
    options_complete(plan, address, options);
    return 0;
}
