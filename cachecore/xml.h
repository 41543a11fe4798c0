/*
 * XML of storage and token services, as it streams in: elements, their text and attributes, by expat, the only file that sees it.
 * What no such service sends is refused: document types (and so entities of one's own), deep nesting, texts and tags beyond their
 * limits, any encoding but UTF-8. How much comes in all is the caller's to limit. Buffers are wiped: answers may hold credentials.
 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"

#define XML_DEPTH_MAX 16u
#define XML_PATH_MAX 512u
#define XML_TEXT_MAX 8192u
#define XML_TAG_MAX 65536u /* bytes of one tag, with its attributes */

struct xml_handler {
    /* path: "/Root/Child", names as written, without their attributes. attributes: name, value, name, value, NULL. May be NULL. */
    int (*start)(void *context, const char *path, const char *const *attributes, struct err *err);
    /* text: what an element without children holds, white space and all; of another only what follows its last child. */
    int (*end)(void *context, const char *path, const char *text, size_t len, struct err *err);
    void *context;
    size_t text_max; /* 0: XML_TEXT_MAX */
};

struct xml;

struct xml *xml_new(const struct xml_handler *handler);
void xml_free(struct xml *xml);
DEFINE_CLEANUP(struct xml *, xml_free);

/* The next bytes. ERR_PRECONDITION when they are no such XML; what a handler set, once it returned non-zero. After an error only
 * xml_free. */
int xml_feed(struct xml *xml, const void *data, size_t len, struct err *err);
/* That was all: ERR_PRECONDITION when something is missing. */
int xml_finish(struct xml *xml, struct err *err);

/* One attribute's value; NULL if it is not there. */
const char *xml_attribute(const char *const *attributes, const char *name);
