#include "csi/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "cachecore/digest.h"

#define HEADER "sharedcache-state "
#define VERSION "1 "
#define HEADER_LEN (sizeof(HEADER VERSION) - 1 + SHA256_HEX) /* a newline in the place of the NUL */

void state_text_make(const json_t *object, struct str *out)
{
    char digest[SHA256_HEX];
    char *body = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    if (!body)
        abort(); /* only out of memory, or text that is not UTF-8, which requests cannot hold */
    struct str rest = STR_INIT;
    str_printf(&rest, "%s\n", body);
    free(body);
    digest_sha256_hex(rest.data, rest.len, digest);
    str_printf(out, HEADER VERSION "%s\n", digest);
    str_append(out, rest.data, rest.len);
    str_deinit(&rest);
}

json_t *state_text_parse(const char *text, size_t len, struct err *err)
{
    char digest[SHA256_HEX];
    if (len < sizeof(HEADER) - 1 || memcmp(text, HEADER, sizeof(HEADER) - 1) != 0) {
        err_set(err, ERR_CORRUPT, "not a state file");
        return NULL;
    }
    if (len < HEADER_LEN || memcmp(text + sizeof(HEADER) - 1, VERSION, sizeof(VERSION) - 1) != 0) {
        err_set(err, ERR_CORRUPT, "cut short, or of another version");
        return NULL;
    }
    digest_sha256_hex(text + HEADER_LEN, len - HEADER_LEN, digest);
    if (memcmp(text + sizeof(HEADER VERSION) - 1, digest, SHA256_HEX - 1) != 0 || text[HEADER_LEN - 1] != '\n') {
        err_set(err, ERR_CORRUPT, "the checksum does not match");
        return NULL;
    }
    json_t *object = json_loadb(text + HEADER_LEN, len - HEADER_LEN, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        err_set(err, ERR_CORRUPT, "holds no JSON object");
        return NULL;
    }
    return object;
}

int state_file_write(int dirfd, const char *name, const json_t *object, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    state_text_make(object, &text);
    return fs_write_file(dirfd, name, text.data, text.len, 0600, err);
}

json_t *state_file_read(int dirfd, const char *name, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    if (fs_read_file(dirfd, name, STATE_FILE_MAX, &text, err) != 0)
        return NULL;
    json_t *object = state_text_parse(text.data ? text.data : "", text.len, err);
    if (!object)
        err_prefix(err, "'%s'", name);
    return object;
}

int state_file_remove(int dirfd, const char *name, struct err *err)
{
    if (unlinkat(dirfd, name, 0) != 0 && errno != ENOENT)
        return err_set_errno(err, ERR_NONE, errno, "cannot remove '%s'", name);
    if (fsync(dirfd) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot sync the directory of '%s'", name);
    return 0;
}

void state_file_set_aside(int dirfd, const char *name)
{
    char aside[NAME_MAX + 1];
    snprintf(aside, sizeof(aside), "damaged.%.240s", name);
    renameat(dirfd, name, dirfd, aside);
}

int state_get_text(const json_t *object, const char *key, size_t max, struct arena *arena, const char **out,
                   struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value) || json_string_length(value) > max ||
        strlen(json_string_value(value)) != json_string_length(value))
        return err_set(err, ERR_CORRUPT, "field '%s' is not a text of at most %zu bytes", key, max);
    *out = arena_strdup(arena, json_string_value(value));
    return 0;
}

int state_get_number(const json_t *object, const char *key, int64_t *out, struct err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return err_set(err, ERR_CORRUPT, "field '%s' is not a number", key);
    *out = json_integer_value(value);
    return 0;
}
