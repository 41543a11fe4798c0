#include "base/crash.h"

#ifdef SC_CRASH_POINTS
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void crash_point(const char *name)
{
    const char *wanted = getenv("SHAREDCACHE_CRASH_AT");
    const char *hit = getenv("SHAREDCACHE_CRASH_HIT");
    if (!wanted || !hit || strcmp(wanted, name) != 0)
        return;
    int fd = open(hit, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    close(fd);
    kill(getpid(), SIGKILL);
    pause();
}
#else
typedef int crash_points_are_off;
#endif
