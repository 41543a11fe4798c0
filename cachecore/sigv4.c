#include "cachecore/sigv4.h"

#include <assert.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/str.h"
#include "cachecore/digest.h"
#include "cachecore/url.h"

void sigv4_date(int64_t now_s, char out[SIGV4_DATE_LEN])
{
    time_t now = now_s;
    struct tm tm;
    if (now_s < 0 || now_s > INT64_C(253402300799) || !gmtime_r(&now, &tm)) /* years have four digits */
        memset(&tm, 0, sizeof(tm));
    strftime(out, SIGV4_DATE_LEN, "%Y%m%dT%H%M%SZ", &tm);
}

static int pair_compare(const void *a, const void *b)
{
    const struct sigv4_pair *left = a;
    const struct sigv4_pair *right = b;
    int order = strcmp(left->name, right->name);
    return order != 0 ? order : strcmp(left->value, right->value);
}

const char *sigv4_query(struct arena *arena, const struct sigv4_pair *pairs, size_t count)
{
    _cleanup_(str_deinitp) struct str out = STR_INIT;
    struct sigv4_pair encoded[SIGV4_PAIRS_MAX];
    assert(count <= SIGV4_PAIRS_MAX);
    for (size_t i = 0; i < count; i++) {
        encoded[i].name = url_encode(arena, pairs[i].name, strlen(pairs[i].name), true);
        encoded[i].value = url_encode(arena, pairs[i].value, strlen(pairs[i].value), true);
    }
    qsort(encoded, count, sizeof(encoded[0]), pair_compare);
    for (size_t i = 0; i < count; i++)
        str_printf(&out, "%s%s=%s", i ? "&" : "", encoded[i].name, encoded[i].value);
    return out.data ? arena_strdup(arena, out.data) : "";
}

/* Lowercase names; values without outer blanks, and with one blank for each run inside. */
static struct sigv4_pair header_normal(struct arena *arena, const struct sigv4_pair *pair)
{
    char *name = arena_strdup(arena, pair->name);
    char *value = arena_alloc(arena, strlen(pair->value) + 1);
    size_t used = 0;
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    for (const char *p = pair->value; *p; p++) {
        bool blank = *p == ' ' || *p == '\t' || *p == '\n';
        if (!blank)
            value[used++] = *p;
        else if (used > 0 && value[used - 1] != ' ')
            value[used++] = ' ';
    }
    while (used > 0 && value[used - 1] == ' ')
        used--;
    value[used] = '\0';
    return (struct sigv4_pair){name, value};
}

/* Sorted by name; equal names keep their order, which is that of their values in the signature. */
static size_t headers_sort(struct arena *arena, const struct sigv4_request *request, struct sigv4_pair *out)
{
    assert(request->header_count <= SIGV4_PAIRS_MAX);
    for (size_t i = 0; i < request->header_count; i++) {
        struct sigv4_pair pair = header_normal(arena, &request->headers[i]);
        size_t at = i;
        for (; at > 0 && strcmp(out[at - 1].name, pair.name) > 0; at--)
            out[at] = out[at - 1];
        out[at] = pair;
    }
    return request->header_count;
}

/* The signed headers' names, and their lines if lines is not NULL. */
static void headers_write(struct arena *arena, const struct sigv4_request *request, struct str *names,
                          struct str *lines)
{
    struct sigv4_pair sorted[SIGV4_PAIRS_MAX];
    size_t count = headers_sort(arena, request, sorted);
    for (size_t i = 0; i < count; i++) {
        bool again = i > 0 && strcmp(sorted[i].name, sorted[i - 1].name) == 0;
        if (!again)
            str_printf(names, "%s%s", i ? ";" : "", sorted[i].name);
        if (lines && again)
            str_printf(lines, ",%s", sorted[i].value);
        else if (lines)
            str_printf(lines, "%s%s:%s", i ? "\n" : "", sorted[i].name, sorted[i].value);
    }
}

const char *sigv4_canonical_request(struct arena *arena, const struct sigv4_request *request)
{
    _cleanup_(str_deinitp) struct str names = STR_INIT;
    _cleanup_(str_deinitp) struct str lines = STR_INIT;
    headers_write(arena, request, &names, &lines);
    return arena_printf(arena, "%s\n%s\n%s\n%s\n\n%s\n%s", request->method, request->path,
                        sigv4_query(arena, request->query, request->query_count), lines.data, names.data,
                        request->payload_sha256);
}

static const char *scope(struct arena *arena, const struct sigv4_key *key, const char *date)
{
    return arena_printf(arena, "%.8s/%s/%s/aws4_request", date, key->region, key->service);
}

const char *sigv4_string_to_sign(struct arena *arena, const struct sigv4_key *key, const char *date,
                                 const char *canonical_request)
{
    char digest[SHA256_HEX];
    digest_sha256_hex(canonical_request, strlen(canonical_request), digest);
    return arena_printf(arena, "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope(arena, key, date), digest);
}

static void hmac_step(uint8_t key[SHA256_LEN], const char *text, size_t len)
{
    uint8_t next[SHA256_LEN];
    digest_hmac_sha256(key, SHA256_LEN, text, len, next);
    memcpy(key, next, SHA256_LEN);
    explicit_bzero(next, sizeof(next));
}

static void sign(const struct sigv4_key *key, const char *date, const char *text, char out[SHA256_HEX])
{
    _cleanup_(str_deinitp) struct str secret = STR_INIT;
    uint8_t signing[SHA256_LEN];
    str_append_text(&secret, "AWS4");
    str_reserve(&secret, secret_len(key->secret_key)); /* grown before, so that no copy is left behind */
    str_append(&secret, secret_reveal(key->secret_key), secret_len(key->secret_key));
    digest_hmac_sha256(secret.data, secret.len, date, 8, signing);
    explicit_bzero(secret.data, secret.len);
    hmac_step(signing, key->region, strlen(key->region));
    hmac_step(signing, key->service, strlen(key->service));
    hmac_step(signing, "aws4_request", 12);
    hmac_step(signing, text, strlen(text));
    str_hex(signing, SHA256_LEN, out);
}

const char *sigv4_authorization(struct arena *arena, const struct sigv4_key *key, const char *date,
                                const struct sigv4_request *request)
{
    _cleanup_(str_deinitp) struct str names = STR_INIT;
    char signature[SHA256_HEX];
    const char *canonical = sigv4_canonical_request(arena, request);
    sign(key, date, sigv4_string_to_sign(arena, key, date, canonical), signature);
    headers_write(arena, request, &names, NULL);
    return arena_printf(arena, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", key->access_key_id,
                        scope(arena, key, date), names.data, signature);
}
