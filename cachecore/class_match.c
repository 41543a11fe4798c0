#include "cachecore/class.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define PATTERN_MAX 1024u

/* The next of a list divided by commas, without the blanks around it. False at the end of the list. */
static bool pattern_next(const char **list, char pattern[PATTERN_MAX])
{
    while (*list && **list) {
        const char *start = *list + strspn(*list, " \t");
        size_t len = strcspn(start, ",");
        *list = start[len] == ',' ? start + len + 1 : NULL;
        while (len > 0 && (start[len - 1] == ' ' || start[len - 1] == '\t'))
            len--;
        if (len == 0 || len >= PATTERN_MAX) /* a pattern that cannot be held matches nothing */
            continue;
        memcpy(pattern, start, len);
        pattern[len] = '\0';
        return true;
    }
    return false;
}

bool class_allows_namespace(const struct class *class, const char *name)
{
    const char *list = class->allowed_namespaces;
    char pattern[PATTERN_MAX];
    if (!list)
        return true;
    while (pattern_next(&list, pattern)) {
        if (str_matches(pattern, name))
            return true;
    }
    return false;
}

/* A URL or a pattern of one, cut into its three pieces. */
struct pieces {
    char scheme[16];
    char host[300];
    const char *path; /* with its '/'; "" if none */
};

static bool pieces_cut(const char *text, struct pieces *out)
{
    const char *after = strstr(text, "://");
    if (!after || (size_t)(after - text) >= sizeof(out->scheme))
        return false;
    memcpy(out->scheme, text, (size_t)(after - text));
    out->scheme[after - text] = '\0';
    after += 3;
    size_t host_len = strcspn(after, "/?");
    if (host_len >= sizeof(out->host))
        return false;
    memcpy(out->host, after, host_len);
    out->host[host_len] = '\0';
    out->path = after + host_len;
    return true;
}

static bool path_matches(char *pattern, const char *path)
{
    size_t len = strlen(pattern);
    if (len == 0)
        return true;
    bool is_dir = pattern[len - 1] == '/' && len + 1 < PATTERN_MAX;
    if (is_dir)
        memcpy(pattern + len, "*", 2);
    return str_matches(pattern, path);
}

static bool source_matches(const char *pattern, const struct pieces *url, const char *path)
{
    struct pieces wanted;
    char path_pattern[PATTERN_MAX];
    if (!pieces_cut(pattern, &wanted) || strcmp(wanted.scheme, url->scheme) != 0)
        return false;
    strcpy(path_pattern, wanted.path);
    return str_matches(wanted.host, url->host) && path_matches(path_pattern, path);
}

bool class_allows_source(const struct class *class, const char *canonical_url)
{
    const char *list = class->allowed_sources;
    char pattern[PATTERN_MAX];
    struct pieces url;
    if (!list)
        return true;
    if (!pieces_cut(canonical_url, &url))
        return false;
    char *path = strndup(url.path, strcspn(url.path, "?"));
    bool allowed = false;
    while (path && !allowed && pattern_next(&list, pattern))
        allowed = source_matches(pattern, &url, path);
    free(path);
    return allowed;
}
