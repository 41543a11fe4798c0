#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "cachecore/fetch_internal.h"

#define READ_SIZE ((size_t)256 << 10)

int fetch_sha256(int fd, const atomic_bool *cancel, char out[SHA256_HEX], struct err *err)
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    _cleanup_(freep) unsigned char *buffer = mem_alloc(READ_SIZE);
    uint8_t digest[SHA256_LEN];
    ssize_t got;
    for (off_t offset = 0; (got = pread(fd, buffer, READ_SIZE, offset)) != 0; offset += got) {
        if (got < 0)
            return err_set_errno(err, ERR_NONE, errno, "cannot read the object back");
        if (atomic_load(cancel))
            return err_set(err, ERR_CANCELLED, "the fill was cancelled");
        sha256_update(sha, buffer, (size_t)got);
    }
    sha256_final(sha, digest);
    str_hex(digest, sizeof(digest), out);
    return 0;
}

int fetch_sha256_error(const char *expected, const char *got, struct err *err)
{
    return err_set(err, ERR_PRECONDITION,
                   "sha256 expected %s got %s: the input's sha256 is wrong, or the source's bytes are", expected, got);
}

void fetch_memo_add(struct engine *engine, const char *object, const char *sha256)
{
    pool_lock(engine->pool);
    size_t at = engine->locked.memo_next++ % FETCH_MEMO;
    memcpy(engine->locked.memo[at].object, object, SHA256_HEX);
    memcpy(engine->locked.memo[at].sha256, sha256, SHA256_HEX);
    pool_unlock(engine->pool);
}

static bool memo_has(struct engine *engine, const char *object, const char *sha256)
{
    bool found = false;
    pool_lock(engine->pool);
    for (size_t i = 0; i < FETCH_MEMO && !found; i++)
        found =
            strcmp(engine->locked.memo[i].object, object) == 0 && strcmp(engine->locked.memo[i].sha256, sha256) == 0;
    pool_unlock(engine->pool);
    return found;
}

int fetch_verify(struct engine *engine, struct store *store, const char *object, const char *sha256,
                 const atomic_bool *cancel, struct err *err)
{
    char got[SHA256_HEX];
    if (memo_has(engine, object, sha256))
        return 0;
    _cleanup_(closep) int fd = store_object_open(store, object, err);
    if (fd < 0 || fetch_sha256(fd, cancel, got, err) != 0)
        return -1;
    if (strcmp(got, sha256) != 0)
        return fetch_sha256_error(sha256, got, err);
    fetch_memo_add(engine, object, sha256);
    return 0;
}
