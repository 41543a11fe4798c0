/*
 * Credentials: what a request to a source carries, and the chains that find them. A chain is the ordered list of ways in which one kind
 * of source is shown who asks: keys in the secret, the pod's token exchanged at a token service, the node's own identity where the class
 * says so, nothing. Errors name keys, roles and services, never values.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "cachecore/class.h"
#include "cachecore/identity.h"

#define CREDENTIALS_HEADERS_MAX 8u

enum credentials_kind {
    CREDENTIALS_NONE,      /* anonymous */
    CREDENTIALS_AWS,       /* access_key_id, secret_key, maybe session_token: Signature Version 4 */
    CREDENTIALS_HEADERS,   /* headers: "Authorization: Bearer ..", "Basic ..", and the author's own */
    CREDENTIALS_AZURE_KEY, /* account, account_key: SharedKey */
    CREDENTIALS_AZURE_SAS, /* sas: a query that is added to each URL */
};

/* Constant once found, but for its counter; wiped with its last reference. Members that do not belong to the kind are NULL. */
struct credentials {
    enum credentials_kind kind;
    struct secret *access_key_id, *secret_key, *session_token;
    char *region; /* that the secret names; NULL if none */
    size_t header_count;
    struct {
        char *name;
        struct secret *value;
    } headers[CREDENTIALS_HEADERS_MAX];
    char *account;
    struct secret *account_key; /* decoded from base64 */
    struct secret *sas;         /* without '?' */
    char *
        origin; /* for messages: "the secret's access keys", "role arn:.. of service account ml/train", "no credentials" */
    int64_t expires_s; /* wall clock; 0: not known to end */
    atomic_uint references;
};

struct credentials *credentials_new(enum credentials_kind kind, const char *origin);
struct credentials *credentials_ref(struct credentials *credentials);
void credentials_unref(struct credentials *credentials); /* NULL is fine */
DEFINE_CLEANUP(struct credentials *, credentials_unref);
/* Appends a header; asserts that there is room. */
void credentials_header(struct credentials *credentials, const char *name, const char *value, size_t len);

/* What a chain may look at. */
struct credentials_request {
    const struct class *class;
    const struct identity_view *identity;
    const char *host; /* whom they are for: the web host, the storage account; NULL where it makes no difference */
    const atomic_bool *cancel;
};

/*
 * Finds credentials, by asking a token service where it has to: blocking, then. No way that applies: kind CREDENTIALS_NONE. ERR_INVALID and
 * ERR_UNAUTHENTICATED for a secret that is wrong or incomplete, ERR_DENIED and ERR_UNAUTHENTICATED when a token service refuses,
 * ERR_UNAVAILABLE when it does not answer.
 */
struct credential_chain {
    const char *name; /* "aws", "google", "azure", "web" */
    int (*find)(const struct credentials_request *request, struct credentials **out, struct err *err);
    bool any_host; /* what it finds is the same for all hosts: it is not told any */
};
extern const struct credential_chain credential_chain_aws, credential_chain_google, credential_chain_azure,
    credential_chain_web;

/* --- what chains share: values of the secret --- */

/* The value under the first of names (closed by NULL) that is there and not empty; *out NULL if there is none, borrowed from secrets.
 * ERR_INVALID for a control character. */
int credentials_value(const struct secret_map *secrets, const char *const *names, const struct secret **out,
                      struct err *err);
/* ERR_UNAUTHENTICATED when one of two is there without the other; the first name of each is what the message says. */
int credentials_pair(const struct secret *first, const struct secret *second, const char *const *first_names,
                     const char *const *second_names, struct err *err);

/* Whether this key's value is a file of several lines (a service account's key file): all others must be one line. */
bool credentials_key_is_file(const char *name);
