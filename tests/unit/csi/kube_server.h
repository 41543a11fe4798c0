/* tests/servers/kube_api.py as a child: a TLS server with certificates of its own, in a scratch directory. */
#pragma once

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/csi/scratch.h"

struct kube_server {
    char dir[SCRATCH_PATH_MAX];
    char url[64];
    char token_file[SCRATCH_PATH_MAX + 16];
    char ca_file[SCRATCH_PATH_MAX + 16];
    char other_ca_file[SCRATCH_PATH_MAX + 16];
    pid_t child;
    int input; /* its end ends the server */
};

static inline void kube_server_child(const struct kube_server *server, const int input[2], const int output[2])
{
    const char *python = getenv("SC_PYTHON");
    dup2(input[0], 0);
    dup2(output[1], 1);
    close(input[1]);
    close(output[0]);
    execlp(python ? python : "python3", "python3", SC_SOURCE_DIR "/tests/servers/kube_api.py", server->dir, NULL);
    _exit(127);
}

/* In server->dir, if the caller made one and put objects there. -1 when it does not start. */
static inline int kube_server_start(struct kube_server *server)
{
    int input[2];
    int output[2];
    unsigned port = 0;
    if ((!server->dir[0] && scratch_make(server->dir) != 0) || pipe2(input, O_CLOEXEC) != 0 ||
        pipe2(output, O_CLOEXEC) != 0)
        return -1;
    server->child = fork();
    if (server->child == 0)
        kube_server_child(server, input, output);
    close(input[0]);
    close(output[1]);
    server->input = input[1];
    FILE *lines = fdopen(output[0], "r");
    int found = lines ? fscanf(lines, "%u", &port) : 0;
    if (lines)
        fclose(lines);
    snprintf(server->url, sizeof(server->url), "https://127.0.0.1:%u", port);
    snprintf(server->token_file, sizeof(server->token_file), "%s/token", server->dir);
    snprintf(server->ca_file, sizeof(server->ca_file), "%s/ca.crt", server->dir);
    snprintf(server->other_ca_file, sizeof(server->other_ca_file), "%s/other-ca.crt", server->dir);
    return found == 1 && port > 0 ? 0 : -1;
}

static inline void kube_server_stop(const struct kube_server *server)
{
    int status = 0;
    close(server->input);
    if (server->child > 0)
        waitpid(server->child, &status, 0);
    scratch_remove(server->dir);
}

static inline void kube_server_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert(file && fputs(text, file) >= 0);
    fclose(file);
}
