/* A header field for nghttp2 from two texts, which it copies. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <string.h>

static inline nghttp2_nv h2_field(const char *name, const char *value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NONE,
    };
}
