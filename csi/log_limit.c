#include "csi/log_limit.h"

#include <stddef.h>

/* FNV-1a, 64 bits: a collision costs a log line, nothing more. */
static uint64_t hash(uint64_t seed, const char *text)
{
    for (; *text; text++)
        seed = (seed ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return (seed ^ 0xff) * UINT64_C(0x100000001b3);
}

static uint64_t key_of(const char *a, const char *b)
{
    uint64_t key = hash(hash(UINT64_C(0xcbf29ce484222325), a), b);
    return key ? key : 1;
}

/* The slot of the key, or the one that was quiet for longest. */
static size_t find_slot(const struct log_limit *limit, uint64_t key)
{
    size_t oldest = 0;
    for (size_t i = 0; i < LOG_LIMIT_SLOTS; i++) {
        if (limit->slots[i].key == key)
            return i;
        if (limit->slots[oldest].key &&
            (!limit->slots[i].key || limit->slots[i].logged_ms < limit->slots[oldest].logged_ms))
            oldest = i;
    }
    return oldest;
}

bool log_limit_pass(struct log_limit *limit, const char *a, const char *b, int64_t now_ms, unsigned *left_out)
{
    uint64_t key = key_of(a, b);
    size_t i = find_slot(limit, key);
    bool is_known = limit->slots[i].key == key;
    if (is_known && now_ms - limit->slots[i].logged_ms < LOG_LIMIT_MS) {
        limit->slots[i].left_out++;
        return false;
    }
    *left_out = is_known ? limit->slots[i].left_out : 0;
    limit->slots[i].key = key;
    limit->slots[i].logged_ms = now_ms;
    limit->slots[i].left_out = 0;
    return true;
}

void log_limit_forget(struct log_limit *limit, const char *a, const char *b)
{
    uint64_t key = key_of(a, b);
    size_t i = find_slot(limit, key);
    if (limit->slots[i].key == key)
        limit->slots[i].key = 0;
}
