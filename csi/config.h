/*
 * Configuration of "sharedcache node" and "sharedcache controller": flags, with the environment for the two that Kubernetes
 * manifests set by it. One table (csi/config.c) says which of the two has a flag. Checked as a whole before anything is touched:
 * a mistake names the flag and ends the process with a status of its own.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "csi/kube.h"

enum config_command { CONFIG_NODE = 1, CONFIG_CONTROLLER = 2 };

/* What a command has no flag for keeps its zero. */
struct config {
    const char *socket;           /* absolute path, from --endpoint or CSI_ENDPOINT (unix:///path.sock) */
    const char *node_id;          /* --node-id, NODE_ID, or the host name */
    const char *driver_name;      /* --driver-name */
    const char *state_dir;        /* --state-dir; absolute */
    const char *kubelet_dir;      /* --kubelet-dir; absolute, without a '/' at its end: targets must lie beneath */
    const char *class_dir;        /* --class-dir; NULL: classes come from the Kubernetes API, if there is one */
    const char *default_class;    /* --default-class; NULL: the built-in one */
    const char *secrets_dir;      /* --secrets-dir; NULL: no class may name a shareSecret */
    const char *selinux_context;  /* --selinux-context; used where SELinux is on */
    const char *registration_dir; /* --registration-dir; NULL: kubelet_dir/plugins_registry, if it is there */
    const char *kubelet_endpoint; /* --kubelet-endpoint: socket, as kubelet on the host sees it; NULL: the same */
    const char *http_endpoint;    /* --http-endpoint; NULL: neither probes nor metrics */
    struct kube_config kube;      /* --kube-url, --kube-token-file, --kube-ca-file, as given (kube_config_complete) */
    const char *startup_taint;    /* --startup-taint; "": none is taken away */
    uid_t fetcher_uid;            /* --fetcher-uid */
    bool registers;               /* false with --no-register: a registrar beside us does it */
    bool events;                  /* false with --no-events */
    bool pod_info;                /* false with --no-pod-info */
    enum log_level log_level;     /* --log-level */
    enum log_format log_format;   /* --log-format */
};

#define CONFIG_EXIT_STATUS 78 /* EX_CONFIG of sysexits.h: the process was configured wrong and retrying is useless */

/* argv[0] and argv[1] (the command) are skipped. ERR_INVALID names the flag. */
int config_parse(enum config_command command, int argc, char **argv, struct arena *arena, struct config *out,
                 struct err *err);

/* What "sharedcache node --help" prints. */
void config_help(enum config_command command, FILE *to);
