#include "csi/tool_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fs.h"

#define COPY_STEP ((size_t)16 << 20)

/* Opens the directory that place stands in, made as needed; *name is place's last part. */
static int parent_open(int into, const char *place, const char **name, struct err *err)
{
    _cleanup_(closep) int dir = openat(into, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (const char *slash; dir >= 0 && (slash = strchr(place, '/')); place = slash + 1) {
        char part[NAME_MAX + 1];
        snprintf(part, sizeof(part), "%.*s", (int)(slash - place), place);
        if (fs_mkdir(dir, part, 0755, err) != 0)
            return -1;
        int next = fs_open_beneath(dir, part, O_RDONLY | O_DIRECTORY, 0);
        close(dir);
        dir = next;
    }
    *name = place;
    if (dir < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open the directory of '%s'", place);
    return STEAL_FD(dir);
}

static int bytes_copy(int object, int file)
{
    struct stat st;
    if (ioctl(file, FICLONE, object) == 0)
        return 0;
    if (fstat(object, &st) != 0)
        return -1;
    for (off_t offset = 0; offset < st.st_size;) {
        ssize_t sent = sendfile(file, object, &offset, COPY_STEP);
        if (sent <= 0)
            return -1;
    }
    return 0;
}

static int file_make(int dir, const char *name, int object, int64_t mtime_s, struct err *err)
{
    _cleanup_(closep) int file = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (file < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot create '%s'", name);
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                      {.tv_sec = mtime_s, .tv_nsec = mtime_s == 0 ? UTIME_NOW : 0}};
    if (bytes_copy(object, file) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot write '%s'", name);
    futimens(file, times);
    if (close(STEAL_FD(file)) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot write '%s'", name);
    return 0;
}

/* True when the file system shares blocks between files. */
static bool clones(int dir, const char *name, int object)
{
    _cleanup_(closep) int file = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    bool cloned = file >= 0 && ioctl(file, FICLONE, object) == 0;
    if (file >= 0)
        unlinkat(dir, name, 0);
    return cloned;
}

static int aside_make(int dir, const char *name, int object, int64_t mtime_s, struct err *err)
{
    char from[32];
    snprintf(from, sizeof(from), "/proc/self/fd/%d", object);
    if (!clones(dir, name, object) && linkat(AT_FDCWD, from, dir, name, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    return file_make(dir, name, object, mtime_s, err);
}

int tool_place(int into, const char *place, int object, int64_t mtime_s, struct err *err)
{
    const char *name;
    char aside[64];
    _cleanup_(closep) int dir = parent_open(into, place, &name, err);
    if (dir < 0)
        return -1;
    snprintf(aside, sizeof(aside), ".sharedcache-%ld.tmp", (long)getpid());
    unlinkat(dir, aside, 0);
    int result = aside_make(dir, aside, object, mtime_s, err);
    if (result == 0 && renameat(dir, aside, dir, name) != 0)
        result = err_set_errno(err, ERR_NONE, errno, "cannot put '%s' in its place", place);
    /* Renaming a link onto another link of the same file does nothing, and leaves it. */
    unlinkat(dir, aside, 0);
    return result;
}
