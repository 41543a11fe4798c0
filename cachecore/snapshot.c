#include "cachecore/snapshot.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#define HEADER "sharedcache-snapshot 1\n"
#define PIECE_SIZE ((size_t)64 << 10)
#define PIECE_FILES 1000u
#define MTIME_MIN (-62135596800LL) /* 0001-01-01 */
#define MTIME_MAX 253402300799LL   /* 9999-12-31 */

static bool is_object_id(const char *text)
{
    return strspn(text, "0123456789abcdef") == 64 && text[64] == '\0';
}

static int times_and_size_check(const struct snapshot_file *file, struct err *err)
{
    if (file->size > INT64_MAX)
        return err_set(err, ERR_INVALID, "size %" PRIu64 " is beyond 2^63-1", file->size);
    if (file->mtime_s < MTIME_MIN || file->mtime_s > MTIME_MAX || file->mtime_ns > 999999999)
        return err_set(err, ERR_INVALID, "modification time %" PRId64 ".%09u lies outside the years 1 to 9999",
                       file->mtime_s, file->mtime_ns);
    return 0;
}

static int file_check(const struct snapshot_file *file, struct err *err)
{
    if (snapshot_path_check(file->path, strlen(file->path), err) != 0)
        return -1;
    if (!is_object_id(file->object))
        return err_set(err, ERR_INVALID, "'%.200s': object id is not 64 lowercase hex digits", file->path);
    if (strlen(file->validator) > SNAPSHOT_VALIDATOR_MAX)
        return err_set(err, ERR_INVALID, "'%.200s': validator is longer than %u bytes", file->path,
                       SNAPSHOT_VALIDATOR_MAX);
    if (times_and_size_check(file, err) != 0)
        return err_prefix(err, "'%.200s'", file->path);
    return 0;
}

/*
 * Finds a file that stands where a later path needs a directory. Such a pair need not be adjacent ("a", "a-b", "a/b"), but
 * all that lies between them begins with the shorter one: so the files whose whole path begins the current path form a stack.
 */
struct prefixes {
    size_t lens[SNAPSHOT_PATH_MAX + 1];
    size_t count;
};

static bool prefixes_step(struct prefixes *prefixes, const char *before, const char *path)
{
    while (prefixes->count > 0 && strncmp(before, path, prefixes->lens[prefixes->count - 1]) != 0)
        prefixes->count--;
    for (size_t i = 0; i < prefixes->count; i++) {
        if (path[prefixes->lens[i]] == '/')
            return false;
    }
    prefixes->lens[prefixes->count++] = strlen(path);
    return true;
}

static int list_check(const struct snapshot_file *files, size_t count, uint64_t *bytes, struct err *err)
{
    struct prefixes prefixes = {.count = 0};
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const char *path = files[i].path;
        int order = i == 0 ? -1 : strcmp(files[i - 1].path, path);
        if (order == 0)
            return err_set(err, ERR_INVALID, "'%.200s' stands twice", path);
        if (order > 0)
            return err_set(err, ERR_INVALID, "'%.200s' is not in order", path);
        if (!prefixes_step(&prefixes, i == 0 ? "" : files[i - 1].path, path))
            return err_set(err, ERR_INVALID, "'%.200s' lies below a path that is a file", path);
        if (__builtin_add_overflow(sum, files[i].size, &sum) || sum > INT64_MAX)
            return err_set(err, ERR_INVALID, "the sizes add up to more than 2^63-1 bytes");
    }
    *bytes = sum;
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct snapshot_file *)a)->path, ((const struct snapshot_file *)b)->path);
}

int snapshot_make(struct arena *arena, struct snapshot_file *files, size_t count, struct snapshot *out, struct err *err)
{
    (void)arena;
    if (count > SNAPSHOT_FILES_MAX)
        return err_set(err, ERR_INVALID, "%zu files are more than the limit of %u", count, SNAPSHOT_FILES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (file_check(&files[i], err) != 0)
            return -1;
    }
    if (count > 1)
        qsort(files, count, sizeof(*files), by_path);
    uint64_t bytes = 0;
    if (list_check(files, count, &bytes, err) != 0)
        return -1;
    *out = (struct snapshot){.files = files, .count = count, .bytes = bytes};
    return 0;
}

static void encoded_append(struct str *out, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p > ' ' && *p < 0x7f && *p != '%') {
            str_append_char(out, (char)*p);
        } else {
            char escape[3] = {'%', digits[*p >> 4], digits[*p & 15]};
            str_append(out, escape, sizeof(escape));
        }
    }
}

static void line_append(struct str *out, const struct snapshot_file *file)
{
    str_printf(out, "%s %" PRIu64 " %" PRId64 ".%09u ", file->object, file->size, file->mtime_s, file->mtime_ns);
    if (file->validator[0] == '\0')
        str_append_char(out, '-');
    else if (strcmp(file->validator, "-") == 0)
        str_append_text(out, "%2D");
    else
        encoded_append(out, file->validator);
    str_append_char(out, ' ');
    encoded_append(out, file->path);
    str_append_char(out, '\n');
}

int snapshot_write_pieces(const struct snapshot *snapshot, snapshot_piece piece, void *context, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    str_append_text(&text, HEADER);
    for (size_t i = 0; i < snapshot->count; i++) {
        line_append(&text, &snapshot->files[i]);
        if (text.len < PIECE_SIZE)
            continue;
        int result = piece(context, text.data, text.len, err);
        if (result != 0)
            return result;
        str_clear(&text);
    }
    return text.len > 0 ? piece(context, text.data, text.len, err) : 0;
}

static int piece_count(void *context, const void *data, size_t len, struct err *err)
{
    (void)data;
    (void)err;
    *(uint64_t *)context += len;
    return 0;
}

uint64_t snapshot_text_len(const struct snapshot *snapshot)
{
    struct err ignored = ERR_INIT;
    uint64_t len = 0;
    (void)snapshot_write_pieces(snapshot, piece_count, &len, &ignored);
    return len;
}

static int piece_append(void *context, const void *data, size_t len, struct err *err)
{
    (void)err;
    str_append(context, data, len);
    return 0;
}

void snapshot_write(const struct snapshot *snapshot, struct str *out)
{
    struct err ignored = ERR_INIT;
    if (snapshot->count > PIECE_FILES)
        str_reserve(out, snapshot_text_len(snapshot)); /* growing would hold a long text twice */
    (void)snapshot_write_pieces(snapshot, piece_append, out, &ignored);
}

static int piece_hash(void *context, const void *data, size_t len, struct err *err)
{
    (void)err;
    sha256_update(context, data, len);
    return 0;
}

void snapshot_id(const struct snapshot *snapshot, char out[SHA256_HEX])
{
    struct err ignored = ERR_INIT;
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    (void)snapshot_write_pieces(snapshot, piece_hash, sha, &ignored);
    uint8_t digest[SHA256_LEN];
    sha256_final(sha, digest);
    str_hex(digest, sizeof(digest), out);
}

void object_id(const char *kind, const char *authority, const char *canonical_url, const char *validator,
               const char *identity, char out[SHA256_HEX])
{
    const char *const fields[] = {"sharedcache-object 1", kind, authority, canonical_url, validator, identity};
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        sha256_field(sha, fields[i], strlen(fields[i]));
    uint8_t digest[SHA256_LEN];
    sha256_final(sha, digest);
    str_hex(digest, sizeof(digest), out);
}

/* One field of a line, up to the byte 'end'. Takes it off the front of *text. */
static int field_take(const char **text, size_t *len, char end, const char **field, size_t *field_len)
{
    const char *found = memchr(*text, end, *len);
    if (!found)
        return -1;
    *field = *text;
    *field_len = (size_t)(found - *text);
    *len -= *field_len + 1;
    *text = found + 1;
    return 0;
}

static int unescape(const char *p)
{
    int value = 0;
    for (int i = 1; i <= 2; i++) {
        char c = p[i];
        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if (c >= 'A' && c <= 'F')
            value = value * 16 + (c - 'A' + 10);
        else
            return -1;
    }
    return value;
}

/* NULL when the text cannot be decoded or holds a NUL. That the spelling is the canonical one is checked on the whole line. */
static const char *decoded(struct arena *arena, const char *text, size_t len, size_t max)
{
    if (len > 3 * max)
        return NULL;
    char *out = arena_alloc(arena, len + 1);
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)text[i];
        if (c == '%') {
            if (len - i < 3 || (c = unescape(text + i)) <= 0)
                return NULL;
            i += 2;
        }
        if (c == '\0')
            return NULL;
        out[used++] = (char)c;
    }
    return out;
}

/* At most 20 digits, so that the number fits a buffer; overflow is str_parse_u64's to refuse. */
static int number_take(const char **text, size_t *len, char end, uint64_t *out)
{
    const char *field;
    size_t field_len;
    char digits[24] = {0};
    if (field_take(text, len, end, &field, &field_len) != 0 || field_len > 20)
        return -1;
    memcpy(digits, field, field_len);
    return str_parse_u64(digits, INT64_MAX, out);
}

static int mtime_take(const char **text, size_t *len, struct snapshot_file *out)
{
    bool negative = *len > 0 && **text == '-';
    *text += negative;
    *len -= negative;
    uint64_t seconds;
    const char *fraction;
    size_t fraction_len;
    if (number_take(text, len, '.', &seconds) != 0 || seconds > (uint64_t)MTIME_MAX ||
        field_take(text, len, ' ', &fraction, &fraction_len) != 0 || fraction_len != 9)
        return -1;
    uint32_t ns = 0;
    for (size_t i = 0; i < 9; i++) {
        if (fraction[i] < '0' || fraction[i] > '9')
            return -1;
        ns = ns * 10 + (uint32_t)(fraction[i] - '0');
    }
    out->mtime_s = negative ? -(int64_t)seconds : (int64_t)seconds;
    out->mtime_ns = ns;
    return 0;
}

static int fields_parse(struct arena *arena, const char *text, size_t len, struct snapshot_file *out)
{
    const char *field;
    size_t field_len;
    if (field_take(&text, &len, ' ', &field, &field_len) != 0 || field_len != 64)
        return -1;
    memcpy(out->object, field, 64);
    if (number_take(&text, &len, ' ', &out->size) != 0 || mtime_take(&text, &len, out) != 0)
        return -1;
    if (field_take(&text, &len, ' ', &field, &field_len) != 0)
        return -1;
    bool is_empty = field_len == 1 && field[0] == '-';
    out->validator = is_empty ? "" : decoded(arena, field, field_len, SNAPSHOT_VALIDATOR_MAX);
    out->path = decoded(arena, text, len, SNAPSHOT_PATH_MAX);
    return out->validator && out->path ? 0 : -1;
}

/* Writing the line again and comparing refuses every other spelling of the same thing at once. */
static int line_parse(struct arena *arena, const char *line, size_t len, struct str *scratch, struct snapshot_file *out,
                      struct err *err)
{
    if (fields_parse(arena, line, len, out) != 0)
        return err_set(err, ERR_CORRUPT, "not '<object> <size> <time> <validator> <path>'");
    if (file_check(out, err) != 0)
        return -1;
    str_clear(scratch);
    line_append(scratch, out);
    if (scratch->len != len + 1 || memcmp(scratch->data, line, len) != 0)
        return err_set(err, ERR_CORRUPT, "not in canonical spelling");
    return 0;
}

static int lines_parse(struct arena *arena, const char *text, size_t len, struct snapshot_file *files, struct err *err)
{
    _cleanup_(str_deinitp) struct str scratch = STR_INIT;
    const char *line;
    size_t line_len;
    for (size_t i = 0; len > 0; i++) {
        if (field_take(&text, &len, '\n', &line, &line_len) != 0)
            return err_set(err, ERR_CORRUPT, "line %zu: does not end in a newline", i + 2);
        if (line_parse(arena, line, line_len, &scratch, &files[i], err) != 0) {
            err->code = ERR_CORRUPT;
            return err_prefix(err, "line %zu", i + 2);
        }
    }
    return 0;
}

static size_t lines_count(const char *text, size_t len)
{
    size_t count = 0;
    const char *end = text + len;
    for (const char *p = text; p < end; p++) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p)
            return count + 1;
        count++;
    }
    return count;
}

int snapshot_parse(struct arena *arena, const char *text, size_t len, size_t max_files, struct snapshot *out,
                   struct err *err)
{
    size_t header_len = strlen(HEADER);
    if (len < header_len || memcmp(text, HEADER, header_len) != 0)
        return err_set(err, ERR_CORRUPT, "line 1: not a snapshot of version 1");
    text += header_len;
    len -= header_len;
    size_t count = lines_count(text, len);
    if (count > max_files || count > SNAPSHOT_FILES_MAX)
        return err_set(err, ERR_CORRUPT, "line %zu: more than the limit of %zu files", max_files + 2, max_files);
    struct snapshot_file *files = arena_calloc(arena, count, sizeof(*files));
    uint64_t bytes = 0;
    if (lines_parse(arena, text, len, files, err) != 0)
        return -1;
    if (list_check(files, count, &bytes, err) != 0) {
        err->code = ERR_CORRUPT;
        return -1;
    }
    *out = (struct snapshot){.files = files, .count = count, .bytes = bytes};
    return 0;
}
