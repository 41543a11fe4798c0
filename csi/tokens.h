/*
 * The pod's service account tokens as kubelet sends them: {"<audience>": {"token": "...", "expirationTimestamp": "..."}}. Checked as a
 * whole before anything is done for the pod; exchanging them comes with the sources that need it. Pure; no part of the text is
 * ever in a message.
 */
#pragma once

#include "base/err.h"

#define TOKENS_KEY "csi.storage.k8s.io/serviceAccount.tokens"

/* ERR_UNAUTHENTICATED when it is not that. */
int tokens_check(const char *text, struct err *err);
