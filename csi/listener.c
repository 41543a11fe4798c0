#include "csi/listener.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/mem.h"

int endpoint_parse(const char *endpoint, struct sockaddr_un *out, struct err *err)
{
    const char *path = endpoint;
    if (str_starts_with(path, "unix:"))
        path += strlen("unix:");
    if (str_starts_with(path, "//"))
        path += 2;
    if (path[0] != '/' || str_ends_with(path, "/"))
        return err_set(err, ERR_INVALID, "endpoint '%.200s': must be unix:// and an absolute path", endpoint);
    if (strlen(path) >= sizeof(out->sun_path))
        return err_set(err, ERR_INVALID, "endpoint '%.200s': a socket's path has at most %zu bytes", endpoint,
                       sizeof(out->sun_path) - 1);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path, strlen(path) + 1);
    return 0;
}

static int directory_prepare(const char *path, struct err *err)
{
    _cleanup_(freep) char *directory = mem_strdup(path);
    char *slash = strrchr(directory, '/');
    slash[slash == directory ? 1 : 0] = '\0';
    _cleanup_(closep) int fd = fs_open_dir(directory, 0700, err);
    if (fd < 0)
        return -1;
    struct stat info;
    if (fstat(fd, &info) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot stat '%s'", directory);
    if ((info.st_mode & 0022) && !(info.st_mode & S_ISVTX))
        return err_set(err, ERR_PRECONDITION, "'%s' can be written by others: make it root's alone (chmod 0700)",
                       directory);
    return 0;
}

/* Removes a socket that nobody listens on. */
static int stale_remove(const struct sockaddr_un *address, struct err *err)
{
    struct stat info;
    if (lstat(address->sun_path, &info) != 0)
        return errno == ENOENT ? 0 : err_set_errno(err, ERR_NONE, errno, "cannot stat '%s'", address->sun_path);
    if (!S_ISSOCK(info.st_mode))
        return err_set(err, ERR_PRECONDITION, "'%s' is there and is not a socket: remove it", address->sun_path);
    _cleanup_(closep) int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot make a socket");
    if (connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED)
        return err_set(err, ERR_EXISTS, "another process listens on '%s': stop it first", address->sun_path);
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        return err_set_errno(err, ERR_NONE, errno, "cannot remove the stale socket '%s'", address->sun_path);
    return 0;
}

/* The mode that bind gives the name is the one that the unbound socket has: no moment with a wider one. */
static int bind_private(int fd, const struct sockaddr_un *address, struct err *err)
{
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 ||
        listen(fd, SOMAXCONN) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot listen on '%s'", address->sun_path);
    return 0;
}

int listener_open(const char *endpoint, struct listener *out, struct err *err)
{
    struct sockaddr_un address;
    struct listener listener = LISTENER_INIT;
    if (endpoint_parse(endpoint, &address, err) != 0 || directory_prepare(address.sun_path, err) != 0 ||
        stale_remove(&address, err) != 0)
        return -1;
    _cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot make a socket");
    if (bind_private(fd, &address, err) != 0)
        return -1;
    if (lstat(address.sun_path, &listener.identity) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot stat '%s'", address.sun_path);
    memcpy(listener.path, address.sun_path, sizeof(listener.path));
    listener.fd = STEAL_FD(fd);
    *out = listener;
    return 0;
}

void listener_close(struct listener *listener)
{
    struct stat now;
    if (listener->fd < 0)
        return;
    if (lstat(listener->path, &now) == 0 && now.st_ino == listener->identity.st_ino &&
        now.st_dev == listener->identity.st_dev)
        unlink(listener->path);
    close(STEAL_FD(listener->fd));
}

int listener_accept(const struct listener *listener)
{
    _cleanup_(closep) int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -1;
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return -1;
    if (peer.uid != 0 && peer.uid != geteuid()) {
        errno = EPERM;
        return -1;
    }
    return STEAL_FD(fd);
}
