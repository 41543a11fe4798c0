#include <string.h>

#include "base/clock.h"
#include "cachecore/fill_internal.h"
#include "cachecore/listing.h"
#include "cachecore/source_probe.h"

#define TRIES 4u       /* while what is listed changes under the proof */
#define SCRATCH_OF 256 /* files that share a scratch arena */

void fill_object_id(const struct fill *fill, const struct source_object *found, const char *validator,
                    char out[SHA256_HEX])
{
    char identity[SHA256_HEX] = "";
    if (!found->validator_is_strong)
        identity_id(fill->request->context.identity, identity);
    object_id(found->kind, found->authority, found->canonical, validator, identity, out);
}

int fill_member(const struct source_call *call, const struct fill_file *file, struct arena *arena,
                struct source_object *out, struct err *err)
{
    size_t len;
    const char *key = listing_key(arena, file->base, file->file->path, &len);
    const struct source_entry entry = {.key = key,
                                       .key_len = len,
                                       .size = file->file->size,
                                       .mtime_s = file->file->mtime_s,
                                       .mtime_ns = file->file->mtime_ns,
                                       .validator = file->file->validator};
    return file->item->source->member(call, &file->item->input->url, &entry, arena, out, err);
}

int fill_member_ids(const struct fill *fill, const struct fill_members *members, fill_member_each each, void *context,
                    struct err *err)
{
    struct source_call call = {.context = &fill->request->context, .cancel = fill->cancel};
    const struct fill_item *item = members->item;
    if (source_call_begin(item->source, item->input->url.host, &call, err) != 0)
        return -1;
    int result = 0;
    struct arena *arena = NULL;
    for (size_t i = 0; i < members->count && result == 0; i++) {
        struct source_object object;
        const struct fill_file file = {.item = item, .base = members->base, .file = &members->files[i]};
        if (i % SCRATCH_OF == 0) {
            arena_free(arena);
            arena = arena_new();
        }
        result = atomic_load(fill->cancel) ? err_set(err, ERR_CANCELLED, "the fill was cancelled")
                                           : fill_member(&call, &file, arena, &object, err);
        if (result == 0)
            result = each(fill, context, i, &object, err);
    }
    arena_free(arena);
    source_call_end(&call);
    return result;
}

static int id_set(const struct fill *fill, void *context, size_t index, const struct source_object *object,
                  struct err *err)
{
    struct snapshot_file *files = context;
    (void)err;
    fill_object_id(fill, object, files[index].validator, files[index].object);
    return 0;
}

/* What other inputs leave of the class's limits, so that a listing ends where the volume would be refused. */
static uint64_t rest_of(uint64_t limit, uint64_t used)
{
    if (limit == 0)
        return UINT64_MAX;
    return limit > used ? limit - used : 1;
}

static struct listing_request request_make(const struct fill *fill, const struct fill_item *item)
{
    uint64_t files = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < fill->count; i++) {
        const struct fill_item *other = &fill->items[i];
        files += other->has_list ? other->list.count : other != item;
        bytes += other->has_list ? other->list.bytes : 0;
    }
    return (struct listing_request){.source = item->source,
                                    .context = &fill->request->context,
                                    .url = &item->input->url,
                                    .max_files = rest_of(fill->request->max_files, files),
                                    .max_bytes = rest_of(fill->request->max_bytes, bytes),
                                    .deadline_ms = clock_monotonic_ms() + FILL_ASK_MS,
                                    .cancel = fill->cancel};
}

static int prefix_list(const struct fill *fill, const struct fill_item *item, struct answer *out, struct err *err)
{
    const struct listing_request request = request_make(fill, item);
    struct listing listing;
    if (listing_run(fill->engine->asks, &request, out->arena, &listing, err) != 0)
        return -1;
    if (listing.count == 0)
        return err_set(err, ERR_NOT_FOUND, "nothing is there that this identity may list");
    const struct fill_members members = {
        .item = item, .base = listing.base, .files = listing.files, .count = listing.count};
    if (fill_member_ids(fill, &members, id_set, listing.files, err) != 0 ||
        snapshot_make(out->arena, listing.files, listing.count, &out->list, err) != 0)
        return -1;
    out->is_list = true;
    out->base = listing.base;
    snapshot_id(&out->list, out->snapshot);
    return 0;
}

/* --- the proof --- */

struct proof {
    const struct fill *fill;
    const struct fill_item *item;
    const struct answer *answer;
    size_t picked; /* authorize: prefix */
    atomic_bool is_changed;
};

struct proof_file {
    struct proof *proof;
    struct fill_file file;
};

static bool says_changed(int status)
{
    return status == 404 || status == 412 || status == 416;
}

/* A read of the first byte of the version that was listed. */
static int read_question(const struct source_call *call, void *context, struct err *err)
{
    const struct proof_file *asked = context;
    _cleanup_(arena_wipe_freep) struct arena *arena = arena_new();
    struct source_object object;
    struct http_response response;
    if (fill_member(call, &asked->file, arena, &object, err) != 0)
        return -1;
    const char *etag = object.etag;
    int result = source_probe(asked->file.item->source, call, arena, &object, &response, err);
    bool is_other = result == 0 && etag && (!object.etag || strcmp(etag, object.etag) != 0);
    if (is_other)
        result = err_set(err, ERR_UNSUPPORTED, "the source reads another version than it lists");
    if (is_other || (result != 0 && says_changed(response.status)))
        atomic_store(&asked->proof->is_changed, true);
    return result;
}

static int proof_run(struct pool_worker *worker, void *context, size_t index, struct err *err)
{
    struct proof *proof = context;
    const struct fill *fill = proof->fill;
    const struct fill_item *item = proof->item;
    bool is_each = fill->request->context.class->authorize == AUTHORIZE_OBJECT;
    const struct snapshot_file *file = &proof->answer->list.files[is_each ? index : proof->picked];
    struct proof_file asked = {.proof = proof, .file = {.item = item, .base = proof->answer->base, .file = file}};
    if (is_each && answers_may_read(fill->engine->answers, &item->question, file->object))
        return 0;
    const struct source_asking asking = fill_asking(fill, item->source, &item->input->url, worker);
    if (source_ask(&asking, read_question, &asked, err) != 0)
        return err->code == ERR_CANCELLED ? -1 : err_prefix(err, "'%.200s'", file->path);
    if (is_each)
        answers_read(fill->engine->answers, &item->question, file->object);
    return 0;
}

/*
 * Which object has to be read under "authorize: prefix": one that the requester does not choose, cannot guess, and does not get
 * another of by asking again. (Who may put an object of his own below a prefix can still make lists in which it is likely: where rights
 * differ below a prefix, the rule is "object".)
 */
static size_t pick(const struct fill *fill, const struct fill_item *item, const struct answer *answer)
{
    _cleanup_(sha256_freep) struct sha256 *sha = sha256_new();
    uint8_t digest[SHA256_LEN];
    uint64_t number;
    sha256_field(sha, fill->engine->pick_key, sizeof(fill->engine->pick_key));
    sha256_field(sha, item->question.identity, strlen(item->question.identity));
    sha256_field(sha, answer->snapshot, strlen(answer->snapshot));
    sha256_final(sha, digest);
    memcpy(&number, digest, sizeof(number));
    return number % answer->list.count;
}

/* 1: the identity may read what is listed, 0: it changed meanwhile, -1: error. */
static int prefix_prove(const struct fill *fill, const struct fill_item *item, const struct answer *answer,
                        struct err *err)
{
    struct proof proof = {.fill = fill, .item = item, .answer = answer, .picked = pick(fill, item, answer)};
    bool is_each = fill->request->context.class->authorize == AUTHORIZE_OBJECT;
    size_t failed;
    if (pool_each(fill->engine->asks, is_each ? answer->list.count : 1, proof_run, &proof, fill->cancel, &failed,
                  err) == 0)
        return 1;
    return err->code != ERR_CANCELLED && atomic_load(&proof.is_changed) ? 0 : -1;
}

static bool source_is_silent(const struct fill *fill, const struct fill_item *item, const struct err *err)
{
    struct source_call call = {.context = &fill->request->context, .cancel = fill->cancel};
    struct err ignored = ERR_INIT;
    if (err->code != ERR_UNAVAILABLE || source_call_begin(item->source, item->input->url.host, &call, &ignored) != 0)
        return false; /* a token service is not the source */
    source_call_end(&call);
    return true;
}

int fill_prefix_ask(const struct fill *fill, const struct fill_item *item, struct answer_asking *asking)
{
    struct answer *answer = asking->answer;
    for (unsigned try = 0; try < TRIES; try++) {
        asking->err = (struct err)ERR_INIT;
        arena_wipe_free(answer->arena);
        answer->arena = arena_new();
        int proved =
            prefix_list(fill, item, answer, &asking->err) == 0 ? prefix_prove(fill, item, answer, &asking->err) : -1;
        if (proved > 0)
            return 0;
        if (proved < 0)
            break;
    }
    asking->is_unreachable = source_is_silent(fill, item, &asking->err);
    return -1;
}

void fill_take_list(struct fill_item *item)
{
    item->list = item->answer->list;
    memcpy(item->snapshot, item->answer->snapshot, sizeof(item->snapshot));
    item->has_list = true;
}
