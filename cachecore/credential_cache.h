/*
 * Credentials that were found are kept until shortly before they end, for each identity, chain, host and set of endpoints; requests
 * that want the same at once wait for one answer; few requests are on their way to token services at a time. One for the process:
 * thread-safe, bounded, wiped.
 */
#pragma once

#include "cachecore/credentials.h"

/* A reference in *out. host may be NULL. ERR_CANCELLED when *cancel became true; what the chain says otherwise. */
int credential_cache_get(const struct credential_chain *chain, const struct class *class, struct identity *identity,
                         const char *host, const atomic_bool *cancel, struct credentials **out, struct err *err);

/* A source did not take these (401, expired): the next get looks anew, unless somebody has done so already. */
void credential_cache_drop(const struct credentials *credentials);
