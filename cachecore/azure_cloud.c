#include "cachecore/azure_cloud.h"

#include <string.h>
#include <strings.h>

#include "base/str.h"

/* The first is the public one. */
static const struct azure_cloud clouds[] = {
    {"blob.core.windows.net", "https://login.microsoftonline.com"},
    {"blob.core.chinacloudapi.cn", "https://login.chinacloudapi.cn"},
    {"blob.core.usgovcloudapi.net", "https://login.microsoftonline.us"},
};

/* "name." before it, where name is what an account can have. */
static bool account_precedes(const char *host, size_t len)
{
    if (len < 4 || len > 25 || host[len - 1] != '.')
        return false;
    return strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789") == len - 1;
}

const struct azure_cloud *azure_cloud_of_host(const char *host)
{
    for (size_t i = 0; i < sizeof(clouds) / sizeof(clouds[0]); i++) {
        if (!str_ends_with(host, clouds[i].blob_host))
            continue;
        size_t before = strlen(host) - strlen(clouds[i].blob_host);
        if (before == 0 || account_precedes(host, before))
            return &clouds[i];
    }
    return NULL;
}

const struct azure_cloud *azure_cloud_public(void)
{
    return &clouds[0];
}

const char *azure_account_of(struct arena *arena, const char *host)
{
    const char *dot = strchr(host, '.');
    return dot && azure_cloud_of_host(host) ? arena_strndup(arena, host, (size_t)(dot - host)) : host;
}

static bool query_is_version(const char *query)
{
    return !query || (strncasecmp(query, "versionid=", 10) == 0 && !strchr(query, '&'));
}

/* The first segment is a container and something follows it. */
static bool path_has_container(const char *path)
{
    const char *slash = strchr(path + 1, '/');
    return slash && slash > path + 1;
}

bool azure_url_is_blob(const struct url *url)
{
    const struct azure_cloud *cloud = azure_cloud_of_host(url->host);
    if (strcmp(url->scheme, "https") != 0 || url->port != 443 || !cloud || strcmp(url->host, cloud->blob_host) == 0)
        return false;
    return query_is_version(url->query) && path_has_container(url->path);
}
