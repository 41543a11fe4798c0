#include "cachecore/rsa.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

struct rsa_key {
    EVP_PKEY *key;
};

/* Instead of asking at a terminal. */
static int no_password(char *out, int size, int for_writing, void *context)
{
    (void)out;
    (void)size;
    (void)for_writing;
    (void)context;
    return -1;
}

static EVP_PKEY *pem_read(const char *pem, size_t len)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    if (!bio)
        abort();
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

struct rsa_key *rsa_key_new(const char *pem, size_t len, struct err *err)
{
    EVP_PKEY *read = len > 0 && len <= RSA_PEM_MAX ? pem_read(pem, len) : NULL;
    int bits = read && EVP_PKEY_get_base_id(read) == EVP_PKEY_RSA ? EVP_PKEY_get_bits(read) : 0;
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
        EVP_PKEY_free(read);
        err_set(err, ERR_INVALID, "not an RSA private key of %d to %d bits in PEM", RSA_BITS_MIN, RSA_BITS_MAX);
        return NULL;
    }
    struct rsa_key *key = mem_alloc(sizeof(*key));
    key->key = read;
    return key;
}

void rsa_key_free(struct rsa_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->key);
    free(key);
}

size_t rsa_key_sign(const struct rsa_key *key, const void *data, size_t len, uint8_t out[RSA_SIGNATURE_MAX],
                    struct err *err)
{
    size_t made = RSA_SIGNATURE_MAX;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context)
        abort();
    bool worked = EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->key) == 1 &&
                  EVP_DigestSign(context, out, &made, data, len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    if (worked)
        return made;
    err_set(err, ERR_INVALID, "the RSA private key cannot sign: its numbers do not belong together");
    return 0;
}
