/* XML as it streams in: elements and text whatever the pieces, and what is refused (XML 1.0, 5th edition; no document types). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "cachecore/xml.h"

/* What was called back, one line each. */
static int write_start(void *context, const char *path, const char *const *attributes, struct err *err)
{
    const char *encoded = xml_attribute(attributes, "Encoded");
    (void)err;
    if (encoded)
        str_printf(context, "%s@%s\n", path, encoded);
    return 0;
}

static int write_end(void *context, const char *path, const char *text, size_t len, struct err *err)
{
    if (strcmp(text, "stop") == 0)
        return err_set(err, ERR_EXHAUSTED, "enough");
    assert_int_equal(strlen(text), len);
    str_printf(context, "%s=%s\n", path, text);
    return 0;
}

static int parse(const char *text, size_t len, size_t piece, struct str *out, struct err *err)
{
    const struct xml_handler handler = {.start = write_start, .end = write_end, .context = out, .text_max = 100};
    _cleanup_(xml_freep) struct xml *xml = xml_new(&handler);
    for (size_t at = 0; at < len; at += piece) {
        if (xml_feed(xml, text + at, len - at < piece ? len - at : piece, err) != 0)
            return -1;
    }
    return xml_finish(xml, err);
}

static const struct {
    const char *text, *expected;
} good[] = {
    {"<a/>", "/a=\n"},
    {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"http://x/\"><C><K>a&amp;b &lt; &#65;</K><S>7</S></C></R>",
     "/R/C/K=a&b < A\n/R/C/S=7\n/R/C=\n/R=\n"},
    {"<a> <b> x </b>\n </a>", "/a/b= x \n/a=\n \n"},
    {"<a>one<!-- no -->two<?pi no?><![CDATA[<three>]]></a>", "/a=onetwo<three>\n"},
    {"<a><b Encoded='true' x='y'>n</b><b y='z'/></a>", "/a/b@true\n/a/b=n\n/a/b=\n/a=\n"},
    {"<a>\xc3\xa4\xe2\x82\xac</a>", "/a=\xc3\xa4\xe2\x82\xac\n"},
};

static void elements_whatever_the_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        for (size_t piece = 1; piece <= strlen(good[i].text); piece++) {
            _cleanup_(str_deinitp) struct str out = STR_INIT;
            struct err err = ERR_INIT;
            if (parse(good[i].text, strlen(good[i].text), piece, &out, &err) != 0)
                fail_msg("%s: %s", good[i].text, err.message);
            assert_string_equal(out.data, good[i].expected);
        }
    }
}

#define TEN "<a><a><a><a><a><a><a><a><a><a>"
#define LONG_TEXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

static const struct {
    const char *text;
    enum err_code code;
    const char *cause;
} bad[] = {
    {"", ERR_PRECONDITION, "no element found"},
    {"<a>", ERR_PRECONDITION, "in line 1"},
    {"<a>\n\n</b>", ERR_PRECONDITION, "mismatched tag in line 3"},
    {"{\"a\": 1}", ERR_PRECONDITION, "not XML"},
    {"<a/><b/>", ERR_PRECONDITION, "junk after"},
    {"<!DOCTYPE a><a/>", ERR_PRECONDITION, "document type"},
    {"<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", ERR_PRECONDITION, "document type"},
    {"<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>", ERR_PRECONDITION, "document type"},
    {"<a>&x;</a>", ERR_PRECONDITION, "undefined entity"},
    {"<a>&#0;</a>", ERR_PRECONDITION, "in line 1"},
    {"<a>\xff</a>", ERR_PRECONDITION, "in line 1"},
    {"<a>\xc0\x80</a>", ERR_PRECONDITION, "in line 1"},
    {"\xff\xfe<", ERR_PRECONDITION, "not XML"}, /* UTF-16 */
    {TEN TEN, ERR_PRECONDITION, "nested too deeply"},
    {"<a>" LONG_TEXT "x</a>", ERR_PRECONDITION, "text that is too long"},
    {"<a><b>stop</b><b>on</b></a>", ERR_EXHAUSTED, "enough"},
};

static void what_no_service_sends_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (size_t piece = 1; piece <= 200; piece += 199) {
            _cleanup_(str_deinitp) struct str out = STR_INIT;
            struct err err = ERR_INIT;
            if (parse(bad[i].text, strlen(bad[i].text), piece, &out, &err) == 0)
                fail_msg("taken: %s", bad[i].text);
            if (err.code != bad[i].code || !strstr(err.message, bad[i].cause))
                fail_msg("%s: %s %s", bad[i].text, err_code_name(err.code), err.message);
            assert_true(!out.data || !strstr(out.data, "on"));
        }
    }
}

static void limits_are_exact(void **state)
{
    (void)state;
    _cleanup_(str_deinitp) struct str out = STR_INIT, path = STR_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(parse("<a>" LONG_TEXT "</a>", strlen("<a>" LONG_TEXT "</a>"), 3, &out, &err), 0);
    str_append_char(&path, '<');
    for (size_t i = 0; i < XML_PATH_MAX - 1; i++)
        str_append_char(&path, 'n');
    str_append_text(&path, "/>");
    assert_int_equal(parse(path.data, path.len, path.len, &out, &err), 0);
    for (unsigned tries = 0; tries < 2; tries++) { /* one byte more, and one element below */
        path.len -= 2;
        str_append_text(&path, tries == 0 ? "n/>" : "><b/>");
        assert_int_equal(parse(path.data, path.len, path.len, &out, &err), -1);
        assert_non_null(strstr(err.message, "nested too deeply"));
        err = (struct err)ERR_INIT;
        path.data[XML_PATH_MAX] = '\0';
        path.len = XML_PATH_MAX;
        str_append_text(&path, "/>");
    }
}

/* A tag that never ends is given up long before the answer's own limit. */
static void a_tag_is_bounded(void **state)
{
    (void)state;
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    const struct xml_handler handler = {.end = write_end, .context = &out};
    _cleanup_(xml_freep) struct xml *xml = xml_new(&handler);
    struct err err = ERR_INIT;
    size_t fed = 0;
    assert_int_equal(xml_feed(xml, "<r><a x='", 9, &err), 0);
    while (xml_feed(xml, LONG_TEXT, 100, &err) == 0)
        fed += 100;
    assert_in_range(fed, XML_TAG_MAX - 200, XML_TAG_MAX + 200);
    assert_non_null(strstr(err.message, "tag that is too long"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_whatever_the_pieces),
        cmocka_unit_test(what_no_service_sends_is_refused),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(a_tag_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
