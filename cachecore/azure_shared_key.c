#include "cachecore/azure_shared_key.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/str.h"
#include "cachecore/base64.h"
#include "cachecore/digest.h"
#include "cachecore/url_text.h"

struct pair {
    const char *name;
    const char *value;
};

void azure_date(int64_t now_s, char out[AZURE_DATE_LEN])
{
    time_t now = now_s;
    struct tm tm;
    if (now_s < 0 || now_s > INT64_C(253402300799) || !gmtime_r(&now, &tm)) /* years have four digits */
        memset(&tm, 0, sizeof(tm));
    strftime(out, AZURE_DATE_LEN, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static int pair_compare(const void *a, const void *b)
{
    const struct pair *left = a;
    const struct pair *right = b;
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : strcmp(left->value, right->value);
}

static const char *lower(struct arena *arena, const char *text)
{
    char *out = arena_strdup(arena, text);
    for (char *p = out; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return out;
}

/* Without outer blanks, and with one blank for each run inside. */
static const char *folded(struct arena *arena, const char *value)
{
    char *out = arena_alloc(arena, strlen(value) + 1);
    size_t used = 0;
    for (const char *p = value; *p; p++) {
        if (!isspace((unsigned char)*p))
            out[used++] = *p;
        else if (used > 0 && out[used - 1] != ' ')
            out[used++] = ' ';
    }
    while (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
    return out;
}

/* The headers whose values stand there without their names, in this order; no request of ours has others than the last two. */
static void standard_write(const struct azure_request *request, struct str *out)
{
    static const char *const names[] = {
        "Content-Encoding",  "Content-Language", "Content-Length", "Content-MD5",         "Content-Type", "Date",
        "If-Modified-Since", "If-Match",         "If-None-Match",  "If-Unmodified-Since", "Range"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        for (size_t j = 0; j < request->header_count; j++) {
            if (strcasecmp(request->headers[j].name, names[i]) == 0)
                str_append_text(out, request->headers[j].value);
        }
        str_append_char(out, '\n');
    }
}

static void headers_write(struct arena *arena, const struct azure_request *request, struct str *out)
{
    struct pair *sorted = arena_calloc(arena, request->header_count + 1, sizeof(*sorted));
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        if (strncasecmp(request->headers[i].name, "x-ms-", 5) == 0)
            sorted[count++] =
                (struct pair){lower(arena, request->headers[i].name), folded(arena, request->headers[i].value)};
    }
    qsort(sorted, count, sizeof(*sorted), pair_compare);
    for (size_t i = 0; i < count; i++)
        str_printf(out, "%s:%s\n", sorted[i].name, sorted[i].value);
}

static size_t query_cut(struct arena *arena, const char *query, struct pair *out)
{
    size_t count = 0;
    while (query) {
        size_t len = strcspn(query, "&");
        size_t name_len = strcspn(query, "=&");
        size_t value_at = name_len < len ? name_len + 1 : name_len;
        size_t unused;
        assert(count < AZURE_PARAMETERS_MAX);
        out[count++] = (struct pair){lower(arena, url_decode(arena, query, name_len, &unused)),
                                     url_decode(arena, query + value_at, len - value_at, &unused)};
        query = query[len] == '&' ? query + len + 1 : NULL;
    }
    return count;
}

/* One line for each name, its values in their order with commas between them. */
static void query_write(struct arena *arena, const char *query, struct str *out)
{
    struct pair pairs[AZURE_PARAMETERS_MAX];
    size_t count = query_cut(arena, query, pairs);
    qsort(pairs, count, sizeof(pairs[0]), pair_compare);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(pairs[i - 1].name, pairs[i].name) == 0)
            str_printf(out, ",%s", pairs[i].value);
        else
            str_printf(out, "\n%s:%s", pairs[i].name, pairs[i].value);
    }
}

const char *azure_shared_key_text(struct arena *arena, const char *account, const struct azure_request *request)
{
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    str_printf(&out, "%s\n", request->method);
    standard_write(request, &out);
    headers_write(arena, request, &out);
    str_printf(&out, "/%s%s", account, request->path);
    query_write(arena, request->query, &out);
    return arena_strdup(arena, out.data);
}

const char *azure_shared_key_authorization(struct arena *arena, const char *account, const struct secret *key,
                                           const struct azure_request *request)
{
    uint8_t signature[SHA256_LEN];
    const char *text = azure_shared_key_text(arena, account, request);
    digest_hmac_sha256(secret_reveal(key), secret_len(key), text, strlen(text), signature);
    return arena_printf(arena, "SharedKey %s:%s", account, base64_encode(arena, signature, sizeof(signature)));
}
