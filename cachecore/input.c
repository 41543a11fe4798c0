#include "cachecore/input.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/glob.h"
#include "cachecore/snapshot.h"

#define PLACE_MAX 4000u

/* The tokens of one line that are still to be read. */
struct line {
    const char *text;
    size_t len;
    unsigned number;
};

struct token {
    const char *text;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool token_next(struct line *line, struct token *out)
{
    while (line->len > 0 && is_blank(line->text[0])) {
        line->text++;
        line->len--;
    }
    if (line->len == 0 || line->text[0] == '#')
        return false;
    size_t len = 0;
    while (len < line->len && !is_blank(line->text[len]))
        len++;
    *out = (struct token){line->text, len};
    line->text += len;
    line->len -= len;
    return true;
}

static bool token_is(const struct token *token, const char *text)
{
    return token->len == strlen(text) && memcmp(token->text, text, token->len) == 0;
}

static int option_digest(struct arena *arena, const char *name, const char *value, size_t len, const char **out,
                         struct err *err)
{
    if (*out)
        return err_set(err, ERR_INVALID, "the option '%s' stands twice", name);
    char *digest = arena_strndup(arena, value, len);
    for (char *p = digest; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (len != 64 || strspn(digest, "0123456789abcdef") != 64)
        return err_set(err, ERR_INVALID, "'%s' must be 64 hexadecimal digits, not %zu bytes", name, len);
    *out = digest;
    return 0;
}

/* Only a plain name is shown: what is no option may be a URL with its secrets. */
static int option_unknown(const struct token *token, size_t name_len, struct err *err)
{
    bool plain = name_len > 0 && name_len < 32 && name_len < token->len;
    for (size_t i = 0; plain && i < name_len; i++)
        plain = isalnum((unsigned char)token->text[i]) || strchr("-_.", token->text[i]);
    if (!plain)
        return err_set(err, ERR_INVALID,
                       "something follows the URL that is neither '-> place' nor an option (sha256=, snapshot=)");
    return err_set(err, ERR_INVALID, "unknown option '%.*s': the options are sha256= and snapshot=", (int)name_len,
                   token->text);
}

static int option_parse(struct arena *arena, const struct token *token, struct input *input, struct err *err)
{
    const char *equals = memchr(token->text, '=', token->len);
    size_t name_len = equals ? (size_t)(equals - token->text) : token->len;
    const char *value = token->text + name_len + 1;
    struct token name = {token->text, name_len};
    if (equals && token_is(&name, "sha256"))
        return option_digest(arena, "sha256", value, token->len - name_len - 1, &input->sha256, err);
    if (equals && token_is(&name, "snapshot"))
        return option_digest(arena, "snapshot", value, token->len - name_len - 1, &input->snapshot, err);
    return option_unknown(token, name_len, err);
}

static bool is_listable(const struct url *url)
{
    return strcmp(url->scheme, "http") != 0 && strcmp(url->scheme, "https") != 0;
}

/* What the URL is called when the line does not say. */
static const char *name_of(struct arena *arena, const struct url *url, struct err *err)
{
    const char *name = url_basename(arena, url);
    if (!name)
        err_set(err, ERR_INVALID, "the URL does not end in a file name: say '-> name' after it");
    return name;
}

/* Of a prefix or glob: "dir" and "dir/" are the same, nothing is the root. */
static int directory_make(struct arena *arena, const struct token *token, struct input *input, struct err *err)
{
    size_t len = token ? token->len : 0;
    if (len > 1 && token->text[len - 1] == '/')
        len--;
    input->place = len > 0 ? arena_strndup(arena, token->text, len) : "";
    if (len > 0 && snapshot_path_check(input->place, len, err) != 0)
        return err_prefix(err, "the place");
    return 0;
}

static int place_make(struct arena *arena, const struct token *token, struct input *input, struct err *err)
{
    bool is_dir = token && token->text[token->len - 1] == '/';
    const char *name = "";
    if (input->is_prefix)
        return directory_make(arena, token, input, err);
    if (!token || is_dir) {
        name = name_of(arena, &input->url, err);
        if (!name)
            return -1;
    }
    input->place = arena_printf(arena, "%.*s%s", token ? (int)token->len : 0, token ? token->text : "", name);
    if (snapshot_path_check(input->place, strlen(input->place), err) != 0)
        return err_prefix(err, "the place");
    return 0;
}

static int web_check(const struct url *url, bool ends_in_slash, bool has_place, struct err *err)
{
    if (ends_in_slash && !has_place)
        return err_set(err, ERR_INVALID,
                       "%s:// has no listings: name one file, or say '-> name' after a URL that ends in '/'",
                       url->scheme);
    return 0;
}

static int prefix_check(struct arena *arena, const struct input *input, struct err *err)
{
    struct glob glob;
    if (input->sha256)
        return err_set(err, ERR_INVALID, "sha256= goes with one object, not with a prefix or glob: use snapshot=");
    if (input->url.query)
        return err_set(err, ERR_INVALID, "a version names one object: leave it out of a prefix or glob");
    return input->url.is_glob ? glob_parse(arena, input->url.glob, &glob, err) : 0;
}

static int kind_check(struct arena *arena, struct input *input, bool has_place, struct err *err)
{
    bool ends_in_slash = str_ends_with(input->url.path, "/");
    if (!is_listable(&input->url))
        return web_check(&input->url, ends_in_slash, has_place, err);
    input->is_prefix = ends_in_slash || input->url.is_glob;
    return input->is_prefix ? prefix_check(arena, input, err) : 0;
}

/* An argument of '->', or nothing when the line has no '->'. */
static int place_token(struct line *line, struct token *token, bool *has_place, bool *has_more, struct err *err)
{
    *has_place = false;
    *has_more = token_next(line, token);
    if (!*has_more || !token_is(token, "->"))
        return 0;
    if (!token_next(line, token))
        return err_set(err, ERR_INVALID, "'->' with nothing after it");
    if (token->len > PLACE_MAX)
        return err_set(err, ERR_INVALID, "the place is longer than %u bytes", PLACE_MAX);
    if (memmem(token->text, token->len, "://", 3)) /* it may hold a signature, and must not be echoed */
        return err_set(err, ERR_INVALID, "the place after '->' is a URL: put each URL on a line of its own");
    *has_place = true;
    return 0;
}

static int line_parse(struct arena *arena, struct line line, const struct token *url, struct input *out,
                      struct err *err)
{
    struct input input = {.line = line.number};
    struct token token, place;
    bool has_place, has_more;
    if (url_parse(arena, url->text, url->len, &input.url, err) != 0)
        return -1;
    input.url_text = arena_strndup(arena, url->text, url->len);
    if (place_token(&line, &token, &has_place, &has_more, err) != 0)
        return -1;
    place = token;
    if (has_place)
        has_more = token_next(&line, &token);
    for (; has_more; has_more = token_next(&line, &token)) {
        if (option_parse(arena, &token, &input, err) != 0)
            return -1;
    }
    if (kind_check(arena, &input, has_place, err) != 0 ||
        place_make(arena, has_place ? &place : NULL, &input, err) != 0)
        return -1;
    *out = input;
    return 0;
}

/* '/' sorts before every other byte, so that what lies below a path follows it at once. */
static int fold(char c)
{
    return c == '/' ? 1 : tolower((unsigned char)c);
}

static int place_compare(const void *a, const void *b)
{
    const struct input *left = *(const struct input *const *)a;
    const struct input *right = *(const struct input *const *)b;
    const char *x = left->place;
    const char *y = right->place;
    for (; *x && fold(*x) == fold(*y); x++)
        y++;
    if (fold(*x) != fold(*y))
        return fold(*x) < fold(*y) ? -1 : 1;
    return left->line < right->line ? -1 : left->line > right->line;
}

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_repeated(const struct input *a, const struct input *b)
{
    return text_equal(a->url_text, b->url_text) && text_equal(a->place, b->place) && text_equal(a->sha256, b->sha256) &&
           text_equal(a->snapshot, b->snapshot);
}

/* Why two neighbours in sorted order cannot stand in one tree; NULL if they can. Directories may be shared. */
static const char *clash_of(const struct input *first, const struct input *second)
{
    const char *a = first->place;
    const char *b = second->place;
    size_t same = 0; /* up to the last '/' of what both share */
    size_t i = 0;
    for (; a[i] && fold(a[i]) == fold(b[i]); i++) {
        if (a[i] == '/')
            same = i;
    }
    bool ends_equal = a[i] == '\0' && b[i] == '\0';
    bool is_below = a[i] == '\0' && b[i] == '/';
    if (ends_equal && strcmp(a, b) != 0)
        return "differ only in upper and lower case at";
    if (ends_equal && first->is_prefix == second->is_prefix)
        return first->is_prefix ? NULL : "put different things at";
    if (ends_equal || (is_below && !first->is_prefix))
        return "need both a file and a directory at";
    return memcmp(a, b, is_below ? i : same) == 0 ? NULL
                                                  : "use directories that differ only in upper and lower case at";
}

static int clashes_check(const struct input **sorted, size_t count, struct err *err)
{
    qsort(sorted, count, sizeof(struct input *), place_compare);
    for (size_t i = 1; i < count; i++) {
        const struct input *a = sorted[i - 1];
        const struct input *b = sorted[i];
        const char *clash = is_repeated(a, b) ? NULL : clash_of(a, b);
        if (clash)
            return err_set(err, ERR_INVALID, "inputs line %u and line %u %s '%.200s'",
                           a->line < b->line ? a->line : b->line, a->line < b->line ? b->line : a->line, clash,
                           a->place);
    }
    return 0;
}

/* Lines that say the same twice count once; the first stays. */
static void repeats_drop(struct arena *arena, const struct input **sorted, struct inputs *inputs)
{
    bool *repeated = arena_calloc(arena, inputs->count, sizeof(bool));
    for (size_t i = 1; i < inputs->count; i++)
        repeated[sorted[i] - inputs->items] = is_repeated(sorted[i - 1], sorted[i]);
    size_t kept = 0;
    for (size_t i = 0; i < inputs->count; i++) {
        if (!repeated[i])
            inputs->items[kept++] = inputs->items[i];
    }
    inputs->count = kept;
}

static int text_check(const char *text, size_t len, struct err *err)
{
    if (len > INPUTS_BYTES_MAX)
        return err_set(err, ERR_INVALID, "inputs have %zu bytes, more than the limit of %u", len, INPUTS_BYTES_MAX);
    unsigned line = 1;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f)
            return err_set(err, ERR_INVALID, "inputs line %u: a control character (0x%02x)", line, c);
        line += c == '\n';
    }
    return 0;
}

static void inputs_grow(struct arena *arena, struct inputs *inputs, size_t *capacity)
{
    if (inputs->count < *capacity)
        return;
    *capacity = *capacity ? 2 * *capacity : 8;
    struct input *items = arena_calloc(arena, *capacity, sizeof(*items));
    if (inputs->count > 0)
        memcpy(items, inputs->items, inputs->count * sizeof(*items));
    inputs->items = items;
}

static int lines_parse(struct arena *arena, const char *text, size_t len, struct inputs *out, struct err *err)
{
    unsigned number = 0;
    size_t capacity = 0;
    for (size_t start = 0, end; start < len; start = end + 1) {
        const char *newline = memchr(text + start, '\n', len - start);
        end = newline ? (size_t)(newline - text) : len;
        struct line line = {text + start, end - start, ++number};
        struct token url;
        if (!token_next(&line, &url))
            continue;
        if (out->count == INPUTS_MAX)
            return err_set(err, ERR_INVALID, "inputs line %u: more than %u inputs", number, INPUTS_MAX);
        inputs_grow(arena, out, &capacity);
        if (line_parse(arena, line, &url, &out->items[out->count], err) != 0)
            return err_prefix(err, "inputs line %u", number);
        out->count++;
    }
    return 0;
}

int inputs_parse(struct arena *arena, const char *text, size_t len, struct inputs *out, struct err *err)
{
    struct inputs inputs = {0};
    if (text_check(text, len, err) != 0 || lines_parse(arena, text, len, &inputs, err) != 0)
        return -1;
    if (inputs.count == 0)
        return err_set(err, ERR_INVALID, "inputs name nothing: write one URL a line");
    const struct input **sorted = arena_calloc(arena, inputs.count, sizeof(*sorted));
    for (size_t i = 0; i < inputs.count; i++)
        sorted[i] = &inputs.items[i];
    if (clashes_check(sorted, inputs.count, err) != 0)
        return -1;
    repeats_drop(arena, sorted, &inputs);
    *out = inputs;
    return 0;
}
