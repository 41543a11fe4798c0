/* RSA signatures (RFC 8017, PKCS #1 v1.5 with SHA-256: RS256 of RFC 7518) for key files of service accounts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define RSA_PEM_MAX 16384u
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define RSA_SIGNATURE_MAX (RSA_BITS_MAX / 8)

struct rsa_key;

/* A private key in PEM, PKCS #8 or PKCS #1, without a password. ERR_INVALID for anything else; the message says nothing of the key. */
struct rsa_key *rsa_key_new(const char *pem, size_t len, struct err *err);
void rsa_key_free(struct rsa_key *key); /* wipes; NULL is fine */
DEFINE_CLEANUP(struct rsa_key *, rsa_key_free);

/* How many bytes the signature of the data has, in out; 0 with ERR_INVALID for numbers that are no key. */
size_t rsa_key_sign(const struct rsa_key *key, const void *data, size_t len, uint8_t out[RSA_SIGNATURE_MAX],
                    struct err *err);
