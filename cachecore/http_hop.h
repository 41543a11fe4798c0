/* What the two files that see libcurl share: a handle, one hop of a request on it, and what its failure means. */
#pragma once

#include <curl/curl.h>

#include "cachecore/address.h"
#include "cachecore/http_exchange.h"
#include "cachecore/url.h"

struct http {
    CURL *easy;
    struct address_rules addresses;
    char *ca_bundle;
    char *proxy;
    struct http_rules limits; /* numbers only */
    int64_t retry_after_s;
};

/* What one hop needs beside the exchange: where it goes, and what became of its sockets. */
struct hop {
    struct http *http;
    struct http_exchange *exchange;
    const char *text; /* of the URL, with its query */
    struct url url;
    bool drops_credentials;
    const char *refusal;
    bool had_socket;
    char detail[CURL_ERROR_SIZE];
};

/* ERR_DENIED: the address of this hop is refused. */
int http_refusal_error(const struct hop *hop, const char *refusal, struct err *err);
/* What libcurl's result of a hop means for the caller. Returns -1. */
int http_failure_error(const struct hop *hop, CURLcode result, struct err *err);
