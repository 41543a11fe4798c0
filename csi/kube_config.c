#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/url.h"
#include "csi/kube.h"

#define SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount/"

/* The literal addresses of a cluster with IPv6 have no brackets here. */
static const char *environment_url(struct arena *arena, const char *host, const char *port, struct err *err)
{
    uint64_t number = 0;
    size_t len = strlen(host);
    if (len > 253 || strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-") != len) {
        err_set(err, ERR_INVALID, "KUBERNETES_SERVICE_HOST holds neither an address nor a name");
        return NULL;
    }
    if (str_parse_u64(port, 65535, &number) != 0 || number == 0) {
        err_set(err, ERR_INVALID, "KUBERNETES_SERVICE_PORT is not a port");
        return NULL;
    }
    return arena_printf(arena, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
}

int kube_url_check(const char *text, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct url url;
    if (!str_starts_with(text, "https://"))
        return err_set(err, ERR_INVALID, "must be https://HOST[:PORT]: a token must not travel in clear");
    if (url_parse(arena, text, strlen(text), &url, err) != 0)
        return -1;
    if (strpbrk(text + strlen("https://"), "/?#"))
        return err_set(err, ERR_INVALID, "must be https://HOST[:PORT] without a path");
    return 0;
}

int kube_config_complete(struct arena *arena, struct kube_config *config, struct err *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    bool is_unwanted = config->url && !config->url[0];
    if (is_unwanted)
        config->url = NULL;
    if (!is_unwanted && !config->url && host && host[0] && port && port[0]) {
        config->url = environment_url(arena, host, port, err);
        if (!config->url || kube_url_check(config->url, err) != 0)
            return config->url ? err_prefix(err, "KUBERNETES_SERVICE_HOST and _PORT") : -1;
    }
    if (!config->token_file)
        config->token_file = SERVICE_ACCOUNT "token";
    if (!config->ca_file)
        config->ca_file = SERVICE_ACCOUNT "ca.crt";
    return 0;
}
