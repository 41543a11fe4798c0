#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "cachecore/credential_cache.h"
#include "cachecore/fetch_internal.h"

#define RENEWALS_MAX 3u /* of the credentials of a part that gets nowhere */

/* A part as its bytes come in. */
struct transfer {
    struct download *download;
    const struct source_object *found;
    uint64_t offset, end; /* end UINT64_MAX: until the source ends */
    bool is_ranged;
    bool joins;     /* its bytes may meet those of another request in the object */
    unsigned tries; /* that the part has behind it */
    int fd;
    uint64_t got;
    uint64_t recorded; /* of got */
    uint32_t crc;      /* of what is not recorded yet */
    bool wants_crc64;
    uint64_t crc64;
    enum part_verdict verdict; /* PART_DONE until something says otherwise */
};

struct http_rules fetch_rules(const struct source_context *context)
{
    return (struct http_rules){.allowed_addresses = context->class->allowed_addresses,
                               .ca_bundle = context->class->ca_bundle,
                               .proxy = context->class->proxy};
}

static int refuse(struct transfer *transfer, enum part_verdict verdict, struct err *err, enum err_code code,
                  const char *why)
{
    transfer->verdict = verdict;
    return err_set(err, code, "%s", why);
}

/* Bytes of another version must never meet those that are there (faults 58, 59). */
static bool version_differs(const struct transfer *transfer, const struct http_response *response)
{
    const struct source_object *found = transfer->found;
    if (found->etag)
        return strcmp(found->etag, response->etag) != 0;
    if (found->version_id && response->version_id[0])
        return strcmp(found->version_id, response->version_id) != 0;
    return found->mtime_s != 0 && response->last_modified_s != 0 && found->mtime_s != response->last_modified_s;
}

static int ranged_check(struct transfer *transfer, const struct http_response *response, struct err *err)
{
    const struct source_object *found = transfer->found;
    if (response->status == 200)
        return refuse(transfer, PART_NO_RANGES, err, ERR_UNAVAILABLE,
                      "the server sent the whole object instead of a range");
    if (found->etag ? response->etag[0] == '\0' : found->version_id && response->version_id[0] == '\0')
        return refuse(transfer, PART_NO_RANGES, err, ERR_UNAVAILABLE, "the server sent a range without its version");
    bool fits = response->has_range && response->range_first == transfer->offset &&
                response->range_last + 1 == transfer->end &&
                (response->range_total == UINT64_MAX || response->range_total == found->size);
    if (!version_differs(transfer, response) && !fits)
        return refuse(transfer, PART_NO_RANGES, err, ERR_UNAVAILABLE,
                      "the server sent another range than the one asked for");
    return 0;
}

static int whole_check(struct transfer *transfer, const struct http_response *response, struct err *err)
{
    if (response->status != 200)
        return refuse(transfer, PART_FAILED, err, ERR_PRECONDITION, "the server sent a range that was not asked for");
    const struct source_object *found = transfer->found;
    if (found->size_is_known && response->content_length >= 0 && (uint64_t)response->content_length != found->size)
        return refuse(transfer, PART_CHANGED, err, ERR_UNAVAILABLE, "the size changed during the download");
    return 0;
}

static int headers_check(struct transfer *transfer, const struct http_response *response, struct err *err)
{
    if (response->status != 200 && response->status != 206)
        return 0; /* its body is not for us; the status is looked at when it is over */
    int result = transfer->is_ranged ? ranged_check(transfer, response, err) : whole_check(transfer, response, err);
    if (result != 0)
        return -1;
    if (version_differs(transfer, response))
        return refuse(transfer, PART_CHANGED, err, ERR_UNAVAILABLE, "the object changed during the download");
    transfer->wants_crc64 = fetch_stated_note(transfer->download, &response->checksums);
    return 0;
}

static int write_error(struct transfer *transfer, int errnum, struct err *err)
{
    transfer->verdict = PART_FAILED;
    err_set_errno(err, ERR_NONE, errnum, "cannot write to the store");
    if (err->code == ERR_EXHAUSTED)
        return err_prefix(err, "the store is full");
    return -1;
}

static int rest_record(struct transfer *transfer, struct err *err)
{
    const struct part part = {.offset = transfer->offset + transfer->recorded,
                              .len = transfer->got - transfer->recorded,
                              .crc32c = transfer->crc,
                              .has_crc64nvme = transfer->wants_crc64,
                              .crc64nvme = transfer->crc64};
    transfer->recorded = transfer->got;
    transfer->crc = 0;
    transfer->crc64 = 0;
    if (part.len == 0 || partial_record(transfer->download->partial, &part, err) == 0)
        return 0;
    transfer->verdict = PART_FAILED;
    return -1;
}

/* So that a kill costs little of what came, and the journal of a huge object stays small. */
static uint64_t piece_size(const struct transfer *transfer)
{
    uint64_t share = transfer->found->size / FETCH_PIECES;
    return share > FETCH_PIECE_SIZE ? share : FETCH_PIECE_SIZE;
}

static int transfer_sink(void *context, const struct http_response *response, const void *data, size_t len,
                         struct err *err)
{
    struct transfer *transfer = context;
    if (len == 0)
        return headers_check(transfer, response, err);
    if (len > transfer->end - transfer->offset - transfer->got)
        return refuse(transfer, PART_FAILED, err, ERR_PRECONDITION, "the server sent more bytes than it said");
    if (fs_pwrite_all(transfer->fd, data, len, (off_t)(transfer->offset + transfer->got)) != 0)
        return write_error(transfer, errno, err);
    transfer->crc = crc32c(transfer->crc, data, len);
    if (transfer->wants_crc64)
        transfer->crc64 = crc64nvme(transfer->crc64, data, len);
    transfer->got += len;
    atomic_fetch_add(&transfer->download->bytes, len);
    atomic_fetch_add(&transfer->download->progress->bytes_fetched, len);
    bool is_piece = transfer->joins && transfer->got - transfer->recorded >= piece_size(transfer);
    return is_piece ? rest_record(transfer, err) : 0;
}

/* The request as the source made it, past caches if an earlier answer was wrong. */
static void caches_bypass(struct arena *arena, struct http_request *request)
{
    struct http_header *headers = arena_calloc(arena, request->header_count + 2, sizeof(*headers));
    if (request->header_count > 0)
        memcpy(headers, request->headers, request->header_count * sizeof(*headers));
    headers[request->header_count] = (struct http_header){.name = "Cache-Control", .value = "no-cache"};
    headers[request->header_count + 1] = (struct http_header){.name = "Pragma", .value = "no-cache"};
    request->headers = headers;
    request->header_count += 2;
}

static enum part_verdict verdict_of_status(const struct transfer *transfer, const struct http_response *response,
                                           struct err *err)
{
    if (response->status == 412 || response->status == 416) {
        err_set(err, ERR_UNAVAILABLE, "the object changed during the download");
        return PART_CHANGED;
    }
    source_status_error(response, transfer->found->display, err);
    return err->code == ERR_UNAVAILABLE ? PART_RETRY : PART_FAILED;
}

/* After a complete response: was it the right one, and all of it? */
static void response_judge(struct transfer *transfer, const struct http_response *response, struct err *err)
{
    if (response->status != 200 && response->status != 206) {
        transfer->verdict = verdict_of_status(transfer, response, err);
        return;
    }
    /* A body of no bytes may never have reached the sink. */
    if (transfer->got == 0 && headers_check(transfer, response, err) != 0)
        return;
    if (transfer->end != UINT64_MAX && transfer->got < transfer->end - transfer->offset) {
        transfer->verdict = PART_RETRY;
        err_set(err, ERR_UNAVAILABLE, "the server sent fewer bytes than it said");
    }
}

static void failure_judge(struct transfer *transfer, const struct err *err)
{
    if (transfer->verdict == PART_DONE)
        transfer->verdict = err->code == ERR_UNAVAILABLE || err->code == ERR_CANCELLED ? PART_RETRY : PART_FAILED;
}

/* Credentials that end on the way are looked up anew: the next try of the part goes out with others. */
static void credentials_judge(struct transfer *transfer, const struct source_call *call, const struct err *err)
{
    bool refused = transfer->verdict == PART_FAILED && err->code == ERR_UNAUTHENTICATED;
    if (!refused || call->credentials->expires_s == 0 || transfer->tries >= RENEWALS_MAX)
        return;
    credential_cache_drop(call->credentials);
    transfer->verdict = PART_RETRY;
}

static int request_make(const struct transfer *transfer, const struct source_call *call, struct arena *arena,
                        struct http_request *out, struct err *err)
{
    const struct fetch_want *want = transfer->download->want;
    const struct source_range range = {.offset = transfer->offset,
                                       .len = transfer->is_ranged ? transfer->end - transfer->offset : 0,
                                       .now_s = clock_wall_s()};
    if (want->source->authorize(call, want->found, &range, arena, out, err) != 0)
        return -1;
    out->body_max = transfer->end == UINT64_MAX ? want->max_bytes : transfer->end - transfer->offset;
    if (transfer->download->bypass_caches)
        caches_bypass(arena, out);
    return 0;
}

static int transfer_perform(struct pool_worker *worker, struct transfer *transfer, int64_t *retry_after_s,
                            struct err *err)
{
    const struct fetch_want *want = transfer->download->want;
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    const struct http_rules rules = fetch_rules(want->context);
    struct source_call call = {
        .context = want->context, .http = pool_worker_http(worker, &rules), .cancel = &transfer->download->stop};
    struct http_request request;
    struct http_response response = {.retry_after_s = -1};
    if (source_call_begin(want->source, want->host, &call, err) != 0)
        return -1;
    int result = request_make(transfer, &call, arena, &request, err);
    if (result == 0)
        result = http_perform(call.http, &request, transfer_sink, transfer, &response, call.cancel, err);
    if (result == 0) {
        *retry_after_s = response.retry_after_s;
        response_judge(transfer, &response, err);
        credentials_judge(transfer, &call, err);
    }
    source_call_end(&call);
    return result;
}

/* What came is kept where later bytes may join it. */
static int transfer_record(struct transfer *transfer, struct err *err)
{
    bool is_whole = transfer->verdict == PART_DONE;
    if (is_whole && transfer->end == UINT64_MAX &&
        partial_set_size(transfer->download->partial, transfer->got, err) != 0)
        return -1;
    return is_whole || transfer->joins ? rest_record(transfer, err) : 0;
}

void fetch_part_run(struct pool_worker *worker, struct download *download, const struct gap *part,
                    struct part_result *out)
{
    struct transfer transfer = {.download = download,
                                .found = download->want->found,
                                .offset = part->offset,
                                .end = part->end,
                                .is_ranged = !download->is_stream,
                                .tries = part->tries,
                                .fd = partial_fd(download->partial)};
    *out = (struct part_result){.retry_after_s = -1};
    if (transfer.offset == 0 && transfer.end == transfer.found->size)
        transfer.is_ranged = false;
    transfer.joins = !download->is_stream;
    if (transfer_perform(worker, &transfer, &out->retry_after_s, &out->err) != 0)
        failure_judge(&transfer, &out->err);
    struct err record_err = ERR_INIT;
    if (transfer_record(&transfer, &record_err) != 0) {
        transfer.verdict = PART_FAILED;
        out->err = record_err;
    }
    out->verdict = transfer.verdict;
    out->got = transfer.got;
}
