/*
 * Credentials that were found are kept until shortly before they end, for each identity, chain, host and set of endpoints; requests
 * that want the same at once wait for one answer. One for the process: thread-safe, bounded, wiped.
 *
 * - Kept: what says when it ends, until CREDENTIAL_MARGIN_S before that, or a fifth of its life where that is less; and "no credentials", for a
 *   short while. What comes out of a secret alone has no end and is made anew each time: nothing of a secret outlives its fill.
 * - While one asks for what follows, the others go on with what has not ended; so do all of them when the token service does not answer.
 * - The key holds the identity (identity_id), not its token: a new token is shown to the service when the old credentials end.
 * - A refusal counts for all who waited for it, and for CREDENTIAL_REFUSAL_MS more for whoever shows the very same tokens: two hundred pods
 *   with a wrong role ask once, and who comes with a new token, a mended role or two seconds later asks again. Other failures are not kept.
 * - When the one who asks is cancelled, one of those who wait asks in its place.
 */
#pragma once

#include "cachecore/credentials.h"

#define CREDENTIAL_CACHE_MAX 4096u /* entries; beyond, the one that was unused for longest goes */
#define CREDENTIAL_MARGIN_S 300
#define CREDENTIAL_REFUSAL_MS 2000
#define CREDENTIAL_NOBODY_MS 60000

/* A reference in *out. host may be NULL. ERR_CANCELLED when *cancel became true; what the chain says otherwise. */
int credential_cache_get(const struct credential_chain *chain, const struct class *class, struct identity *identity,
                         const char *host, const atomic_bool *cancel, struct credentials **out, struct err *err);

/* A source did not take these (401, expired): the next get looks anew, unless somebody has done so already. */
void credential_cache_drop(const struct credentials *credentials);
