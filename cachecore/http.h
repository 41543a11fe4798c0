/*
 * HTTP by libcurl: the only file that sees it. One request at a time on a handle that keeps its connections; blocking, with
 * cancellation. TLS verified, always; HTTP/1.1; redirects are followed here, few, never from https to http, and credentials
 * are dropped on another host. Every socket is opened by one function that checks the resolved address against the rules
 * (deny: link-local, loopback, private, metadata, unspecified, multicast, all IPv4-mapped forms; allow: CIDRs of the class, and for
 * https to port 443 of a cloud's own names (cachecore/provider.h) private addresses). Behind a proxy, which resolves names itself, only
 * addresses that stand in a URL are checked.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/str.h"
#include "cachecore/checksums.h"

struct http_rules {
    const char *allowed_addresses; /* comma-separated CIDRs; NULL: none; "*": every address (the command-line tool) */
    const char *ca_bundle;         /* NULL: the system's */
    const char *proxy;             /* NULL: none */
    unsigned low_speed_seconds;    /* abort when slower than 1 KiB/s for so long; 0: 30 */
    unsigned connect_timeout_ms;   /* 0: 10,000 */
    unsigned redirects_max;        /* 0: 5 */
};

struct http_header {
    const char *name;
    const char *value;
    bool is_credential; /* dropped on another host, never shown, wiped */
};

struct http_request {
    const char *method;                /* "GET", "HEAD", or one that a body goes with */
    const char *url;                   /* may hold a signed query; never shown */
    const char *display;               /* for messages */
    const struct http_header *headers; /* without an Accept-Encoding: "identity" */
    size_t header_count;
    uint64_t body_max; /* ERR_EXHAUSTED beyond */
    bool no_redirects; /* a redirect comes back as it is, for sources whose signatures name the host */
    const void *body;  /* borrowed; NULL: none. Only with no_redirects: nobody else is to get it */
    size_t body_len;
    bool takes_coding;      /* a Content-Encoding is the object's own: its bytes are wanted as they are stored */
    unsigned timeout_ms;    /* of each hop, from its name's resolution to the last byte: ERR_DEADLINE; 0: none */
    struct str *error_body; /* NULL, or gets the first 8 KiB of the body of a status >= 300 */
};

struct http_response {
    int status;
    int64_t content_length;                        /* -1 when not stated */
    bool has_range;                                /* Content-Range: bytes first-last/total */
    uint64_t range_first, range_last, range_total; /* total UINT64_MAX for '*'; without a range (416) only total */
    char etag[512];                                /* as sent, with quotes and W/; "" if none */
    char last_modified[64];                        /* as sent; "" */
    int64_t last_modified_s;                       /* 0 if none or not a date */
    char content_encoding[32];
    char version_id[1100]; /* x-amz-version-id, x-goog-generation; "" */
    char error_code[64];   /* <Code> of an error body or x-ms-error-code, sanitised; "" */
    char region[64];       /* x-amz-bucket-region; "" */
    int64_t retry_after_s; /* -1 if none; dates are resolved against Date or the wall clock; capped at 60 */
    bool accepts_ranges;
    bool is_google_metadata;    /* Metadata-Flavor: Google */
    struct checksums checksums; /* of the whole object, as stated */
    bool credentials_dropped;   /* a redirect led to another host, and this answer is that host's */
};

/* Gets the body as it arrives, of a final response with status 200 to 299. Non-zero aborts the transfer (what http_perform then returns is ERR_CANCELLED unless the sink
 * set err). Called with len 0 once headers are complete, before the first byte, so that a sink can refuse by headers. */
typedef int (*http_sink)(void *context, const struct http_response *response, const void *data, size_t len,
                         struct err *err);

struct http;

/* One for each thread; rules are copied. SIGPIPE is ignored from now on, unless the process has a handler for it. */
struct http *http_new(const struct http_rules *rules);
void http_free(struct http *http);
DEFINE_CLEANUP(struct http *, http_free);

/*
 * Performs the request. 0 when a complete response came, whatever its status (the body of a status >= 300 does not reach the sink,
 * but for error_code). -1: ERR_UNAVAILABLE (resolve, connect, TLS handshake reset, timeouts, early close: worth a retry),
 * ERR_PRECONDITION (certificate problem, protocol error, downgrade or too many redirects, Content-Encoding that was not asked
 * for: no retry), ERR_DENIED (address not allowed), ERR_EXHAUSTED (body_max), ERR_DEADLINE (timeout_ms), ERR_CANCELLED (*cancel became true).
 */
int http_perform(struct http *http, const struct http_request *request, http_sink sink, void *context,
                 struct http_response *out, const atomic_bool *cancel, struct err *err);

/* What the last response of this handle asked to wait before a retry; -1 if nothing. */
int64_t http_retry_after_s(const struct http *http);
