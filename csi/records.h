/*
 * What this node has published and staged: one small durable state file each (csi/state_file.h), all of them in memory too. A
 * record is durable before its mount exists and goes after the mount has gone, so that whatever a crash leaves is known.
 * Records count who uses a share or a metadata layer. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "cachecore/digest.h"

#define RECORDS_MAX 20000u
#define RECORD_SNAPSHOTS_MAX 10000u
#define RECORD_SHARE_MAX 64
#define RECORD_LAYER_MAX 80

enum record_kind {
    RECORD_PUBLISHED, /* in volumes/ */
    RECORD_STAGED,    /* in staged/: target is the staging path, the fields behind share are empty */
};

struct record {
    enum record_kind kind;
    const char *volume_id;
    const char *target;    /* canonical: as the mount table shows it */
    const char *arguments; /* hex digest; "" when it was lost and the mount speaks for itself */
    const char *class;     /* "" for the built-in one */
    const char *share;     /* key of the mounted share; "" when it is the node's own store */
    const char *layer;
    const char *const *snapshots;
    size_t snapshot_count;
    uint64_t bytes;
    uint64_t files;
    int64_t published_s; /* wall clock, for people */
    bool is_exclusive;
};

struct records;

/* Loads all records of state_fd (borrowed; directories volumes/ and staged/ are made). A damaged file is set aside; damaged(name,
 * cause) hears of it. */
struct records *records_open(int state_fd, void (*damaged)(const char *name, const char *cause), struct err *err);
void records_free(struct records *records);
DEFINE_CLEANUP(struct records *, records_free);

/* Durable when it returns 0; replaces a record of the same kind, volume and target. ERR_EXHAUSTED above RECORDS_MAX. A
 * published record that shares its volume with another target, one of them exclusive, is ERR_PRECONDITION. */
int records_put(struct records *records, const struct record *record, struct err *err);
/* Durable; not there is fine. */
int records_drop(struct records *records, enum record_kind kind, const char *volume_id, const char *target,
                 struct err *err);

/* Copies into arena. False: not there. */
bool records_find(struct records *records, enum record_kind kind, const char *volume_id, const char *target,
                  struct arena *arena, struct record *out);
/* A published record with this target, whatever its volume. */
bool records_find_target(struct records *records, const char *target, struct arena *arena, struct record *out);
/* A record of the volume with another target, and with the same kind. */
bool records_find_other(struct records *records, enum record_kind kind, const char *volume_id, const char *target,
                        struct arena *arena, struct record *out);

/* All records, copied into arena. */
void records_list(struct records *records, struct arena *arena, struct record **out, size_t *count);
size_t records_count(struct records *records, enum record_kind kind);
size_t records_using_layer(struct records *records, const char *layer);
size_t records_using_share(struct records *records, const char *share);

/* Pure: one record's JSON text (for tests and fuzzing). ERR_CORRUPT names the field. */
int record_parse(const char *text, size_t len, struct arena *arena, struct record *out, struct err *err);
void record_print(const struct record *record, struct str *out);
