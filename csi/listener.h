/*
 * A Unix stream socket that listens at a path: mode 0600 from its first moment, its directory made 0700 if it is not there, a
 * socket that nobody listens on any more replaced, one that is alive refused. Only root and our own user are let in.
 */
#pragma once

#include <sys/stat.h>
#include <sys/un.h>

#include "base/err.h"

struct listener {
    int fd;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct stat identity; /* so that only our own socket is removed */
};

#define LISTENER_INIT \
    {                 \
        .fd = -1      \
    }

/* "unix:///run/x/csi.sock", "unix:/run/x/csi.sock" or "/run/x/csi.sock" to an address. ERR_INVALID otherwise. */
int endpoint_parse(const char *endpoint, struct sockaddr_un *out, struct err *err);

/* ERR_EXISTS: another process listens there. ERR_PRECONDITION: the path or its directory is not fit. */
int listener_open(const char *endpoint, struct listener *out, struct err *err);

/* Closes it and removes the socket if it is still ours. */
void listener_close(struct listener *listener);

/* As accept4(2), non-blocking; a peer of another user is closed and gives EPERM. -1 with errno. */
int listener_accept(const struct listener *listener);
