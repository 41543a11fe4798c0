/* What headers state about the whole of an object, and what they do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "cachecore/http_head.h"

/* Of "123456789". */
#define CRC32C "4waSgw=="
#define CRC64 "rosUhgp5mIg="
#define SHA "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="
#define MD5 "JfnnlDI7RTiF9RgfG2JNCw=="

static const struct {
    int status;
    const char *headers; /* divided by '|' */
    const char *stated;  /* of "c" CRC32C, "n" CRC-64/NVME, "s" SHA-256, "m" MD5: those that are there */
} rows[] = {
    {200, "", ""},
    {200, "x-amz-checksum-crc32c: " CRC32C, "c"},
    {206, "X-Amz-Checksum-Crc64nvme: " CRC64 "|x-amz-checksum-type: FULL_OBJECT", "n"},
    {200, "x-amz-checksum-sha256: " SHA, "s"},
    {200, "x-amz-checksum-crc32: y/Q5Jg==|x-amz-checksum-sha1: 98O8HYCOBHMq32eZZczDTKeuNEE=", ""},
    /* a checksum of checksums */
    {200, "x-amz-checksum-crc32c: " CRC32C "-3", ""},
    {200, "x-amz-checksum-crc32c: " CRC32C "|x-amz-checksum-type: COMPOSITE", ""},
    {200, "x-amz-checksum-type: COMPOSITE|x-amz-checksum-sha256: " SHA, ""},
    {200, "ETag: \"25f9e794323b453885f5181f1b624d0b\"", ""},
    {200, "ETag: \"25f9e794323b453885f5181f1b624d0b-2\"", ""},
    /* Google */
    {206, "x-goog-hash: crc32c=" CRC32C ",md5=" MD5, "cm"},
    {200, "x-goog-hash: crc32c=" CRC32C "|x-goog-hash: md5=" MD5, "cm"},
    {200, "x-goog-hash: md5=" MD5 " , crc32c=" CRC32C "|x-goog-stored-content-encoding: identity", "cm"},
    {200, "x-goog-hash: crc32c=" CRC32C "|x-goog-stored-content-encoding: gzip", ""},
    {200, "x-goog-stored-content-encoding: gzip|x-goog-hash: crc32c=" CRC32C "|Content-Encoding: gzip", "c"},
    {200, "x-goog-hash: sha1=x,,crc32c=,md5", ""},
    /* Azure: Content-MD5 of a range is that of the range */
    {200, "Content-MD5: " MD5, "m"},
    {206, "Content-MD5: " MD5, ""},
    {206, "x-ms-blob-content-md5: " MD5, "m"},
    {206, "x-ms-blob-content-md5: " MD5 "|Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==", "m"},
    /* the web */
    {206, "Repr-Digest: sha-256=:" SHA ":", "s"},
    {200, "Repr-Digest: sha-512=:AAAA:, sha-256=:" SHA ":;x=1", "s"},
    {200, "Repr-Digest: sha-256=" SHA, ""},
    {200, "Digest: SHA-256=" SHA ",MD5=x", "s"},
    {200, "Content-Digest: sha-256=:" SHA ":", ""},
    /* what is none */
    {200, "x-amz-checksum-crc32c: 4waSgw=", ""},
    {200, "x-amz-checksum-crc32c: 4waSgwA=", ""},
    {200, "x-amz-checksum-crc64nvme: " CRC32C, ""},
    {200, "x-amz-checksum-sha256: " MD5, ""},
    {200, "x-amz-checksum-crc32c:", ""},
    {200, "Content-MD5: " SHA, ""},
    {200, "Digest: SHA-256=", ""},
};

static void head_read(const char *headers, int status, struct http_head *head)
{
    struct err err = ERR_INIT;
    char line[400];
    memset(head, 0, sizeof(*head));
    http_head_init(head);
    snprintf(line, sizeof(line), "HTTP/1.1 %d Status\r\n", status);
    assert_int_equal(http_head_line(head, line, strlen(line), 0, &err), 0);
    while (*headers) {
        size_t len = strcspn(headers, "|");
        snprintf(line, sizeof(line), "%.*s\r\n", (int)len, headers);
        assert_int_equal(http_head_line(head, line, strlen(line), 0, &err), 0);
        headers += len + (headers[len] == '|');
    }
    assert_int_equal(http_head_line(head, "\r\n", 2, 0, &err), 0);
}

static void headers_state_what_they_state(void **state)
{
    (void)state;
    static struct http_head head;
    uint8_t sha256[SHA256_LEN], md5[MD5_LEN];
    digest_sha256("123456789", 9, sha256);
    digest_md5("123456789", 9, md5);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        head_read(rows[i].headers, rows[i].status, &head);
        const struct checksums *got = &head.response.checksums;
        if (got->has_crc32c != (strchr(rows[i].stated, 'c') != NULL) ||
            got->has_crc64nvme != (strchr(rows[i].stated, 'n') != NULL) ||
            got->has_sha256 != (strchr(rows[i].stated, 's') != NULL) ||
            got->has_md5 != (strchr(rows[i].stated, 'm') != NULL))
            fail_msg("%s: crc32c %d crc64nvme %d sha256 %d md5 %d", rows[i].headers, got->has_crc32c,
                     got->has_crc64nvme, got->has_sha256, got->has_md5);
        assert_int_equal(checksums_any(got), rows[i].stated[0] != '\0');
        assert_true(!got->has_crc32c || got->crc32c == crc32c(0, "123456789", 9));
        assert_true(!got->has_crc64nvme || got->crc64nvme == crc64nvme(0, "123456789", 9));
        assert_true(!got->has_sha256 || memcmp(got->sha256, sha256, sizeof(sha256)) == 0);
        assert_true(!got->has_md5 || memcmp(got->md5, md5, sizeof(md5)) == 0);
    }
}

static void what_is_there_stays(void **state)
{
    (void)state;
    struct checksums to = {.has_crc32c = true, .crc32c = 1};
    const struct checksums more = {.has_crc32c = true, .crc32c = 2, .has_crc64nvme = true, .crc64nvme = 3};
    checksums_add(&to, &more);
    assert_true(to.has_crc32c && to.crc32c == 1 && to.has_crc64nvme && to.crc64nvme == 3);
    assert_true(!to.has_md5 && !to.has_sha256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_state_what_they_state),
        cmocka_unit_test(what_is_there_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
