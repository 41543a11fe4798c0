/* Which keys can be files of a volume (row 31 of the table of faults). */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "cachecore/listing_internal.h"
#include "cachecore/url_text.h"

#define SHOWN_MAX 200u
#define WAY_OUT "name single objects, or use a glob that leaves such keys out"

/* Printable ASCII and whole UTF-8 characters that are no control characters stay as they are. */
static size_t shown_size(const char *text, size_t len)
{
    unsigned char c = (unsigned char)text[0];
    size_t size = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0x20 || c == 0x7f || size > len || !str_is_utf8(text, size))
        return 0;
    return c == 0xc2 && (unsigned char)text[1] < 0xa0 ? 0 : size;
}

const char *listing_shown(struct arena *arena, const char *key, size_t len)
{
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    size_t size;
    for (size_t i = 0; i < len && out.len<SHOWN_MAX; i += size> 0 ? size : 1) {
        size = shown_size(key + i, len - i);
        if (size > 0)
            str_append(&out, key + i, size);
        else
            str_printf(&out, "\\x%02x", (unsigned char)key[i]);
        if (out.len >= SHOWN_MAX && i + (size > 0 ? size : 1) < len)
            str_append_text(&out, "...");
    }
    return arena_strndup(arena, out.data ? out.data : "", out.len);
}

static bool is_allowed(const struct listing_job *job, const char *key, size_t len)
{
    const struct class *class = job->request->context->class;
    if (!class->allowed_sources)
        return true;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    return class_allows_source(class, url_of_key(arena, job->request->url, key, len));
}

static enum listing_verdict refuse(const struct source_entry *entry, enum err_code code, const char *what,
                                   struct err *why)
{
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    err_set(why, code, "'%s': %s", listing_shown(arena, entry->key, entry->key_len), what);
    return code == ERR_INVALID ? LISTING_BAD : LISTING_ERROR;
}

static enum listing_verdict path_judge(const struct listing_job *job, const struct source_entry *entry, struct err *why)
{
    const char *path = entry->key + job->base_len;
    size_t len = entry->key_len - job->base_len;
    struct err cause = ERR_INIT;
    if (len == 0 || path[len - 1] == '/')
        return refuse(entry, ERR_INVALID, "it ends in '/', as directories do, and is not empty", why);
    return snapshot_path_check(path, len, &cause) == 0 ? LISTING_FILE : refuse(entry, ERR_INVALID, cause.message, why);
}

enum listing_verdict listing_judge(const struct listing_job *job, const struct source_entry *entry, struct err *why)
{
    bool is_directory = entry->key_len == job->base_len || entry->key[entry->key_len - 1] == '/';
    if (is_directory && entry->size == 0)
        return LISTING_PASSED;
    if (job->glob.tokens && !glob_match(&job->glob, entry->key, entry->key_len, NULL))
        return LISTING_PASSED;
    if (!is_allowed(job, entry->key, entry->key_len))
        return refuse(entry, ERR_DENIED, "the class's allowedSources leave this object out", why);
    if (entry->is_archived)
        return refuse(entry, ERR_PRECONDITION,
                      "the object is archived: restore it to a readable storage class first, or leave it out", why);
    if (strlen(entry->validator) > SNAPSHOT_VALIDATOR_MAX || entry->size > INT64_MAX)
        return refuse(entry, ERR_PRECONDITION, "the server states a size or ETag beyond all limits", why);
    return path_judge(job, entry, why);
}

int listing_bad_error(uint64_t bad, const char *first, struct err *err)
{
    if (bad == 1)
        return err_set(err, ERR_INVALID, "one key cannot be a file of a volume: %s; " WAY_OUT, first);
    return err_set(err, ERR_INVALID, "%" PRIu64 " keys cannot be files of a volume; the first is %s; " WAY_OUT, bad,
                   first);
}

/* '/' sorts before every other byte, so that what lies below a path follows it at once. */
static int fold(char c)
{
    return c == '/' ? 1 : tolower((unsigned char)c);
}

static int by_folded_path(const void *a, const void *b)
{
    const char *left = *(const char *const *)a;
    const char *right = *(const char *const *)b;
    size_t i = 0;
    while (left[i] && fold(left[i]) == fold(right[i]))
        i++;
    int order = fold(left[i]) - fold(right[i]);
    return order != 0 ? order : strcmp(left, right);
}

/* Why two neighbours in that order cannot stand in one tree; NULL if they can. */
static const char *clash_of(const char *a, const char *b)
{
    size_t same = 0; /* up to the last '/' of what both share */
    size_t i = 0;
    for (; a[i] && fold(a[i]) == fold(b[i]); i++) {
        if (a[i] == '/')
            same = i;
    }
    if (a[i] == '\0' && b[i] == '/')
        return "it is a file, and other keys need it as a directory";
    if (a[i] == '\0' && b[i] == '\0')
        return "another key differs from it only in upper and lower case";
    return memcmp(a, b, same) == 0 ? NULL
                                   : "another key's directories differ from its own only in upper and lower case";
}

int listing_tree_check(const struct snapshot_file *files, size_t count, struct err *err)
{
    _cleanup_(freep) const char **sorted = mem_calloc(count + 1, sizeof(*sorted));
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    const char *first = NULL;
    uint64_t bad = 0;
    for (size_t i = 0; i < count; i++)
        sorted[i] = files[i].path;
    qsort(sorted, count, sizeof(*sorted), by_folded_path);
    for (size_t i = 1; i < count; i++) {
        const char *clash = clash_of(sorted[i - 1], sorted[i]);
        bad += clash != NULL;
        if (clash && !first)
            first = arena_printf(arena, "'%s': %s ('%s')", listing_shown(arena, sorted[i - 1], strlen(sorted[i - 1])),
                                 clash, listing_shown(arena, sorted[i], strlen(sorted[i])));
    }
    return bad == 0 ? 0 : listing_bad_error(bad, first, err);
}
