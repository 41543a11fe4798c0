#include "cachecore/azure_list.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"
#include "cachecore/http_head.h"
#include "cachecore/url_text.h"
#include "cachecore/xml.h"

#define TEXT_MAX 16384u /* a name of 1,024 characters, percent-encoded */
#define ETAG_MAX 256u
#define BLOB "/EnumerationResults/Blobs/Blob"
#define PREFIX "/EnumerationResults/Blobs/BlobPrefix"

struct azure_list {
    struct azure_list_handler handler;
    struct xml *xml;
    struct arena *arena; /* of the blob that is being read */
    struct azure_blob blob;
    bool has_size, is_directory, is_encoded;
    bool is_page; /* the root element was the right one */
    char marker[AZURE_MARKER_MAX + 1];
};

static int malformed(struct err *err, const char *what)
{
    return err_set(err, ERR_PRECONDITION, "the server's list of blobs %s", what);
}

static int on_start(void *context, const char *path, const char *const *attributes, struct err *err)
{
    struct azure_list *list = context;
    if (strcmp(path, "/EnumerationResults") == 0)
        list->is_page = true;
    if (!list->is_page)
        return malformed(err, "is something else");
    if (strcmp(path, BLOB) == 0 || strcmp(path, PREFIX) == 0) {
        arena_free(list->arena);
        list->arena = arena_new();
        list->blob = (struct azure_blob){.name = NULL};
        list->has_size = list->is_directory = false;
    }
    const char *encoded = xml_attribute(attributes, "Encoded");
    list->is_encoded = encoded && strcasecmp(encoded, "true") == 0;
    return 0;
}

static int take_name(struct azure_list *list, const char *text, size_t len, struct err *err)
{
    if (list->blob.name)
        return malformed(err, "names a blob twice");
    if (len == 0 || (list->is_encoded && !url_escapes_are_valid(text)))
        return malformed(err, "holds a name that is empty or badly encoded");
    list->blob.name_len = len;
    list->blob.name = list->is_encoded ? url_decode(list->arena, text, len, &list->blob.name_len)
                                       : arena_strndup(list->arena, text, len);
    if (memchr(list->blob.name, '\0', list->blob.name_len))
        return malformed(err, "holds a name with a NUL");
    return 0;
}

/* Lists give ETags without the quotes that they have in headers. */
static int take_etag(struct azure_list *list, const char *text, size_t len, struct err *err)
{
    bool is_quoted = len >= 2 && text[0] == '"' && text[len - 1] == '"';
    const char *bare = is_quoted ? arena_strndup(list->arena, text + 1, len - 2) : text;
    size_t plain = 0;
    while (bare[plain] > ' ' && bare[plain] < 0x7f && bare[plain] != '"')
        plain++;
    if (plain == 0 || plain > ETAG_MAX || bare[plain] != '\0')
        return malformed(err, "holds an ETag that is none");
    list->blob.etag = arena_printf(list->arena, "\"%s\"", bare);
    return 0;
}

static int take_size(struct azure_list *list, const char *text, struct err *err)
{
    if (str_parse_u64(text, INT64_MAX, &list->blob.size) != 0)
        return malformed(err, "holds a length that is no number");
    list->has_size = true;
    return 0;
}

static int property_take(struct azure_list *list, const char *name, const char *text, size_t len, struct err *err)
{
    if (strcmp(name, "Etag") == 0)
        return take_etag(list, text, len, err);
    if (strcmp(name, "Content-Length") == 0)
        return take_size(list, text, err);
    if (strcmp(name, "Last-Modified") == 0)
        list->blob.mtime_s = http_date_parse(text);
    if (strcmp(name, "ResourceType") == 0)
        list->is_directory = list->is_directory || strcasecmp(text, "directory") == 0;
    if (strcmp(name, "AccessTier") == 0)
        list->blob.is_archived = strcasecmp(text, "Archive") == 0;
    return 0;
}

static int blob_end(struct azure_list *list, struct err *err)
{
    if (!list->blob.name)
        return malformed(err, "holds a blob without a name");
    if (list->is_directory)
        return 0;
    if (!list->blob.etag || !list->has_size)
        return malformed(err, "holds a blob without ETag or length");
    return list->handler.blob(list->handler.context, &list->blob, err);
}

static int prefix_end(struct azure_list *list, struct err *err)
{
    if (!list->blob.name)
        return malformed(err, "holds a prefix without a name");
    return list->handler.prefix ? list->handler.prefix(list->handler.context, list->blob.name, list->blob.name_len, err)
                                : 0;
}

static int marker_take(struct azure_list *list, const char *text, size_t len, struct err *err)
{
    if (len > AZURE_MARKER_MAX)
        return malformed(err, "goes on behind a marker that is too long");
    memcpy(list->marker, text, len);
    list->marker[len] = '\0';
    return 0;
}

static int on_end(void *context, const char *path, const char *text, size_t len, struct err *err)
{
    struct azure_list *list = context;
    if (strcmp(path, BLOB "/Name") == 0 || strcmp(path, PREFIX "/Name") == 0)
        return take_name(list, text, len, err);
    if (str_starts_with(path, BLOB "/Properties/"))
        return property_take(list, path + strlen(BLOB "/Properties/"), text, len, err);
    if (strcasecmp(path, BLOB "/Metadata/hdi_isfolder") == 0)
        list->is_directory = list->is_directory || strcasecmp(text, "true") == 0;
    if (strcmp(path, BLOB) == 0)
        return blob_end(list, err);
    if (strcmp(path, PREFIX) == 0)
        return prefix_end(list, err);
    return strcmp(path, "/EnumerationResults/NextMarker") == 0 ? marker_take(list, text, len, err) : 0;
}

struct azure_list *azure_list_new(const struct azure_list_handler *handler)
{
    struct azure_list *list = mem_alloc(sizeof(*list));
    list->handler = *handler;
    list->arena = arena_new();
    list->xml = xml_new(&(struct xml_handler){.start = on_start, .end = on_end, .context = list, .text_max = TEXT_MAX});
    return list;
}

void azure_list_free(struct azure_list *list)
{
    if (!list)
        return;
    xml_free(list->xml);
    arena_free(list->arena);
    free(list);
}

int azure_list_feed(struct azure_list *list, const void *data, size_t len, struct err *err)
{
    return xml_feed(list->xml, data, len, err);
}

int azure_list_finish(struct azure_list *list, struct arena *arena, const char **next, struct err *err)
{
    if (xml_finish(list->xml, err) != 0)
        return -1;
    *next = list->marker[0] ? arena_strdup(arena, list->marker) : NULL;
    return 0;
}
