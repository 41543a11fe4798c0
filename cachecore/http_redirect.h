/*
 * Where a redirect leads (RFC 3986, 5; RFC 9110, 15.4), and whether it may: http and https only, never from https to http, no user
 * information. Pure.
 */
#pragma once

#include "cachecore/url.h"

/* The absolute URL that location means, seen from base (an http or https URL that url_parse takes), parsed into *target. NULL:
 * ERR_DENIED for another scheme or user information, ERR_PRECONDITION for a downgrade or for what is no URL. */
const char *http_redirect_target(struct arena *arena, const char *base, const char *location, struct url *target,
                                 struct err *err);

/* Same scheme, host and port: credentials may go there too. */
bool http_same_origin(const struct url *a, const struct url *b);
