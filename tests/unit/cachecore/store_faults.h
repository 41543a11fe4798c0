/*
 * System calls that fail: a program that includes this has its own definitions of a few, which come before the C library's. They do the
 * real thing unless a fault is set, and then fail with its errno, before or after having done the work (a lost reply).
 */
#pragma once

#include <errno.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include "tests/unit/cachecore/store_objects.h"

enum call { NONE, LINKAT, RENAMEAT2, FSYNC, FSYNC_DIR, CLOSE, FALLOCATE, FLOCK, WRITE, CALLS };

static struct {
    int errnum;
    int times;    /* how often it fails */
    bool is_done; /* the work is done all the same */
    int hits;
} faults[CALLS];

static bool fault(enum call call)
{
    if (faults[call].times == 0)
        return false;
    faults[call].times--;
    faults[call].hits++;
    return true;
}

static int failed(enum call call)
{
    errno = faults[call].errnum;
    return -1;
}

#define FAULTY(call, real)                   \
    bool is_faulty_ = fault(call);           \
    if (is_faulty_ && !faults[call].is_done) \
        return failed(call);                 \
    int result_ = (int)(real);               \
    return is_faulty_ ? failed(call) : result_

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    FAULTY(LINKAT, syscall(SYS_linkat, from_dir, from, to_dir, to, flags));
}

/* What another writer does just before this one's renameat2 fails. */
static struct store *meanwhile;

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (flags == 0) /* the guarded rename that comes last */
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (meanwhile)
        fixture_must_fill(STEAL_PTR(meanwhile), 1, 1000);
    FAULTY(RENAMEAT2, syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
}

static int fsync_file(int fd)
{
    FAULTY(FSYNC, syscall(SYS_fsync, fd));
}

static int fsync_dir(int fd)
{
    FAULTY(FSYNC_DIR, syscall(SYS_fsync, fd));
}

int fsync(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISDIR(info.st_mode) ? fsync_dir(fd) : fsync_file(fd);
}

int close(int fd)
{
    faults[CLOSE].is_done = true;
    FAULTY(CLOSE, syscall(SYS_close, fd));
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    FAULTY(FALLOCATE, syscall(SYS_fallocate, fd, mode, offset, len));
}

/* A journal whose holder removes it between this process' open and its lock. */
static struct {
    int dirfd;
    const char *name;
} vanishing;

int flock(int fd, int operation)
{
    if (vanishing.name)
        unlinkat(vanishing.dirfd, STEAL_PTR(vanishing.name), 0);
    FAULTY(FLOCK, syscall(SYS_flock, fd, operation));
}

/* Half of it arrives, then the disk is full. */
ssize_t write(int fd, const void *data, size_t len)
{
    if (!fault(WRITE))
        return syscall(SYS_write, fd, data, len);
    (void)!syscall(SYS_write, fd, data, len / 2);
    return failed(WRITE);
}

static void faults_clear(void)
{
    memset(faults, 0, sizeof(faults));
}

struct step {
    enum call call;
    int errnum;
    int times;
    bool is_done;
};

static void faults_set(const struct step *steps, size_t count)
{
    faults_clear();
    for (size_t i = 0; i < count && steps[i].call != NONE; i++) {
        faults[steps[i].call].errnum = steps[i].errnum;
        faults[steps[i].call].times = steps[i].times;
        faults[steps[i].call].is_done = steps[i].is_done;
    }
}

static void faults_were_hit(const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count && steps[i].call != NONE; i++)
        assert_int_equal(faults[steps[i].call].hits, steps[i].times);
}
