/* Sealed memory of a fetcher that was taken over: what is accepted has only places and paths that are fit for a view. */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "cachecore/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void input_check(const struct fill_input_result *input)
{
    struct err err = ERR_INIT;
    assert(input->place[0] == '\0' || snapshot_path_check(input->place, strlen(input->place), &err) == 0);
    assert(!input->is_file || input->list.count == 1);
    for (size_t i = 0; i < input->list.count; i++)
        assert(snapshot_path_check(input->list.files[i].path, strlen(input->list.files[i].path), &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct arena *arena = arena_new();
    struct fill_result result;
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    assert(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
    if (wire_result_read(fd, 1000, arena, &result, &err) == 0) {
        for (size_t i = 0; i < result.count; i++)
            input_check(&result.inputs[i]);
    } else {
        assert(err.code == ERR_CORRUPT);
    }
    close(fd);
    arena_free(arena);
    return 0;
}
