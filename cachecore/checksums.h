/*
 * What a source states about an object's bytes, as headers say it: S3's x-amz-checksum-*, Google's x-goog-hash, Azure's Content-MD5, Repr-Digest
 * of RFC 9530 and Digest of RFC 3230. Only what holds for the whole object as it is stored is taken: no checksum of checksums (S3's
 * COMPOSITE, "-N"), none of a range, none of bytes that are decoded on their way. An ETag is never taken for an MD5. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cachecore/digest.h"

struct checksums {
    bool has_crc32c, has_crc64nvme, has_sha256, has_md5;
    uint32_t crc32c;
    uint64_t crc64nvme;
    uint8_t sha256[SHA256_LEN];
    uint8_t md5[MD5_LEN];
    /* while headers are read */
    bool is_composite, md5_is_of_body;
    char stored_coding[16]; /* Google's: "" where nothing was said */
};

/* One header; those that state nothing are ignored, as is what cannot be read. */
void checksums_take(struct checksums *checksums, const char *name, const char *value);
/* After the last one: drops what does not hold for the whole. content_encoding: of the answer, "" if none. */
void checksums_finish(struct checksums *checksums, int status, const char *content_encoding);
/* Adds what is not there yet. */
void checksums_add(struct checksums *to, const struct checksums *more);
bool checksums_any(const struct checksums *checksums);
