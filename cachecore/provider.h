/*
 * Host names of the clouds' object stores and of their token services, which a cloud's own network may resolve to private addresses: AWS
 * PrivateLink and gateway endpoints, Google's Private Service Connect, Azure's private endpoints. Nobody else can have a certificate for
 * one of them, so that TLS proves who answers. Names below the same domains that customers choose or stand behind (EC2, load balancers,
 * endpoint services of PrivateLink, API gateways) are none of them. Pure.
 */
#pragma once

#include <stdbool.h>

/* host: lowercase, as URLs are parsed. */
bool provider_host_is_known(const char *host);
