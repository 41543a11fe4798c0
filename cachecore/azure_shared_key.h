/*
 * Azure Storage's Shared Key (REST reference, "Authorize with Shared Key", Blob service, versions from 2015-02-21 on): a request in, the
 * Authorization header's value out. Pure; proved by the published examples and by what azure-storage-blob signs.
 */
#pragma once

#include "base/arena.h"
#include "base/secret.h"
#include "cachecore/http.h"

#define AZURE_DATE_LEN 32 /* Fri, 26 Jun 2015 23:39:12 GMT and the NUL */
#define AZURE_PARAMETERS_MAX 32u

struct azure_request {
    const char *method;
    const char *path;  /* as it is sent: percent-encoded, begins with '/' */
    const char *query; /* as it is sent, without '?'; NULL: none. At most AZURE_PARAMETERS_MAX parameters */
    const struct http_header
        *headers; /* x-ms-date and x-ms-version among them, in any order and case; no body's headers */
    size_t header_count;
};

/* For x-ms-date. */
void azure_date(int64_t now_s, char out[AZURE_DATE_LEN]);

/* What is signed, for tests and for those who compare with a server's answer. */
const char *azure_shared_key_text(struct arena *arena, const char *account, const struct azure_request *request);

/* "SharedKey account:signature"; key: the account key, decoded. */
const char *azure_shared_key_authorization(struct arena *arena, const char *account, const struct secret *key,
                                           const struct azure_request *request);
