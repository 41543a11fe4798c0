/*
 * What a ServiceAccount's annotations say of whom its pods are at a cloud (csi/roles.h), as the clouds' own webhooks have them. From the
 * Kubernetes API, as kubelet hands no annotations over. An answer counts for a minute; then one request asks again for all who want it,
 * and as long as there is no answer the old one counts on. Thread-safe, bounded.
 */
#pragma once

#include "csi/kube.h"
#include "csi/roles.h"

#define SERVICE_ACCOUNT_FRESH_MS 60000
#define SERVICE_ACCOUNT_PAUSE_MS \
    5000 /* after a request without an answer an old one is given without asking for so long */
#define SERVICE_ACCOUNTS_MAX 1024u /* remembered; beyond, the one that was unused for longest is forgotten */

struct service_account_key {
    const char *namespace; /* both checked: they become part of a path */
    const char *name;
};

struct service_account {
    const char *roles[IDENTITY_ROLES]; /* checked; NULL: it does not say */
    const char
        *note; /* why something that may be there is not used, for the message of a refusal; NULL: nothing is missing */
};

/* Pure. What is no role's name is not used, and the note says so. Everything is in arena. */
void service_account_parse(struct arena *arena, const json_t *object, const struct service_account_key *key,
                           struct service_account *out);

struct service_accounts;

struct service_accounts *service_accounts_new(struct kube *kube); /* borrowed */
void service_accounts_free(struct service_accounts *accounts);    /* NULL is fine */
DEFINE_CLEANUP(struct service_accounts *, service_accounts_free);

/*
 * One that does not exist has no annotations; neither has one that we may not read, and its note names the rule that is missing: whoever needs no
 * annotations (EKS Pod Identity, attributes) needs no such rule. ERR_UNAVAILABLE: no answer, and there never was one.
 */
int service_account_get(struct service_accounts *accounts, const struct service_account_key *key, struct arena *arena,
                        struct service_account *out, struct err *err);
