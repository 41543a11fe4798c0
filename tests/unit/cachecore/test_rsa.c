/* Signatures of key files, seen valid by the public half; keys that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "cachecore/rsa.h"

static EVP_PKEY *pair; /* made for this run */

/* The private half in PEM, with a password if there is a cipher; the caller frees it. */
static char *pem_of(EVP_PKEY *key, const EVP_CIPHER *cipher, size_t *len)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    char password[] = "password";
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, NULL, 0, NULL, cipher ? password : NULL), 1);
    *len = (size_t)BIO_get_mem_data(bio, &data);
    char *copy = calloc(1, *len + 1);
    memcpy(copy, data, *len);
    BIO_free(bio);
    return copy;
}

static bool verifies(const uint8_t *signature, size_t signature_len, const char *data)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is = EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, pair) == 1 &&
              EVP_DigestVerify(context, signature, signature_len, (const uint8_t *)data, strlen(data)) == 1;
    EVP_MD_CTX_free(context);
    return is;
}

static void what_is_signed_verifies(void **state)
{
    (void)state;
    size_t len;
    char *pem = pem_of(pair, NULL, &len);
    struct err err = ERR_INIT;
    _cleanup_(rsa_key_freep) struct rsa_key *key = rsa_key_new(pem, len, &err);
    free(pem);
    assert_non_null(key);
    uint8_t signature[RSA_SIGNATURE_MAX];
    assert_int_equal(rsa_key_sign(key, "header.claims", 13, signature, &err), 256);
    assert_true(verifies(signature, 256, "header.claims"));
    assert_false(verifies(signature, 256, "header.claimz"));
}

static void refused(const char *pem, size_t len)
{
    struct err err = ERR_INIT;
    assert_null(rsa_key_new(pem, len, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.message, "not an RSA private key of 2048 to 8192 bits in PEM");
}

static void what_is_no_key_is_refused(void **state)
{
    (void)state;
    size_t len;
    char *pem = pem_of(pair, EVP_aes_256_cbc(), &len);
    refused(pem, len); /* nobody is asked for its password */
    free(pem);
    pem = pem_of(pair, NULL, &len);
    refused(pem, len / 2);
    free(pem);
    refused("", 0);
    refused("-----BEGIN PRIVATE"
            " KEY-----\n-----END PRIVATE"
            " KEY-----\n",
            53);
    EVP_PKEY *small = EVP_RSA_gen(1024);
    pem = pem_of(small, NULL, &len);
    refused(pem, len);
    free(pem);
    EVP_PKEY_free(small);
    EVP_PKEY *curve = EVP_EC_gen("P-256");
    pem = pem_of(curve, NULL, &len);
    refused(pem, len);
    free(pem);
    EVP_PKEY_free(curve);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_signed_verifies),
        cmocka_unit_test(what_is_no_key_is_refused),
    };
    pair = EVP_RSA_gen(2048);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    EVP_PKEY_free(pair);
    return failed;
}
