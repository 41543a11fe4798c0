/*
 * Azure's clouds: where storage accounts and tokens of each are, and which web URLs are blobs. Pure.
 */
#pragma once

#include "cachecore/url.h"

struct azure_cloud {
    const char *blob_host; /* "blob.core.windows.net": accounts' names stand before it */
    const char *authority; /* "https://login.microsoftonline.com": who gives tokens */
};

/* The cloud whose blob endpoint this is: "blob.core.windows.net", with or without an account before it; NULL: of none. */
const struct azure_cloud *azure_cloud_of_host(const char *host);
const struct azure_cloud *azure_cloud_public(void);

/* The storage account of "account.blob.core.windows.net"; of any other text the text itself. */
const char *azure_account_of(struct arena *arena, const char *host);

/* https://<account>.blob.<cloud>/<container>/<blob>, not signed, without a query other than a version: what az:// would name. Anything
 * else on such a host (a signed URL, a snapshot, a blob of the root container) is for the web's source. */
bool azure_url_is_blob(const struct url *url);
