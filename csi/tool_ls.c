#include "csi/tool_ls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "cachecore/store.h"

#define DEFAULT_STORE "/var/lib/sharedcache/store"
#define ID_SHOWN 12

static const char usage[] = "usage: sharedcache ls [--store DIR] [--full]\n"
                            "  --store DIR  a store's root (default " DEFAULT_STORE ")\n"
                            "  --full       whole ids, for snapshot=<id> of an input\n";

struct listing {
    bool full;
    size_t count;
};

static int print_one(void *context, const char *id, const struct snapshot *snapshot, const char *description,
                     int64_t last_used_s)
{
    struct listing *listing = context;
    char bytes[16];
    char when[32] = "-";
    time_t seconds = (time_t)last_used_s;
    struct tm parts;
    str_human_bytes(snapshot->bytes, bytes);
    if (last_used_s > 0 && gmtime_r(&seconds, &parts))
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (listing->count++ == 0)
        printf("%-*s  %8s  %10s  %-20s  %s\n", listing->full ? 64 : ID_SHOWN, "SNAPSHOT", "FILES", "SIZE", "LAST USED",
               "INPUT");
    printf("%.*s  %8zu  %10s  %-20s  %s\n", listing->full ? 64 : ID_SHOWN, id, snapshot->count, bytes, when,
           description ? description : "");
    return 0;
}

/* A directory without FORMAT would be made a store by opening it: a look must not. */
static int open_root(const char *path, struct err *err)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open '%s'", path);
    if (faccessat(fd, "FORMAT", F_OK, 0) != 0)
        return err_set(err, ERR_NOT_FOUND, "'%s' is not a store: it has no FORMAT file", path);
    return STEAL_FD(fd);
}

static int list(const char *path, struct listing *listing, struct err *err)
{
    _cleanup_(closep) int root = open_root(path, err);
    if (root < 0)
        return -1;
    _cleanup_(store_freep) struct store *store = store_open(root, "ls", NULL, err);
    return store ? store_snapshots_each(store, print_one, listing, err) : -1;
}

int tool_ls_main(int argc, char **argv)
{
    const char *path = DEFAULT_STORE;
    struct listing listing = {.full = false};
    struct err err = ERR_INIT;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--store") == 0 && i + 1 < argc) {
            path = argv[++i];
        } else if (strcmp(argv[i], "--full") == 0) {
            listing.full = true;
        } else {
            bool is_help = strcmp(argv[i], "--help") == 0;
            fputs(usage, is_help ? stdout : stderr);
            return is_help ? 0 : 2;
        }
    }
    if (list(path, &listing, &err) != 0) {
        fprintf(stderr, "sharedcache ls: %s\n", err.message);
        return 1;
    }
    if (listing.count == 0)
        puts("no complete snapshots");
    return fflush(stdout) != 0;
}
