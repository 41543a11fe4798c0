#include "csi/record_text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "csi/state_file.h"
#include "csi/volume_id.h"

static const struct {
    const char *key;
    size_t offset;
    size_t max;
} texts[] = {
    {"volumeId", offsetof(struct record, volume_id), VOLUME_ID_MAX},
    {"target", offsetof(struct record, target), 2 * PATH_MAX},
    {"arguments", offsetof(struct record, arguments), SHA256_HEX},
    {"class", offsetof(struct record, class), 253},
    {"share", offsetof(struct record, share), RECORD_SHARE_MAX},
    {"layer", offsetof(struct record, layer), RECORD_LAYER_MAX},
};
#define TEXT_COUNT (sizeof(texts) / sizeof(texts[0]))

static const char **text_of(struct record *record, size_t i)
{
    return (const char **)(void *)((char *)record + texts[i].offset);
}

json_t *record_to_json(const struct record *record)
{
    struct record copy = *record;
    json_t *object = json_object();
    json_t *snapshots = json_array();
    for (size_t i = 0; i < TEXT_COUNT; i++)
        json_object_set_new(object, texts[i].key, json_string(*text_of(&copy, i)));
    for (size_t i = 0; i < record->snapshot_count; i++)
        json_array_append_new(snapshots, json_string(record->snapshots[i]));
    json_object_set_new(object, "kind", json_string(record->kind == RECORD_STAGED ? "staged" : "published"));
    json_object_set_new(object, "snapshots", snapshots);
    json_object_set_new(object, "bytes", json_integer((json_int_t)record->bytes));
    json_object_set_new(object, "files", json_integer((json_int_t)record->files));
    json_object_set_new(object, "publishedAt", json_integer(record->published_s));
    json_object_set_new(object, "exclusive", json_boolean(record->is_exclusive));
    return object;
}

static int get_snapshots(const json_t *object, struct arena *arena, struct record *out, struct err *err)
{
    const json_t *array = json_object_get(object, "snapshots");
    size_t count = json_array_size(array);
    uint8_t digest[SHA256_LEN];
    if (!json_is_array(array) || count > RECORD_SNAPSHOTS_MAX)
        return err_set(err, ERR_CORRUPT, "field 'snapshots' is not a list of at most %u", RECORD_SNAPSHOTS_MAX);
    const char **snapshots = arena_calloc(arena, count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        const char *id = json_string_value(json_array_get(array, i));
        if (!id || str_unhex(id, digest, SHA256_LEN) != 0)
            return err_set(err, ERR_CORRUPT, "field 'snapshots' holds something that is no snapshot's id");
        snapshots[i] = arena_strdup(arena, id);
    }
    out->snapshots = snapshots;
    out->snapshot_count = count;
    return 0;
}

static bool is_name(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

/* The text was checksummed, but a name from it becomes a path's component: checked all the same. */
static int check_names(const struct record *record, struct err *err)
{
    struct err ignored = ERR_INIT;
    if (record->volume_id[0] && volume_id_check(record->volume_id, &ignored) != 0)
        return err_set(err, ERR_CORRUPT, "field 'volumeId' is not a volume's id");
    if (record->target[0] != '/')
        return err_set(err, ERR_CORRUPT, "field 'target' is not an absolute path");
    if (!is_name(record->share) || !is_name(record->layer))
        return err_set(err, ERR_CORRUPT, "field 'share' or 'layer' is not a name");
    return 0;
}

int record_from_json(const json_t *object, struct arena *arena, struct record *out, struct err *err)
{
    struct record record = {.kind = RECORD_PUBLISHED};
    const char *kind = NULL;
    int64_t bytes = 0;
    int64_t files = 0;
    for (size_t i = 0; i < TEXT_COUNT; i++)
        if (state_get_text(object, texts[i].key, texts[i].max, arena, text_of(&record, i), err) != 0)
            return -1;
    if (state_get_text(object, "kind", 16, arena, &kind, err) != 0 ||
        state_get_number(object, "bytes", &bytes, err) != 0 || state_get_number(object, "files", &files, err) != 0 ||
        state_get_number(object, "publishedAt", &record.published_s, err) != 0 ||
        get_snapshots(object, arena, &record, err) != 0 || check_names(&record, err) != 0)
        return -1;
    if (strcmp(kind, "staged") != 0 && strcmp(kind, "published") != 0)
        return err_set(err, ERR_CORRUPT, "field 'kind' is neither published nor staged");
    record.kind = strcmp(kind, "staged") == 0 ? RECORD_STAGED : RECORD_PUBLISHED;
    record.bytes = (uint64_t)bytes;
    record.files = (uint64_t)files;
    record.is_exclusive = json_is_true(json_object_get(object, "exclusive"));
    *out = record;
    return 0;
}

int record_parse(const char *text, size_t len, struct arena *arena, struct record *out, struct err *err)
{
    json_t *object = state_text_parse(text, len, err);
    if (!object)
        return -1;
    int failed = record_from_json(object, arena, out, err);
    json_decref(object);
    return failed;
}

void record_print(const struct record *record, struct str *out)
{
    json_t *object = record_to_json(record);
    state_text_make(object, out);
    json_decref(object);
}

void record_file_name(const char *volume_id, const char *target, char out[RECORD_FILE_MAX])
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    uint8_t digest[SHA256_LEN];
    char hex[SHA256_HEX];
    sha256_field(sha, volume_id, strlen(volume_id));
    sha256_field(sha, target, strlen(target));
    sha256_final(sha, digest);
    str_hex(digest, SHA256_LEN, hex);
    snprintf(out, RECORD_FILE_MAX, "%s.json", hex);
}

struct record record_copy(struct arena *arena, const struct record *record)
{
    struct record copy = *record;
    for (size_t i = 0; i < TEXT_COUNT; i++)
        *text_of(&copy, i) = arena_strdup(arena, *text_of(&copy, i));
    const char **snapshots = arena_calloc(arena, record->snapshot_count + 1, sizeof(char *));
    for (size_t i = 0; i < record->snapshot_count; i++)
        snapshots[i] = arena_strdup(arena, record->snapshots[i]);
    copy.snapshots = snapshots;
    return copy;
}
