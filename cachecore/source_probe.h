/*
 * What a web-like server says of an object, asked by a read of its first byte: that works where only reading is allowed (presigned
 * URLs, S3 policies without HEAD), and shows at once whether ranges are served. For the sources alone.
 */
#pragma once

#include "cachecore/source.h"

/* Completes an object whose request_url (and what authorize needs) is set: size, ranges, etag, validator, mtime, version_id. *response
 * is the server's last answer, also where its status made the call fail (response->status is 0 if there was none). */
int source_probe(const struct source *source, const struct source_call *call, struct arena *arena,
                 struct source_object *object, struct http_response *response, struct err *err);

/* The headers that every range request has, appended to headers: Range (when len is not 0), If-Match (when the object has a strong
 * ETag). Returns how many (at most 2). */
size_t source_range_headers(const struct source_object *object, const struct source_range *range, struct arena *arena,
                            struct http_header *headers);

/* The headers that credentials of kind CREDENTIALS_HEADERS bring, appended likewise; 0 for other kinds. */
size_t source_credential_headers(const struct credentials *credentials, struct http_header *headers);

/* The most bytes that an answer to a request for len bytes (0: all) may have. */
uint64_t source_body_max(const struct source_context *context, const struct source_object *object, uint64_t len);
