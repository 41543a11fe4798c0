#include "cachecore/copy_job.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/crash.h"
#include "base/fs.h"

bool copy_is_cancelled(const struct copy_way *way)
{
    return way->cancel && atomic_load(way->cancel);
}

static void done_add(const struct copy_way *way, uint64_t bytes)
{
    if (way->bytes_done)
        atomic_fetch_add(way->bytes_done, bytes);
}

/* What does not match its sums or its size is put aside where it came from, so that it is fetched again. */
static int source_corrupt(const struct copy_way *way, const struct copy_job *job, const char *what, struct err *err)
{
    struct err ignored = ERR_INIT;
    bool is_moved = store_object_quarantine(way->from, job->object->object, &ignored) == 0;
    return err_set(err, ERR_CORRUPT, "object %.16s in the share %s%s", job->object->object, what,
                   is_moved ? ": it was moved to quarantine and will be fetched again" : "");
}

static int source_open(const struct copy_way *way, struct copy_job *job, struct err *err)
{
    struct stat info;
    job->source = store_object_open(way->from, job->object->object, err);
    if (job->source < 0)
        return -1;
    if (fstat(job->source, &info) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot look at object %.16s", job->object->object);
    if ((uint64_t)info.st_size != job->object->size)
        return source_corrupt(way, job, "has not its size", err);
    return 0;
}

static void parts_make(struct copy_job *job, uint64_t part_size)
{
    uint64_t size = job->object->size;
    uint64_t offset = 0;
    job->sums = (struct sums){.size = size, .count = (size_t)(size / part_size + (size % part_size != 0))};
    job->sums.parts = arena_calloc(job->arena, job->sums.count, sizeof(*job->sums.parts));
    for (size_t i = 0; i < job->sums.count; i++) {
        uint64_t len = size - offset < part_size ? size - offset : part_size;
        job->sums.parts[i] = (struct part){.offset = offset, .len = len};
        offset += len;
    }
}

static int parts_load(const struct copy_way *way, struct copy_job *job, struct err *err)
{
    int found = store_sums_read(way->from, job->object->object, job->arena, &job->sums, err);
    if (found < 0)
        return -1;
    job->has_sums = found == 1;
    if (found == 1 && job->sums.size != job->object->size)
        return source_corrupt(way, job, "has sums of another size", err);
    if (found == 0)
        parts_make(job, way->part_size);
    job->is_done = arena_calloc(job->arena, job->sums.count, sizeof(*job->is_done));
    return 0;
}

/* Marks what the target holds already. -1: it was cut into other parts, or holds other bytes. */
static int parts_match(struct copy_job *job, uint64_t *bytes)
{
    size_t count;
    const struct part *held = partial_parts(job->target, &count);
    size_t i = 0;
    *bytes = 0;
    for (size_t j = 0; j < count; j++) {
        while (i < job->sums.count && job->sums.parts[i].offset < held[j].offset)
            i++;
        if (i == job->sums.count || job->sums.parts[i].offset != held[j].offset ||
            job->sums.parts[i].len != held[j].len || (job->has_sums && job->sums.parts[i].crc32c != held[j].crc32c))
            return -1;
        job->is_done[i] = true;
        *bytes += held[j].len;
    }
    return 0;
}

static int disk_full(const struct copy_way *way, const struct copy_job *job, uint64_t free_bytes, struct err *err)
{
    char has[16];
    char floor_text[16];
    char size[16];
    str_human_bytes(free_bytes, has);
    str_human_bytes(way->floor_bytes, floor_text);
    str_human_bytes(job->object->size, size);
    return err_set(err, ERR_EXHAUSTED, "the node's disk is full: an object needs %s, %s free, %s are kept free", size,
                   has, floor_text);
}

static int write_failed(const struct copy_way *way, const struct copy_job *job, int errnum, struct err *err)
{
    struct statvfs info;
    if ((errnum == ENOSPC || errnum == EDQUOT) && fstatvfs(partial_fd(job->target), &info) == 0)
        return disk_full(way, job, (uint64_t)info.f_bavail * info.f_frsize, err);
    return err_set_errno(err, ERR_NONE, errnum, "cannot copy object %.16s to the node's disk", job->object->object);
}

/* The room that the partial itself has reserved counts as free. */
static int floor_check(const struct copy_way *way, const struct copy_job *job, struct err *err)
{
    struct statvfs info;
    struct stat data;
    int fd = partial_fd(job->target);
    if (way->floor_bytes == 0 || fstatvfs(fd, &info) != 0 || info.f_blocks == 0 || fstat(fd, &data) != 0)
        return 0;
    uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize + (uint64_t)data.st_blocks * 512;
    if (free_bytes >= job->object->size && free_bytes - job->object->size >= way->floor_bytes)
        return 0;
    return disk_full(way, job, free_bytes, err);
}

static int target_open(const struct copy_way *way, struct copy_job *job, struct err *err)
{
    uint64_t held;
    struct err ignored = ERR_INIT;
    job->target = store_partial_open(way->to, job->object->object, job->object->size, err);
    if (!job->target)
        return -1;
    if (floor_check(way, job, err) != 0) {
        partial_discard(job->target, &ignored); /* its room is what the disk needs back. Row 106 */
        return -1;
    }
    if (parts_match(job, &held) != 0) {
        memset(job->is_done, 0, job->sums.count * sizeof(*job->is_done));
        held = 0;
        if (partial_restart(job->target, err) != 0)
            return -1;
    }
    done_add(way, held);
    return 0;
}

int copy_job_open(const struct copy_way *way, const struct plan_object *object, struct copy_job *out, struct err *err)
{
    struct copy_job job = {.object = object, .source = -1};
    int found = store_object_find(way->to, object->object, object->size, err);
    if (found < 0)
        return -1;
    if (found == 1) {
        done_add(way, object->size);
        *out = job;
        return 0;
    }
    job.arena = arena_new();
    if (source_open(way, &job, err) != 0 || parts_load(way, &job, err) != 0 || target_open(way, &job, err) != 0) {
        copy_job_close(&job);
        return -1;
    }
    *out = job;
    return 0;
}

void copy_job_close(struct copy_job *job)
{
    if (job->source >= 0)
        close(job->source);
    partial_close(job->target);
    arena_free(job->arena);
    *job = (struct copy_job){.source = -1};
}

/* The bytes of one part, through a buffer that need not hold it whole. */
static int part_carry(const struct copy_way *way, struct copy_job *job, struct part *part, uint8_t *buffer, size_t size,
                      struct err *err)
{
    for (uint64_t done = 0; done < part->len;) {
        size_t want = part->len - done < size ? (size_t)(part->len - done) : size;
        off_t offset = (off_t)(part->offset + done);
        if (copy_is_cancelled(way))
            return err_set(err, ERR_CANCELLED, "the copy was cancelled");
        ssize_t got = pread(job->source, buffer, want, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, ERR_NONE, errno, "cannot read object %.16s", job->object->object);
        if (got == 0)
            return source_corrupt(way, job, "is shorter than its size", err);
        if (fs_pwrite_all(partial_fd(job->target), buffer, (size_t)got, offset) != 0)
            return write_failed(way, job, errno, err);
        part->crc32c = crc32c(part->crc32c, buffer, (size_t)got);
        done += (uint64_t)got;
        done_add(way, (uint64_t)got);
    }
    return 0;
}

int copy_job_part(const struct copy_way *way, struct copy_job *job, size_t index, uint8_t *buffer, size_t size,
                  struct err *err)
{
    struct part part = {.offset = job->sums.parts[index].offset, .len = job->sums.parts[index].len};
    if (job->is_done[index])
        return 0;
    if (part_carry(way, job, &part, buffer, size, err) != 0)
        return -1;
    if (job->has_sums && part.crc32c != job->sums.parts[index].crc32c)
        return source_corrupt(way, job, "does not match its checksums", err);
    return partial_record(job->target, &part, err);
}

int copy_job_commit(struct copy_job *job, struct err *err)
{
    uint32_t crc;
    if (partial_commit(job->target, &crc, err) != 0)
        return -1;
    crash_point("fill.copied");
    return 0;
}
