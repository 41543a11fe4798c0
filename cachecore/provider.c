#include "cachecore/provider.h"

#include <stddef.h>
#include <string.h>

/* "*" stands for one label, "**" at the start for one or more. */
static const char *const patterns[] = {
    /* AWS General Reference, "Amazon S3 endpoints", "AWS STS endpoints"; S3 User Guide, "AWS PrivateLink for Amazon S3" */
    "s3.amazonaws.com",
    "**.s3.amazonaws.com",
    "s3.*.amazonaws.com",
    "**.s3.*.amazonaws.com",
    "s3.dualstack.*.amazonaws.com",
    "**.s3.dualstack.*.amazonaws.com",
    "s3-fips.*.amazonaws.com",
    "**.s3-fips.*.amazonaws.com",
    "**.s3-accesspoint.*.amazonaws.com",
    "**.s3-accesspoint.dualstack.*.amazonaws.com",
    "**.s3.*.vpce.amazonaws.com",
    "s3.*.amazonaws.com.cn",
    "**.s3.*.amazonaws.com.cn",
    "**.s3.*.vpce.amazonaws.com.cn",
    "sts.amazonaws.com",
    "sts.*.amazonaws.com",
    "**.sts.*.vpce.amazonaws.com",
    "sts.*.amazonaws.com.cn",
    /* all of it is Google's own, *.p.googleapis.com of Private Service Connect too */
    "**.googleapis.com",
    /* "Use private endpoints for Azure Storage" */
    "*.blob.core.windows.net",
    "*.blob.core.chinacloudapi.cn",
    "*.blob.core.usgovcloudapi.net",
    "*.privatelink.blob.core.windows.net",
    "*.privatelink.blob.core.chinacloudapi.cn",
    "*.privatelink.blob.core.usgovcloudapi.net",
};

/* Where the last label of text[0..len) begins. */
static size_t last_label(const char *text, size_t len)
{
    while (len > 0 && text[len - 1] != '.')
        len--;
    return len;
}

/* From the right, label by label. */
static bool pattern_matches(const char *pattern, const char *host)
{
    size_t pattern_len = strlen(pattern);
    size_t host_len = strlen(host);
    for (;;) {
        size_t wanted = last_label(pattern, pattern_len);
        size_t label = last_label(host, host_len);
        size_t len = pattern_len - wanted;
        if (host_len == label)
            return false;
        if (len == 2 && memcmp(pattern + wanted, "**", 2) == 0)
            return true;
        bool is_any = len == 1 && pattern[wanted] == '*';
        if (!is_any && (len != host_len - label || memcmp(pattern + wanted, host + label, len) != 0))
            return false;
        if (wanted == 0 || label == 0)
            return wanted == 0 && label == 0;
        pattern_len = wanted - 1;
        host_len = label - 1;
    }
}

bool provider_host_is_known(const char *host)
{
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        if (pattern_matches(patterns[i], host))
            return true;
    }
    return false;
}
