/* Any bytes as XML, in pieces of any size: what is called back does not depend on the pieces, and paths stay balanced. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_start(void *context, const char *path, const char *const *attributes, struct err *err)
{
    (void)err;
    (void)xml_attribute(attributes, "Encoded");
    str_append_text(context, path);
    return 0;
}

static int on_end(void *context, const char *path, const char *text, size_t len, struct err *err)
{
    (void)err;
    assert(path[0] == '/' && strlen(path) <= XML_PATH_MAX && strlen(text) == len && len <= XML_TEXT_MAX);
    str_append_text(context, path);
    str_append(context, text, len);
    return 0;
}

static int parse(const uint8_t *data, size_t size, size_t piece, struct str *out)
{
    const struct xml_handler handler = {.start = on_start, .end = on_end, .context = out};
    _cleanup_(xml_freep) struct xml *xml = xml_new(&handler);
    struct err err = ERR_INIT;
    for (size_t at = 0; at < size; at += piece) {
        if (xml_feed(xml, data + at, size - at < piece ? size - at : piece, &err) != 0) {
            assert(err.code == ERR_PRECONDITION && err.message[0] != '\0');
            return -1;
        }
    }
    return xml_finish(xml, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_(str_deinitp) struct str whole = STR_INIT, pieces = STR_INIT;
    if (size < 1)
        return 0;
    int result = parse(data + 1, size - 1, size, &whole);
    assert(parse(data + 1, size - 1, data[0] + 1u, &pieces) == result || size > XML_TAG_MAX);
    if (result == 0)
        assert(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
    return 0;
}
