#include "cachecore/glob.h"

#include <string.h>

#include "base/str.h"

#define BYTE_BASE 0x110000u /* a byte that is no UTF-8 is a character of its own */

enum kind {
    ONE,      /* this character */
    ANY,      /* '?' */
    CLASS,    /* '[...]' */
    STAR,     /* a run without '/' */
    SEGMENTS, /* '**' and '/': whole segments, or none */
    REST,     /* '**' at the end */
};

struct glob_range {
    uint32_t first, last;
};

struct glob_token {
    enum kind kind;
    uint32_t character;
    bool is_negated;
    const struct glob_range *ranges;
    size_t range_count;
};

/* The next character of text; returns its length in bytes. */
static size_t character_read(const char *text, size_t len, uint32_t *out)
{
    unsigned char c = (unsigned char)text[0];
    size_t size = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (size > len || !str_is_utf8(text, size)) {
        *out = BYTE_BASE + c;
        return 1;
    }
    *out = size == 1 ? c : c & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++)
        *out = *out << 6 | ((unsigned char)text[i] & 0x3fu);
    return size;
}

/* --- patterns --- */

/* A pattern with its escapes decoded; which bytes were escaped, and so have no meaning, is kept beside. */
struct text {
    char *bytes;
    bool *plain; /* was escaped */
    size_t len;
    size_t at;
};

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static struct text text_decode(struct arena *arena, const char *pattern)
{
    size_t len = strlen(pattern);
    struct text text = {.bytes = arena_alloc(arena, len + 1), .plain = arena_calloc(arena, len + 1, sizeof(bool))};
    for (size_t i = 0; i < len; i++) {
        bool escaped = pattern[i] == '%' && len - i >= 3;
        text.plain[text.len] = escaped;
        text.bytes[text.len++] =
            escaped ? (char)(hex_value(pattern[i + 1]) * 16 + hex_value(pattern[i + 2])) : pattern[i];
        i += escaped ? 2 : 0;
    }
    return text;
}

static bool is_special(const struct text *text, size_t at, char c)
{
    return at < text->len && text->bytes[at] == c && !text->plain[at];
}

static bool is_wildcard(const struct text *text, size_t at)
{
    return is_special(text, at, '*') || is_special(text, at, '?') || is_special(text, at, '[');
}

static int class_character(struct text *text, uint32_t *out, struct err *err)
{
    if (text->at >= text->len)
        return err_set(err, ERR_INVALID, "the glob holds '[' without ']'; a '[' that stands for itself is %%5B");
    if (text->bytes[text->at] == '/')
        return err_set(err, ERR_INVALID, "the glob holds '/' between '[' and ']', which never match it");
    text->at += character_read(text->bytes + text->at, text->len - text->at, out);
    return 0;
}

static int range_parse(struct text *text, struct glob_range *out, struct err *err)
{
    if (class_character(text, &out->first, err) != 0)
        return -1;
    out->last = out->first;
    if (!is_special(text, text->at, '-') || is_special(text, text->at + 1, ']'))
        return 0;
    text->at++;
    if (class_character(text, &out->last, err) != 0)
        return -1;
    if (out->last < out->first)
        return err_set(err, ERR_INVALID, "the glob holds a range in brackets whose end comes before its start");
    return 0;
}

/* After '['. A ']' that comes first stands for itself. */
static int class_parse(struct arena *arena, struct text *text, struct glob_token *out, struct err *err)
{
    struct glob_range *ranges = arena_calloc(arena, text->len - text->at + 1, sizeof(*ranges));
    *out = (struct glob_token){.kind = CLASS, .ranges = ranges, .is_negated = is_special(text, text->at, '!')};
    text->at += out->is_negated;
    while (out->range_count == 0 || !is_special(text, text->at, ']')) {
        if (range_parse(text, &ranges[out->range_count], err) != 0)
            return -1;
        out->range_count++;
    }
    text->at++;
    return 0;
}

/* After '*'. */
static int stars_parse(struct text *text, struct glob_token *out, struct err *err)
{
    size_t start = text->at - 1;
    *out = (struct glob_token){.kind = STAR};
    if (!is_special(text, text->at, '*'))
        return 0;
    text->at++;
    bool starts = start == 0 || text->bytes[start - 1] == '/';
    bool ends = text->at == text->len;
    if (!starts || (!ends && text->bytes[text->at] != '/'))
        return err_set(err, ERR_INVALID,
                       "'**' in the glob stands beside other text: it must be a whole segment, as in "
                       "'**/*.csv'");
    out->kind = ends ? REST : SEGMENTS;
    text->at += !ends;
    return 0;
}

static int token_parse(struct arena *arena, struct text *text, struct glob_token *out, struct err *err)
{
    bool wild = is_wildcard(text, text->at);
    char c = text->bytes[text->at];
    if (!wild) {
        *out = (struct glob_token){.kind = ONE};
        text->at += character_read(text->bytes + text->at, text->len - text->at, &out->character);
        return 0;
    }
    text->at++;
    if (c == '[')
        return class_parse(arena, text, out, err);
    if (c == '*')
        return stars_parse(text, out, err);
    *out = (struct glob_token){.kind = ANY};
    return 0;
}

int glob_parse(struct arena *arena, const char *pattern, struct glob *out, struct err *err)
{
    struct text text = text_decode(arena, pattern);
    size_t literal = 0, base = 0, count = 0;
    while (literal < text.len && !is_wildcard(&text, literal))
        literal++;
    for (size_t i = 0; i < literal; i++)
        base = text.bytes[i] == '/' ? i + 1 : base;
    struct glob_token *tokens = arena_calloc(arena, GLOB_TOKENS_MAX, sizeof(*tokens));
    for (text.at = base; text.at < text.len; count++) {
        if (count == GLOB_TOKENS_MAX)
            return err_set(err, ERR_INVALID, "the glob has more than %u characters and wildcards", GLOB_TOKENS_MAX);
        if (token_parse(arena, &text, &tokens[count], err) != 0)
            return -1;
    }
    *out = (struct glob){.base = arena_strndup(arena, text.bytes, base),
                         .prefix = arena_strndup(arena, text.bytes, literal),
                         .tokens = tokens,
                         .count = count};
    return 0;
}

/* --- matching: all states at once --- */

static bool class_has(const struct glob_token *token, uint32_t c)
{
    bool found = false;
    for (size_t i = 0; i < token->range_count && !found; i++)
        found = c >= token->ranges[i].first && c <= token->ranges[i].last;
    return found != token->is_negated;
}

/* Whether the token takes one such character, and whether it stays for more. */
static bool takes(const struct glob_token *token, uint32_t c, bool *stays)
{
    *stays = token->kind == STAR || token->kind == SEGMENTS || token->kind == REST;
    switch (token->kind) {
    case ONE:
        return token->character == c;
    case ANY:
    case STAR:
        return c != '/';
    case CLASS:
        return c != '/' && class_has(token, c);
    default:
        return true;
    }
}

/* What may match nothing is passed over: whole segments only where one begins. */
static void states_close(const struct glob *glob, bool *states, bool at_segment)
{
    for (size_t i = 0; i < glob->count; i++) {
        enum kind kind = glob->tokens[i].kind;
        if (states[i] && (kind == STAR || kind == REST || (kind == SEGMENTS && at_segment)))
            states[i + 1] = true;
    }
}

static bool states_step(const struct glob *glob, bool *states, uint32_t c)
{
    bool alive = false;
    bool came = false; /* into state i, from the one before */
    for (size_t i = 0; i <= glob->count; i++) {
        bool stays = false;
        bool moves = states[i] && i < glob->count && takes(&glob->tokens[i], c, &stays);
        states[i] = came || (moves && stays);
        came = moves && !stays;
        alive = alive || states[i];
    }
    return alive;
}

bool glob_match(const struct glob *glob, const char *key, size_t len, uint64_t *steps)
{
    bool states[GLOB_TOKENS_MAX + 1] = {true};
    size_t base = strlen(glob->base);
    uint64_t done = 0;
    bool alive = len >= base && memcmp(key, glob->base, base) == 0;
    states_close(glob, states, true);
    for (size_t at = base; alive && at < len;) {
        uint32_t c;
        at += character_read(key + at, len - at, &c);
        alive = states_step(glob, states, c);
        states_close(glob, states, c == '/');
        done += glob->count + 1;
    }
    if (steps)
        *steps += done;
    return alive && states[glob->count];
}
