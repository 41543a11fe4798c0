#include "cachecore/xml.h"

#include <assert.h>
#include <expat.h>
#include <malloc.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define FEED_MAX ((size_t)16 << 10)

struct xml {
    XML_Parser parser;
    struct xml_handler handler;
    size_t text_max;
    char path[XML_PATH_MAX + 1];
    size_t path_len, depth;
    struct str text;
    size_t fed; /* bytes that expat was given */
    bool is_failed;
    struct err err; /* set where is_failed */
};

/* What expat gives back may hold a credential. */
static void wiped_free(void *data)
{
    if (data)
        mem_wipe_free(data, malloc_usable_size(data));
}

static void *wiped_realloc(void *data, size_t size)
{
    size_t old = data ? malloc_usable_size(data) : 0;
    void *out = malloc(size);
    if (out && old > 0)
        memcpy(out, data, old < size ? old : size);
    if (out)
        wiped_free(data);
    return out;
}

static void xml_stop(struct xml *xml)
{
    xml->is_failed = true;
    XML_StopParser(xml->parser, XML_FALSE);
}

static void xml_refuse(struct xml *xml, const char *why)
{
    if (xml->is_failed)
        return;
    err_set(&xml->err, ERR_PRECONDITION, "the server's XML %s", why);
    xml_stop(xml);
}

static void on_start(void *context, const char *name, const char **attributes)
{
    struct xml *xml = context;
    size_t len = strlen(name);
    if (xml->is_failed)
        return;
    if (xml->depth == XML_DEPTH_MAX || xml->path_len + 1 + len > XML_PATH_MAX) {
        xml_refuse(xml, "is nested too deeply");
        return;
    }
    xml->depth++;
    xml->path[xml->path_len++] = '/';
    memcpy(xml->path + xml->path_len, name, len + 1);
    xml->path_len += len;
    str_clear(&xml->text);
    if (xml->handler.start &&
        xml->handler.start(xml->handler.context, xml->path, (const char *const *)attributes, &xml->err) != 0)
        xml_stop(xml);
}

static void on_end(void *context, const char *name)
{
    struct xml *xml = context;
    if (xml->is_failed)
        return;
    const char *text = xml->text.data ? xml->text.data : "";
    if (xml->handler.end(xml->handler.context, xml->path, text, xml->text.len, &xml->err) != 0)
        xml_stop(xml);
    xml->depth--;
    xml->path_len -= strlen(name) + 1;
    xml->path[xml->path_len] = '\0';
    str_clear(&xml->text);
}

static void on_text(void *context, const char *text, int len)
{
    struct xml *xml = context;
    if (xml->is_failed)
        return;
    if ((size_t)len > xml->text_max - xml->text.len)
        xml_refuse(xml, "holds a text that is too long");
    else
        str_append(&xml->text, text, (size_t)len);
}

static void on_doctype(void *context, const char *name, const char *system, const char *public, int has_internal)
{
    (void)name;
    (void)system;
    (void)public;
    (void)has_internal;
    xml_refuse(context, "has a document type");
}

struct xml *xml_new(const struct xml_handler *handler)
{
    static const XML_Memory_Handling_Suite memory = {malloc, wiped_realloc, wiped_free};
    struct xml *xml = mem_alloc(sizeof(*xml));
    assert(handler->end);
    xml->handler = *handler;
    xml->text_max = handler->text_max > 0 ? handler->text_max : XML_TEXT_MAX;
    str_reserve(&xml->text, xml->text_max); /* at once: growing would leave copies behind */
    xml->parser = XML_ParserCreate_MM("UTF-8", &memory, NULL);
    assert(xml->parser);
    XML_SetUserData(xml->parser, xml);
    XML_SetElementHandler(xml->parser, on_start, on_end);
    XML_SetCharacterDataHandler(xml->parser, on_text);
    XML_SetStartDoctypeDeclHandler(xml->parser, on_doctype);
    return xml;
}

void xml_free(struct xml *xml)
{
    if (!xml)
        return;
    XML_ParserFree(xml->parser);
    explicit_bzero(xml->text.data, xml->text.capacity);
    str_deinit(&xml->text);
    free(xml);
}

static void xml_explain(struct xml *xml)
{
    enum XML_Error code = XML_GetErrorCode(xml->parser);
    if (!xml->is_failed)
        err_set(&xml->err, ERR_PRECONDITION, "the server's answer is not XML as it must be: %s in line %lu",
                XML_ErrorString(code), (unsigned long)XML_GetCurrentLineNumber(xml->parser));
    xml->is_failed = true;
}

/* What expat was given and cannot tell of yet is one unfinished tag. */
static bool tag_is_too_long(const struct xml *xml)
{
    XML_Index done = XML_GetCurrentByteIndex(xml->parser);
    return xml->fed - (done > 0 ? (size_t)done : 0) > XML_TAG_MAX;
}

static int xml_step(struct xml *xml, const char *data, size_t len, bool is_last, struct err *err)
{
    xml->fed += len;
    if (XML_Parse(xml->parser, data, (int)len, is_last) != XML_STATUS_OK)
        xml_explain(xml);
    else if (!is_last && tag_is_too_long(xml))
        xml_refuse(xml, "holds a tag that is too long");
    if (!xml->is_failed)
        return 0;
    *err = xml->err;
    return -1;
}

int xml_feed(struct xml *xml, const void *data, size_t len, struct err *err)
{
    const char *at = data;
    for (size_t left = len; left > 0;) {
        size_t step = left < FEED_MAX ? left : FEED_MAX;
        if (xml_step(xml, at, step, false, err) != 0)
            return -1;
        at += step;
        left -= step;
    }
    return 0;
}

int xml_finish(struct xml *xml, struct err *err)
{
    return xml_step(xml, "", 0, true, err);
}

const char *xml_attribute(const char *const *attributes, const char *name)
{
    for (; *attributes; attributes += 2) {
        if (strcmp(attributes[0], name) == 0)
            return attributes[1];
    }
    return NULL;
}
