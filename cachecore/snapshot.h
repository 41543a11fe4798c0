/*
 * A snapshot: one input resolved at one moment, as a sorted list of files. Its canonical text is
 *
 *     sharedcache-snapshot 1\n
 *     <object id> <size> <mtime seconds>.<9 digits> <validator> <path>\n      sorted by path, bytes
 *
 * where validator and path are percent-encoded (space, '%', control and non-ASCII bytes as %XX uppercase; "-" for an empty
 * validator, "%2D" for one that is "-"), and its id is the SHA-256 of that text. Sizes are below 2^63, also their sum; times
 * lie in the years 1 to 9999. There is one text for one list: the parser refuses every other spelling. Pure.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cachecore/digest.h"

#define SNAPSHOT_PATH_MAX 2048u      /* bytes of a path */
#define SNAPSHOT_NAME_MAX 255u       /* bytes of one component */
#define SNAPSHOT_DEPTH_MAX 128u      /* components of a path */
#define SNAPSHOT_VALIDATOR_MAX 2048u /* bytes */
#define SNAPSHOT_FILES_MAX 10000000u

struct snapshot_file {
    const char *path; /* relative; rules of a place (input.h) */
    char object[65];  /* lowercase hex */
    uint64_t size;
    int64_t mtime_s; /* 0 when the source states none */
    uint32_t mtime_ns;
    const char *validator;
};

struct snapshot {
    struct snapshot_file *files;
    size_t count;
    uint64_t bytes; /* sum of sizes */
};

/* Sorts files; ERR_INVALID for a path that breaks the rules, stands twice, or is both file and directory. */
int snapshot_make(struct arena *arena, struct snapshot_file *files, size_t count, struct snapshot *out,
                  struct err *err);
void snapshot_write(const struct snapshot *snapshot, struct str *out);
/* The same piece by piece, for lists that are not to stand in memory once more as text. Non-zero ends it and is returned. */
typedef int (*snapshot_piece)(void *context, const void *data, size_t len, struct err *err);
int snapshot_write_pieces(const struct snapshot *snapshot, snapshot_piece piece, void *context, struct err *err);
uint64_t snapshot_text_len(const struct snapshot *snapshot);
void snapshot_id(const struct snapshot *snapshot, char out[SHA256_HEX]);
/* Bounded: at most max_files. ERR_CORRUPT names the line. */
int snapshot_parse(struct arena *arena, const char *text, size_t len, size_t max_files, struct snapshot *out,
                   struct err *err);

/* Is this relative path fit for a view? Shared by inputs, snapshots and listings. ERR_INVALID says why not. */
int snapshot_path_check(const char *path, size_t len, struct err *err);

/* The object's id; every argument may be "" but not NULL. identity is "" unless credentials were sent and the validator is weak. */
void object_id(const char *kind, const char *authority, const char *canonical_url, const char *validator,
               const char *identity, char out[SHA256_HEX]);
