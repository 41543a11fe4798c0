#include <string.h>

#include "base/str.h"
#include "cachecore/http_hop.h"

#define TIMER_SLACK_MS 20 /* libcurl's timers may fire a little early */

/* libcurl's results that are not the transfer's own doing. What is not listed is a protocol error. */
static const struct failure {
    CURLcode result;
    enum err_code code;
    const char *text;
} failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_UNAVAILABLE, "cannot resolve host"},
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_UNAVAILABLE, "cannot resolve the class's proxy"},
    {CURLE_COULDNT_CONNECT, ERR_UNAVAILABLE, "cannot connect to host"},
    {CURLE_PROXY, ERR_UNAVAILABLE, "the class's proxy refuses the connection to host"},
    {CURLE_SSL_CONNECT_ERROR, ERR_UNAVAILABLE, "the TLS handshake failed with host"},
    {CURLE_SEND_ERROR, ERR_UNAVAILABLE, "the connection broke with host"},
    {CURLE_RECV_ERROR, ERR_UNAVAILABLE, "the connection broke with host"},
    {CURLE_GOT_NOTHING, ERR_UNAVAILABLE, "an empty answer from host"},
    {CURLE_PARTIAL_FILE, ERR_UNAVAILABLE, "the connection was closed before the end of the answer by host"},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_PRECONDITION, "certificate problem with host"},
    {CURLE_SSL_CERTPROBLEM, ERR_PRECONDITION, "certificate problem with host"},
    {CURLE_SSL_ISSUER_ERROR, ERR_PRECONDITION, "certificate problem with host"},
    {CURLE_SSL_INVALIDCERTSTATUS, ERR_PRECONDITION, "certificate problem with host"},
    {CURLE_SSL_CACERT_BADFILE, ERR_PRECONDITION, "the CA bundle (caBundle of a class) cannot be read, for host"},
    {CURLE_OUT_OF_MEMORY, ERR_PRECONDITION, "HTTP protocol error: too large a header from host"},
    {CURLE_UNSUPPORTED_PROTOCOL, ERR_PRECONDITION, "HTTP protocol error: the answer is not HTTP/1 from host"},
    {CURLE_OK, ERR_PRECONDITION, "HTTP protocol error: no valid answer from host"},
};

/* What the system or the TLS library says, when it adds to the words above and holds nothing of the request. */
static void detail_of(const struct hop *hop, CURLcode result, struct str *out)
{
    long number = 0;
    if (result == CURLE_PEER_FAILED_VERIFICATION) {
        str_append_text(out, ": ");
        for (const char *p = hop->detail; *p && out->len < 200; p++)
            str_append_char(out, *p >= ' ' && *p < 0x7f ? *p : '?');
    } else if (result == CURLE_COULDNT_CONNECT || result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR) {
        curl_easy_getinfo(hop->http->easy, CURLINFO_OS_ERRNO, &number);
        if (number != 0)
            str_printf(out, ": %s", strerror((int)number));
    }
}

static int timeout_error(const struct hop *hop, struct err *err)
{
    unsigned timeout_ms = hop->exchange->request->timeout_ms;
    curl_off_t connected = 0;
    curl_off_t taken = 0;
    curl_easy_getinfo(hop->http->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    curl_easy_getinfo(hop->http->easy, CURLINFO_TOTAL_TIME_T, &taken);
    if (timeout_ms > 0 && taken / 1000 + TIMER_SLACK_MS >= timeout_ms)
        return err_set(err, ERR_DEADLINE, "no %s within %u ms from host '%s'",
                       connected == 0 ? "connection" : "whole answer", timeout_ms, hop->url.host);
    if (connected == 0)
        return err_set(err, ERR_UNAVAILABLE, "no connection within %u ms to host '%s'",
                       hop->http->limits.connect_timeout_ms, hop->url.host);
    return err_set(err, ERR_UNAVAILABLE, "slower than 1 KiB/s for %u s: host '%s'", hop->http->limits.low_speed_seconds,
                   hop->url.host);
}

int http_refusal_error(const struct hop *hop, const char *refusal, struct err *err)
{
    return err_set(err, ERR_DENIED,
                   "address not allowed: host '%s' is %s (an admin can allow it with the class's allowedAddresses)",
                   hop->url.host, refusal);
}

int http_failure_error(const struct hop *hop, CURLcode result, struct err *err)
{
    _cleanup_(str_deinitp) struct str detail = STR_INIT;
    if (hop->refusal && !hop->had_socket)
        return http_refusal_error(hop, hop->refusal, err);
    if (result == CURLE_OPERATION_TIMEDOUT)
        return timeout_error(hop, err);
    const struct failure *failure = failures;
    while (failure->result != CURLE_OK && failure->result != result)
        failure++;
    detail_of(hop, result, &detail);
    return err_set(err, failure->code, "%s '%s'%s", failure->text, hop->url.host, detail.data ? detail.data : "");
}
