#include "csi/metrics_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"

#define STAT_MAX 4096u

/* Of /proc/self/stat (proc(5)): what follows the command's name, which may hold anything. */
struct process_stat {
    unsigned long user_ticks, system_ticks;
    unsigned long long start_ticks; /* since boot */
    unsigned long virtual_bytes;
    long resident_pages;
};

static int stat_read(struct process_stat *out)
{
    struct err ignored = ERR_INIT;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    _cleanup_(closep) int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0 || fs_read_file(proc, "stat", STAT_MAX, &text, &ignored) != 0)
        return -1;
    const char *rest = strrchr(text.data, ')');
    if (!rest ||
        sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %llu %lu %ld",
               &out->user_ticks, &out->system_ticks, &out->start_ticks, &out->virtual_bytes, &out->resident_pages) != 5)
        return -1;
    return 0;
}

static double seconds_of(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void set_stat(struct metrics *metrics)
{
    struct process_stat stat;
    double ticks_a_second = (double)sysconf(_SC_CLK_TCK);
    if (stat_read(&stat) != 0)
        return;
    double age_s = seconds_of(CLOCK_BOOTTIME) - (double)stat.start_ticks / ticks_a_second;
    metrics_set(metrics, METRIC_CPU, (double)(stat.user_ticks + stat.system_ticks) / ticks_a_second, NULL);
    metrics_set(metrics, METRIC_VIRTUAL, (double)stat.virtual_bytes, NULL);
    metrics_set(metrics, METRIC_RESIDENT, (double)stat.resident_pages * (double)sysconf(_SC_PAGESIZE), NULL);
    metrics_set(metrics, METRIC_START_TIME, (double)(int64_t)(seconds_of(CLOCK_REALTIME) - age_s + 0.5), NULL);
}

static void set_descriptors(struct metrics *metrics)
{
    size_t count = 0;
    struct rlimit limit;
    _cleanup_(closedirp) DIR *dir = opendir("/proc/self/fd");
    for (const struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    if (dir)
        metrics_set(metrics, METRIC_OPEN_FDS, (double)count - 1, NULL); /* without this look's own */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metrics_set(metrics, METRIC_MAX_FDS, (double)limit.rlim_cur, NULL);
}

void metrics_process_refresh(struct metrics *metrics)
{
    metrics_set(metrics, METRIC_BUILD_INFO, 1, SC_VERSION, NULL);
    set_stat(metrics);
    set_descriptors(metrics);
}
