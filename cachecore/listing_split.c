/* Where the rest of a range may be divided. Any choice is right; a good one leaves pieces of one size. */
#include <string.h>

#include "cachecore/listing_internal.h"

#define CANDIDATES_MAX 4096u

/* Bytes that names have at one place, guessed from one of them: digits come with all digits, letters with their case. */
struct alphabet {
    bool has[128];
};

static void alphabet_add(struct alphabet *alphabet, char first, char last)
{
    for (char c = first; c <= last; c++)
        alphabet->has[(unsigned char)c] = true;
}

/* Digits and 'a' to 'f' side by side are hexadecimal until something else is seen. */
static struct alphabet alphabet_of(const char *text, size_t len)
{
    struct alphabet out = {.has = {false}};
    bool digits = false;
    char lower = '\0', upper = '\0'; /* the greatest */
    for (size_t i = 0; i < len; i++) {
        digits = digits || (text[i] >= '0' && text[i] <= '9');
        lower = text[i] >= 'a' && text[i] <= 'z' && text[i] > lower ? text[i] : lower;
        upper = text[i] >= 'A' && text[i] <= 'Z' && text[i] > upper ? text[i] : upper;
    }
    if (digits)
        alphabet_add(&out, '0', '9');
    if (lower)
        alphabet_add(&out, 'a', digits && lower <= 'f' ? 'f' : 'z');
    if (upper)
        alphabet_add(&out, 'A', digits && upper <= 'F' ? 'F' : 'Z');
    return out;
}

static size_t shared_len(const char *a, const char *b)
{
    size_t len = 0;
    while (a[len] && a[len] == b[len])
        len++;
    return len;
}

/* last with a greater byte at place, and nothing behind it; NULL beyond the range's end. */
static const char *candidate(struct arena *arena, const struct listing_range *range, size_t place, char c)
{
    if (c <= range->last[place])
        return NULL;
    char *key = arena_strndup(arena, range->last, place + 1);
    key[place] = c;
    return range->until && strcmp(key, range->until) >= 0 ? NULL : key;
}

/* From the last place to the first, so that they ascend. Only places whose byte is of the alphabet: what divides names stays. */
static size_t candidates(struct arena *arena, const struct listing_range *range, size_t prefix_len, const char **out)
{
    size_t varies = shared_len(range->first, range->last);
    size_t count = 0;
    size_t len = strlen(range->last);
    struct alphabet alphabet = alphabet_of(range->last + varies, strcspn(range->last + varies, "/._-"));
    for (size_t place = varies + 2 < len ? varies + 2 : len; place-- > prefix_len;) {
        unsigned char old = (unsigned char)range->last[place];
        if (old >= 0x80 || !alphabet.has[old])
            continue;
        for (int c = 0; c < 128 && count < CANDIDATES_MAX; c++) {
            const char *key = alphabet.has[c] ? candidate(arena, range, place, (char)c) : NULL;
            if (key)
                out[count++] = key;
        }
    }
    return count;
}

size_t listing_spread(const char **keys, size_t count, size_t count_max)
{
    if (count <= count_max)
        return count;
    for (size_t i = 0; i < count_max; i++)
        keys[i] = keys[(i + 1) * count / (count_max + 1)];
    return count_max;
}

size_t listing_split(struct arena *arena, const struct listing_range *range, size_t prefix_len, size_t count_max,
                     const char **out)
{
    _cleanup_(arena_freep) struct arena *scratch = arena_new();
    const char **found = arena_calloc(scratch, CANDIDATES_MAX, sizeof(*found));
    size_t count = range->last ? candidates(scratch, range, prefix_len, found) : 0;
    count = listing_spread(found, count, count_max);
    for (size_t i = 0; i < count; i++)
        out[i] = arena_strdup(arena, found[i]);
    return count;
}
