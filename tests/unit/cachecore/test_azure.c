/* What is pure of Azure: Shared Key (the published examples, and what azure-storage-blob signs), hosts of its clouds, answers of its token
 * services, pages of List Blobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "cachecore/azure_cloud.h"
#include "cachecore/azure_list.h"
#include "cachecore/azure_shared_key.h"
#include "cachecore/azure_token.h"

#define DATE "Fri, 26 Jun 2015 23:39:12 GMT"
#define NONE11 "\n\n\n\n\n\n\n\n\n\n\n"

/* key: the bytes of "a key that is none, only for tests" */
static const struct {
    const char *path, *query;
    struct http_header headers[5];
    const char *text, *authorization; /* NULL: not looked at */
} signatures[] = {
    /* REST reference, "Authorize with Shared Key": Get Container Metadata and List Blobs */
    {"/mycontainer",
     "restype=container&comp=metadata&timeout=20",
     {{"x-ms-date", DATE, false}, {"x-ms-version", "2015-02-21", false}},
     "GET\n" NONE11 "x-ms-date:" DATE "\nx-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\n"
     "restype:container\ntimeout:20",
     "SharedKey myaccount:75C0HgX2ZPleH1gcJO3/1u38vAzMkFopkkQAmLvARjk="},
    {"/mycontainer",
     "restype=container&comp=list&include=snapshots&include=metadata&include=uncommittedblobs",
     {{"X-MS-Version", "2015-02-21", false}, {"X-MS-Date", DATE, false}},
     "GET\n" NONE11 "x-ms-date:" DATE "\nx-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:list\n"
     "include:metadata,snapshots,uncommittedblobs\nrestype:container",
     NULL},
    /* azure-storage-blob 12.31.1 */
    {"/c-1/a%20b/%2Bc%C3%A9%3D%26%27~.x",
     "versionid=2020-04-28T23%3A14%3A05.0000000Z",
     {{"If-Match", "\"0x8D1\"", false}, {"x-ms-date", DATE, false}, {"x-ms-version", "2023-11-03", false}},
     "GET\n\n\n\n\n\n\n\n\"0x8D1\"\n\n\n\nx-ms-date:" DATE "\nx-ms-version:2023-11-03\n"
     "/myaccount/c-1/a%20b/%2Bc%C3%A9%3D%26%27~.x\nversionid:2020-04-28T23:14:05.0000000Z",
     "SharedKey myaccount:kpqJlOcYvE/V2KrnqP/iYm3zGZ2uV580DyZyqJgbImI="},
    {"/c/b",
     NULL,
     {{"Range", "bytes=0-0", false},
      {"x-ms-b", "  two   words ", false},
      {"x-ms-a", "1", false},
      {"Accept", "x", false}},
     "GET\n\n\n\n\n\n\n\n\n\n\nbytes=0-0\nx-ms-a:1\nx-ms-b:two words\n/myaccount/c/b",
     NULL},
};

static void requests_are_signed_as_published(void **state)
{
    (void)state;
    static const char key_text[] = "a key that is none, only for tests";
    _cleanup_(secret_freep) struct secret *key = secret_new(key_text, sizeof(key_text) - 1);
    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct azure_request request = {"GET", signatures[i].path, signatures[i].query, signatures[i].headers, 0};
        while (request.header_count < 5 && signatures[i].headers[request.header_count].name)
            request.header_count++;
        assert_string_equal(azure_shared_key_text(arena, "myaccount", &request), signatures[i].text);
        if (signatures[i].authorization)
            assert_string_equal(azure_shared_key_authorization(arena, "myaccount", key, &request),
                                signatures[i].authorization);
    }
}

static void dates_are_those_of_http(void **state)
{
    (void)state;
    char date[AZURE_DATE_LEN];
    azure_date(1435361952, date);
    assert_string_equal(date, DATE);
    azure_date(INT64_MAX, date);
    assert_int_equal(strlen(date), 29);
}

static const struct {
    const char *url;
    bool is_blob;
} urls[] = {
    {"https://acme.blob.core.windows.net/c/b", true},
    {"https://ACME.blob.core.windows.net:443/c/b/c", true},
    {"https://acme.blob.core.chinacloudapi.cn/c/b", true},
    {"https://acme.blob.core.usgovcloudapi.net/c/", true},
    {"https://acme.blob.core.windows.net/c/b?versionid=2020-04-28T23:14:05.0000000Z", true},
    {"https://acme.blob.core.windows.net/$web/index.html", true},
    {"https://acme.blob.core.windows.net/b", false}, /* of the root container */
    {"https://acme.blob.core.windows.net/", false},
    {"https://acme.blob.core.windows.net//b", false},
    {"https://acme.blob.core.windows.net/c/b?sv=2022-11-02&sr=b&sig=x", false},
    {"https://acme.blob.core.windows.net/c/b?snapshot=2020", false},
    {"https://acme.blob.core.windows.net/c/b?versionid=1&x=2", false},
    {"https://acme.blob.core.windows.net:8443/c/b", false},
    {"http://acme.blob.core.windows.net/c/b", false},
    {"https://blob.core.windows.net/c/b", false},
    {"https://a.b.blob.core.windows.net/c/b", false},
    {"https://acme-1.blob.core.windows.net/c/b", false},
    {"https://evilblob.core.windows.net/c/b", false},
    {"https://acme.blob.core.windows.net.evil.test/c/b", false},
    {"https://acme.dfs.core.windows.net/c/b", false},
    {"az://acme/c/b", false}, /* that is so by its scheme */
};

static void blobs_on_the_web_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct url url;
        if (url_parse(arena, urls[i].url, strlen(urls[i].url), &url, &err) != 0)
            fail_msg("%s: %s", urls[i].url, err.message);
        if (azure_url_is_blob(&url) != urls[i].is_blob)
            fail_msg("%s", urls[i].url);
    }
}

static void accounts_are_cut_out_of_hosts(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    assert_string_equal(azure_account_of(arena, "acme"), "acme");
    assert_string_equal(azure_account_of(arena, "acme.blob.core.windows.net"), "acme");
    assert_string_equal(azure_account_of(arena, "acme.example.com"), "acme.example.com");
    assert_string_equal(azure_cloud_of_host("acme.blob.core.usgovcloudapi.net")->authority,
                        "https://login.microsoftonline.us");
    assert_null(azure_cloud_of_host("acme.example.com"));
}

#define TOKEN(type, life, token) "{\"token_type\":\"" type "\",\"expires_in\":" life ",\"access_token\":\"" token "\"}"

static const struct {
    const char *text;
    const char *token; /* NULL: refused */
    int64_t life_s;
} tokens[] = {
    {TOKEN("Bearer", "3599", "eyJ0.eyJ1-_.x"), "eyJ0.eyJ1-_.x", 3599},
    {TOKEN("bearer", "\"86399\"", "abc="), "abc=", 86399},
    {TOKEN("Bearer", "99999999999", "a"), "a", INT64_C(366) * 86400},
    {TOKEN("Bearer", "0", "a"), NULL, 0},
    {TOKEN("Bearer", "-5", "a"), NULL, 0},
    {TOKEN("Bearer", "\"soon\"", "a"), NULL, 0},
    {TOKEN("Bearer", "null", "a"), NULL, 0},
    {TOKEN("mac", "3599", "a"), NULL, 0},
    {TOKEN("Bearer", "3599", ""), NULL, 0},
    {TOKEN("Bearer", "3599", "a b"), NULL, 0},
    {TOKEN("Bearer", "3599", "a\\r\\nX: y"), NULL, 0},
    {TOKEN("Bearer", "3599", "a=b"), NULL, 0},
    {"{\"token_type\":\"Bearer\",\"expires_in\":3599,\"access_token\":\"a\",\"access_token\":\"b\"}", NULL, 0},
    {"[]", NULL, 0},
    {"", NULL, 0},
    {"<html>", NULL, 0},
    {"[[[[[[[[[[[[", NULL, 0},
};

static void tokens_are_taken_out_of_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct err err = ERR_INIT;
        struct azure_token token;
        int result = azure_token_parse(arena, tokens[i].text, strlen(tokens[i].text), &token, &err);
        if ((result == 0) != (tokens[i].token != NULL))
            fail_msg("%s: %s", tokens[i].text, err.message);
        if (result != 0) {
            assert_int_equal(err.code, ERR_PRECONDITION);
            continue;
        }
        assert_string_equal(token.value, tokens[i].token);
        assert_int_equal(token.expires_in_s, tokens[i].life_s);
    }
}

static const char *const codes[][2] = {
    {"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7: s3cret\",\"error_codes\":[700213]}",
     "AADSTS700213"},
    {"{\"error\":\"invalid_request\",\"error_description\":\"AADSTS70021: No s3cret found\"}", "AADSTS70021"},
    {"{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}", "invalid_request"},
    {"{\"error\":\"s3cret with blanks\"}", ""},
    {"{\"error\":{\"code\":\"x\"}}", ""},
    {"{\"error_codes\":[-1],\"error_description\":\"AADSTS\"}", ""},
    {"{\"error_description\":\"AADSTS123456789012345\"}", ""},
    {"s3cret", ""},
};

static void errors_show_their_code_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        char code[AZURE_CODE_MAX];
        azure_token_error_code(codes[i][0], strlen(codes[i][0]), code);
        assert_string_equal(code, codes[i][1]);
    }
    assert_non_null(strstr(azure_token_error_hint("AADSTS70021"), "federated"));
    assert_null(azure_token_error_hint("AADSTS1"));
}

/* --- pages --- */

struct seen {
    struct str text; /* "name size etag[ archived]|" and "prefix/|" */
    unsigned left;   /* so many are taken, then the next is refused; 0: all */
};

static int on_blob(void *context, const struct azure_blob *blob, struct err *err)
{
    struct seen *seen = context;
    if (seen->left > 0 && --seen->left == 0)
        return err_set(err, ERR_EXHAUSTED, "enough");
    str_append(&seen->text, blob->name, blob->name_len);
    str_printf(&seen->text, " %llu %s%s%s|", (unsigned long long)blob->size, blob->etag,
               blob->is_archived ? " archived" : "", blob->mtime_s == 784111777 ? "" : " undated");
    return 0;
}

static int on_prefix(void *context, const char *prefix, size_t len, struct err *err)
{
    struct seen *seen = context;
    (void)err;
    str_append(&seen->text, prefix, len);
    str_append_char(&seen->text, '|');
    return 0;
}

#define HEAD                                                                                                    \
    "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a/\" " \
    "ContainerName=\"c\">"
#define DATED "<Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT</Last-Modified>"
#define PROPERTIES(more) \
    "<Properties>" DATED "<Etag>0x8D1</Etag><Content-Length>7</Content-Length>" more "</Properties>"
#define PAGE(blobs, marker) \
    HEAD "<Prefix>p</Prefix><Blobs>" blobs "</Blobs><NextMarker>" marker "</NextMarker></EnumerationResults>"
#define BLOB(name, more) "<Blob><Name>" name "</Name>" PROPERTIES(more) "</Blob>"

static const struct {
    const char *page;
    const char *seen, *next; /* seen NULL: refused */
} pages[] = {
    {PAGE("", ""), "", NULL},
    {PAGE("", "2!72!x"), "", "2!72!x"},
    {PAGE(BLOB("a/b &amp; c\xc3\xa9%20+", "") BLOB("d", "<AccessTier>Archive</AccessTier>"), "m"),
     "a/b & c\xc3\xa9%20+ 7 \"0x8D1\"|d 7 \"0x8D1\" archived|", "m"},
    {PAGE("<Blob><Name Encoded=\"true\">a%EF%BF%BF%2Fb</Name>" PROPERTIES("") "</Blob>", ""),
     "a\xef\xbf\xbf/b 7 \"0x8D1\"|", NULL},
    {PAGE("<Blob><Name>a</Name><Properties><Etag>\"0x1\"</Etag><Content-Length>0</Content-Length></Properties></Blob>",
          ""),
     "a 0 \"0x1\" undated|", NULL},
    {PAGE("<BlobPrefix><Name>d/</Name></BlobPrefix>" BLOB("e", ""), ""), "d/|e 7 \"0x8D1\"|", NULL},
    /* hierarchical namespaces, and the older marks of a directory */
    {PAGE(BLOB("dir", "<ResourceType>directory</ResourceType>") BLOB("f", "<ResourceType>file</ResourceType>"), ""),
     "f 7 \"0x8D1\"|", NULL},
    {PAGE("<Blob><Name>dir</Name>" PROPERTIES("") "<Metadata><hdi_isfolder>true</hdi_isfolder></Metadata></Blob>" BLOB(
              "f", ""),
          ""),
     "f 7 \"0x8D1\"|", NULL},
    {PAGE("<Blob><Name>a</Name>" PROPERTIES("") "<Metadata><Name>x</Name><Etag>y</Etag></Metadata></Blob>", ""),
     "a 7 \"0x8D1\"|", NULL},
    {PAGE("<Blob>" PROPERTIES("") "</Blob>", ""), NULL, NULL},
    {PAGE("<Blob><Name></Name>" PROPERTIES("") "</Blob>", ""), NULL, NULL},
    {PAGE("<Blob><Name>a</Name><Name>b</Name>" PROPERTIES("") "</Blob>", ""), NULL, NULL},
    {PAGE("<Blob><Name Encoded=\"true\">a%00b</Name>" PROPERTIES("") "</Blob>", ""), NULL, NULL},
    {PAGE("<Blob><Name Encoded=\"true\">a%GG</Name>" PROPERTIES("") "</Blob>", ""), NULL, NULL},
    {PAGE("<Blob><Name>a</Name><Properties><Etag>x</Etag></Properties></Blob>", ""), NULL, NULL},
    {PAGE("<Blob><Name>a</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>", ""), NULL, NULL},
    {PAGE("<Blob><Name>a</Name><Properties><Etag>x y</Etag><Content-Length>1</Content-Length></Properties></Blob>", ""),
     NULL, NULL},
    {PAGE("<Blob><Name>a</Name><Properties><Etag>x</Etag><Content-Length>-1</Content-Length></Properties></Blob>", ""),
     NULL, NULL},
    {HEAD "<Blobs>" BLOB("a", ""), NULL, NULL}, /* cut */
    {"<Error><Code>x</Code></Error>", NULL, NULL},
    {"<!DOCTYPE a [<!ENTITY b \"c\">]><EnumerationResults/>", NULL, NULL},
    {"", NULL, NULL},
};

static int page_read(const char *page, size_t step, struct seen *seen, struct arena *arena, const char **next,
                     struct err *err)
{
    const struct azure_list_handler handler = {.blob = on_blob, .prefix = on_prefix, .context = seen};
    _cleanup_(azure_list_freep) struct azure_list *list = azure_list_new(&handler);
    size_t len = strlen(page);
    for (size_t at = 0; at < len; at += step) {
        if (azure_list_feed(list, page + at, len - at < step ? len - at : step, err) != 0)
            return -1;
    }
    return azure_list_finish(list, arena, next, err);
}

static void pages_become_blobs(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof(pages) / sizeof(pages[0]); i++) {
        _cleanup_(arena_freep) struct arena *arena = arena_new();
        struct seen seen = {.left = 0};
        struct err err = ERR_INIT;
        const char *next = NULL;
        const char *page = pages[i / 2].page;
        int result = page_read(page, i % 2 ? 1 : 4096, &seen, arena, &next, &err);
        if ((result == 0) != (pages[i / 2].seen != NULL))
            fail_msg("%s: %s", page, err.message);
        if (result == 0) {
            assert_string_equal(seen.text.data ? seen.text.data : "", pages[i / 2].seen);
            assert_int_equal(next != NULL, pages[i / 2].next != NULL);
            if (next)
                assert_string_equal(next, pages[i / 2].next);
        } else {
            assert_int_equal(err.code, ERR_PRECONDITION);
        }
        str_deinit(&seen.text);
    }
}

static void who_takes_blobs_can_stop(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    struct seen seen = {.left = 2};
    struct err err = ERR_INIT;
    const char *next;
    assert_int_equal(page_read(PAGE(BLOB("a", "") BLOB("b", "") BLOB("c", ""), ""), 4096, &seen, arena, &next, &err),
                     -1);
    assert_int_equal(err.code, ERR_EXHAUSTED);
    assert_string_equal(err.message, "enough");
    assert_string_equal(seen.text.data, "a 7 \"0x8D1\"|");
    str_deinit(&seen.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_signed_as_published),
        cmocka_unit_test(dates_are_those_of_http),
        cmocka_unit_test(blobs_on_the_web_are_told),
        cmocka_unit_test(accounts_are_cut_out_of_hosts),
        cmocka_unit_test(tokens_are_taken_out_of_answers),
        cmocka_unit_test(errors_show_their_code_alone),
        cmocka_unit_test(pages_become_blobs),
        cmocka_unit_test(who_takes_blobs_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
