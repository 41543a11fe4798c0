/*
 * The pod's service account tokens as kubelet sends them: {"<audience>": {"token": "...", "expirationTimestamp": "..."}}
 * (https://kubernetes-csi.github.io/docs/token-requests.html). All of them are checked before anything is done for the pod. Pure; no
 * part of a token is ever in a message.
 */
#pragma once

#include "base/err.h"
#include "base/secret.h"

#define TOKENS_KEY "csi.storage.k8s.io/serviceAccount.tokens"
#define TOKENS_BYTES_MAX 65536u
#define TOKENS_COUNT_MAX 16u

/* Whose they must be: what kubelet says of the pod. NULL or "": not known. */
struct tokens_owner {
    const char *namespace;
    const char *service_account;
};

/*
 * Adds audience and token of each to out; nothing on error. ERR_UNAUTHENTICATED: it is not that, a token is none, is for another audience than
 * the one that it stands under, of another service account, or has expired. now_s: wall clock; 0: expiry is not looked at.
 */
int tokens_parse(const char *text, const struct tokens_owner *owner, int64_t now_s, struct secret_map *out,
                 struct err *err);
