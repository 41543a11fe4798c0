#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fs.h"
#include "cachecore/store_internal.h"

static bool name_matches(const char *name, const char *fan, const char *suffix, char id[SHA256_HEX])
{
    if (strnlen(name, SHA256_HEX) < SHA256_HEX - 1 || strcmp(name + SHA256_HEX - 1, suffix) != 0)
        return false;
    memcpy(id, name, SHA256_HEX - 1);
    id[SHA256_HEX - 1] = '\0';
    return store_is_id(id) && memcmp(id, fan, 2) == 0;
}

static int fan_walk(int fd, const char *fan, const char *suffix, store_walk_each each, void *context, struct err *err)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    _cleanup_(closedirp) DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (!dir)
        return err_set_errno(err, ERR_NONE, errno, "cannot list a directory of the store");
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry)
            return errno == 0 ? 0 : err_set_errno(err, ERR_NONE, errno, "cannot list a directory of the store");
        char id[SHA256_HEX];
        if (!name_matches(entry->d_name, fan, suffix, id))
            continue;
        int answer = each(context, fd, id, err);
        if (answer != 0)
            return answer;
    }
}

int store_walk(int dirfd, const char *suffix, store_walk_each each, void *context, struct err *err)
{
    for (unsigned i = 0; i < 256; i++) {
        char fan[3];
        snprintf(fan, sizeof(fan), "%02x", i);
        _cleanup_(closep) int fd = fs_open_beneath(dirfd, fan, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENOTDIR))
            continue;
        if (fd < 0)
            return err_set_errno(err, ERR_NONE, errno, "cannot open a directory of the store");
        int answer = fan_walk(fd, fan, suffix, each, context, err);
        if (answer != 0)
            return answer;
    }
    return 0;
}
