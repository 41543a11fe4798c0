#include "csi/records.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "csi/record_text.h"
#include "csi/state_file.h"

struct entry {
    struct entry *next;
    struct arena *arena; /* holds the record's texts */
    struct record record;
};

struct records {
    int dirs[2]; /* by enum record_kind */
    struct {
        pthread_mutex_t mutex; /* also held while a file is written: one file and one entry are one thing */
        struct entry *first;
        size_t count;
    } locked;
};

static const char *const dir_names[] = {"volumes", "staged"};

static void entry_free(struct entry *entry)
{
    arena_free(entry->arena);
    free(entry);
}

static void insert_locked(struct records *records, const struct record *record)
{
    struct entry *entry = mem_alloc(sizeof(*entry));
    entry->arena = arena_new();
    entry->record = record_copy(entry->arena, record);
    entry->next = records->locked.first;
    records->locked.first = entry;
    records->locked.count++;
}

static bool is_key(const struct record *record, enum record_kind kind, const char *volume_id, const char *target)
{
    return record->kind == kind && strcmp(record->volume_id, volume_id) == 0 && strcmp(record->target, target) == 0;
}

static void remove_locked(struct records *records, enum record_kind kind, const char *volume_id, const char *target)
{
    for (struct entry **link = &records->locked.first; *link; link = &(*link)->next) {
        struct entry *entry = *link;
        if (!is_key(&entry->record, kind, volume_id, target))
            continue;
        *link = entry->next;
        records->locked.count--;
        entry_free(entry);
        return;
    }
}

/* A whole file whose name is not that of its record was moved by somebody: as damaged as any other. */
static int load_file(struct records *records, enum record_kind kind, const char *name, struct err *err)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct record record;
    char expected[RECORD_FILE_MAX];
    json_t *object = state_file_read(records->dirs[kind], name, err);
    if (!object)
        return -1;
    int failed = record_from_json(object, arena, &record, err);
    json_decref(object);
    if (failed)
        return -1;
    record_file_name(record.volume_id, record.target, expected);
    if (record.kind != kind || strcmp(expected, name) != 0)
        return err_set(err, ERR_CORRUPT, "holds the record of another file");
    insert_locked(records, &record);
    return 0;
}

static int load_dir(struct records *records, enum record_kind kind,
                    void (*damaged)(const char *name, const char *cause), struct err *err)
{
    int fd = openat(records->dirs[kind], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_(closedirp) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir)
        return err_set_errno(err, ERR_NONE, errno, "cannot list %s", dir_names[kind]);
    for (const struct dirent *item = readdir(dir); item; item = readdir(dir)) {
        struct err cause = ERR_INIT;
        if (item->d_name[0] == '.' || str_starts_with(item->d_name, "damaged."))
            continue;
        if (load_file(records, kind, item->d_name, &cause) == 0)
            continue;
        damaged(item->d_name, cause.message);
        state_file_set_aside(records->dirs[kind], item->d_name);
    }
    return 0;
}

static int open_dirs(struct records *records, int state_fd, struct err *err)
{
    for (size_t i = 0; i < 2; i++) {
        if (fs_mkdir(state_fd, dir_names[i], 0700, err) != 0)
            return -1;
        records->dirs[i] = fs_open_beneath(state_fd, dir_names[i], O_RDONLY | O_DIRECTORY, 0);
        if (records->dirs[i] < 0)
            return err_set_errno(err, ERR_NONE, errno, "cannot open directory '%s'", dir_names[i]);
    }
    return 0;
}

struct records *records_open(int state_fd, void (*damaged)(const char *name, const char *cause), struct err *err)
{
    struct records *records = mem_alloc(sizeof(*records));
    records->dirs[0] = records->dirs[1] = -1;
    pthread_mutex_init(&records->locked.mutex, NULL);
    if (open_dirs(records, state_fd, err) != 0 || load_dir(records, RECORD_PUBLISHED, damaged, err) != 0 ||
        load_dir(records, RECORD_STAGED, damaged, err) != 0) {
        records_free(records);
        return NULL;
    }
    return records;
}

void records_free(struct records *records)
{
    if (!records)
        return;
    while (records->locked.first) {
        struct entry *entry = records->locked.first;
        records->locked.first = entry->next;
        entry_free(entry);
    }
    closep(&records->dirs[0]);
    closep(&records->dirs[1]);
    pthread_mutex_destroy(&records->locked.mutex);
    free(records);
}

static bool matches_other(const struct record *record, const struct record *wanted)
{
    return record->kind == wanted->kind && strcmp(record->volume_id, wanted->volume_id) == 0 &&
           strcmp(record->target, wanted->target) != 0;
}

/* Two publishes of one volume to two targets may have passed every look before: here only one of them gets through. */
static int check_exclusive_locked(const struct records *records, const struct record *record, struct err *err)
{
    for (const struct entry *entry = records->locked.first; entry; entry = entry->next)
        if (record->kind == RECORD_PUBLISHED && matches_other(&entry->record, record) &&
            (entry->record.is_exclusive || record->is_exclusive))
            return err_set(err, ERR_PRECONDITION,
                           "the volume is published at another target_path, and its access mode allows one only");
    return 0;
}

static int put_locked(struct records *records, const struct record *record, const char *name, const json_t *object,
                      struct err *err)
{
    if (records->locked.count >= RECORDS_MAX)
        return err_set(err, ERR_EXHAUSTED, "this node holds %u volumes already", RECORDS_MAX);
    if (check_exclusive_locked(records, record, err) != 0 ||
        state_file_write(records->dirs[record->kind], name, object, err) != 0)
        return -1;
    remove_locked(records, record->kind, record->volume_id, record->target);
    insert_locked(records, record);
    return 0;
}

int records_put(struct records *records, const struct record *record, struct err *err)
{
    char name[RECORD_FILE_MAX];
    record_file_name(record->volume_id, record->target, name);
    json_t *object = record_to_json(record);
    pthread_mutex_lock(&records->locked.mutex);
    int failed = put_locked(records, record, name, object, err);
    pthread_mutex_unlock(&records->locked.mutex);
    json_decref(object);
    return failed;
}

int records_drop(struct records *records, enum record_kind kind, const char *volume_id, const char *target,
                 struct err *err)
{
    char name[RECORD_FILE_MAX];
    record_file_name(volume_id, target, name);
    pthread_mutex_lock(&records->locked.mutex);
    int failed = state_file_remove(records->dirs[kind], name, err);
    if (!failed)
        remove_locked(records, kind, volume_id, target);
    pthread_mutex_unlock(&records->locked.mutex);
    return failed;
}

typedef bool (*matcher)(const struct record *record, const struct record *wanted);

static bool find(struct records *records, matcher matches, const struct record *wanted, struct arena *arena,
                 struct record *out)
{
    bool found = false;
    pthread_mutex_lock(&records->locked.mutex);
    for (const struct entry *entry = records->locked.first; entry && !found; entry = entry->next)
        if (matches(&entry->record, wanted)) {
            *out = record_copy(arena, &entry->record);
            found = true;
        }
    pthread_mutex_unlock(&records->locked.mutex);
    return found;
}

static bool matches_key(const struct record *record, const struct record *wanted)
{
    return is_key(record, wanted->kind, wanted->volume_id, wanted->target);
}

static bool matches_target(const struct record *record, const struct record *wanted)
{
    return record->kind == wanted->kind && strcmp(record->target, wanted->target) == 0;
}

bool records_find(struct records *records, enum record_kind kind, const char *volume_id, const char *target,
                  struct arena *arena, struct record *out)
{
    struct record wanted = {.kind = kind, .volume_id = volume_id, .target = target};
    return find(records, matches_key, &wanted, arena, out);
}

bool records_find_target(struct records *records, const char *target, struct arena *arena, struct record *out)
{
    struct record wanted = {.kind = RECORD_PUBLISHED, .target = target};
    return find(records, matches_target, &wanted, arena, out);
}

bool records_find_other(struct records *records, enum record_kind kind, const char *volume_id, const char *target,
                        struct arena *arena, struct record *out)
{
    struct record wanted = {.kind = kind, .volume_id = volume_id, .target = target};
    return find(records, matches_other, &wanted, arena, out);
}

void records_list(struct records *records, struct arena *arena, struct record **out, size_t *count)
{
    pthread_mutex_lock(&records->locked.mutex);
    struct record *list = arena_calloc(arena, records->locked.count + 1, sizeof(*list));
    size_t n = 0;
    for (const struct entry *entry = records->locked.first; entry; entry = entry->next)
        list[n++] = record_copy(arena, &entry->record);
    pthread_mutex_unlock(&records->locked.mutex);
    *out = list;
    *count = n;
}

size_t records_count(struct records *records, enum record_kind kind)
{
    size_t n = 0;
    pthread_mutex_lock(&records->locked.mutex);
    for (const struct entry *entry = records->locked.first; entry; entry = entry->next)
        n += entry->record.kind == kind;
    pthread_mutex_unlock(&records->locked.mutex);
    return n;
}

static size_t count_using(struct records *records, const char *share, const char *layer)
{
    size_t n = 0;
    pthread_mutex_lock(&records->locked.mutex);
    for (const struct entry *entry = records->locked.first; entry; entry = entry->next)
        if ((share && strcmp(entry->record.share, share) == 0) || (layer && strcmp(entry->record.layer, layer) == 0))
            n++;
    pthread_mutex_unlock(&records->locked.mutex);
    return n;
}

size_t records_using_layer(struct records *records, const char *layer)
{
    return count_using(records, NULL, layer);
}

size_t records_using_share(struct records *records, const char *share)
{
    return count_using(records, share, NULL);
}
