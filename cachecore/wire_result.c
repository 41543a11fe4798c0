#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cachecore/proto/fetcher.pb-c.h"
#include "cachecore/wire.h"

#define RESULT_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define DISPLAY_MAX 8192u

static char *borrow(const char *text)
{
    return (char *)(uintptr_t)text;
}

struct sink {
    int fd;
    uint64_t offset;
};

static int sink_add(struct sink *sink, const void *data, size_t len, struct err *err)
{
    if (sink->offset + len > WIRE_RESULT_MAX)
        return err_set(err, ERR_EXHAUSTED, "the lists of all inputs take more than %llu bytes",
                       (unsigned long long)WIRE_RESULT_MAX);
    if (fs_pwrite_all(sink->fd, data, len, (off_t)sink->offset) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot write the result to memory");
    sink->offset += len;
    return 0;
}

static int entry_add(struct sink *sink, const Fetcher__ResultInput *entry, struct err *err)
{
    size_t len = fetcher__result_input__get_packed_size(entry);
    if (len > WIRE_ENTRY_MAX)
        return err_set(err, ERR_EXHAUSTED, "an input's names take %zu bytes", len);
    _cleanup_(str_deinitp) struct str packed = STR_INIT;
    uint32_t prefix = htole32((uint32_t)len);
    str_append(&packed, &prefix, sizeof(prefix));
    str_reserve(&packed, len);
    packed.len += fetcher__result_input__pack(entry, (uint8_t *)packed.data + packed.len);
    return sink_add(sink, packed.data, packed.len, err);
}

static int piece_add(void *context, const void *data, size_t len, struct err *err)
{
    return sink_add(context, data, len, err);
}

static int input_write(struct sink *sink, const struct fill_input_result *input, struct err *err)
{
    Fetcher__ResultInput entry;
    fetcher__result_input__init(&entry);
    entry.place = borrow(input->place);
    entry.is_file = input->is_file;
    entry.display = borrow(input->display);
    entry.snapshot = borrow(input->snapshot);
    entry.bytes_hit = input->bytes_hit;
    entry.bytes_missed = input->bytes_missed;
    entry.list_len = snapshot_text_len(&input->list);
    if (entry_add(sink, &entry, err) != 0)
        return -1;
    return snapshot_write_pieces(&input->list, piece_add, sink, err);
}

int wire_result_seal(const struct fill_result *result, struct err *err)
{
    _cleanup_(closep) int fd = memfd_create("sharedcache-result", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot make memory for the result");
    struct sink sink = {.fd = fd};
    for (size_t i = 0; i < result->count; i++) {
        if (input_write(&sink, &result->inputs[i], err) != 0)
            return -1;
    }
    if (fcntl(fd, F_ADD_SEALS, RESULT_SEALS) != 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot seal the result");
    return STEAL_FD(fd);
}

static bool text_is_plain(const char *text)
{
    size_t len = strlen(text);
    if (len > DISPLAY_MAX || !str_is_utf8(text, len))
        return false;
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    }
    return true;
}

static int entry_check(const Fetcher__ResultInput *entry, struct err *err)
{
    if (!text_is_plain(entry->display))
        return err_set(err, ERR_CORRUPT, "the fetcher's result holds a name that is not plain text");
    size_t len = strlen(entry->place);
    bool is_root = !entry->is_file && len == 0;
    if (!is_root && snapshot_path_check(entry->place, len, err) != 0) {
        err->code = ERR_CORRUPT;
        return err_prefix(err, "the fetcher's result");
    }
    return 0;
}

static void entry_read(const Fetcher__ResultInput *entry, struct arena *arena, struct fill_input_result *out)
{
    out->place = arena_strdup(arena, entry->place);
    out->display = arena_strdup(arena, entry->display);
    out->is_file = entry->is_file;
    out->bytes_hit = entry->bytes_hit;
    out->bytes_missed = entry->bytes_missed;
}

static int list_read(const char *text, uint64_t len, const char *id, size_t max_files, struct arena *arena,
                     struct fill_input_result *out, struct err *err)
{
    if (snapshot_parse(arena, text, len, max_files, &out->list, err) != 0)
        return err_prefix(err, "the fetcher's result");
    digest_sha256_hex(text, len, out->snapshot); /* there is one text for one list */
    if (strcmp(out->snapshot, id) != 0)
        return err_set(err, ERR_CORRUPT, "the fetcher's result: the list of %s is not the one that its id names",
                       out->display);
    if (out->is_file && out->list.count != 1)
        return err_set(err, ERR_CORRUPT, "the fetcher's result: %s is one file but lists %zu", out->display,
                       out->list.count);
    return 0;
}

struct reader {
    const char *data; /* what is left */
    uint64_t len;
    uint64_t max_files;
    struct arena *arena;
};

static const char *take(struct reader *reader, uint64_t len)
{
    if (len > reader->len)
        return NULL;
    const char *at = reader->data;
    reader->data += len;
    reader->len -= len;
    return at;
}

/* One entry at a time: a header of all would let a few bytes ask for much memory. */
static Fetcher__ResultInput *entry_take(struct reader *reader)
{
    uint32_t len;
    const char *prefix = take(reader, sizeof(len));
    if (!prefix)
        return NULL;
    memcpy(&len, prefix, sizeof(len));
    len = le32toh(len);
    const char *packed = len <= WIRE_ENTRY_MAX ? take(reader, len) : NULL;
    return packed ? fetcher__result_input__unpack(NULL, len, (const uint8_t *)packed) : NULL;
}

static int input_read(struct reader *reader, struct fill_input_result *out, struct err *err)
{
    Fetcher__ResultInput *entry = entry_take(reader);
    const char *text = entry ? take(reader, entry->list_len) : NULL;
    int result = -1;
    if (!text)
        err_set(err, ERR_CORRUPT, "the fetcher's result is cut short or no message of ours");
    else if (entry_check(entry, err) == 0) {
        entry_read(entry, reader->arena, out);
        result = list_read(text, entry->list_len, entry->snapshot, reader->max_files, reader->arena, out, err);
        reader->max_files -= result == 0 ? out->list.count : 0;
    }
    if (entry)
        fetcher__result_input__free_unpacked(entry, NULL);
    return result;
}

static int inputs_read(struct reader *reader, struct fill_result *out, struct err *err)
{
    struct fill_result result = {.inputs = NULL};
    size_t capacity = 0;
    while (reader->len > 0) {
        if (result.count == INPUTS_MAX)
            return err_set(err, ERR_CORRUPT, "the fetcher's result has more than %u inputs", INPUTS_MAX);
        if (result.count == capacity) {
            capacity = capacity > 0 ? capacity * 2 : 16;
            struct fill_input_result *grown = arena_calloc(reader->arena, capacity, sizeof(*grown));
            if (result.count > 0)
                memcpy(grown, result.inputs, result.count * sizeof(*grown));
            result.inputs = grown;
        }
        if (input_read(reader, &result.inputs[result.count], err) != 0)
            return -1;
        result.count++;
    }
    *out = result;
    return 0;
}

static int result_check(int fd, size_t *size, struct err *err)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & RESULT_SEALS) != RESULT_SEALS)
        return err_set(err, ERR_CORRUPT, "the fetcher's result is not sealed memory");
    if (fstat(fd, &st) != 0 || st.st_size <= 0 || (uint64_t)st.st_size > WIRE_RESULT_MAX)
        return err_set(err, ERR_CORRUPT, "the fetcher's result is empty or too large");
    *size = (size_t)st.st_size;
    return 0;
}

int wire_result_read(int fd, uint64_t max_files, struct arena *arena, struct fill_result *out, struct err *err)
{
    size_t size = 0;
    if (result_check(fd, &size, err) != 0)
        return -1;
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return err_set_errno(err, ERR_NONE, errno, "cannot map the fetcher's result");
    struct reader reader = {.data = data, .len = size, .max_files = max_files, .arena = arena};
    int result = inputs_read(&reader, out, err);
    munmap(data, size);
    return result;
}
