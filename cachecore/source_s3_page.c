#include "cachecore/source_s3_page.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/xml.h"

/* An object or a common prefix, as it came. */
struct listed {
    size_t key, etag; /* into text */
    size_t key_len;
    uint64_t size;
    int64_t mtime_s;
    bool is_prefix, is_archived;
};

struct s3_page {
    struct xml *xml;
    struct str text; /* keys and ETags, each with its NUL */
    struct listed *items;
    size_t count, capacity;
    struct listed item; /* that is being read */
    bool has_key, has_size, has_etag, is_restored;
    bool is_listing, is_truncated, is_encoded;
    struct str token;
};

static size_t text_keep(struct s3_page *page, const char *text, size_t len)
{
    size_t at = page->text.len;
    str_append(&page->text, text, len);
    str_append(&page->text, "", 1);
    return at;
}

static int item_add(struct s3_page *page, struct err *err)
{
    if (page->count == 2 * S3_PAGE_KEYS_MAX)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists more keys than were asked for");
    if (page->count == page->capacity) {
        page->capacity = page->capacity > 0 ? 2 * page->capacity : 64;
        page->items = mem_realloc(page->items, page->capacity * sizeof(*page->items));
    }
    page->items[page->count++] = page->item;
    page->item = (struct listed){0};
    page->has_key = page->has_size = page->has_etag = page->is_restored = false;
    return 0;
}

static int object_add(struct s3_page *page, struct err *err)
{
    if (!page->has_key || !page->has_size || !page->has_etag)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists an object without key, size or ETag");
    page->item.is_archived = page->item.is_archived && !page->is_restored;
    return item_add(page, err);
}

static int prefix_add(struct s3_page *page, struct err *err)
{
    if (!page->has_key)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists a common prefix without text");
    page->item.is_prefix = true;
    return item_add(page, err);
}

/* --- elements --- */

static int on_key(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    if (page->has_key)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists an object with two keys");
    page->item.key = text_keep(page, text, len);
    page->item.key_len = len;
    page->has_key = true;
    return 0;
}

static int on_size(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    (void)len;
    page->has_size = true;
    if (str_parse_u64(text, INT64_MAX, &page->item.size) != 0)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists a size that is no number below 2^63");
    return 0;
}

static int on_time(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    uint32_t ns; /* not kept: the object's own headers have seconds alone */
    (void)len;
    if (clock_parse_rfc3339(text, &page->item.mtime_s, &ns) != 0)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists a LastModified that is no time");
    return 0;
}

/* Some servers leave the quotes out here that their header has. */
static int on_etag(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    bool quoted = len > 2 && text[0] == '"' && text[len - 1] == '"';
    const char *bare = quoted ? text + 1 : text;
    size_t bare_len = quoted ? len - 2 : len;
    if (bare_len == 0 || bare_len > 500 || memchr(bare, '"', bare_len))
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists an object with no strong ETag");
    page->item.etag = page->text.len;
    str_printf(&page->text, "\"%.*s\"", (int)bare_len, bare);
    str_append(&page->text, "", 1);
    page->has_etag = true;
    return 0;
}

static int on_class(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    (void)len;
    (void)err;
    page->item.is_archived = strcmp(text, "GLACIER") == 0 || strcmp(text, "DEEP_ARCHIVE") == 0;
    return 0;
}

static int on_restore_end(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    (void)err;
    (void)text;
    page->is_restored = len > 0;
    return 0;
}

static int on_object(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    (void)text;
    (void)len;
    return object_add(page, err);
}

static int on_prefix(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    (void)text;
    (void)len;
    return prefix_add(page, err);
}

static int on_truncated(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    (void)len;
    (void)err;
    page->is_truncated = strcmp(text, "true") == 0;
    return 0;
}

static int on_token(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    (void)err;
    str_clear(&page->token);
    str_append(&page->token, text, len);
    return 0;
}

static int on_encoding(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    (void)len;
    (void)err;
    page->is_encoded = strcmp(text, "url") == 0;
    return 0;
}

static int on_listing(struct s3_page *page, const char *text, size_t len, struct err *err)
{
    (void)text;
    (void)len;
    (void)err;
    page->is_listing = true;
    return 0;
}

#define ROOT "/ListBucketResult"

static const struct {
    const char *path;
    int (*on)(struct s3_page *page, const char *text, size_t len, struct err *err);
} elements[] = {
    {ROOT "/Contents/Key", on_key},
    {ROOT "/Contents/Size", on_size},
    {ROOT "/Contents/LastModified", on_time},
    {ROOT "/Contents/ETag", on_etag},
    {ROOT "/Contents/StorageClass", on_class},
    {ROOT "/Contents/RestoreStatus/RestoreExpiryDate", on_restore_end},
    {ROOT "/Contents", on_object},
    {ROOT "/CommonPrefixes/Prefix", on_key},
    {ROOT "/CommonPrefixes", on_prefix},
    {ROOT "/IsTruncated", on_truncated},
    {ROOT "/NextContinuationToken", on_token},
    {ROOT "/EncodingType", on_encoding},
    {ROOT, on_listing},
};

static int on_end(void *context, const char *path, const char *text, size_t len, struct err *err)
{
    for (size_t i = 0; i < sizeof(elements) / sizeof(elements[0]); i++) {
        if (strcmp(elements[i].path, path) == 0)
            return elements[i].on(context, text, len, err);
    }
    return 0;
}

/* --- the page --- */

struct s3_page *s3_page_new(void)
{
    struct s3_page *page = mem_alloc(sizeof(*page));
    const struct xml_handler handler = {.end = on_end, .context = page};
    page->xml = xml_new(&handler);
    return page;
}

void s3_page_free(struct s3_page *page)
{
    if (!page)
        return;
    xml_free(page->xml);
    str_deinit(&page->text);
    str_deinit(&page->token);
    free(page->items);
    free(page);
}

int s3_page_feed(struct s3_page *page, const void *data, size_t len, struct err *err)
{
    return xml_feed(page->xml, data, len, err);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* In place. S3 writes a space as '+'. False for a bad escape or a NUL. */
static bool key_decode(char *text, size_t *len)
{
    size_t used = 0;
    for (size_t i = 0; i < *len; i++) {
        char c = text[i] == '+' ? ' ' : text[i];
        if (c == '%') {
            int high = *len - i >= 3 ? hex_value(text[i + 1]) : -1;
            int low = *len - i >= 3 ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0')
            return false;
        text[used++] = c;
    }
    text[used] = '\0';
    *len = used;
    return true;
}

static int item_tell(const struct s3_page *page, const struct source_page *ask, struct listed *item, struct err *err)
{
    char *key = page->text.data + item->key;
    if (page->is_encoded && !key_decode(key, &item->key_len))
        return err_set(err, ERR_PRECONDITION, "protocol error: the server lists a key that is badly encoded");
    if (item->is_prefix)
        return ask->each_prefix ? ask->each_prefix(ask->each_context, key, item->key_len, err) : 0;
    char validator[600];
    snprintf(validator, sizeof(validator), "etag:%s", page->text.data + item->etag);
    const struct source_entry entry = {.key = key,
                                       .key_len = item->key_len,
                                       .size = item->size,
                                       .mtime_s = item->mtime_s,
                                       .validator = validator,
                                       .is_archived = item->is_archived};
    return ask->each(ask->each_context, &entry, err);
}

static int items_tell(const struct s3_page *page, const struct source_page *ask, bool prefixes, struct err *err)
{
    for (size_t i = 0; i < page->count; i++) {
        if (page->items[i].is_prefix == prefixes && item_tell(page, ask, &page->items[i], err) != 0)
            return -1;
    }
    return 0;
}

int s3_page_finish(struct s3_page *page, const struct source_page *ask, struct arena *arena, const char **next,
                   struct err *err)
{
    if (xml_finish(page->xml, err) != 0)
        return -1;
    if (!page->is_listing)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server's answer is no ListBucketResult");
    if (page->is_truncated && page->token.len == 0)
        return err_set(err, ERR_PRECONDITION, "protocol error: the server's listing is cut, with no token to go on");
    if (items_tell(page, ask, false, err) != 0 || items_tell(page, ask, true, err) != 0)
        return -1;
    *next = page->is_truncated ? arena_strndup(arena, page->token.data, page->token.len) : NULL;
    return 0;
}
