/*
 * The Kubernetes API, for the few requests that we make: a class read, an event written, a taint taken away. Over libcurl, with
 * the pod's service account (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/). The token file is read
 * anew for each request, so a rotation needs no watching; the server's certificate is verified against the CA file, always.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct kube_config {
    const char *url;        /* "https://host:port", without a path; NULL: not in a cluster */
    const char *token_file; /* bearer token */
    const char *ca_file;    /* PEM */
};

/* Fills in what is NULL from KUBERNETES_SERVICE_HOST and _PORT and the service account's directory. Where those variables are not
 * set, url stays NULL; an empty url becomes NULL whatever they say. ERR_INVALID for a host or port that cannot be one. */
int kube_config_complete(struct arena *arena, struct kube_config *config, struct err *err);

/* ERR_INVALID unless text is https://HOST[:PORT]. */
int kube_url_check(const char *text, struct err *err);

struct kube;

/* Copies config. Nothing is sent yet: a server that is not there fails the calls, not this. */
struct kube *kube_new(const struct kube_config *config, struct err *err);
void kube_free(struct kube *kube); /* NULL is fine; no call may be running */
DEFINE_CLEANUP(struct kube *, kube_free);

enum kube_verb {
    KUBE_GET,
    KUBE_POST,
    KUBE_JSON_PATCH,  /* PATCH with application/json-patch+json, RFC 6902 */
    KUBE_MERGE_PATCH, /* PATCH with application/merge-patch+json, RFC 7386 */
};

struct kube_request {
    enum kube_verb verb;
    const char *path;    /* "/apis/storage.k8s.io/v1/storageclasses/shared": names in it were checked by the caller */
    const json_t *body;  /* borrowed; NULL for KUBE_GET */
    int64_t deadline_ms; /* clock_monotonic_ms() scale; at most ten seconds are used */
};

/*
 * One request, blocking; thread-safe, a few at a time. *out (the caller's, json_decref; NULL: not wanted) is the object that came
 * back. Errors: ERR_NOT_FOUND 404, ERR_EXISTS 409, ERR_DENIED 403, ERR_UNAUTHENTICATED 401 (after one try with the token read
 * anew), ERR_EXHAUSTED 429, ERR_INVALID other 4xx, ERR_UNAVAILABLE 5xx and no answer (no connection, a certificate
 * that is not the CA's, no token to read), ERR_DEADLINE, ERR_CORRUPT not JSON or over 4 MiB.
 * Messages carry the API's own Status.message, cut to a line, never the token.
 */
int kube_call(struct kube *kube, const struct kube_request *request, json_t **out, struct err *err);
