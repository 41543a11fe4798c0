/* One binary: the first argument says what it is. */
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cachecore/http_memory.h"
#include "csi/controller_main.h"
#include "csi/fills.h"
#include "csi/node_main.h"
#include "csi/tool_csi.h"
#include "csi/tool_fetch.h"
#include "csi/tool_ls.h"
#include "mount/mounts.h"

static int helper_main(int argc, char **argv);
static int version_main(int argc, char **argv);
static int help_main(int argc, char **argv);

static const struct subcommand {
    const char *name;
    int (*main)(int argc, char **argv); /* argv[1] is the name */
    const char *help;                   /* NULL: internal */
} subcommands[] = {
    {"node", node_main, "the CSI node plugin"},
    {"controller", controller_main, "the CSI controller plugin, beside the external-provisioner"},
    {"mount-helper", helper_main, NULL},
    {"fetcher", fetcher_main, NULL},
    {"fetch", tool_fetch_main, "download through a cache, without Kubernetes"},
    {"ls", tool_ls_main, "what a store holds"},
    {"csi", tool_csi_main, "one CSI call to a plugin's socket"},
    {"--version", version_main, "print the version"},
    {"--help", help_main, "print this"},
};
#define SUBCOMMAND_COUNT (sizeof(subcommands) / sizeof(subcommands[0]))

static void print_usage(FILE *to)
{
    fputs("usage: sharedcache COMMAND ...\n", to);
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        if (subcommands[i].help)
            fprintf(to, "  %-10s %s\n", subcommands[i].name, subcommands[i].help);
}

static int helper_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return mount_helper_main();
}

static int version_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return puts("sharedcache " SC_VERSION) < 0;
}

static int help_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    print_usage(stdout);
    return 0;
}

/* Heaps are few and large blocks go back at once: what a burst of calls took is not kept by a process that idles. */
static void memory_limits(void)
{
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
}

int main(int argc, char **argv)
{
    memory_limits();
    json_set_alloc_funcs(malloc, http_memory_free); /* tokens and key files are JSON */
    for (size_t i = 0; argc > 1 && i < SUBCOMMAND_COUNT; i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].main(argc, argv);
    print_usage(stderr);
    return 2;
}
