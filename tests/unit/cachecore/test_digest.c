/* Published vectors: FIPS 180-4, RFC 4231, RFC 3720 (B.4); and the properties that composition must have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "cachecore/digest.h"

#define MILLION_A "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void test_sha256_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *digest;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char hex[SHA256_HEX];
        digest_sha256_hex(vectors[i].text, strlen(vectors[i].text), hex);
        assert_string_equal(hex, vectors[i].digest);
    }
}

static void test_sha256_in_pieces(void **state)
{
    (void)state;
    static char block[997];
    memset(block, 'a', sizeof(block));
    struct sha256 *sha = sha256_new();
    for (size_t left = 1000000; left > 0;) {
        size_t len = left < sizeof(block) ? left : sizeof(block);
        sha256_update(sha, block, len);
        left -= len;
    }
    uint8_t digest[SHA256_LEN];
    char hex[SHA256_HEX];
    sha256_final(sha, digest);
    sha256_free(sha);
    str_hex(digest, sizeof(digest), hex);
    assert_string_equal(hex, MILLION_A);
}

static void test_sha256_fields_are_unambiguous(void **state)
{
    (void)state;
    static const char *const lists[][2] = {{"ab", "c"}, {"a", "bc"}, {"abc", ""}, {"", "abc"}, {"abc", NULL}};
    enum { COUNT = sizeof(lists) / sizeof(lists[0]) };
    uint8_t digests[COUNT][SHA256_LEN];
    for (size_t i = 0; i < COUNT; i++) {
        struct sha256 *sha = sha256_new();
        for (size_t j = 0; j < 2; j++)
            sha256_field(sha, lists[i][j], lists[i][j] ? strlen(lists[i][j]) : 0);
        sha256_final(sha, digests[i]);
        sha256_free(sha);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(digests[i], digests[j], SHA256_LEN);
    }
    /* The layout of a field is part of the store's format. */
    uint8_t expected[SHA256_LEN];
    digest_sha256("\0\0\0\0\0\0\0\2ab\0\0\0\0\0\0\0\1c", 19, expected);
    assert_memory_equal(digests[0], expected, SHA256_LEN);
}

static void test_hmac_vectors(void **state)
{
    (void)state;
    static const struct {
        size_t key_len;
        int key_byte;
        const char *key;
        const char *data;
        const char *mac;
    } vectors[] = {
        {20, 0x0b, NULL, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {4, 0, "Jefe", "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {131, 0xaa, NULL, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {0, 0, "", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char key[131];
        memset(key, vectors[i].key_byte, sizeof(key));
        uint8_t mac[SHA256_LEN];
        char hex[SHA256_HEX];
        digest_hmac_sha256(vectors[i].key ? vectors[i].key : key, vectors[i].key_len, vectors[i].data,
                           strlen(vectors[i].data), mac);
        str_hex(mac, sizeof(mac), hex);
        assert_string_equal(hex, vectors[i].mac);
    }
}

static void crc_check(const void *data, size_t len, uint32_t expected)
{
    assert_int_equal(crc32c(0, data, len), expected);
    assert_int_equal(crc32c_portable(0, data, len), expected);
}

static void test_crc32c_vectors(void **state)
{
    (void)state;
    uint8_t bytes[32];
    memset(bytes, 0, sizeof(bytes));
    crc_check(bytes, 32, 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    crc_check(bytes, 32, 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    crc_check(bytes, 32, 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    crc_check(bytes, 32, 0x113fdb5c);
    crc_check("123456789", 9, 0xe3069283);
    crc_check("", 0, 0);
}

static void test_crc32c_hardware_agrees_with_tables_at_every_alignment(void **state)
{
    (void)state;
    uint8_t bytes[512];
    digest_random(bytes, sizeof(bytes));
    for (size_t start = 0; start < 16; start++) {
        for (size_t len = 0; len + start <= sizeof(bytes); len += 7)
            assert_int_equal(crc32c(7, bytes + start, len), crc32c_portable(7, bytes + start, len));
    }
}

static void test_crc32c_combines(void **state)
{
    (void)state;
    size_t size = 3u << 20;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    digest_random(bytes, size);
    static const size_t cuts[] = {0, 1, 7, 4096, 65537, 1u << 20, 3u << 20};
    uint32_t whole = crc32c(0, bytes, size);
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        uint32_t a = crc32c(0, bytes, cuts[i]);
        uint32_t b = crc32c(0, bytes + cuts[i], size - cuts[i]);
        assert_int_equal(crc32c_combine(a, b, size - cuts[i]), whole);
        assert_int_equal(crc32c(a, bytes + cuts[i], size - cuts[i]), whole);
    }
    free(bytes);
}

static void test_crc32c_combines_lengths_beyond_memory(void **state)
{
    (void)state;
    /* 2^40 zero bytes, once as one step and once as doublings. */
    uint8_t zero = 0;
    uint32_t doubled = crc32c(0, &zero, 1);
    for (int i = 0; i < 40; i++)
        doubled = crc32c_combine(doubled, doubled, 1ULL << i);
    uint32_t half = crc32c(0, &zero, 1);
    for (int i = 0; i < 39; i++)
        half = crc32c_combine(half, half, 1ULL << i);
    assert_int_equal(crc32c_combine(half, half, 1ULL << 39), doubled);
    assert_int_equal(crc32c_combine(0, doubled, 1ULL << 40), doubled);
}

/* The NVM Command Set Specification's (5.2.1.3.4) and the catalogue's check values. */
static void test_crc64nvme_vectors(void **state)
{
    (void)state;
    static uint8_t bytes[4096];
    assert_true(crc64nvme(0, "123456789", 9) == UINT64_C(0xae8b14860a799888));
    assert_true(crc64nvme(0, "", 0) == 0);
    memset(bytes, 0, sizeof(bytes));
    assert_true(crc64nvme(0, bytes, sizeof(bytes)) == UINT64_C(0x6482d367eb22b64e));
    memset(bytes, 0xff, sizeof(bytes));
    assert_true(crc64nvme(0, bytes, sizeof(bytes)) == UINT64_C(0xc0ddba7302eca3ac));
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    assert_true(crc64nvme(0, bytes, sizeof(bytes)) == UINT64_C(0x3e729f5f6750449c));
}

static void test_crc64nvme_hardware_agrees_with_tables_at_every_alignment(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    digest_random(bytes, sizeof(bytes));
    for (size_t start = 0; start < 17; start++) {
        for (size_t len = 0; len + start <= sizeof(bytes); len += 5)
            assert_true(crc64nvme(7, bytes + start, len) == crc64nvme_portable(7, bytes + start, len));
    }
}

static void test_crc64nvme_combines(void **state)
{
    (void)state;
    size_t size = 1u << 20;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    digest_random(bytes, size);
    static const size_t cuts[] = {0, 1, 7, 4096, 65537, 1u << 20};
    uint64_t whole = crc64nvme(0, bytes, size);
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        uint64_t a = crc64nvme(0, bytes, cuts[i]);
        uint64_t b = crc64nvme(0, bytes + cuts[i], size - cuts[i]);
        assert_true(crc64nvme_combine(a, b, size - cuts[i]) == whole);
        assert_true(crc64nvme(a, bytes + cuts[i], size - cuts[i]) == whole);
    }
    free(bytes);
}

static void test_random_is_not_constant(void **state)
{
    (void)state;
    uint8_t a[16], b[16];
    digest_random(a, sizeof(a));
    digest_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_vectors),
        cmocka_unit_test(test_sha256_in_pieces),
        cmocka_unit_test(test_sha256_fields_are_unambiguous),
        cmocka_unit_test(test_hmac_vectors),
        cmocka_unit_test(test_crc32c_vectors),
        cmocka_unit_test(test_crc32c_hardware_agrees_with_tables_at_every_alignment),
        cmocka_unit_test(test_crc32c_combines),
        cmocka_unit_test(test_crc32c_combines_lengths_beyond_memory),
        cmocka_unit_test(test_crc64nvme_vectors),
        cmocka_unit_test(test_crc64nvme_hardware_agrees_with_tables_at_every_alignment),
        cmocka_unit_test(test_crc64nvme_combines),
        cmocka_unit_test(test_random_is_not_constant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
