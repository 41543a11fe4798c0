/*
 * The head of an HTTP/1.1 response (RFC 9112, RFC 9110), line by line as a client library hands it over, into the few values that
 * sources ask for. Strict where leniency would let two readers see two lengths. Pure; bounded by the two limits below.
 */
#pragma once

#include "cachecore/http.h"

#define HTTP_HEAD_BYTES_MAX (256u << 10)
#define HTTP_HEAD_LINES_MAX 1000u
#define HTTP_LOCATION_MAX 8192u

struct http_head {
    struct http_response response;
    bool
        is_complete; /* the empty line of a final response (not 1xx) was seen; later lines are trailers and count only */
    bool is_open;    /* between a status line and the empty line */
    bool is_chunked;
    bool has_location;
    char location[HTTP_LOCATION_MAX + 1];
    size_t bytes, lines;          /* of all responses of one request, interim ones too */
    int64_t date_s, retry_date_s; /* 0: none */
};

void http_head_init(struct http_head *head);

/* One line with its line end; the empty line ends a head. now_s stands in for a missing Date. ERR_PRECONDITION for what breaks
 * the protocol or a limit. */
int http_head_line(struct http_head *head, const char *line, size_t len, int64_t now_s, struct err *err);

/* IMF-fixdate and the two obsolete forms; 0 if it is none of them or before 1970. */
int64_t http_date_parse(const char *text);

/* Takes <Code> and <Region> out of the beginning of an S3 error body, if they are there and plain. */
void http_error_body_read(const char *body, size_t len, struct http_response *response);
