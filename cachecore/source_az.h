/* What the files of source az share: where a blob or container is, and how a request to it is made out. */
#pragma once

#include "cachecore/source.h"

#define AZ_VERSION \
    "2023-11-03" /* of the REST interface: https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services */
#define AZ_HEADERS_MAX (6u + CREDENTIALS_HEADERS_MAX)

/* A URL, or "container/rest" of one. */
struct az_place {
    const char *base;      /* "https://account.blob.core.windows.net", or "<azureEndpoint>/account" */
    const char *authority; /* host:port */
    const char *account;
    const char *container; /* decoded, as all of the key */
    const char *name;      /* behind the container's '/'; may be "" */
    size_t name_len;
};

/* ERR_INVALID for a container's name that is none. key: "container/name", decoded. */
int az_place_find(const struct source_context *context, const struct url *url, const char *key, size_t key_len,
                  struct arena *arena, struct az_place *out, struct err *err);

/* Completes a GET of url (base, path and query, percent-encoded): headers, of which count are there and AZ_HEADERS_MAX fit, and what
 * the credentials add to them or to the URL. Pure. */
void az_request_make(const struct source_call *call, const char *url, int64_t now_s, struct http_header *headers,
                     size_t count, struct arena *arena, struct http_request *out);

/* What was asked was refused: says with which credentials. Returns -1. */
int az_refusal_explain(const struct source_call *call, const struct az_place *place, struct err *err);

/* Of struct source. */
int az_list(const struct source_call *call, const struct source_page *page, struct arena *arena, const char **next,
            struct err *err);
