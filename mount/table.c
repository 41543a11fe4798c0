#include "mount/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "base/fs.h"

/* fs.mount-max is 100,000 by default; an overlay's options may take a page. */
#define TABLE_ENTRIES_MAX 200000u
#define TABLE_BYTES_MAX (64u << 20)

struct fields {
    char *next; /* NULL when the line is used up */
};

static char *field_take(struct fields *fields)
{
    char *field = fields->next;
    if (!field)
        return NULL;
    char *space = strchr(field, ' ');
    if (space)
        *space = '\0';
    fields->next = space ? space + 1 : NULL;
    return field;
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* "\040" and the like, in place. What is no escape stays as it is. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        if (from[0] == '\\' && (from[1] == '0' || from[1] == '1') && is_octal(from[2]) && is_octal(from[3])) {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static int number_take(struct fields *fields, uint64_t *out)
{
    char *field = field_take(fields);
    return field ? str_parse_u64(field, UINT32_MAX, out) : -1;
}

static int device_take(struct fields *fields, struct mount_entry *out)
{
    uint64_t major;
    uint64_t minor;
    char *field = field_take(fields);
    char *colon = field ? strchr(field, ':') : NULL;
    if (!colon)
        return -1;
    *colon = '\0';
    if (str_parse_u64(field, UINT32_MAX, &major) != 0 || str_parse_u64(colon + 1, UINT32_MAX, &minor) != 0)
        return -1;
    out->device_major = (unsigned)major;
    out->device_minor = (unsigned)minor;
    return 0;
}

static int text_take(struct fields *fields, const char **out)
{
    char *field = field_take(fields);
    if (!field)
        return -1;
    unescape(field);
    *out = field;
    return 0;
}

static int optional_fields_skip(struct fields *fields)
{
    for (;;) {
        const char *field = field_take(fields);
        if (!field)
            return -1;
        if (strcmp(field, "-") == 0)
            return 0;
    }
}

static int line_parse(char *line, struct mount_entry *out)
{
    struct fields fields = {.next = line};
    if (number_take(&fields, &out->id) != 0 || number_take(&fields, &out->parent_id) != 0 ||
        device_take(&fields, out) != 0)
        return -1;
    if (text_take(&fields, &out->root) != 0 || text_take(&fields, &out->target) != 0 ||
        text_take(&fields, &out->options) != 0)
        return -1;
    if (optional_fields_skip(&fields) != 0 || text_take(&fields, &out->fstype) != 0 ||
        text_take(&fields, &out->source) != 0)
        return -1;
    /* The last field is the rest of the line: some file systems print spaces in it. */
    out->super_options = fields.next ? fields.next : "";
    return out->target[0] == '/' ? 0 : -1;
}

static size_t lines_count(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += text[i] == '\n';
    return count + (len > 0 && text[len - 1] != '\n');
}

int mount_table_parse(struct arena *arena, const char *text, size_t len, struct mount_table *out, struct err *err)
{
    if (len > TABLE_BYTES_MAX)
        return err_set(err, ERR_EXHAUSTED, "the mount table is larger than %u bytes", TABLE_BYTES_MAX);
    size_t count = lines_count(text, len);
    if (count > TABLE_ENTRIES_MAX)
        return err_set(err, ERR_EXHAUSTED, "the mount table has more than %u mounts", TABLE_ENTRIES_MAX);
    if (memchr(text, '\0', len))
        return err_set(err, ERR_CORRUPT, "the mount table holds a NUL byte");
    struct mount_entry *entries = arena_calloc(arena, count + 1, sizeof(*entries));
    char *line = arena_strndup(arena, text, len);
    for (size_t i = 0; i < count; i++) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        if (line_parse(line, &entries[i]) != 0)
            return err_set(err, ERR_CORRUPT, "line %zu of the mount table is not as proc(5) says", i + 1);
        line = end ? end + 1 : line;
    }
    out->entries = entries;
    out->count = count;
    return 0;
}

int mount_table_read(struct arena *arena, struct mount_table *out, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    _cleanup_(closep) int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_INTERNAL, errno, "cannot open /proc/self/mountinfo");
    if (fs_read_fd(fd, TABLE_BYTES_MAX, &text, err) != 0)
        return err_prefix(err, "/proc/self/mountinfo");
    return mount_table_parse(arena, text.data ? text.data : "", text.len, out, err);
}

static const struct mount_entry *entry_on(const struct mount_table *table, const char *target,
                                          const struct mount_entry *below)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct mount_entry *entry = &table->entries[i];
        if (below && (entry->parent_id != below->id || entry->id == below->id))
            continue;
        if (strcmp(entry->target, target) == 0)
            return entry;
    }
    return NULL;
}

const struct mount_entry *mount_table_at(const struct mount_table *table, const char *target)
{
    /* Mounts stacked on one path are each other's parents. The step count bounds a table that is not a tree. */
    const struct mount_entry *top = entry_on(table, target, NULL);
    for (size_t step = 0; top && step < table->count; step++) {
        const struct mount_entry *above = entry_on(table, target, top);
        if (!above)
            return top;
        top = above;
    }
    return top;
}

size_t mount_table_below(const struct mount_table *table, const char *path)
{
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/')
        len--;
    size_t count = 0;
    for (size_t i = 0; i < table->count; i++) {
        const char *target = table->entries[i].target;
        if (strncmp(target, path, len) == 0 && (target[len] == '\0' || target[len] == '/'))
            count++;
    }
    return count;
}
