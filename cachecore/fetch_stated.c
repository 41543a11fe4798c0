/*
 * What sources state about their objects is checked before an object appears in the store. CRC32C and CRC-64/NVME are composed of the
 * parts', which come in any order from several threads. SHA-256 and MD5 are serial: to check them, the object would have to be read
 * back, so they are looked at only where it is no larger than one part (and the page cache still has it).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cachecore/fetch_internal.h"

#define READ_SIZE ((size_t)256 << 10)

/* --- what is stated --- */

bool fetch_stated_note(struct download *download, const struct checksums *checksums)
{
    pool_lock(download->engine->pool);
    if (download->want->found->validator_is_strong)
        checksums_add(&download->locked.stated, checksums);
    else
        download->locked.stated = *checksums; /* of what may be another version by now */
    bool wants_crc64 = download->locked.stated.has_crc64nvme;
    pool_unlock(download->engine->pool);
    return wants_crc64;
}

static struct checksums stated_read(struct download *download)
{
    pool_lock(download->engine->pool);
    struct checksums stated = download->locked.stated;
    pool_unlock(download->engine->pool);
    return stated;
}

static int no_body(void *context, const struct http_response *response, const void *data, size_t len, struct err *err)
{
    (void)context;
    (void)response;
    (void)data;
    (void)len;
    (void)err;
    return 0;
}

static int head_ask(struct pool_worker *worker, struct download *download, struct http_response *response,
                    struct err *err)
{
    const struct fetch_want *want = download->want;
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const struct http_rules rules = fetch_rules(want->context);
    const struct source_range head = {.now_s = clock_wall_s(), .is_head = true};
    struct source_call call = {
        .context = want->context, .http = pool_worker_http(worker, &rules), .cancel = &download->stop};
    struct http_request request;
    if (source_call_begin(want->source, want->host, &call, err) != 0)
        return -1;
    int result = want->source->authorize(&call, want->found, &head, arena, &request, err);
    if (result == 0)
        result = http_perform(call.http, &request, no_body, NULL, response, call.cancel, err);
    source_call_end(&call);
    return result;
}

/* One question for an object of many parts. Without an answer nothing is stated, and the bytes' own requests tell what is wrong. */
void fetch_stated_begin(struct pool_worker *worker, struct download *download)
{
    const struct source_object *found = download->want->found;
    struct http_response response = {.status = 0};
    struct err ignored = ERR_INIT;
    bool is_large = found->size_is_known && found->size > download->engine->part_size;
    if (!download->want->source->head_states || !is_large || checksums_any(&found->stated))
        return;
    if (head_ask(worker, download, &response, &ignored) == 0 && response.status == 200)
        fetch_stated_note(download, &response.checksums);
}

/* --- what came --- */

static int piece_read(int fd, const struct part *part, uint64_t *crc, struct err *err)
{
    _cleanup_(freep) unsigned char *buffer = mem_alloc(READ_SIZE);
    for (uint64_t done = 0; done < part->len;) {
        size_t want = part->len - done < READ_SIZE ? (size_t)(part->len - done) : READ_SIZE;
        ssize_t got = pread(fd, buffer, want, (off_t)(part->offset + done));
        if (got <= 0)
            return err_set_errno(err, ERR_NONE, got < 0 ? errno : EIO, "cannot read the object back");
        *crc = crc64nvme(*crc, buffer, (size_t)got);
        done += (uint64_t)got;
    }
    return 0;
}

/* Parts that an earlier process brought have none: they are read. */
static int crc64_compose(struct download *download, uint64_t *out, struct err *err)
{
    size_t count;
    const struct part *parts = partial_parts(download->partial, &count);
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t crc = parts[i].has_crc64nvme ? parts[i].crc64nvme : 0;
        if (!parts[i].has_crc64nvme && piece_read(partial_fd(download->partial), &parts[i], &crc, err) != 0)
            return -1;
        *out = crc64nvme_combine(*out, crc, parts[i].len);
    }
    return 0;
}

static int differs(const char *name, const char *expected, const char *got, struct err *err)
{
    err_set(err, ERR_PRECONDITION, "%s expected %s got %s: the source's bytes are not those that it states", name,
            expected, got);
    return 1;
}

static int crcs_check(struct download *download, const struct checksums *stated, struct err *err)
{
    char expected[20], got[20];
    uint64_t crc64 = 0;
    uint32_t crc = partial_crc32c(download->partial);
    if (stated->has_crc32c && stated->crc32c != crc) {
        snprintf(expected, sizeof(expected), "%08" PRIx32, stated->crc32c);
        snprintf(got, sizeof(got), "%08" PRIx32, crc);
        return differs("crc32c", expected, got, err);
    }
    if (stated->has_crc64nvme && crc64_compose(download, &crc64, err) != 0)
        return -1;
    if (stated->has_crc64nvme && stated->crc64nvme != crc64) {
        snprintf(expected, sizeof(expected), "%016" PRIx64, stated->crc64nvme);
        snprintf(got, sizeof(got), "%016" PRIx64, crc64);
        return differs("crc64nvme", expected, got, err);
    }
    return 0;
}

static int bytes_check(const struct checksums *stated, const unsigned char *data, size_t len, struct err *err)
{
    char expected[SHA256_HEX], got[SHA256_HEX];
    uint8_t digest[SHA256_LEN];
    if (stated->has_sha256) {
        digest_sha256(data, len, digest);
        str_hex(stated->sha256, SHA256_LEN, expected);
        str_hex(digest, SHA256_LEN, got);
        if (strcmp(expected, got) != 0)
            return differs("sha256", expected, got, err);
    }
    if (stated->has_md5) {
        digest_md5(data, len, digest);
        str_hex(stated->md5, MD5_LEN, expected);
        str_hex(digest, MD5_LEN, got);
        if (strcmp(expected, got) != 0)
            return differs("md5", expected, got, err);
    }
    return 0;
}

static int small_check(struct download *download, const struct checksums *stated, struct err *err)
{
    size_t count;
    const struct part *parts = partial_parts(download->partial, &count);
    uint64_t len = count > 0 ? parts[count - 1].offset + parts[count - 1].len : 0;
    if ((!stated->has_sha256 && !stated->has_md5) || len > download->engine->part_size)
        return 0;
    _cleanup_(freep) unsigned char *data = mem_alloc(len + 1);
    for (size_t done = 0; done < len;) {
        ssize_t got = pread(partial_fd(download->partial), data + done, len - done, (off_t)done);
        if (got <= 0)
            return err_set_errno(err, ERR_NONE, got < 0 ? errno : EIO, "cannot read the object back");
        done += (size_t)got;
    }
    return bytes_check(stated, data, len, err);
}

int fetch_stated_check(struct download *download, struct err *err)
{
    const struct checksums stated = stated_read(download);
    if (!checksums_any(&stated))
        return 0;
    int result = crcs_check(download, &stated, err);
    return result == 0 ? small_check(download, &stated, err) : result;
}
