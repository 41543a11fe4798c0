/* What the files of the store share with each other, and with their tests; nobody else includes this. */
#pragma once

#include <pthread.h>
#include <sys/stat.h>

#include "cachecore/store.h"

#define STORE_VERSION 1u
#define STORE_ID_LEN 32u    /* hex digits */
#define STORE_NODE_MAX 63u  /* of a node's name in file names */
#define STORE_NAME_SIZE 256 /* any name of ours with its NUL */
#define STORE_SNAPSHOT_TEXT_MAX (1u << 30)
#define STORE_PARTS_MAX (1u << 20) /* of one object */

struct store {
    int root, objects, snapshots, incoming, quarantine; /* held directories */
    char id[STORE_ID_LEN + 1];
    char node[STORE_NODE_MAX + 1];
    char boot[9];
    bool writable;
    bool is_smb; /* the file system is an SMB client's */
};

/* store_text.c: the small files, pure. Their last line is "crc32c <8 hex>", of every byte before it. */
void store_text_seal(struct str *text);
/* 0 and the length without the last line, or -1 when that is missing or wrong. */
int store_text_unseal(const char *text, size_t len, size_t *body_len);

/* 8 lowercase hex digits. */
int store_crc_parse(const char *hex, uint32_t *out);

struct store_format {
    uint64_t version;
    char id[STORE_ID_LEN + 1];
    uint64_t created_s;
};
void store_format_write(const struct store_format *format, struct str *out);
/* ERR_CORRUPT; ERR_PRECONDITION for a newer version, whatever else stands there. */
int store_format_parse(const char *text, size_t len, struct store_format *out, struct err *err);

void store_sums_write(const char *object, const struct sums *sums, struct str *out);
/* -1 when text is not the whole sums of this object. */
int store_sums_parse(struct arena *arena, const char *object, const char *text, size_t len, struct sums *out);

/* store_journal.c: what a partial's journal says, pure. */
struct parts {
    struct part *items; /* heap; sorted by offset, not overlapping */
    size_t count, capacity;
};
void parts_deinit(struct parts *parts);
void parts_clear(struct parts *parts);
/* What it overlaps gives way. -1 at STORE_PARTS_MAX. */
int parts_replace(struct parts *parts, const struct part *part);
bool parts_overlap(const struct parts *parts, uint64_t offset, uint64_t len);
/* Do they cover [0, size)? *crc is of the whole. */
bool parts_cover(const struct parts *parts, uint64_t size, uint32_t *crc);

struct journal {
    bool is_for_object; /* the first line is whole and names the object */
    uint64_t size;      /* STORE_SIZE_UNKNOWN when it does not say */
    struct parts parts;
};
/* Every line carries its own checksum; lines that do not hold it are passed over. */
void journal_parse(const char *object, const char *text, size_t len, struct journal *out);
void journal_header(struct str *out, const char *object);
void journal_size(struct str *out, uint64_t size);
void journal_part(struct str *out, const struct part *part);
void journal_reset(struct str *out);

/* store_file.c: names and files of the store. */
bool store_is_id(const char *text); /* 64 lowercase hex digits */
/* "ab/<id><suffix>" */
void store_path(const char *id, const char *suffix, char out[STORE_NAME_SIZE]);
/* A name for a file that is written aside: never the same twice. */
void store_temp_name(const struct store *store, char out[STORE_NAME_SIZE]);
/* A write failed: full, not writable, or whatever errnum says; "what" says what was tried. Returns -1. */
int store_error(const struct store *store, int errnum, const char *what, struct err *err);
int store_read_error(int errnum, const char *what, struct err *err);
int store_require_writable(const struct store *store, struct err *err);
/* Writes a file of the given temporary name into dirfd: synced, close checked. -1 with errno set, and nothing left behind. */
int store_write_aside(int dirfd, const char *name, const void *data, size_t len, mode_t mode);
/* Makes the directory with mode 0755 whatever the umask is. 1: made, 0: was there, -1 with errno set. */
int store_mkdir(int dirfd, const char *name);
/* Writes a directory's names out. SMB directories cannot be synced: their server does as it does. -1 with errno set. */
int store_dir_sync(int fd);
/* Opens "ab" of the id below parent, made when it is not there. -1 on error. */
int store_fan_open(const struct store *store, int parent, const char *id, struct err *err);
/*
 * An SMB client has one lease for a file, under the name that it opened. After a lost connection a server may keep that lease, and
 * from then on refuses (EINVAL) every open of the file under another name from this node. So a file that is about to get its
 * final name is moved and opened where nobody sees it yet; one that cannot be opened then is removed. Nothing on other
 * file systems. 0, or -1 with errno.
 */
int store_rename_try(const struct store *store, const char *name);

/* Moves a file to a name that must not exist yet. 1: done (also when the reply was lost), 0: something else is there,
 * -1 with errno set. */
int store_place(const struct store *store, int from_dir, const char *from, int to_dir, const char *to);
/* A file's size by a fresh look, without following links. 1: a regular file, 0: nothing there, -1 with errno set; any other
 * kind of file is ENOTSUP. */
int store_look(int dirfd, const char *path, uint64_t *size);
/* Moves a damaged file (path below dirfd) to the quarantine under a name of its own. Absent is fine. */
int store_quarantine(const struct store *store, int dirfd, const char *path, struct err *err);

/* store_partial.c */
struct partial {
    struct store *store;
    char object[SHA256_HEX];
    char name[STORE_NAME_SIZE]; /* of the data; the journal's has ".journal" */
    int data, journal;
    uint64_t size, opened_size;
    bool is_gone;
    struct {
        pthread_mutex_t mutex;
        struct parts parts;
        bool journal_is_torn; /* a line was cut by an error: the next one begins on a new line */
    } locked;
};
void store_partial_name(const struct store *store, const char *object, char out[STORE_NAME_SIZE]);
/* Opens the journal and takes its lock: the partial is ours then. -1 on error, ERR_BUSY when somebody holds it. */
int store_journal_lock(const struct store *store, const char *partial_name, struct err *err);
/* Removes both files of a partial whose lock is held. */
int store_partial_unlink(const struct store *store, const char *partial_name, struct err *err);

int partial_journal_append_locked(struct partial *partial, const struct str *lines, struct err *err);
int partial_size_write_locked(struct partial *partial, struct err *err);
/* A new data file, and a journal that says so. */
int partial_start_empty_locked(struct partial *partial, bool is_new, struct err *err);

/* store_walk.c: calls back for each "<2 hex>/<64 hex><suffix>" below dirfd. Stops at a non-zero answer, which it returns; -1 with err set
 * when a directory cannot be read. */
typedef int (*store_walk_each)(void *context, int fan_fd, const char *id, struct err *err);
int store_walk(int dirfd, const char *suffix, store_walk_each each, void *context, struct err *err);
