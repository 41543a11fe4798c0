/*
 * The text of URLs: percent-encoding, canonical paths, and queries without what signs them. Pure; used by url.c and by the
 * sources that build URLs of their own.
 */
#pragma once

#include "cachecore/url.h"

/* Every '%' is followed by two hex digits. */
bool url_escapes_are_valid(const char *text);

/* The canonical form of a path (url.h), which must begin with '/'. For a bucket's key all escapes are decoded before they are
 * written anew, so that each key has one spelling; elsewhere only escapes of unreserved characters are (RFC 3986, 6.2.2). NULL with
 * ERR_INVALID for a bad escape or an escaped NUL. */
const char *url_path_canonical(struct arena *arena, const char *path, size_t len, bool is_key, struct err *err);

/* The same for a key that holds wildcards: "*?[]!-" stay as they were written, plain or escaped. path has passed url_path_canonical. */
const char *url_path_glob(struct arena *arena, const char *path, size_t len);

/* The canonical URL of a key of a bucket, as url_parse would make it. Length: keys may hold any byte but NUL. */
const char *url_of_key(struct arena *arena, const struct url *bucket, const char *key, size_t len);

/* Percent-decoded; what is no escape stays. May hold any byte: its length through out_len. */
const char *url_decode(struct arena *arena, const char *text, size_t len, size_t *out_len);

/* The query without the parameters that sign it: X-Amz-*, X-Goog-*, and the parameters of Azure SAS, CloudFront and the older S3
 * and Google signatures where their signature is there. Order and spelling of the rest are kept. */
const char *url_query_unsigned(struct arena *arena, const char *query, bool *is_signed);
