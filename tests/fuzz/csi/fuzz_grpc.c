/* grpc-timeout, grpc-message both ways, and the message reader: whole and in pieces must agree. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "csi/grpc.h"

#define MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum grpc_status read_in_steps(const uint8_t *data, size_t size, size_t step, struct grpc_reader *reader)
{
    enum grpc_status status = GRPC_OK;
    const char *reason;
    for (size_t at = 0; at < size && status == GRPC_OK; at += step) {
        size_t part = size - at < step ? size - at : step;
        status = grpc_reader_add(reader, data + at, part, MAX, &reason);
    }
    return status == GRPC_OK ? grpc_reader_finish(reader, &reason) : status;
}

static void check_reader(const uint8_t *data, size_t size)
{
    struct grpc_reader whole = {.message = NULL};
    struct grpc_reader pieces = {.message = NULL};
    enum grpc_status status = read_in_steps(data, size, size > 0 ? size : 1, &whole);
    assert(read_in_steps(data, size, 3, &pieces) == status);
    if (status == GRPC_OK) {
        assert(whole.message && pieces.message && whole.len == pieces.len);
        assert(memcmp(whole.message, pieces.message, whole.len) == 0);
    }
    grpc_reader_deinit(&whole);
    grpc_reader_deinit(&pieces);
}

static void check_message(const uint8_t *data, size_t size)
{
    char *text = mem_alloc(size + 1);
    char *back = mem_alloc(size + 1);
    _cleanup_(str_deinitp) struct str encoded = STR_INIT;
    grpc_message_decode((const char *)data, size, text, size + 1);
    grpc_message_encode(text, &encoded);
    assert(encoded.len <= GRPC_MESSAGE_MAX);
    grpc_message_decode(encoded.data ? encoded.data : "", encoded.len, back, size + 1);
    assert(str_is_utf8(back, strlen(back)));
    assert(!str_is_utf8(text, strlen(text)) || strncmp(text, back, strlen(back)) == 0);
    free(text);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t timeout_ms = grpc_timeout_parse((const char *)data, size);
    assert(timeout_ms >= -1);
    check_reader(data, size);
    check_message(data, size);
    return 0;
}
