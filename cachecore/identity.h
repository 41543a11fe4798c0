/*
 * Who asks: all that one volume may show to sources. Secrets and service account tokens come with a publish and can be renewed by a
 * later one while a fill runs; the rest stays. Thread-safe. How it becomes credentials for a kind of source is for the chains
 * (cachecore/credentials.h) to know.
 */
#pragma once

#include "base/secret.h"
#include "cachecore/digest.h"

struct identity;

/* What does not change. NULL: not known, or not said. */
struct identity_facts {
    const char *namespace; /* of the pod */
    const char *service_account;
    const char *aws_role_arn;           /* eks.amazonaws.com/role-arn */
    const char *google_service_account; /* iam.gke.io/gcp-service-account: an email address */
    const char *azure_client_id;        /* azure.workload.identity/client-id */
    const char *azure_tenant_id;        /* azure.workload.identity/tenant-id */
};

/* Everything is copied. secrets is the CSI request's secret; tokens maps audiences to service account tokens. Both may be NULL. */
struct identity *identity_new(const struct identity_facts *facts, const struct secret_map *secrets,
                              const struct secret_map *tokens);
void identity_free(struct identity *identity); /* wipes; NULL is fine */
DEFINE_CLEANUP(struct identity *, identity_free);

/* What a later publish of the same volume brought. */
void identity_renew(struct identity *identity, const struct secret_map *secrets, const struct secret_map *tokens);

/* Adds all keys and values to the digest, in an order that does not depend on the map's. */
void identity_digest_map(const struct secret_map *map, struct sha256 *sha);

/* What it holds now: copies, wiped by identity_view_deinit. */
struct identity_view {
    const struct identity_facts *facts; /* the identity's own; strings or NULL */
    struct secret_map secrets;
    struct secret_map tokens;
};
void identity_view(struct identity *identity, struct identity_view *out);
void identity_view_deinit(struct identity_view *view);

/*
 * A hex digest that tells requesters from each other, the same as long as the requester is: of the secret, of the roles and clients to be, and
 * where there are tokens of the service account and of each audience with its token's issuer and subject (a token itself changes
 * each hour; one that is no JSON Web Token stands for itself). "" when there is nothing to show.
 */
void identity_id(struct identity *identity, char out[SHA256_HEX]);
