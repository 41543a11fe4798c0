/* Objects for the store's tests: their bytes follow from a number. */
#pragma once

#include "tests/unit/cachecore/store_fixture.h"

/* Bytes that differ at every place and in every object. */
static inline void fixture_bytes(unsigned seed, uint64_t offset, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t x = (offset + i) * 0x9e3779b97f4a7c15u + seed * 0x632be59bd9b4e019u;
        out[i] = (uint8_t)(x >> 56);
    }
}

static inline void fixture_object(unsigned seed, char out[SHA256_HEX])
{
    digest_sha256_hex(&seed, sizeof(seed), out);
}

/* Writes and records one part; the last words say what went wrong. */
static inline int fixture_part(struct partial *partial, unsigned seed, uint64_t offset, size_t len, struct err *err)
{
    uint8_t *bytes = malloc(len);
    fixture_bytes(seed, offset, bytes, len);
    struct part part = {.offset = offset, .len = len, .crc32c = crc32c(0, bytes, len)};
    int failed = fs_pwrite_all(partial_fd(partial), bytes, len, (off_t)offset);
    free(bytes);
    if (failed)
        return err_set(err, ERR_EXHAUSTED, "pwrite failed");
    return partial_record(partial, &part, err);
}

/* A whole object in parts of part_len. */
static inline int fixture_fill(struct store *store, unsigned seed, uint64_t size, size_t part_len, uint32_t *crc,
                               struct err *err)
{
    char object[SHA256_HEX];
    fixture_object(seed, object);
    _cleanup_(partial_closep) struct partial *partial = store_partial_open(store, object, size, err);
    if (!partial)
        return -1;
    for (uint64_t offset = 0; offset < size; offset += part_len) {
        size_t len = size - offset < part_len ? (size_t)(size - offset) : part_len;
        if (!parts_overlap(&partial->locked.parts, offset, len) && fixture_part(partial, seed, offset, len, err) != 0)
            return -1;
    }
    return partial_commit(partial, crc, err);
}

static inline void fixture_must_fill(struct store *store, unsigned seed, uint64_t size)
{
    struct err err = ERR_INIT;
    uint32_t crc;
    if (fixture_fill(store, seed, size, 1000, &crc, &err) != 0)
        fail_msg("fill: %s", err.message);
}

/* The object is there and holds exactly its bytes. */
static inline void fixture_check_object(struct store *store, unsigned seed, uint64_t size)
{
    char object[SHA256_HEX];
    struct err err = ERR_INIT;
    struct stat info;
    fixture_object(seed, object);
    assert_int_equal(store_object_find(store, object, size, &err), 1);
    _cleanup_(closep) int fd = store_object_open(store, object, &err);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(info.st_size, size);
    assert_int_equal(info.st_mode & (fixture_fixes_modes(fd) ? 0444 : 07777), 0444);
    uint8_t *expected = malloc(size + 1);
    uint8_t *got = malloc(size + 1);
    fixture_bytes(seed, 0, expected, size);
    assert_int_equal(read(fd, got, size + 1), size);
    assert_memory_equal(got, expected, size);
    free(expected);
    free(got);
}
