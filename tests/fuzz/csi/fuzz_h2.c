/* A client's bytes, in pieces: the first byte says how large, whether the preface is put in front, and how requests are answered. */
#include <assert.h>
#include <stdlib.h>

#include "csi/h2.h"

#define BUDGET ((size_t)4 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(struct h2 *h2, uint8_t how)
{
    struct h2_event event;
    for (h2_next(h2, &event); event.kind != H2_NONE; h2_next(h2, &event)) {
        if (event.kind == H2_REQUEST && (how & 2))
            h2_reply(h2, event.stream, event.message, event.len);
        else if (event.kind == H2_REQUEST && (how & 4))
            h2_fail(h2, event.stream, GRPC_ABORTED, event.path);
        h2_event_deinit(&event);
    }
}

static size_t drain(struct h2 *h2)
{
    const uint8_t *out;
    size_t total = 0;
    for (size_t len = h2_output(h2, &out); len > 0; len = h2_output(h2, &out)) {
        h2_sent(h2, len);
        total += len;
    }
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    struct h2_budget budget = {.left = BUDGET};
    struct err err = ERR_INIT;
    if (size == 0)
        return 0;
    uint8_t how = data[0];
    size_t step = (size_t)(how >> 4) * 97 + 1;
    struct h2 *h2 = h2_new(&budget, 0);
    if (how & 1)
        assert(h2_receive(h2, (const uint8_t *)preface, sizeof(preface) - 1, 0, &err) == 0);
    for (size_t at = 1; at < size; at += step) {
        size_t part = size - at < step ? size - at : step;
        int failed = h2_receive(h2, data + at, part, (int64_t)at, &err);
        answer(h2, how);
        drain(h2);
        if (failed || h2_is_finished(h2))
            break;
        if ((how & 8) && at > size / 2)
            h2_shutdown(h2);
    }
    h2_free(h2);
    assert(budget.left == BUDGET);
    return 0;
}
